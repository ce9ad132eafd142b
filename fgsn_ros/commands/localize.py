"""`fgsn localize`: localize a recording on a map."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from numpy.typing import NDArray
from tqdm import tqdm

from fgsn_ros.commands.replay import Step, replay
from fgsn_ros.commands.result_bag import ResultBag
from fgsn_ros.commands.start import Start
from fgsn_ros.config import require
from fgsn_ros.errors import MapError
from fgsn_ros.evaluation.report import write_report
from fgsn_ros.geometry.trajectory import Trajectory
from fgsn_ros.localization.localizer import Localizer, LocalizerSettings
from fgsn_ros.mapping.map_files import load_map
from fgsn_ros.mapping.semantic_map import SemanticMap
from fgsn_ros.outputs import check_output, whole_folder
from fgsn_ros.segmentation.checkpoint import Checkpoint, load_checkpoint
from fgsn_ros.segmentation.segmenter import Segmenter, SegmenterSettings
from fgsn_ros.sequences.open import RecordingSettings, open_recording, read_reference
from fgsn_ros.sequences.recording import Recording, require_odometry

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Localize:
    """Localize a recording on a map, and report the errors where there is a reference."""

    recording_path: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RECORDING")]
    """rosbag2, ROS 1 bag, KITTI folder, or folder of images with TUM poses"""
    map: Path
    """map folder made by `fgsn map`"""
    checkpoint: Path
    """the network that labelled the map (.safetensors)"""
    output: Path
    """folder to make: trajectory.tum, metrics.json, plots, and a rosbag2 of the run"""
    reference: Path | None = None
    """reference trajectory in the map frame (TUM text); else the recording's ground truth"""
    start: Start = field(default_factory=Start)
    seed: int = 0
    """seed of the particles and of the start's offset, >= 0"""
    bag: bool = True
    """write the rosbag2 of the run"""
    overwrite: bool = False
    """replace the output folder"""
    recording: RecordingSettings = field(default_factory=RecordingSettings)
    segmenter: SegmenterSettings = field(default_factory=SegmenterSettings)
    localizer: LocalizerSettings = field(default_factory=LocalizerSettings)

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.seed >= 0, "seed must be >= 0")

    def run(self) -> None:
        """Localize, write the result folder, and print the table of errors."""
        check_output(self.output, self.overwrite)
        checkpoint = load_checkpoint(self.checkpoint)
        semantic_map = load_map(self.map)
        recording = open_recording(self.recording_path, self.recording)
        localizer = make_localizer(checkpoint, semantic_map, recording, self.localizer, self.seed)
        reference = recording.ground_truth
        if self.reference is not None:
            reference = read_reference(self.reference, recording)
        rng = np.random.default_rng(self.seed)
        segmenter = Segmenter(checkpoint, self.segmenter)
        with whole_folder(self.output, self.overwrite) as folder, ExitStack() as stack:
            on_step: Callable[[Step], None] = _ignore
            if self.bag:
                path = folder / "bag"
                bag = stack.enter_context(ResultBag(path, recording.cameras, semantic_map))
                on_step = partial(_write_step, bag, localizer)
            run = localized(recording, segmenter, localizer, self.start, rng, on_step)
            metrics = write_report(
                folder, run.estimate, reference, run.dead_reckoning, self._facts(recording, run)
            )
        print(evaluation_table(metrics))
        print(f"{self.output}: {run.frames_per_s:.1f} frames/s")

    def _facts(self, recording: Recording, run: Run) -> dict[str, object]:
        return {
            "recording": recording.name,
            "odometry": recording.odometry_origin,
            "start": self.start,
            "seed": self.seed,
            "localizer": self.localizer,
            "frames_per_s": run.frames_per_s,
        }


def make_localizer(
    checkpoint: Checkpoint,
    semantic_map: SemanticMap,
    recording: Recording,
    settings: LocalizerSettings,
    seed: int,
) -> Localizer:
    """Localizer of a map and the checkpoint that labelled it.

    Raises:
        MapError: the map was labelled by another checkpoint.
        CheckpointError: the checkpoint has no label statistics.
    """
    raise NotImplementedError


def _ignore(step: Step) -> None:
    """Without a bag, nothing is kept of a step."""


def _write_step(bag: ResultBag, localizer: Localizer, step: Step) -> None:
    bag.add(step, *localizer.particles)
