"""The last seconds of odometry, interpolated to the capture time of an image."""

from bisect import bisect_left

import numpy as np
import numpy.typing as npt

from fgsn_ros.errors import LocalizationError
from fgsn_ros.geometry import poses

Array = npt.NDArray[np.float64]


class OdometryBuffer:
    """T_odom_base over a sliding window of time."""

    def __init__(self, length_s: float = 10.0, max_speed_m_s: float = 70.0) -> None:
        """Keep `length_s` of samples; a change faster than `max_speed_m_s` is a jump."""
        self.limit(length_s, max_speed_m_s)
        self._stamps: list[float] = []
        self._poses: list[Array] = []

    def limit(self, length_s: float, max_speed_m_s: float) -> None:
        """Other limits from now on."""
        self._length_s = length_s
        self._max_speed_m_s = max_speed_m_s

    def clear(self) -> None:
        """Forget all samples."""
        self._stamps, self._poses = [], []

    def add(self, stamp: float, T_odom_base: Array) -> None:
        """Append a sample; one with the stamp of the last is dropped.

        Raises:
            LocalizationError: a value is not finite, time goes backwards, or the pose jumps (the
                odometry was reset); after a jump the buffer starts anew with this sample.
        """
        T_odom_base = np.asarray(T_odom_base, np.float64)
        if not (np.isfinite(stamp) and np.isfinite(T_odom_base).all()):
            raise LocalizationError(
                f"odometry at {stamp:.3f} s holds NaN; check the odometry source"
            )
        if self._stamps:
            if stamp < self._stamps[-1]:
                raise LocalizationError(
                    f"odometry goes back in time, from {self._stamps[-1]:.3f} s to {stamp:.3f} s; "
                    "check the clock, or localize each part on its own"
                )
            if stamp == self._stamps[-1]:
                return
            self._refuse_jump(stamp, T_odom_base)
        self._stamps.append(stamp)
        self._poses.append(T_odom_base)
        self._forget(stamp - self._length_s)

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
        return poses.interpolate(self._poses[after - 1], self._poses[after], alpha)

    def _refuse_jump(self, stamp: float, T_odom_base: Array) -> None:
        metres = float(np.linalg.norm(T_odom_base[:3, 3] - self._poses[-1][:3, 3]))
        seconds = stamp - self._stamps[-1]
        # Half a metre is no jump at any rate: stamps jitter.
        if metres > max(0.5, self._max_speed_m_s * seconds):
            self._stamps, self._poses = [stamp], [T_odom_base]
            raise LocalizationError(
                f"odometry jumped {metres:.1f} m in {seconds:.3f} s at {stamp:.3f} s; "
                "it was reset: give the initial pose again"
            )

    def _forget(self, before: float) -> None:
        if len(self._stamps) > 2 and self._stamps[len(self._stamps) // 2] < before:
            kept = bisect_left(self._stamps, before)
            del self._stamps[:kept], self._poses[:kept]
