"""Localization of a recorded drive: the `OnlineLocalizer` of a node, fed from a recording."""

import dataclasses
import logging
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from fgsn_ros.errors import LocalizationError
from fgsn_ros.geometry.arrays import Array
from fgsn_ros.geometry.cameras import warn_of_mounts
from fgsn_ros.geometry.clocks import Span, apart
from fgsn_ros.geometry.trajectory import Trajectory
from fgsn_ros.localization.device import StepTimes
from fgsn_ros.localization.estimate import Estimate
from fgsn_ros.localization.initial_pose import InitialPose
from fgsn_ros.localization.localizer import LocalizerSettings
from fgsn_ros.localization.measured_pose import PoseFinder
from fgsn_ros.localization.online import OnlineLocalizer
from fgsn_ros.localization.tracking import TrackingStatus
from fgsn_ros.lookahead import read_ahead
from fgsn_ros.mapping.descriptors import ImageFeatures
from fgsn_ros.mapping.semantic_map import SemanticMap, check_fingerprint
from fgsn_ros.recordings.recording import Frame, Recording, require_odometry
from fgsn_ros.segmentation.labels import LabelMap

if TYPE_CHECKING:
    from fgsn_ros.segmentation.checkpoint import Checkpoint

Item = TypeVar("Item")
Labels = Callable[[Frame], LabelMap]
OnLabels = Callable[[Frame, LabelMap], None]
OnEstimate = Callable[[Estimate, OnlineLocalizer], None]

_SNAPSHOT_PARTICLES = 200
_IMAGES_AHEAD = 4  # hides that some take longer to read, in little memory
_LABELS_AHEAD = 2
_STAGES = "frames", "labels", "filter"  # each has a progress bar

SEARCHED = "before the robot was found"
"""Why frames are not used while there is no pose."""

_log = logging.getLogger(__name__)


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


def segmented(checkpoint: "Checkpoint") -> Labels:
    """Labels of a frame by the checkpoint's network."""
    from fgsn_ros.segmentation.segmenter import Segmenter

    segmenter = Segmenter(checkpoint)
    return lambda frame: segmenter.segment(frame.image)


def localize(
    recording: Recording,
    semantic_map: SemanticMap,
    checkpoint: "Checkpoint",
    initial: InitialPose | None,
    settings: LocalizerSettings | None = None,
    labels: Labels | None = None,
    finder: PoseFinder | None = None,
    on_labels: Sequence[OnLabels] = (),
    on_estimate: Sequence[OnEstimate] = (),
    snapshot_every: int = 10,
    progress: bool = True,
) -> LocalizationRun:
    """Localize a recording on a map.

    Args:
        recording: Frames and odometry.
        semantic_map: Map labelled by the checkpoint.
        checkpoint: With label statistics.
        initial: Pose to start from, at the first frame if it has no stamp. None: it is not known,
            and the robot is looked for on the whole map; poses begin where it is found.
        settings: Of the localizer.
        labels: Label map of a frame; default: the checkpoint's network. Lets runs share labels.
            Called in a thread of its own.
        finder: Measures poses by local features, beside the labels; see `FeaturePoses`.
        on_labels: Observers called in turn with each frame and its label map before it is weighed,
            e.g. to record or to show them. What they take counts as the step `observe`.
        on_estimate: Observers called in turn after each estimate, with the localizer that it came
            from: its particles, T_map_odom, tracking quality and so on are those of then.
        snapshot_every: Estimates between particle snapshots.
        progress: Show a progress bar each for reading (or rendering), labelling and the filter.

    Raises:
        MapError: the map was labelled by another checkpoint.
        RecordingError: the recording has no odometry or is damaged.
        LocalizationError: the checkpoint has no label statistics, the odometry is unusable, no
            frame could be used, or the robot was not found.
    """
    check_fingerprint(semantic_map, checkpoint.fingerprint)
    log_ratio = require_log_ratio(checkpoint)
    warn_of_mounts(recording.cameras)
    started = time.perf_counter()
    online = OnlineLocalizer(
        semantic_map, log_ratio, recording.cameras, settings, refuse=_end, finder=finder
    )
    by_stamp: dict[float, Estimate] = {}
    snapshots = []
    replay = _Replay(
        recording, online, labels or segmented(checkpoint), finder, on_labels, progress
    )
    for estimate in replay.estimates(initial):
        if estimate.stamp not in by_stamp and len(by_stamp) % snapshot_every == 0:
            snapshots.append(_snapshot(online))
        by_stamp[estimate.stamp] = estimate
        with replay.times.timed("observe"):
            for observe in on_estimate:
                observe(estimate, online)
    elapsed_s = time.perf_counter() - started
    return replay.result(list(by_stamp.values()), snapshots, elapsed_s)


def require_log_ratio(checkpoint: "Checkpoint") -> npt.NDArray[np.float32]:
    """The checkpoint's label statistics (K, K) [observed, map].

    Raises:
        LocalizationError: it has none.
    """
    if checkpoint.log_ratio is None:
        raise LocalizationError(
            "the checkpoint has no label statistics; finish it with `fgsn train`"
        )
    return checkpoint.log_ratio


def _end(error: LocalizationError) -> None:
    """Refuse a message of a recording: the run ends."""
    raise error


class _Replay:
    """Feeds a localizer with a recording's frames, odometry up to each frame first.

    Reading and the network run ahead, each in a thread: what comes out is the same.
    """

    def __init__(
        self,
        recording: Recording,
        online: OnlineLocalizer,
        labels: Labels,
        finder: PoseFinder | None,
        on_labels: Sequence[OnLabels],
        progress: bool,
    ) -> None:
        self.times = StepTimes()
        self._recording = recording
        self._online = online
        self._labels = labels
        self._finder = finder
        self._on_labels = on_labels
        self._progress = progress
        self._odometry = require_odometry(recording)
        self._fed = 0
        self._skipped: Counter[str] = Counter()
        self._stamps: tuple[float, ...] = ()
        """of the first and the last frame [s]"""

    def estimates(self, initial: InitialPose | None) -> Iterator[Estimate]:
        """What comes of each frame."""
        if initial is None:
            self._online.search()
        first = None if initial is None else initial.stamp
        bars = [self._bar(*stage) for stage in enumerate(_STAGES)]
        try:
            read = read_ahead(_counted(self._frames(), bars[0]), _IMAGES_AHEAD)
            labelled = read_ahead(_counted(self._labelled(read, first), bars[1]), _LABELS_AHEAD)
            for frame, seen in _counted(labelled, bars[2]):
                if seen is None:
                    self._skipped["before the initial pose"] += 1
                else:
                    yield from self._weighed(frame, *seen, initial)
        finally:
            for bar in bars:
                bar.close()

    def _weighed(
        self,
        frame: Frame,
        label_map: LabelMap,
        features: ImageFeatures | None,
        initial: InitialPose | None,
    ) -> Iterator[Estimate]:
        self._feed(frame.stamp)
        with self.times.timed("observe"):
            for observe in self._on_labels:
                observe(frame, label_map)
        if self._odometry.stamps[-1] < frame.stamp:
            self._skipped["ahead of odometry"] += 1
            return
        if initial is not None and not self._online.initialized:
            stamp = frame.stamp if initial.stamp is None else initial.stamp
            self._online.initialize(dataclasses.replace(initial, stamp=stamp))
        self._skipped[SEARCHED] += self._online.status == TrackingStatus.SEARCHING
        yield from self._online.add_labels(frame.stamp, frame.camera, label_map, features)

    def _labelled(
        self, frames: Iterable[Frame], first: float | None
    ) -> Iterator[tuple[Frame, tuple[LabelMap, ImageFeatures | None] | None]]:
        """Frames with their label maps and local features; with neither before a stamp."""
        for frame in frames:
            if first is not None and frame.stamp < first:
                yield frame, None
                continue
            with self.times.timed("labels"):
                label_map = self._labels(frame)
            features = None
            if self._finder is not None:
                with self.times.timed("features"):
                    features = self._finder.extract(frame.image)
            yield frame, (label_map, features)

    def _frames(self) -> Iterator[Frame]:
        frames = iter(self._recording.frames())
        while True:
            with self.times.timed("frames"):
                frame = next(frames, None)
            if frame is None:
                return
            self._stamps = (self._stamps or (frame.stamp,))[0], frame.stamp
            yield frame

    def _bar(self, row: int, stage: str) -> tqdm:
        """A bar for a stage; in a file, which has no rows to go back to, the last one's alone."""
        if not sys.stderr.isatty():
            row -= len(_STAGES) - 1
        hidden = not self._progress or row < 0
        count = self._recording.frame_count
        return tqdm(desc=stage, total=count, unit="frame", position=max(row, 0), disable=hidden)

    def _feed(self, stamp: float) -> None:
        """Add odometry up to the first sample at or after a stamp."""
        stamps = self._odometry.stamps
        while self._fed < len(stamps) and (self._fed == 0 or stamps[self._fed - 1] < stamp):
            self._online.add_odometry(float(stamps[self._fed]), self._odometry.poses[self._fed])
            self._fed += 1

    def result(
        self, estimates: list[Estimate], snapshots: list[ParticleSnapshot], elapsed_s: float
    ) -> LocalizationRun:
        """The run, or a LocalizationError if no frame could be used."""
        name, skipped = self._recording.name, dict(self._skipped + self._online.skipped)
        if not estimates and SEARCHED in skipped:
            raise LocalizationError(
                f"the robot was not found on the map in {skipped[SEARCHED]} frames of {name}: they "
                "show no place of it well enough, or several alike; give an initial pose"
            )
        if not estimates:
            raise LocalizationError(
                f"no frame of {name} could be used ({skipped or 'it has none'}); {self._advice()}"
            )
        if skipped:
            _log.warning("frames of %s not used: %s", name, skipped)
        return LocalizationRun(
            Trajectory(
                np.array([estimate.stamp for estimate in estimates]),
                np.stack([estimate.T_map_base for estimate in estimates]),
            ),
            tuple(estimates),
            tuple(snapshots),
            skipped,
            {**self.times.seconds, **self._online.seconds},
            elapsed_s,
        )

    def _advice(self) -> str:
        odometry = Span.of("odometry's stamps", self._odometry.stamps)
        images = Span("the images", *self._stamps) if self._stamps else odometry
        if not images.meets(odometry):
            return apart(images, odometry)
        return "check that its images and odometry share one clock"


def _counted(items: Iterable[Item], bar: tqdm) -> Iterator[Item]:
    """The same items, each counted when it is done with."""
    for item in items:
        yield item
        bar.update()


def _snapshot(online: OnlineLocalizer) -> ParticleSnapshot:
    T_map_base, weights = online.particles
    kept = np.arange(0, len(weights), -(-len(weights) // _SNAPSHOT_PARTICLES))
    return ParticleSnapshot(online.stamp, T_map_base[kept], weights[kept])
