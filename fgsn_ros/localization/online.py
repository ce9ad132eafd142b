"""Localization of a running robot: messages come as they come, and time may start anew."""

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fgsn_ros.config import require
from fgsn_ros.errors import FgsnError, LocalizationError
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.cameras import CameraMount
from fgsn_ros.localization.estimate import Estimate
from fgsn_ros.localization.initial_pose import check_initial_pose
from fgsn_ros.localization.localizer import Localizer
from fgsn_ros.localization.tracking import Tracking, TrackingSettings
from fgsn_ros.segmentation.labels import LabelMap

Array = npt.NDArray[np.float64]
Mounting = Callable[[str, float], CameraMount | None]
"""Camera name and stamp to its mounting at that time; None while it is not known."""

MAX_WAITING = 20
"""Label maps that wait for odometry or a mounting; the oldest are dropped."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class OnlineSettings:
    """What to do with messages that come late, early or out of order."""

    mounting_wait_s: float = 1.0
    """Labels wait so long for their camera's mounting, by odometry's stamps [s], >= 0."""
    time_jump_s: float = 1.0
    """Odometry that goes back by more starts time anew; by less it is dropped [s], > 0."""

    def __post_init__(self) -> None:
        require(self.mounting_wait_s >= 0.0, "mounting_wait_s must be at least 0")
        require(self.time_jump_s > 0.0, "time_jump_s must be above 0")


@dataclass(frozen=True, eq=False)
class Start:
    """An initial pose.

    Raises:
        LocalizationError: pose, covariance or stamp cannot be used.
    """

    T_map_base: Array
    """(4, 4)."""
    covariance: Array
    """(6, 6) x y z roll pitch yaw [m, rad]."""
    stamp: float | None = None
    """[s]; a pose of the past is carried on by odometry. None: as soon as there is odometry."""

    def __post_init__(self) -> None:
        check_initial_pose(self.stamp or 0.0, self.T_map_base, self.covariance)


@dataclass(frozen=True, eq=False)
class _Waiting:
    stamp: float
    camera: str
    label_map: LabelMap


class OnlineLocalizer:
    """Feeds a `Localizer` with odometry and labels in whatever order they come.

    A label map waits until odometry covers its stamp and the camera's mounting is known; then it is
    weighed at its own time, however late. With all messages in time, the estimates are those of a
    replayed recording, to the bit.
    """

    def __init__(
        self,
        localizer: Localizer,
        mounting: Mounting,
        settings: OnlineSettings | None = None,
        tracking: TrackingSettings | None = None,
    ) -> None:
        """`mounting` is asked at each label map's stamp."""
        self.localizer = localizer
        self.settings = settings or OnlineSettings()
        self.tracking = Tracking(tracking or TrackingSettings())
        self.counts: Counter[str] = Counter()
        """Messages that were late, or not used, by reason."""
        self.home: Start | None = None
        """Pose to start from again when time starts anew."""
        self._mounting = mounting
        self._start: Start | None = None
        self._waiting: list[_Waiting] = []
        self._T_map_odom: Array | None = None

    @property
    def T_map_odom(self) -> Array | None:
        """(4, 4), or None while there is no pose."""
        return self._T_map_odom

    def initialize(self, start: Start) -> None:
        """Start from a pose, now or when odometry comes."""
        odometry = self.localizer.odometry
        stamp = odometry.last if start.stamp is None else start.stamp
        if odometry.empty or 0.0 < stamp - odometry.last <= self.settings.time_jump_s:
            self._start = start  # until odometry comes, or gets there
            return
        stamp = min(stamp, odometry.last)  # one of another clock would hold up the filter
        self.localizer.initialize(stamp, start.T_map_base, start.covariance)
        self._start = None
        self._waiting = [waiting for waiting in self._waiting if waiting.stamp >= stamp]
        self.tracking.restart()
        self._anchor(max(stamp, odometry.first), self.localizer.pose[0])

    def add_odometry(self, stamp: float, T_odom_base: Array) -> list[Estimate]:
        """Add an odometry pose (4, 4); estimates of labels that waited for it."""
        last = self.localizer.odometry.last
        if stamp < last - self.settings.time_jump_s:
            self._start_anew(last, stamp)
        elif stamp <= last:
            self.counts["odometry out of order"] += 1
            return []
        try:
            self.localizer.add_odometry(stamp, T_odom_base)
        except LocalizationError as error:
            self._refuse(error)
            return []
        if self._start is not None:
            self.initialize(self._start)
        return self._weigh_ready()

    def add_labels(self, stamp: float, camera: str, label_map: LabelMap) -> list[Estimate]:
        """Add a label map; estimates that it, or one that waited, gave."""
        if not self.localizer.initialized and self._start is None:
            self.counts["labels without an initial pose"] += 1
            return []
        self._waiting.append(_Waiting(stamp, camera, label_map))
        estimates = self._weigh_ready()
        if len(self._waiting) > MAX_WAITING:
            self.counts["labels ahead of odometry"] += 1
            del self._waiting[0]
        return estimates

    def _weigh_ready(self) -> list[Estimate]:
        """Weigh what odometry covers, oldest first."""
        if not self.localizer.initialized:
            return []
        estimates, waiting = [], []
        for labels in sorted(self._waiting, key=lambda waiting: waiting.stamp):
            mount = None
            if labels.stamp <= self.localizer.odometry.last:
                mount = self._mounting(labels.camera, labels.stamp)
            if mount is not None:
                estimates += self._weigh(labels, mount)
            elif labels.stamp < self.localizer.odometry.last - self.settings.mounting_wait_s:
                self.counts["labels without a mounting"] += 1
            else:
                waiting.append(labels)
        self._waiting = [labels for labels in self._waiting if labels in waiting]
        return estimates

    def _weigh(self, labels: _Waiting, mount: CameraMount) -> list[Estimate]:
        self.localizer.set_mount(labels.camera, mount)
        try:
            estimate = self.localizer.add_labels(labels.stamp, labels.camera, labels.label_map)
        except LocalizationError as error:
            self._refuse(error)
            return []
        if estimate is None:
            self.counts["labels out of odometry's memory"] += 1
            return []
        if estimate.labels_stamp < estimate.stamp:
            self.counts["late labels"] += 1
        self.tracking.add(estimate)
        self._anchor(estimate.stamp, estimate.T_map_base)
        return [estimate]

    def _anchor(self, stamp: float, T_map_base: Array) -> None:
        T_odom_base = self.localizer.odometry.at(stamp)
        self._T_map_odom = poses.compose(T_map_base, poses.invert(T_odom_base))

    def _refuse(self, error: FgsnError) -> None:
        self.counts["refused messages"] += 1
        _log.error("%s", error)
        if not self.localizer.initialized:
            self._T_map_odom = None
            self._waiting = []

    def _start_anew(self, last: float, stamp: float) -> None:
        self.localizer.reset()
        self.tracking.restart()
        self._waiting = []
        self._T_map_odom = None
        self._start = self.home
        self.counts["time jumps"] += 1
        _log.warning(
            "time went back from %.3f s to %.3f s: buffers are reset; %s",
            last,
            stamp,
            "starting from the initial pose" if self.home else "give an initial pose",
        )
