"""Localization of a recorded drive: the same `Localizer` that a node runs, fed from a recording."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from fgsn_ros.errors import LocalizationError
from fgsn_ros.geometry.trajectory import Trajectory
from fgsn_ros.localization.estimate import Estimate
from fgsn_ros.localization.localizer import Localizer
from fgsn_ros.localization.settings import LocalizerSettings
from fgsn_ros.mapping.semantic_map import SemanticMap, check_fingerprint
from fgsn_ros.segmentation.checkpoint import Checkpoint
from fgsn_ros.segmentation.labels import LabelMap
from fgsn_ros.segmentation.segmenter import Segmenter
from fgsn_ros.sequences.recording import Frame, Recording, require_odometry

Array = npt.NDArray[np.float64]
Labels = Callable[[Frame], LabelMap]

_SNAPSHOT_PARTICLES = 200

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class InitialPose:
    """Where the robot is thought to be at the start."""

    T_map_base: Array
    """(4, 4)."""
    std: Array
    """(6,) x y z [m] roll pitch yaw [rad]."""
    stamp: float | None = None
    """[s]; None: at the first frame."""


@dataclass(frozen=True, eq=False)
class ParticleSnapshot:
    """Some of the particles at one time, drawn evenly from all."""

    stamp: float
    poses: Array
    """(n, 4, 4) T_map_base."""
    weights: Array
    """(n,)."""


@dataclass(frozen=True, eq=False)
class LocalizationRun:
    """A localized recording."""

    trajectory: Trajectory
    """T_map_base at each stamp that had a usable label map."""
    estimates: tuple[Estimate, ...]
    """One for each stamp of the trajectory; of several cameras' the last."""
    snapshots: tuple[ParticleSnapshot, ...]
    """Particles, every `snapshot_every` estimates."""
    skipped: dict[str, int]
    """Frames that were not used, by reason."""
    seconds: dict[str, float]
    """Time spent by step; `labels` is segmentation, `frames` reading and decoding."""

    @property
    def covariances(self) -> Array:
        """(N, 6, 6) x y z roll pitch yaw [m, rad]."""
        return np.stack([estimate.covariance for estimate in self.estimates])


def segmented(checkpoint: Checkpoint) -> Labels:
    """Labels of a frame by the checkpoint's network."""
    segmenter = Segmenter(checkpoint)
    return lambda frame: segmenter.segment(frame.image)


def localize(
    recording: Recording,
    semantic_map: SemanticMap,
    checkpoint: Checkpoint,
    initial: InitialPose,
    settings: LocalizerSettings | None = None,
    labels: Labels | None = None,
    on_estimate: Callable[[Estimate, Localizer], None] | None = None,
    snapshot_every: int = 10,
    progress: bool = True,
) -> LocalizationRun:
    """Localize a recording on a map.

    Args:
        recording: Frames and odometry.
        semantic_map: Map labelled by the checkpoint.
        checkpoint: With label statistics.
        initial: Pose to start from.
        settings: Of the localizer.
        labels: Label map of a frame; default: the checkpoint's network. Lets runs share labels.
        on_estimate: Called after each estimate, e.g. to record it.
        snapshot_every: Estimates between particle snapshots.
        progress: Show a progress bar.

    Raises:
        MapError: the map was labelled by another checkpoint.
        RecordingError: the recording has no odometry or is damaged.
        LocalizationError: the checkpoint has no label statistics, the odometry is unusable, or no
            frame could be used.
    """
    check_fingerprint(semantic_map, checkpoint.fingerprint)
    if checkpoint.log_ratio is None:
        raise LocalizationError(
            "the checkpoint has no label statistics; finish it with `fgsn train`"
        )
    localizer = Localizer(semantic_map, checkpoint.log_ratio, recording.cameras, settings)
    by_stamp: dict[float, Estimate] = {}
    snapshots = []
    estimates = replay(recording, localizer, labels or segmented(checkpoint), initial, progress)
    for estimate in estimates:
        if estimate.stamp not in by_stamp and len(by_stamp) % snapshot_every == 0:
            snapshots.append(_snapshot(localizer))
        by_stamp[estimate.stamp] = estimate
        if on_estimate is not None:
            on_estimate(estimate, localizer)
    return _result(recording, localizer, list(by_stamp.values()), snapshots)


def replay(
    recording: Recording,
    localizer: Localizer,
    labels: Labels,
    initial: InitialPose,
    progress: bool = True,
) -> Iterator[Estimate]:
    """Estimates of a localizer fed with a recording's frames, odometry up to each frame first.

    Raises:
        RecordingError: the recording has no odometry or is damaged.
        LocalizationError: the odometry is unusable.
    """
    odometry = require_odometry(recording)
    frames = iter(
        tqdm(
            recording.frames(),
            total=recording.frame_count,
            desc=f"localize {recording.name}",
            unit="frame",
            disable=not progress,
        )
    )
    fed = 0
    while True:
        with localizer.timed("frames"):
            frame = next(frames, None)
        if frame is None:
            return
        if not localizer.initialized:
            stamp = frame.stamp if initial.stamp is None else initial.stamp
            localizer.initialize(stamp, initial.T_map_base, np.diag(initial.std**2))
        if initial.stamp is not None and frame.stamp < initial.stamp:
            localizer.skipped["before the initial pose"] += 1
            continue
        fed = _feed(localizer, odometry, fed, frame.stamp)
        with localizer.timed("labels"):
            label_map = labels(frame)
        estimate = localizer.add_labels(frame.stamp, frame.camera, label_map)
        if estimate is not None:
            yield estimate


def _feed(localizer: Localizer, odometry: Trajectory, fed: int, stamp: float) -> int:
    """Add odometry from index `fed` up to the first sample at or after a stamp; the next index."""
    while fed < len(odometry) and (fed == 0 or odometry.stamps[fed - 1] < stamp):
        localizer.add_odometry(float(odometry.stamps[fed]), odometry.poses[fed])
        fed += 1
    return fed


def _snapshot(localizer: Localizer) -> ParticleSnapshot:
    T_map_base, weights = localizer.particles
    kept = np.arange(0, len(weights), -(-len(weights) // _SNAPSHOT_PARTICLES))
    return ParticleSnapshot(localizer.stamp, T_map_base[kept], weights[kept])


def _result(
    recording: Recording,
    localizer: Localizer,
    estimates: list[Estimate],
    snapshots: list[ParticleSnapshot],
) -> LocalizationRun:
    skipped = dict(localizer.skipped)
    if not estimates:
        raise LocalizationError(
            f"no frame of {recording.name} could be used ({skipped or 'it has none'}); "
            "check that its images and odometry share one clock"
        )
    if skipped:
        _log.warning("frames of %s not used: %s", recording.name, skipped)
    stamps = np.array([estimate.stamp for estimate in estimates])
    T_map_base = np.stack([estimate.T_map_base for estimate in estimates])
    return LocalizationRun(
        Trajectory(stamps, T_map_base),
        tuple(estimates),
        tuple(snapshots),
        skipped,
        dict(localizer.seconds),
    )
