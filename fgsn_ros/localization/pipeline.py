"""Localization of a recorded drive: the same `Localizer` that a node runs, fed from a recording."""

import logging
import time
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
from fgsn_ros.lookahead import read_ahead
from fgsn_ros.mapping.semantic_map import SemanticMap, check_fingerprint
from fgsn_ros.recordings.recording import Frame, Recording, require_odometry
from fgsn_ros.segmentation.checkpoint import Checkpoint
from fgsn_ros.segmentation.labels import LabelMap
from fgsn_ros.segmentation.segmenter import Segmenter

Array = npt.NDArray[np.float64]
Labels = Callable[[Frame], LabelMap]

_SNAPSHOT_PARTICLES = 200
_IMAGES_AHEAD = 4  # hides that some take longer to read, in little memory
_LABELS_AHEAD = 2

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
    """Time spent by step; `labels` is segmentation, `frames` reading and decoding. These two run
    ahead in threads, beside the other steps: the sum may exceed `elapsed_s`."""
    elapsed_s: float
    """Time that the whole run took."""

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
    on_labels: Callable[[Frame, LabelMap], None] | None = None,
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
            Called in a thread of its own.
        on_labels: Called with each label map before it is weighed, e.g. to record it.
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
    started = time.perf_counter()
    localizer = Localizer(semantic_map, checkpoint.log_ratio, recording.cameras, settings)
    by_stamp: dict[float, Estimate] = {}
    snapshots = []
    labels = labels or segmented(checkpoint)
    for estimate in replay(recording, localizer, labels, initial, on_labels, progress):
        if estimate.stamp not in by_stamp and len(by_stamp) % snapshot_every == 0:
            snapshots.append(_snapshot(localizer))
        by_stamp[estimate.stamp] = estimate
        if on_estimate is not None:
            with localizer.timed("record"):
                on_estimate(estimate, localizer)
    elapsed_s = time.perf_counter() - started
    return _result(recording, localizer, list(by_stamp.values()), snapshots, elapsed_s)


def replay(
    recording: Recording,
    localizer: Localizer,
    labels: Labels,
    initial: InitialPose,
    on_labels: Callable[[Frame, LabelMap], None] | None = None,
    progress: bool = True,
) -> Iterator[Estimate]:
    """Estimates of a localizer fed with a recording's frames, odometry up to each frame first.

    Reading and the network run ahead, each in a thread: what comes out is the same.

    Raises:
        RecordingError: the recording has no odometry or is damaged.
        LocalizationError: the odometry is unusable.
    """
    odometry = require_odometry(recording)
    labelled = tqdm(
        read_ahead(_labelled(recording, localizer, labels, initial), _LABELS_AHEAD),
        total=recording.frame_count,
        desc=f"localize {recording.name}",
        unit="frame",
        disable=not progress,
    )
    fed = 0
    for frame, label_map in labelled:
        if label_map is None:
            localizer.skipped["before the initial pose"] += 1
            continue
        if not localizer.initialized:
            stamp = frame.stamp if initial.stamp is None else initial.stamp
            localizer.initialize(stamp, initial.T_map_base, np.diag(initial.std**2))
        fed = _feed(localizer, odometry, fed, frame.stamp)
        if on_labels is not None:
            with localizer.timed("record"):
                on_labels(frame, label_map)
        estimate = localizer.add_labels(frame.stamp, frame.camera, label_map)
        if estimate is not None:
            yield estimate


def _labelled(
    recording: Recording, localizer: Localizer, labels: Labels, initial: InitialPose
) -> Iterator[tuple[Frame, LabelMap | None]]:
    """Frames with their label maps; without one before the initial pose."""
    for frame in read_ahead(_timed_frames(recording, localizer), _IMAGES_AHEAD):
        if initial.stamp is not None and frame.stamp < initial.stamp:
            yield frame, None
            continue
        with localizer.timed("labels"):
            label_map = labels(frame)
        yield frame, label_map


def _timed_frames(recording: Recording, localizer: Localizer) -> Iterator[Frame]:
    frames = iter(recording.frames())
    while True:
        with localizer.timed("frames"):
            frame = next(frames, None)
        if frame is None:
            return
        yield frame


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
    elapsed_s: float,
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
        elapsed_s,
    )
