"""A labelled drive played to an `OnlineLocalizer` as messages, with faults; and judged."""

import multiprocessing
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from labelled_drives import LabelledDrive

from fgsn_ros.geometry import poses
from fgsn_ros.localization.initial_pose import InitialPose
from fgsn_ros.localization.localizer import LocalizerSettings
from fgsn_ros.localization.online import OnlineLocalizer
from fgsn_ros.localization.tracking import TrackingStatus

Result = TypeVar("Result")

LABELS_LATE_S = 0.12
"""Labels come so long after their image: the network takes it."""
TICK_S = 0.1
"""The pose is looked at so often."""
WITHIN_M = 0.5
SIGMAS = 3.0


@dataclass(frozen=True)
class Span:
    """A time from `start` until `end` [s]."""

    start: float = np.inf
    end: float = np.inf

    def __contains__(self, stamp: float) -> bool:
        return self.start <= stamp < self.end


@dataclass(frozen=True)
class Faults:
    """What does not come."""

    labels: Span = Span()
    odometry: Span = Span()
    reset: bool = False
    """odometry starts at zero after its gap, as after a restart of its node"""


@dataclass(frozen=True, eq=False)
class Seen:
    """What could be known of the pose at regular times (T,)."""

    stamps: np.ndarray
    error_m: np.ndarray
    """position against the truth of that moment; infinite without a pose"""
    error_deg: np.ndarray
    sigma_m: np.ndarray
    """root of the variances of x and y"""
    status: list[TrackingStatus]
    quality: np.ndarray

    def between(self, start: float, end: float) -> "Seen":
        """The times from start to end."""
        kept = np.flatnonzero((self.stamps >= start - 1e-6) & (self.stamps <= end + 1e-6))
        arrays = (self.stamps, self.error_m, self.error_deg, self.sigma_m)
        stamps, metres, degrees, sigma = (array[kept] for array in arrays)
        status = [self.status[k] for k in kept]
        return Seen(stamps, metres, degrees, sigma, status, self.quality[kept])

    def within_after(self, start: float) -> float:
        """Seconds from `start` until the error stays within 0.5 m for a second; infinite: never."""
        after = self.between(start, np.inf)
        return after.first_held(after.error_m <= WITHIN_M) - start

    def first_held(self, mask: np.ndarray, held_s: float = 1.0) -> float:
        """When a mask (T,) is true for the first time for so long [s]; infinite: never."""
        held = round(held_s / TICK_S) + 1
        for k in np.flatnonzero(mask):
            if mask[k : k + held].all():
                return float(self.stamps[k])
        return np.inf

    @property
    def falsely_tracked_s(self) -> float:
        """Longest time that it said "tracking" with an error beyond 3 sigma [s]."""
        tracked = np.array([status == TrackingStatus.TRACKING for status in self.status])
        return self.longest_s(tracked & (self.error_m > SIGMAS * self.sigma_m))

    def longest_s(self, mask: np.ndarray) -> float:
        """Longest run of a mask (T,) [s]."""
        longest = current = 0
        for value in mask:
            current = current + 1 if value else 0
            longest = max(longest, current)
        return longest * TICK_S

    def said(self) -> str:
        """Statuses in order, each with its share of the time."""
        if not self.status:
            return ""
        names = list(dict.fromkeys(status.value for status in self.status))
        values = [status.value for status in self.status]
        return ", ".join(f"{name} {values.count(name) / len(values):.0%}" for name in names)


class Replayed:
    """A localizer on a drive's map, and the drive's messages until some time."""

    def __init__(
        self, drive: LabelledDrive, faults: Faults, settings: LocalizerSettings, start: float = 0.0
    ) -> None:
        self.drive = drive
        self.online = OnlineLocalizer(
            drive.semantic_map, drive.log_ratio, drive.mounts, settings, finder=drive.finder
        )
        self._camera = next(iter(drive.mounts))
        self._messages = _messages(drive, faults, start)
        self._looked = start
        self._seen: list[tuple[float, float, float, float, TrackingStatus, float]] = []
        self._T_truth = drive.truth
        self._period = float(np.median(np.diff(drive.odometry.stamps)))

    def until(self, stamp: float, look: Callable[[float], None] | None = None) -> None:
        """Play the messages that come until a time; look at the pose on the way."""
        while self._messages and self._messages[0][0] <= stamp:
            arrives, sent, content = self._messages.pop(0)
            self._look_until(arrives, look)
            if isinstance(content, np.ndarray):
                self.online.add_odometry(sent, content)
            else:
                self.online.add_labels(sent, self._camera, *content)
        self._look_until(stamp, look)

    def _look_until(self, stamp: float, look: Callable[[float], None] | None) -> None:
        while self._looked + TICK_S <= stamp:
            self._looked += TICK_S
            self._seen.append(self._look(self._looked))
            if look is not None:
                look(self._looked)

    def _look(self, stamp: float) -> tuple[float, float, float, float, TrackingStatus, float]:
        online = self.online
        pose, status = online.pose_now, online.status_at(stamp)
        quality = online.tracking.quality
        quality = np.nan if quality is None else quality
        if pose is None:
            return stamp, np.inf, np.inf, np.inf, status, quality
        # While odometry comes, a pose is judged at its own time; else it is as old as it is.
        fresh = pose.stamp is not None and stamp - pose.stamp < 2.5 * self._period
        truth = self._T_truth.at(min(pose.stamp if fresh else stamp, self._T_truth.stamps[-1]))
        apart = poses.compose(poses.invert(truth), pose.T_map_base)
        metres = float(np.linalg.norm(apart[:2, 3]))
        degrees = abs(float(np.degrees(np.arctan2(apart[1, 0], apart[0, 0]))))
        sigma = float(np.sqrt(pose.covariance[0, 0] + pose.covariance[1, 1]))
        return stamp, metres, degrees, sigma, status, quality

    @property
    def seen(self) -> Seen:
        """What could be known until now."""
        stamps, metres, degrees, sigma, status, quality = zip(*self._seen, strict=True)
        return Seen(
            np.array(stamps),
            np.array(metres),
            np.array(degrees),
            np.array(sigma),
            list(status),
            np.array(quality),
        )


def _messages(
    drive: LabelledDrive, faults: Faults, start: float
) -> list[tuple[float, float, object]]:
    """When each message comes, its stamp and what it holds."""
    T_new_old = np.eye(4)
    if faults.reset:
        T_new_old = poses.invert(drive.odometry.at(faults.odometry.end))
    messages: list[tuple[float, float, object]] = []
    for stamp, T in zip(drive.odometry.stamps, drive.odometry.poses, strict=True):
        if stamp >= start and stamp not in faults.odometry:
            after = stamp >= faults.odometry.end
            messages.append((stamp, stamp, poses.compose(T_new_old, T) if after else T))
    for stamp, *seen in zip(drive.stamps, drive.label_maps, drive.features, strict=True):
        if stamp >= start and stamp not in faults.labels:
            messages.append((stamp + LABELS_LATE_S, stamp, seen))
    return sorted(messages, key=lambda message: message[0])


def in_processes(
    function: Callable[[int], Result], numbers: Iterable[int], jobs: int
) -> list[Result]:
    """Results for numbers, by so many processes; they share what there is, drives and maps."""
    if jobs == 1:
        return [function(number) for number in numbers]
    _shared.append(function)
    try:
        with multiprocessing.get_context("fork").Pool(jobs) as pool:
            return pool.map(_of_shared, numbers, chunksize=1)
    finally:
        _shared.clear()


_shared: list[Callable[[int], object]] = []
"""What forked processes have without its being sent."""


def _of_shared(number: int) -> object:
    return _shared[0](number)


def started_at(
    drive: LabelledDrive, stamp: float, offset: Sequence[float] = (0.0, 0.0, 0.0)
) -> InitialPose:
    """The true pose at a stamp, moved by x, y [m] and yaw [rad] in its own frame.

    It is given as by a person: known to 1 m and 4 deg.
    """
    T = poses.compose(drive.truth.at(stamp), poses.from_planar(*offset))
    return InitialPose.around(T, 1.0, float(np.radians(4.0)), stamp)
