"""Localization of a running robot: messages come as they come, and time may start anew."""

import dataclasses
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fgsn_ros.config import require
from fgsn_ros.errors import LocalizationError
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.arrays import Array
from fgsn_ros.geometry.cameras import CameraMount
from fgsn_ros.localization.estimate import Estimate
from fgsn_ros.localization.hypotheses import Hypotheses
from fgsn_ros.localization.initial_pose import InitialPose, SavedPose
from fgsn_ros.localization.localizer import APART_M, STEP_S, Localizer, LocalizerSettings
from fgsn_ros.localization.measured_pose import PoseFinder
from fgsn_ros.localization.odometry_buffer import Gap
from fgsn_ros.localization.probing import Comparison
from fgsn_ros.localization.tracking import NEARBY_M, Tracking, TrackingSettings, TrackingStatus
from fgsn_ros.mapping.descriptors import ImageFeatures
from fgsn_ros.mapping.semantic_map import SemanticMap
from fgsn_ros.segmentation.labels import LabelMap

Mounting = Callable[[str, float], CameraMount | None]
"""Camera name and stamp to its mounting at that time; None while it is not known."""
Refusal = Callable[[LocalizationError], None]
"""What is done about a message that cannot be used."""

MAX_WAITING = 20
"""Label maps that wait for odometry or a mounting; the oldest are dropped."""

FOUND_STD = 0.8, 0.06
"""A pose found by comparison is known so well: x and y [m], heading [rad]."""
RECOGNIZED_VARIANCE = np.diag(np.square([0.2, 0.2, 0.0, 0.0, 0.0, 0.02]))
"""A pose that local features found is looked for so far around it [m, rad]."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class OnlineSettings:
    """What to do with messages that come late, early or out of order."""

    mounting_wait_s: float = 1.0
    """Labels wait so long for their camera's mounting, by odometry's stamps [s], >= 0."""
    time_jump_s: float = 1.0
    """Odometry that goes back by more starts time anew; by less it is dropped [s], > 0."""
    recover: bool = True
    """Look on the whole map for a robot that has no pose, or whose pose labels contradict; else
    only within reach of the pose."""

    def __post_init__(self) -> None:
        require(self.mounting_wait_s >= 0.0, "mounting_wait_s must be at least 0")
        require(self.time_jump_s > 0.0, "time_jump_s must be above 0")


@dataclass(frozen=True, eq=False)
class _Waiting:
    stamp: float
    camera: str
    label_map: LabelMap
    features: ImageFeatures | None


def _logged(error: LocalizationError) -> None:
    _log.error("%s", error)


class OnlineLocalizer:
    """A particle filter on a semantic map, fed with odometry and labels in any order.

    A label map waits until odometry covers its stamp and the camera's mounting is known; then it is
    weighed at its own time, however late. A replayed recording goes the same way as a robot's
    messages; with all of them in time, the estimates are the same to the bit.
    """

    def __init__(
        self,
        semantic_map: SemanticMap,
        log_ratio: npt.NDArray[np.floating],
        mounts: Mapping[str, CameraMount] | Mounting,
        settings: LocalizerSettings | None = None,
        online: OnlineSettings | None = None,
        tracking: TrackingSettings | None = None,
        refuse: Refusal = _logged,
        finder: PoseFinder | None = None,
    ) -> None:
        """Prepare for a map and a checkpoint's label statistics.

        Args:
            semantic_map: The map.
            log_ratio: (K, K) [observed, map] of the checkpoint that labelled the map.
            mounts: Cameras by name, or who is asked for them at each label map's stamp.
            settings: Of the particle filter.
            online: Of the waiting for messages.
            tracking: When the pose counts as lost.
            refuse: Told why a message cannot be used, which is also counted; default: logged. What
                it raises comes out of the call that brought the message.
            finder: Measures poses by the local features that come with labels.

        Raises:
            LocalizationError: the statistics do not fit the map, or there is no such device.
        """
        fixed = mounts if isinstance(mounts, Mapping) else {}
        self._mounting = None if isinstance(mounts, Mapping) else mounts
        self._localizer = Localizer(semantic_map, log_ratio, fixed, settings, finder)
        self.online_settings = online or OnlineSettings()
        """Of the waiting for messages; may be changed."""
        self.tracking = Tracking(tracking or TrackingSettings())
        """How sure the pose is."""
        self.counts: Counter[str] = Counter()
        """Messages that were late, or not used, by reason."""
        self.home: InitialPose | None = None
        """Pose to start from again when time starts anew."""
        self._refusal = refuse
        self._initial: InitialPose | None = None
        self._saved: tuple[SavedPose, float | None] | None = None
        self._anchored_at = self._newest_labels = -np.inf
        self._compared_at, self._compared_views = -np.inf, 0
        self._searching = False
        self._hypotheses = Hypotheses()
        self._waiting: list[_Waiting] = []
        self._T_map_odom: Array | None = None

    @property
    def settings(self) -> LocalizerSettings:
        """Settings of the filter; new ones leave the particles as they are.

        Raises:
            LocalizationError: on setting, if the motion model or the device is another.
        """
        return self._localizer.settings

    @settings.setter
    def settings(self, settings: LocalizerSettings) -> None:
        self._localizer.settings = settings

    @property
    def initialized(self) -> bool:
        """Whether an initial pose is in use."""
        return self._localizer.initialized

    @property
    def stamp(self) -> float:
        """Time that the particles stand for [s]: of the newest label map weighed."""
        return self._localizer.stamp

    @property
    def particles(self) -> tuple[Array, Array]:
        """T_map_base (N, 4, 4) and weights (N,) at `stamp`.

        Raises:
            LocalizationError: no initial pose is in use.
        """
        return self._localizer.particles

    @property
    def pose(self) -> tuple[Array, Array]:
        """Mean T_map_base (4, 4) and covariance (6, 6) of the particles at `stamp`.

        Raises:
            LocalizationError: no initial pose is in use.
        """
        return self._localizer.pose

    @property
    def T_map_odom(self) -> Array | None:
        """(4, 4), or None while there is no pose."""
        return self._T_map_odom

    @property
    def status(self) -> TrackingStatus:
        """How far the pose of the newest odometry can be relied on."""
        return self.status_at(self._localizer.odometry.last)

    def status_at(self, stamp: float) -> TrackingStatus:
        """How far the pose can be relied on at a time [s] on the clock of odometry's stamps.

        Who has a clock that goes on without messages learns by it that none come.
        """
        if self._T_map_odom is None:
            return TrackingStatus.SEARCHING if self._searching else TrackingStatus.NO_POSE
        silent = self.tracking.settings.silent_after_s
        if max(stamp, self._newest_labels) - self._localizer.odometry.last > silent:
            return TrackingStatus.NO_ODOMETRY
        return self.tracking.status_at(stamp)

    @property
    def pose_now(self) -> InitialPose | None:
        """The pose at the newest odometry, to start from another time; None while there is none.

        The longer no labels were weighed, the larger is its covariance.
        """
        span = self.odometry_span
        if self._T_map_odom is None or span is None:
            return None
        T_map_base = poses.compose(self._T_map_odom, self.T_odom_base(span[1]))
        covariance = self._localizer.predicted[1] + self.tracking.spread
        return InitialPose(T_map_base, covariance, span[1])

    def pose_to_save(self, now: float) -> SavedPose | None:
        """The pose to come back to after a restart, at a time of day [s since 1970].

        None unless labels confirm it: what was saved while it was tracked is better than nothing.
        """
        pose = self.pose_now
        if pose is None or pose.stamp is None or self.status != TrackingStatus.TRACKING:
            return None
        odometry = self._localizer.odometry
        T_odom_base = self.T_odom_base(pose.stamp)
        speeds = odometry.top_speed_m_s, odometry.top_turn_rad_s
        return SavedPose(pose, T_odom_base, now, *speeds)

    @property
    def odometry_span(self) -> tuple[float, float] | None:
        """First and last stamp of the odometry that is kept [s]; None while there is none."""
        odometry = self._localizer.odometry
        return None if odometry.empty else (odometry.first, odometry.last)

    def T_odom_base(self, stamp: float) -> Array:
        """Odometry (4, 4) at a stamp within `odometry_span`."""
        return self._localizer.odometry.at(stamp)

    @property
    def skipped(self) -> Counter[str]:
        """Label maps that the filter was given and could not weigh, by reason."""
        return self._localizer.skipped

    @property
    def seconds(self) -> Mapping[str, float]:
        """Time spent in the filter, by step [s]."""
        return self._localizer.seconds

    def request_update(self) -> None:
        """Let the next label map count in full, even if the robot has not moved."""
        self._localizer.request_update()

    def warm_up(self) -> None:
        """Compile what labels will need: call it before they come, as it takes seconds."""
        self._localizer.warm_up()

    def resume(self, saved: SavedPose, now: float | None = None) -> None:
        """Start from a saved pose, now or when odometry comes; `now` is the time of day [s]."""
        odometry = self._localizer.odometry
        if odometry.empty:
            self._saved = saved, now
            return
        stamp, settings = odometry.last, self.settings
        known = saved.carried_on(stamp, odometry.at(stamp), now, settings.motion, settings.reach_m)
        self.initialize(known)

    def search(self) -> None:
        """Forget the pose, and look for the robot on the whole map.

        There is no pose until the labels along some metres of driving fit one place, and no other.
        """
        self._saved = self._initial = self._T_map_odom = None
        self._localizer.forget_pose()
        self.tracking.restart()
        self._hypotheses.forget()
        self._searching = True

    def initialize(self, initial: InitialPose) -> None:
        """Start from a pose, now or when odometry comes."""
        self._saved, self._searching = None, False
        odometry = self._localizer.odometry
        stamp = odometry.last if initial.stamp is None else initial.stamp
        if odometry.empty or 0.0 < stamp - odometry.last <= self.online_settings.time_jump_s:
            self._initial = initial  # until odometry comes, or gets there
            return
        stamp = min(stamp, odometry.last)  # one of another clock would hold up the filter
        self._localizer.initialize(dataclasses.replace(initial, stamp=stamp))
        self._initial = None
        self._waiting = [waiting for waiting in self._waiting if waiting.stamp >= stamp]
        self.tracking.restart()
        self._newest_labels = -np.inf
        self._anchor(max(stamp, odometry.first), self.pose[0])

    def add_odometry(self, stamp: float, T_odom_base: Array) -> list[Estimate]:
        """Add an odometry pose (4, 4); estimates of labels that waited for it."""
        last = self._localizer.odometry.last
        if stamp < last - self.online_settings.time_jump_s:
            self._start_anew(last, stamp)
        elif stamp <= last:
            self.counts["odometry out of order"] += 1
            return []
        try:
            gap = self._localizer.add_odometry(stamp, T_odom_base)
        except LocalizationError as error:
            self._refuse(error)
            return []
        if gap is not None:
            self._bridge(gap)
        if self._saved is not None:
            self.resume(*self._saved)
        if self._initial is not None:
            self.initialize(self._initial)
        if self.initialized and stamp - self._anchored_at > STEP_S:
            self._anchor(stamp, self._localizer.predicted[0])  # the wheels' scale is known
        return self._weigh_ready()

    def _bridge(self, gap: Gap) -> None:
        """Count and say a gap in odometry; the pose goes on from where it was."""
        self._hypotheses.forget()
        self.counts["odometry resets" if gap.reset else "odometry gaps"] += 1
        what = "was reset" if gap.reset else f"paused for {gap.end - gap.start:.1f} s"
        text = (
            f"odometry {what} at {gap.end:.3f} s: the robot may have driven up to "
            f"{gap.doubt.reach_m:.1f} m that it does not tell; labels must confirm the pose again"
        )
        _log.warning("%s", text)
        if self.initialized:
            self.tracking.doubt()
            self._anchor(gap.end, self._localizer.predicted[0])

    def add_labels(
        self,
        stamp: float,
        camera: str,
        label_map: LabelMap,
        features: ImageFeatures | None = None,
    ) -> list[Estimate]:
        """Add a label map, and its image's local features; estimates that came of it or another."""
        if not self.initialized and self._initial is None and not self._searching:
            self.counts["labels without an initial pose"] += 1
            return []
        self._newest_labels = max(self._newest_labels, stamp)
        self._waiting.append(_Waiting(stamp, camera, label_map, features))
        estimates = self._weigh_ready()
        if len(self._waiting) > MAX_WAITING:
            self.counts["labels ahead of odometry"] += 1
            del self._waiting[0]
        return estimates

    def _weigh_ready(self) -> list[Estimate]:
        """Weigh what odometry covers, oldest first."""
        if not (self.initialized or self._searching):
            return []
        estimates = []
        newest = self._localizer.odometry.last
        for labels in sorted(self._waiting, key=lambda waiting: waiting.stamp):
            if labels.stamp <= newest and self._is_mounted(labels):
                self._waiting.remove(labels)
                estimates += self._weigh(labels)
            elif labels.stamp < newest - self.online_settings.mounting_wait_s:
                self._waiting.remove(labels)
                self.counts["labels without a mounting"] += 1
        return estimates

    def _is_mounted(self, labels: _Waiting) -> bool:
        """Whether the camera's mounting at a label map's stamp is known; the filter is told it."""
        if self._mounting is None:
            return True
        mount = self._mounting(labels.camera, labels.stamp)
        if mount is not None:
            self._localizer.set_mount(labels.camera, mount)
        return mount is not None

    def _weigh(self, labels: _Waiting) -> list[Estimate]:
        try:
            if self._searching:
                self._look(labels)
                return []
            estimate = self._localizer.add_labels(
                labels.stamp, labels.camera, labels.label_map, labels.features
            )
        except LocalizationError as error:
            self._refuse(error)
            return []
        if estimate is None:
            self._count_uncovered(labels.stamp)
            return []
        if estimate.labels_stamp < estimate.stamp:
            self.counts["late labels"] += 1
        self.tracking.add(estimate)
        self.tracking.slipping = self._localizer.features.slipping
        self._anchor(estimate.stamp, estimate.T_map_base)
        if self._judge(estimate, labels):
            return []
        covariance = estimate.covariance + self.tracking.spread
        return [dataclasses.replace(estimate, covariance=covariance)]

    def _look(self, labels: _Waiting) -> None:
        """Look for the robot on the whole map, at each new view."""
        if not self._localizer.add_view(labels.stamp, labels.camera, labels.label_map):
            self._count_uncovered(labels.stamp)
            return
        if not self._is_new_view():
            return
        self._compared_at, self._compared_views = labels.stamp, self._localizer.views
        if self._recognized(labels):
            return
        comparison = self._localizer.search(labels.stamp)
        if self.tracking.search(comparison, self.settings.probe) and comparison is not None:
            self.counts["found on the map"] += 1
            x, y = comparison.T_map_other[:2, 3]
            _log.info("at %.3f s the robot is found at (%.1f, %.1f) m", labels.stamp, x, y)
            self.initialize(InitialPose.around(comparison.T_map_other, *FOUND_STD, labels.stamp))
            self.tracking.restart(found=True)

    def _recognized(self, labels: _Waiting, T_map_base: Array | None = None) -> bool:
        """Start where the local features of two images say that the robot is; whether they do.

        `T_map_base`: the pose (4, 4) that it has; near it there is nothing to start.
        """
        measured = self._localizer.located(labels.camera, labels.label_map, labels.features)
        if measured is None:
            return False
        agree = self._hypotheses.add(self.T_odom_base(labels.stamp), measured)
        x, y = measured.T_map_base[:2, 3]
        near = T_map_base is not None and np.hypot(*(T_map_base[:2, 3] - [x, y])) <= APART_M
        if near or not agree:
            return False
        self.counts["recognized by local features"] += 1
        _log.info("at %.3f s two images are recognized at (%.1f, %.1f) m", labels.stamp, x, y)
        covariance = measured.covariance + RECOGNIZED_VARIANCE
        self.initialize(InitialPose(measured.T_map_base, covariance, labels.stamp))
        return True

    def _count_uncovered(self, stamp: float) -> None:
        """Count a label map at whose stamp it is not known how the robot moved."""
        within = self._localizer.odometry.gap_at(stamp) is not None
        where = "within a gap in odometry" if within else "out of odometry's memory"
        self.counts[f"labels {where}"] += 1

    def _is_new_view(self) -> bool:
        """Whether poses were not compared by the newest view, or not with all others."""
        comparison = self.tracking.comparison
        incomplete = comparison is not None and not comparison.complete
        return self._localizer.views > self._compared_views or incomplete

    def _judge(self, estimate: Estimate, labels: _Waiting) -> bool:
        """Compare the pose with others, at each new view until it is confirmed, then at times.

        Whether the robot is elsewhere: then the estimate is of no use.
        """
        settings, tracking = self.settings.probe, self.tracking
        if tracking.astray_since is not None:
            self._localizer.forget_views(tracking.astray_since)
        suspect = tracking.suspect_since
        if suspect is not None and self._localizer.views_since(suspect) < settings.least_views:
            suspect = None
        ceased = self._localizer.features.ceased(self.T_odom_base(estimate.stamp))
        sure = tracking.settled and suspect is None and not ceased
        passed = estimate.stamp - self._compared_at
        if not self._is_new_view() or (sure and passed < settings.period_s):
            return False
        self._compared_views = self._localizer.views
        if suspect is None or passed >= settings.period_s:
            # Not by the last few views alone, which fit elsewhere by chance more often.
            self._compared_at, suspect = estimate.stamp, None
        everywhere = self.online_settings.recover and not sure
        if everywhere and self._recognized(labels, estimate.T_map_base):
            return True
        comparison = self._localizer.compare(everywhere, suspect)
        if not tracking.compare(estimate, comparison, settings) or comparison is None:
            return False
        self._go_on_at(comparison, estimate.stamp)
        return True

    def _go_on_at(self, comparison: Comparison, stamp: float) -> None:
        """Start where the labels say that the robot is."""
        self.counts["found elsewhere"] += 1
        text = (
            f"at {stamp:.3f} s the labels fit {comparison.distance_m:.1f} m from the pose far "
            "better: localizing from there"
        )
        _log.warning("%s", text)
        found = self.tracking.found or comparison.distance_m > NEARBY_M
        self.initialize(InitialPose.around(comparison.T_map_other, *FOUND_STD, stamp))
        self.tracking.restart(found)

    def _anchor(self, stamp: float, T_map_base: Array) -> None:
        self._T_map_odom = poses.compose(T_map_base, poses.invert(self.T_odom_base(stamp)))
        self._anchored_at = stamp

    def _refuse(self, error: LocalizationError) -> None:
        self.counts["refused messages"] += 1
        self._refusal(error)

    def _start_anew(self, last: float, stamp: float) -> None:
        self._localizer.reset()
        self.tracking.restart()
        self._hypotheses.forget()
        self._waiting = []
        self._T_map_odom = None
        self._anchored_at = self._newest_labels = -np.inf
        self._initial = self.home
        goes_on = "starting from the initial pose" if self.home else "give an initial pose"
        if self.home is None and (self._searching or self.online_settings.recover):
            self.search()
            goes_on = "looking for the robot on the whole map"
        self.counts["time jumps"] += 1
        text = f"time went back from {last:.3f} s to {stamp:.3f} s: buffers are reset; {goes_on}"
        _log.warning("%s", text)
