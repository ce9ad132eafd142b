"""The last seconds of odometry, with its gaps and resets and what the robot may do in them."""

import math
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from fgsn_ros.errors import LocalizationError
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.arrays import Array
from fgsn_ros.localization.particle_poses import interpolated

_TURN_LIMIT_RAD_S = 20.0
"""A faster turn is a reset [rad/s]."""
_SPEED_WINDOW_S = 0.5
"""Speeds are taken over so long [s]: stamps jitter."""
_LEAST_SPEED_M_S, _LEAST_TURN_RAD_S = 1.0, 0.5
"""So fast may a robot be in a gap that was not seen to move before."""
_TYPICAL_INTERVALS = 5
"""A gap is longer than so many of the intervals before."""
AT_ORIGIN_M, AWAY_M = 1.0, 2.0
"""Odometry that was further from its origin and is at it after a gap was reset [m]."""


@dataclass(frozen=True)
class Doubt:
    """What a robot may have done beside what is known of its motion."""

    reach_m: float
    """Driven up to so far [m]."""
    turn_rad: float
    """Turned up to so far, either way [rad]."""


@dataclass(frozen=True)
class Gap:
    """A time without odometry, or in which it was reset."""

    start: float
    """Stamp of the last sample before it [s]."""
    end: float
    """Stamp of the first sample after it [s]."""
    reset: bool
    """Whether odometry started anew: what the robot did is not known at all."""
    doubt: Doubt
    """What the robot may have done beside what odometry says."""


class OdometryBuffer:
    """T_odom_base over a sliding window of time, interpolated to the capture time of an image.

    Nothing is forgotten that `needed_since` asks for. After a reset the window is in the new frame
    of odometry: what was before it is moved there, so that motions run on.
    """

    def __init__(
        self,
        length_s: float = 10.0,
        max_speed_m_s: float = 70.0,
        gap_s: float = 1.0,
        reach_m: float = 150.0,
    ) -> None:
        """Keep `length_s` of samples; arguments as of `limit`."""
        self.limit(length_s, max_speed_m_s, gap_s, reach_m)
        self.clear()

    def limit(self, length_s: float, max_speed_m_s: float, gap_s: float, reach_m: float) -> None:
        """Other limits from now on.

        A change faster than `max_speed_m_s` is a reset; a pause above `gap_s` [s], or several of
        the usual intervals, is a gap, in which no robot is thought to come further than `reach_m`.
        """
        self._reach_m = reach_m
        self._length_s = length_s
        self._max_speed_m_s = max_speed_m_s
        self._gap_s = gap_s

    def clear(self) -> None:
        """Forget all samples, and how fast the robot was."""
        self._stamps: list[float] = []
        self._poses: list[Array] = []
        self.gaps: list[Gap] = []
        """Those of the window, in order."""
        self.needed_since = math.inf
        """Samples from this stamp on are kept however old they get [s]."""
        self.top_speed_m_s, self.top_turn_rad_s = _LEAST_SPEED_M_S, _LEAST_TURN_RAD_S
        """The most that was seen of the robot: a robot that stands now may drive again."""
        self._interval_s = math.inf
        self._timed_from: tuple[float, Array] | None = None

    def add(self, stamp: float, T_odom_base: Array) -> Gap | None:
        """Append a sample; one with the stamp of the last is dropped. The gap that it ends, if any.

        Raises:
            LocalizationError: a value is not finite, or time goes backwards.
        """
        T_odom_base = np.array(T_odom_base, np.float64, order="C")
        if not (np.isfinite(stamp) and np.isfinite(T_odom_base).all()):
            raise LocalizationError(
                f"odometry at {stamp:.3f} s holds NaN; check the odometry source"
            )
        gap = None
        if self._stamps:
            if stamp < self._stamps[-1]:
                raise LocalizationError(
                    f"odometry goes back in time, from {self._stamps[-1]:.3f} s to {stamp:.3f} s; "
                    "check the clock, or localize each part on its own"
                )
            if stamp == self._stamps[-1]:
                return None
            gap = self._gap_before(stamp, T_odom_base)
        self._stamps.append(stamp)
        self._poses.append(T_odom_base)
        if gap is None:
            self._watch_speed(stamp, T_odom_base)
        else:
            self.gaps.append(gap)
            self._timed_from = None
        self._forget(min(stamp - self._length_s, self.needed_since))
        return gap

    @property
    def empty(self) -> bool:
        """Whether there is no sample."""
        return not self._stamps

    @property
    def first(self) -> float:
        """Stamp of the oldest sample [s]; infinite if there is none."""
        return self._stamps[0] if self._stamps else float("inf")

    @property
    def last(self) -> float:
        """Stamp of the newest sample [s]; minus infinity if there is none."""
        return self._stamps[-1] if self._stamps else float("-inf")

    def covers(self, stamp: float) -> bool:
        """Whether the pose at the stamp can be interpolated."""
        return self.first <= stamp <= self.last

    def at(self, stamp: float) -> Array:
        """T_odom_base (4, 4) at a stamp that the buffer covers."""
        after = bisect_left(self._stamps, stamp)
        if self._stamps[after] == stamp:
            return self._poses[after]
        start, end = self._stamps[after - 1], self._stamps[after]
        alpha = (stamp - start) / (end - start)
        return interpolated(self._poses[after - 1], self._poses[after], alpha)

    def gap_at(self, stamp: float) -> Gap | None:
        """The gap that a stamp lies within."""
        return next((gap for gap in self.gaps if gap.start < stamp < gap.end), None)

    def gap_after(self, stamp: float) -> Gap | None:
        """The first gap that ends after a stamp."""
        return next((gap for gap in self.gaps if gap.end > stamp), None)

    def motion(self, start: float, end: float) -> Array:
        """Motion (4, 4) between two stamps; before the first sample the robot stood still."""
        since = self.at(max(start, self.first))
        return poses.compose(poses.invert(since), self.at(end))

    def unknown_since(self, stamp: float) -> str | None:
        """Why it is not known how the robot moved since a stamp; None if it is known."""
        if self.empty or stamp > self.last:
            return "ahead of odometry"
        if stamp < self.first:
            return "older than odometry"
        if self.gap_at(stamp) is not None:
            return "within a gap in odometry"
        return None

    def steps(
        self, start: float, end: float, step_s: float
    ) -> Iterator[tuple[float, Doubt | None]]:
        """Stamps, up to `step_s` [s] apart, from start to end, and what may be until each.

        They depend on the start and on odometry alone, not on when labels come: a replay takes the
        very same.
        """
        while start < end:
            until, doubt = min(start + step_s, end), None
            gap = self.gap_after(start)
            if gap is not None and gap.start <= start:
                until, doubt = gap.end, gap.doubt  # at once: a clock that is set leaps by years
            elif gap is not None:
                until = min(until, gap.start)
            yield until, doubt
            start = until

    def doubt(self, seconds: float, metres: float, radians: float) -> Doubt:
        """What the robot may have done in a time beside a motion that is known."""
        reach = self.top_speed_m_s * seconds - metres
        turn = self.top_turn_rad_s * seconds - radians
        return Doubt(float(np.clip(reach, 0.0, self._reach_m)), float(np.clip(turn, 0.0, math.pi)))

    def _gap_before(self, stamp: float, T_odom_base: Array) -> Gap | None:
        """The gap that ends with a new sample; after a reset the samples before are moved."""
        before, last = self._poses[-1], self._stamps[-1]
        seconds = stamp - last
        moved = poses.compose(poses.invert(before), T_odom_base)
        metres, radians = float(np.linalg.norm(moved[:3, 3])), float(poses.rotation_angle(moved))
        paused = seconds > max(self._gap_s, _TYPICAL_INTERVALS * self._interval_s)
        # Half a metre, and half a radian, are no jump at any rate: stamps jitter.
        reset = metres > max(0.5, self._max_speed_m_s * seconds)
        reset |= radians > max(0.5, _TURN_LIMIT_RAD_S * seconds)
        if paused:
            origin, away = (float(np.linalg.norm(T[:3, 3])) for T in (T_odom_base, before))
            reset |= metres > 2.0 * self.top_speed_m_s * seconds + 0.5
            reset |= origin < AT_ORIGIN_M and away > AWAY_M
        if not (paused or reset):
            return None
        if reset:
            self._move_before(T_odom_base, seconds)
            metres = radians = 0.0
        return Gap(last, stamp, reset, self.doubt(seconds, metres, radians))

    def _move_before(self, T_odom_base: Array, seconds: float) -> None:
        """Move the samples so that, up to a reset, the robot stood, or drove on if it was short."""
        moved = poses.identity()
        if seconds <= self._gap_s and len(self._stamps) > 1:
            interval = self._stamps[-1] - self._stamps[-2]
            step = poses.compose(poses.invert(self._poses[-2]), self._poses[-1])
            moved = poses.exp(poses.log(step) * min(seconds / interval, 10.0))
        at_end = poses.compose(self._poses[-1], moved)
        T_new_old = poses.compose(T_odom_base, poses.invert(at_end))
        self._poses = [poses.compose(T_new_old, T) for T in self._poses]

    def _watch_speed(self, stamp: float, T_odom_base: Array) -> None:
        if len(self._stamps) > 1:
            interval = stamp - self._stamps[-2]
            known = math.isfinite(self._interval_s)
            self._interval_s = 0.9 * self._interval_s + 0.1 * interval if known else interval
        if self._timed_from is None:
            self._timed_from = stamp, T_odom_base
        since, T_since = self._timed_from
        seconds = stamp - since
        if seconds < _SPEED_WINDOW_S:
            return
        moved = poses.compose(poses.invert(T_since), T_odom_base)
        speed = float(np.linalg.norm(moved[:3, 3])) / seconds
        turn = float(poses.rotation_angle(moved)) / seconds
        self.top_speed_m_s = min(max(self.top_speed_m_s, speed), self._max_speed_m_s)
        self.top_turn_rad_s = max(self.top_turn_rad_s, turn)
        self._timed_from = stamp, T_odom_base

    def _forget(self, before: float) -> None:
        if len(self._stamps) > 2 and self._stamps[len(self._stamps) // 2] < before:
            kept = bisect_left(self._stamps, before)
            kept = max(kept - 1, 0)  # what was at `before` can be interpolated
            del self._stamps[:kept], self._poses[:kept]
            self.gaps = [gap for gap in self.gaps if gap.end > self._stamps[0]]
