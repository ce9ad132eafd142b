"""Poses of single images, which no prediction led to: believed where two of them agree."""

import numpy as np

from fgsn_ros.geometry import poses
from fgsn_ros.geometry.arrays import Array
from fgsn_ros.localization.measured_pose import MeasuredPose

_APART_M = 2.0
"""Images taken closer to each other show the same: they err together."""
_KEPT_M = 30.0
"""Hypotheses from further back are forgotten: odometry has drifted since."""
_DRIFT = 0.05
_DRIFT_RAD_PER_M = 0.01


class Hypotheses:
    """Keeps where images say that the robot is, until two say the same.

    One image may be taken for another place that looks like it. That two, some metres of driving
    apart, are mistaken for places that lie to each other as odometry says is far less probable.
    """

    def __init__(self) -> None:
        self._kept: list[tuple[Array, MeasuredPose]] = []

    def forget(self) -> None:
        """Drop all, as when the motion since then is not known."""
        self._kept = []

    def add(self, T_odom_base: Array, measured: MeasuredPose) -> bool:
        """Keep a pose measured at odometry's (4, 4); whether an earlier one says the same."""
        T_then_now = [poses.compose(poses.invert(T), T_odom_base) for T, _ in self._kept]
        metres = [float(np.linalg.norm(T[:3, 3])) for T in T_then_now]
        agree = any(
            away >= _APART_M
            and measured.agrees(poses.compose(before.T_map_base, T), _carried(before, away))
            for away, T, (_, before) in zip(metres, T_then_now, self._kept, strict=True)
        )
        near = [kept for kept, away in zip(self._kept, metres, strict=True) if away <= _KEPT_M]
        self._kept = [*near, (T_odom_base, measured)]
        return agree


def _carried(before: MeasuredPose, metres: float) -> Array:
    """Covariance (6, 6) of an earlier pose after so far a way by odometry."""
    tilt = _DRIFT_RAD_PER_M * metres
    drift = np.repeat([_DRIFT * metres, tilt], 3)
    drift[:3] += 0.5 * np.sqrt(before.covariance[5, 5]) * metres
    carried: Array = before.covariance + np.diag(np.square(drift))
    return carried
