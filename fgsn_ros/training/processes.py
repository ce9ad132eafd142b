"""Processes that train: several as one, as `torchrun` starts them, and how they are stopped."""

import os
import signal
from datetime import timedelta
from types import FrameType
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, distributed

from fgsn_ros.errors import Stopped
from fgsn_ros.segmentation.torch_runtime import choose_device

T = TypeVar("T")

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PATIENCE = timedelta(hours=4)  # while the first process clusters or validates


class Processes:
    """This process among those that train together; alone without `torchrun`.

    With GPUs they talk by NCCL and each takes the GPU of its LOCAL_RANK, else by gloo.
    """

    def __init__(self, device: str) -> None:
        self.device = choose_device(device)
        self.rank, self.count = 0, int(os.environ.get("WORLD_SIZE", "1"))
        self._owner = self.count > 1 and not distributed.is_initialized()
        if self.count == 1:
            return
        if self.device.type == "cuda":
            self.device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
            torch.cuda.set_device(self.device)
        if self._owner:
            backend = "nccl" if self.device.type == "cuda" else "gloo"
            distributed.init_process_group(backend, timeout=_PATIENCE)
        self.rank = distributed.get_rank()

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes."""
        return self.rank == 0

    def close(self) -> None:
        """Part from the others."""
        if self._owner:
            distributed.destroy_process_group()

    def mean(self, values: Tensor) -> Tensor:
        """Mean of every process's values."""
        if self.count > 1:
            distributed.all_reduce(values)
            values = values / self.count
        return values

    def share(self, length: int) -> range:
        """This process's part of `length` items; with those of the others it covers each once."""
        return range(self.rank, length, self.count)

    def all_items(self, mine: dict[int, T], length: int) -> list[T]:
        """The items of every process's share, in order."""
        if self.count == 1:
            return [mine[index] for index in range(length)]
        parts: list[Any] = [None] * self.count
        distributed.all_gather_object(parts, mine)
        return [parts[index % self.count][index] for index in range(length)]

    def gathered(self, rows: NDArray[np.float32] | None) -> list[NDArray[np.float32]]:
        """Every process's rows, in the order of ranks, at the first process; none elsewhere."""
        if self.count == 1:
            return [] if rows is None else [rows]
        parts: list[Any] | None = [None] * self.count if self.first else None
        distributed.gather_object(rows, parts)
        return [part for part in parts or [] if part is not None]

    def from_first(self, item: T | None) -> T:
        """The first process's item, at every process."""
        held: list[Any] = [item]
        if self.count > 1:
            distributed.broadcast_object_list(held)
        return held[0]  # type: ignore[no-any-return]


class StopRequest:
    """Stops at the end of a step instead of within it.

    Notes SIGINT, SIGTERM and SIGHUP while it is entered; a second one interrupts at once.
    """

    def __init__(self) -> None:
        self._signal: signal.Signals | None = None
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> "StopRequest":
        for number in _SIGNALS:
            if number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
                continue  # nohup
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)  # type: ignore[arg-type]

    @property
    def asked(self) -> bool:
        """Whether a signal has come."""
        return self._signal is not None

    def end(self, message: str) -> None:
        """End the run that was asked to stop.

        Raises:
            Stopped: always.
        """
        raise Stopped(message, self._signal or signal.SIGTERM)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self._signal = signal.Signals(number)
