"""The error that frames share: no number of them averages it away.

Labels end too soon or too late at the same edges in frame after frame, and the map has its own
such edges. How far that moves a pose is seen in each frame: where a shift of the pose changes few
labels, as along a road without crossings or poles, a wrong edge moves it far. The likelihood of one
frame alone, counted as its independent points are, is laid over shifts along, across and about; its
second moment about the estimate says how far this frame leaves the pose open, or disagrees with it.
A covariance that is told never falls below a share of that, however many frames agree.
"""

from collections.abc import Callable

import numpy as np

from fgsn_ros.geometry import poses
from fgsn_ros.geometry.arrays import Array, host, like

_STEPS = (
    np.linspace(-2.0, 2.0, 17),
    np.linspace(-0.8, 0.8, 17),
    np.linspace(-0.06, 0.06, 17),
)
"""Shifts along, across [m] and about [rad]: one that is open to the ends is known by odometry."""
_AXES = 0, 1, 5
_METRES = 8.0
"""What frames leave open is averaged over so far [m]: labels err alike as long as they see the same
edges."""

SHIFTS = np.concatenate(
    [
        poses.from_planar(*(steps if k == axis else 0.0 * steps for k in range(3)))
        for axis, steps in enumerate(_STEPS)
    ]
)
"""(S, 4, 4) poses in the robot's frame, at which a frame's likelihood is wanted."""


def left_open(log_likelihoods: Array) -> Array:
    """Second moments (3,) along, across [m^2] and about [rad^2] of likelihoods (S,) at `SHIFTS`."""
    ends = np.cumsum([len(steps) for steps in _STEPS])[:-1]
    moments = []
    for steps, values in zip(_STEPS, np.split(log_likelihoods, ends), strict=True):
        weights = np.exp(values - values.max())
        moments.append(float(weights @ np.square(steps) / weights.sum()))
    return np.array(moments)


class SharedError:
    """Follows how far the frames of the last metres left the pose open."""

    def __init__(self) -> None:
        self._open: Array | None = None
        self._T_odom_base = np.eye(4)

    def add(
        self,
        log_likelihood: Callable[[Array], Array],
        T_map_base: Array,
        T_odom_base: Array,
        kind: Array,
    ) -> None:
        """Take a frame into account.

        Args:
            log_likelihood: Of poses (S, 4, 4), by this frame alone.
            T_map_base: (4, 4) the estimate.
            T_odom_base: (4, 4) at the same time.
            kind: An array such as the poses are to be.
        """
        around = like(poses.compose(T_map_base, SHIFTS), kind)
        moments = left_open(host(log_likelihood(around)))
        if self._open is None:
            self._open = moments
        else:
            moved = T_odom_base[:3, 3] - self._T_odom_base[:3, 3]
            kept = np.exp(-np.linalg.norm(moved) / _METRES)
            self._open = kept * self._open + (1.0 - kept) * moments
        self._T_odom_base = T_odom_base

    def covariance(self, T_map_base: Array, share: float) -> Array:
        """(6, 6) x y z roll pitch yaw in the map's axes, a share of the variances, at a pose."""
        covariance = np.zeros((6, 6))
        if self._open is not None:
            axes = T_map_base[:3, :2] * np.sqrt(share * self._open[:2])
            covariance[:3, :3] = axes @ axes.T
            covariance[5, 5] = share * self._open[2]
        return covariance
