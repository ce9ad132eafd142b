"""What a training run writes: checkpoints, its state, TensorBoard."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.tensorboard import SummaryWriter

from fgsn_ros.errors import TrainingError
from fgsn_ros.outputs import whole_file
from fgsn_ros.segmentation.checkpoint import Checkpoint, save_checkpoint
from fgsn_ros.training.settings import TrainSettings


class RunFiles:
    """The output folder of a run; a process that does not write has an idle one."""

    def __init__(self, settings: TrainSettings, writes: bool) -> None:
        self._settings = settings
        self._writer: SummaryWriter | None = None
        self._saved_iteration: int | None = None
        self.writes = writes

    def __enter__(self) -> "RunFiles":
        if self.writes:
            self._writer = SummaryWriter(str(self._settings.output / "tensorboard"))
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer:
            self._writer.close()

    def scalars(self, group: str, values: dict[str, float], iteration: int) -> None:
        """Add numbers to TensorBoard."""
        for name, value in values.items():
            if self._writer:
                self._writer.add_scalar(f"{group}/{name}", value, iteration)

    def pictures(self, pictures: dict[str, NDArray[np.uint8]], iteration: int) -> None:
        """Add pictures (H, W, 3) to TensorBoard."""
        for name, picture in pictures.items():
            if self._writer:
                self._writer.add_image(name, picture, iteration, dataformats="HWC")

    def save(self, checkpoint: Checkpoint, best: bool) -> None:
        """Write the last checkpoint and, if it is, the best one; each whole or not at all.

        Raises:
            OutputError: a file cannot be written.
        """
        if not self.writes:
            return
        save_checkpoint(self._settings.checkpoint, checkpoint, self._settings.half)
        if best:
            save_checkpoint(self._settings.best, checkpoint, self._settings.half)

    def save_state(self, state: dict[str, Any]) -> None:
        """Write what `restore` reads.

        Raises:
            OutputError: the file cannot be written.
        """
        if not self.writes:
            return
        with whole_file(self._settings.state) as temporary:
            torch.save(state, temporary)
        self._saved_iteration = int(state["iteration"])

    def restore(self) -> dict[str, Any]:
        """The state of the run to resume.

        Raises:
            TrainingError: there is none, or it is damaged.
        """
        path = self._settings.state
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            self._saved_iteration = int(state["iteration"])
        except Exception as error:  # a damaged file can raise almost anything in torch.load
            raise TrainingError(f"cannot resume from {path}: {_line(error)}") from error
        return dict(state)

    def last_good(self) -> str:
        """Where an unlucky run can go on from, in words."""
        if self._saved_iteration is None:
            return "nothing was written yet"
        return (
            f"the last good checkpoint is {self._settings.checkpoint}, step {self._saved_iteration}"
        )


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:150]
