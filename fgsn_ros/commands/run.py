"""One localized run: a recording replayed through a localizer, and what came of it."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from fgsn_ros.commands.replay import Step, replay
from fgsn_ros.commands.start import Start
from fgsn_ros.evaluation.trajectory_errors import dead_reckoning
from fgsn_ros.geometry.trajectory import Trajectory
from fgsn_ros.localization.localizer import Localizer
from fgsn_ros.segmentation.segmenter import Segmenter
from fgsn_ros.sequences.recording import Recording, require_odometry

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Run:
    """Where the localizer saw the robot."""

    estimate: Trajectory
    """T_map_base at each weighed frame"""
    dead_reckoning: Trajectory
    """T_map_base from the same start by odometry alone"""
    frames_per_s: float
    """weighed frames per second of computing, reading and segmenting included"""


def localized(
    recording: Recording,
    segmenter: Segmenter,
    localizer: Localizer,
    start: Start,
    rng: np.random.Generator,
    on_step: Callable[[Step], None] = lambda step: None,
) -> Run:
    """Replay a recording; `on_step` is called after each weighed frame.

    Raises:
        LocalizationError: no initial pose is known, or no frame could be weighed.
    """
    initial: list[tuple[float, FloatArray]] = []

    def initialize(stamp: float) -> None:
        T_map_base = start.T_map_base(stamp, recording.ground_truth, rng)
        localizer.initialize(stamp, T_map_base, start.std)
        initial.append((stamp, T_map_base))

    began = time.perf_counter()
    stamps: list[float] = []
    estimates: list[FloatArray] = []
    steps = replay(recording, segmenter.segment, localizer, initialize)
    for step in tqdm(steps, total=recording.frame_count, desc="localize", unit="frame"):
        stamps.append(step.estimate.stamp)
        estimates.append(step.estimate.T_map_base)
        on_step(step)
    seconds = time.perf_counter() - began
    initial_stamp, T_initial = initial[0]
    return Run(
        estimate=Trajectory(np.array(stamps), np.stack(estimates)),
        dead_reckoning=dead_reckoning(
            require_odometry(recording), T_initial, stamps, initial_stamp
        ),
        frames_per_s=len(stamps) / seconds,
    )
