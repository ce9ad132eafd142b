"""Whether the robot still knows where it is: what the estimates, and their absence, say of it."""

from dataclasses import dataclass
from enum import Enum

import numpy as np

from fgsn_ros.config import require
from fgsn_ros.localization.estimate import Estimate
from fgsn_ros.localization.probing import Comparison, ProbeSettings

_WON = 2
"""Comparisons in a row that confirm a pose."""
_FOUND, _FOUND_CONFIRMED = 2, 3
"""Comparisons in a row that find the robot elsewhere; the more if the pose was confirmed."""
_USUAL_TIMES = 10.0
"""The usual quality is smoothed over so many time constants of the quality."""
_FADES_S = 3.0
"""A disagreement of the labels is forgotten with this time constant [s]."""
_INFERIOR = 3
"""Comparisons in a row that end a confirmation, as others fitted better."""
NEARBY_M = 30.0
"""A pose that was given is hardly further off than this."""


class TrackingStatus(str, Enum):
    """How far the pose can be relied on."""

    NO_POSE = "no pose"
    """No initial pose was given, or time started anew."""
    SEARCHING = "searching"
    """There is no pose: the robot is looked for on the whole map."""
    CONVERGING = "converging"
    """There is a pose that labels have not confirmed yet, or must confirm again, or that local
    features contradict odometry about."""
    TRACKING = "tracking"
    """Labels confirm the pose; its error is as its covariance says."""
    NO_LABELS = "no labels"
    """The pose follows odometry alone: the newest label map that was weighed is old."""
    NO_ODOMETRY = "no odometry"
    """Labels come, but no odometry that they could be weighed with: the pose is old."""
    LOST = "lost"
    """The labels contradict the pose, or it is known too badly."""


@dataclass(frozen=True)
class TrackingSettings:
    """When a pose counts as lost."""

    quality_time_s: float = 1.0
    """Time constant that the quality is smoothed with [s], > 0."""
    lost_quality: float = 0.5
    """A quality below this is that of a wrong pose, [0, 1]."""
    lost_std_m: float = 3.0
    """So is a position known no better than this (root of the variances of x and y) [m], > 0."""
    drop: float = 0.2
    """A quality that falls so far below its usual one puts the pose in doubt, as if the robot had
    been carried away; (0, 1]."""
    lost_after_s: float = 2.0
    """The pose is lost after so long without a good estimate [s], >= 0."""
    silent_after_s: float = 1.0
    """Without labels, or odometry, for so long a pose is not tracked any more [s], > 0."""

    def __post_init__(self) -> None:
        require(self.quality_time_s > 0.0, "quality_time_s must be above 0")
        require(0.0 <= self.lost_quality <= 1.0, "lost_quality must be in [0, 1]")
        require(self.lost_std_m > 0.0, "lost_std_m must be above 0")
        require(0.0 < self.drop <= 1.0, "drop must be in (0, 1]")
        require(self.lost_after_s >= 0.0, "lost_after_s must be at least 0")
        require(self.silent_after_s > 0.0, "silent_after_s must be above 0")


class Tracking:
    """Follows the estimates: whether the robot still knows where it is.

    The `match_quality` is that of the estimates, clipped to [0, 1] (0 where no map point is
    visible) and smoothed over time: 0 if the labels fit the pose no better than by chance, 1 if as
    well as held-out correspondences promise. It tells that labels and map agree, not that the pose
    is right: on the next street they may agree as well. That is told by comparisons with other
    poses (see `probing`), which confirm a pose, or say where the robot is instead. The `quality` is
    that of the match times the probability that the robot is not where another pose fits best, and
    below `lost_quality` until the pose is confirmed.
    """

    def __init__(self, settings: TrackingSettings) -> None:
        self.settings = settings
        self.restart()

    def restart(self, found: bool = False) -> None:
        """Forget, as after an initial pose, or after one that was `found` on the map.

        What was found among all places needs more to be confirmed than what somebody gave.
        """
        self.found = found
        self.match_quality: float | None = None
        """How well the labels fit the pose, in [0, 1]; None before the first estimate."""
        self.lost = False
        """Whether no estimate was good, or others fitted better, for `lost_after_s`."""
        self.slipping = False
        """Whether odometry leads away from where local features say that the robot is."""
        self.comparison: Comparison | None = None
        """The newest since the pose was last in doubt."""
        self._usual = 0.0
        self.spread = np.zeros((6, 6))
        """What the covariance lacks while another pose may be the right one, x y z roll pitch yaw
        in the map's axes [m, rad]."""
        self._stamp = self._good_at = self._compared_at = -np.inf
        self._low_since: float | None = None
        self._dropped_at: float | None = None
        self._lower_since: float | None = None
        self.doubt()

    def doubt(self) -> None:
        """The robot may be elsewhere, as after a gap in odometry: labels must confirm the pose."""
        self.confirmed = False
        """Whether labels have confirmed the pose since it was last in doubt."""
        self._elsewhere = 0.0
        self.comparison = None
        self._inferior_since: float | None = None
        self._won = self._found = self._beaten = 0

    def add(self, estimate: Estimate) -> None:
        """Take an estimate into account."""
        now = float(np.clip(np.nan_to_num(estimate.match_quality), 0.0, 1.0))
        if self.match_quality is None:
            self.match_quality, self._good_at = now, estimate.stamp
            self._usual = now
        else:
            passed = max(estimate.stamp - self._stamp, 0.0)
            if passed > self.settings.silent_after_s:
                self.doubt()
            kept = float(np.exp(-passed / self.settings.quality_time_s))
            self.match_quality = kept * self.match_quality + (1.0 - kept) * now
            self._dropped_at = self._drop(estimate.stamp, now, kept ** (1.0 / _USUAL_TIMES))
        self._stamp = estimate.stamp
        if self._is_good(estimate):
            self._good_at = estimate.stamp
        since = self._good_at
        if self._inferior_since is not None and not self.confirmed:
            since = min(since, self._inferior_since)
        self.lost = estimate.stamp - since > self.settings.lost_after_s

    def _drop(self, stamp: float, now: float, kept: float) -> float | None:
        """Doubt a pose whose labels fit much worse than usual; since when they do [s]."""
        assert self.match_quality is not None  # an estimate was added
        low, lower = self._usual - self.settings.drop, self._usual - 0.5 * self.settings.drop
        self._low_since = _since(stamp, self._low_since, now < low)
        self._lower_since = _since(stamp, self._lower_since, now < lower)
        if self.match_quality >= low:
            self._usual = kept * self._usual + (1.0 - kept) * now
            return None
        self.doubt()
        self._usual = self.match_quality
        return self._low_since

    @property
    def quality(self) -> float | None:
        """In [0, 1], below `lost_quality` until it is confirmed; None before the first estimate."""
        if self.match_quality is None:
            return None
        most = 1.0 if self._is_sure else self.settings.lost_quality
        return most * self.match_quality * (1.0 - self._elsewhere)

    @property
    def _is_sure(self) -> bool:
        return self.confirmed and not self.slipping

    @property
    def astray_since(self) -> float | None:
        """Since when the robot may have been carried away [s]; None: nothing new speaks for it."""
        if self._stamp - self._good_at > self.settings.lost_after_s:
            return self._good_at
        return self._dropped_at

    @property
    def suspect_since(self) -> float | None:
        """Since when the labels fit worse than usual, by half a drop [s]; None: they do not."""
        if (
            self.match_quality is None
            or self.match_quality >= self._usual - 0.5 * self.settings.drop
        ):
            return None
        return self._lower_since

    @property
    def settled(self) -> bool:
        """Whether the pose is confirmed, and the last comparison was for it too."""
        return self.confirmed and self._beaten == 0

    def compare(
        self, estimate: Estimate, comparison: Comparison | None, settings: ProbeSettings
    ) -> bool:
        """Take a comparison of an estimate with other poses into account; whether one is right.

        A pose is confirmed by two in a row, and one that is confirmed is given up after several:
        in a row of look-alikes, or behind a lorry, another may fit better for once. Without others
        on the map a good estimate confirms itself.
        """
        self.comparison = comparison
        if comparison is None:
            self.confirmed |= self._is_good(estimate)
            return False
        if not comparison.complete:
            return False
        known = settings.lead if comparison.distance_m <= NEARBY_M else settings.found_lead
        self._disagree(estimate.stamp, comparison, known if self.confirmed else 0.0)
        if comparison.views < settings.least_views:
            inferior = comparison.lead <= -0.5 * settings.lead
            self._inferior_since = _since(estimate.stamp, self._inferior_since, inferior)
            return False
        needed = settings.found_lead if self.found else settings.lead
        self._won = self._won + 1 if comparison.lead >= needed else 0
        self._beaten = self._beaten + 1 if comparison.lead < 0.0 else 0
        self._inferior_since = _since(estimate.stamp, self._inferior_since, self._beaten > 0)
        self._found = self._found + 1 if comparison.other_lead >= settings.lead else 0
        if self._won >= _WON:
            self.confirmed |= self._is_good(estimate)
        found = self._found >= (_FOUND_CONFIRMED if self.confirmed else _FOUND)
        if found or self._beaten >= _INFERIOR:
            self.confirmed = False
        return found

    def _disagree(self, stamp: float, comparison: Comparison, known: float) -> None:
        """Keep how probable the other pose is, and what that adds to the covariance.

        The labels along a few metres err together: what they said a moment ago fades.
        """
        self._elsewhere = comparison.share_of_other(known)
        spread = self._elsewhere * np.outer(comparison.offset, comparison.offset)
        faded = np.exp((self._compared_at - stamp) / _FADES_S) * self.spread
        self.spread = spread if np.trace(spread) >= np.trace(faded) else faded
        self._compared_at = stamp

    def search(self, comparison: Comparison | None, settings: ProbeSettings) -> bool:
        """Take a comparison of all poses on the map into account; whether the best is right."""
        self.comparison = comparison
        if comparison is None or not comparison.complete:
            return False
        enough = comparison.views >= settings.least_views
        self._found = (
            self._found + 1 if enough and comparison.other_lead >= settings.found_lead else 0
        )
        return self._found >= _FOUND

    def _is_good(self, estimate: Estimate) -> bool:
        assert self.match_quality is not None  # an estimate was added
        spread = float(np.sqrt(estimate.covariance[0, 0] + estimate.covariance[1, 1]))
        return (
            self.match_quality >= self.settings.lost_quality and spread <= self.settings.lost_std_m
        )

    def status_at(self, stamp: float) -> TrackingStatus:
        """The status of a pose at a time [s], from its estimates until then."""
        if self.match_quality is not None and stamp - self._stamp > self.settings.silent_after_s:
            return TrackingStatus.NO_LABELS
        if self.lost:
            return TrackingStatus.LOST
        return TrackingStatus.TRACKING if self._is_sure else TrackingStatus.CONVERGING


def _since(stamp: float, before: float | None, holds: bool) -> float | None:
    """Since when something holds [s], if it still does."""
    if not holds:
        return None
    return stamp if before is None else before
