"""Errors of a trajectory against a reference, without alignment, and the score of a run."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fgsn_ros.errors import TrajectoryError
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.clocks import Span, apart
from fgsn_ros.geometry.trajectory import Trajectory

Array = NDArray[np.float64]

LOST_BEYOND_M = 2.0
LAST_SECOND_S = 1.0
THRESHOLDS = ((0.25, 2.0), (0.5, 5.0), (5.0, 10.0))
"""(m, deg) of the long-term visual localization benchmark (Sattler et al., CVPR 2018)."""


@dataclass(frozen=True, eq=False)
class TrajectoryErrors:
    """Errors at each compared stamp, in the reference's body frame (x forward, y left, z up)."""

    stamps: Array
    """(N,) [s]"""
    longitudinal_m: Array
    """(N,) signed; positive: the estimate lies ahead"""
    lateral_m: Array
    """(N,) signed; positive: the estimate lies to the left"""
    height_m: Array
    """(N,) signed; positive: the estimate lies above"""
    heading_deg: Array
    """(N,) absolute difference of yaw, about the reference's z axis"""
    rotation_deg: Array
    """(N,) angle of the whole rotation between the two"""
    left_out: int
    """estimated poses before, after or in a hole of the reference"""

    @property
    def position_m(self) -> Array:
        """Distance between the two positions (N,)."""
        return np.sqrt(self.longitudinal_m**2 + self.lateral_m**2 + self.height_m**2)


def compare(estimate: Trajectory, reference: Trajectory) -> TrajectoryErrors:
    """Errors of the estimate at its own stamps, against the reference interpolated to them.

    Stamps outside the reference's span or in its holes (`Trajectory.max_gap_s`) are left out and
    counted, never extrapolated and never interpolated over a hole.

    Raises:
        TrajectoryError: the reference covers no stamp of the estimate.
    """
    shared = reference.covered(estimate.stamps)
    if not shared.any():
        raise TrajectoryError(_nothing_shared(estimate, reference))
    stamps = estimate.stamps[shared]
    difference = poses.compose(poses.invert(reference.at(stamps)), estimate.poses[shared])
    return TrajectoryErrors(
        stamps=stamps,
        longitudinal_m=difference[:, 0, 3],
        lateral_m=difference[:, 1, 3],
        height_m=difference[:, 2, 3],
        heading_deg=np.degrees(np.abs(poses.to_rpy(difference)[:, 2])),
        rotation_deg=np.degrees(poses.rotation_angle(difference)),
        left_out=int((~shared).sum()),
    )


def lost(errors: TrajectoryErrors) -> bool:
    """Whether the position error stays above 2 m throughout the last second."""
    last_second = errors.stamps >= errors.stamps[-1] - LAST_SECOND_S
    return bool((errors.position_m[last_second] > LOST_BEYOND_M).all())


def dead_reckoning(
    odometry: Trajectory,
    initial_pose_map: ArrayLike,
    stamps: ArrayLike,
    initial_stamp: float | None = None,
) -> Trajectory:
    """T_map_base from odometry alone, at those of the stamps (N,) [s] that the odometry covers.

    Args:
        odometry: T_odom_base.
        initial_pose_map: T_map_base (4, 4) at the initial stamp.
        stamps: Where poses are wanted, increasing.
        initial_stamp: The first of `stamps` unless given [s].

    Raises:
        TrajectoryError: the odometry does not cover the initial stamp or any other.
    """
    wanted = np.atleast_1d(np.asarray(stamps, np.float64))
    start = float(wanted[0]) if initial_stamp is None else initial_stamp
    T_map_odom = poses.compose(initial_pose_map, poses.invert(odometry.at(start)))
    covered = wanted[odometry.covered(wanted)]
    return Trajectory(covered, poses.compose(T_map_odom, odometry.at(covered)))


def recall_percent(position_m: ArrayLike, rotation_deg: ArrayLike) -> tuple[float, ...]:
    """Percentage of poses within each of THRESHOLDS, both bounds included.

    Raises:
        ValueError: there is no pose.
    """
    position, rotation = np.asarray(position_m), np.asarray(rotation_deg)
    if position.size == 0:
        raise ValueError("recall needs at least one pose")
    within = [(position <= metres) & (rotation <= degrees) for metres, degrees in THRESHOLDS]
    return tuple(100.0 * float(hits.mean()) for hits in within)


@dataclass(frozen=True)
class Summary:
    """Median, root mean square, 95th percentile and maximum of absolute errors."""

    median: float
    rmse: float
    p95: float
    maximum: float

    @classmethod
    def of(cls, errors: ArrayLike) -> "Summary":
        """Summary of errors (N,), signed or not; N at least 1."""
        size = np.abs(np.asarray(errors, np.float64))
        median, p95 = np.percentile(size, (50, 95))
        return cls(float(median), float(np.sqrt((size**2).mean())), float(p95), float(size.max()))


@dataclass(frozen=True)
class Score:
    """Errors of one run, after the frames that the comparison skips."""

    frames: int
    left_out: int
    """poses before, after or in a hole of the reference"""
    position_m: Summary
    lateral_m: Summary
    longitudinal_m: Summary
    height_m: Summary
    heading_deg: Summary
    recall_percent: tuple[float, ...]
    """within (0.25 m, 2 deg), (0.5 m, 5 deg), (5 m, 10 deg)"""
    lost: bool
    """position error above 2 m throughout the last second"""


def score(estimate: Trajectory, reference: Trajectory, skip_s: float = 0.0) -> Score:
    """Score of an estimate at its poses stamped `skip_s` [s] or more after its first.

    Raises:
        TrajectoryError: nothing is left to compare.
    """
    try:
        judged = estimate.between(float(estimate.stamps[0]) + skip_s, float(estimate.stamps[-1]))
    except TrajectoryError as error:
        raise TrajectoryError(
            f"no pose is left after the first {skip_s:g} s; skip less of the run"
        ) from error
    return score_errors(compare(judged, reference))


def score_errors(errors: TrajectoryErrors) -> Score:
    """Score of errors at hand."""
    return Score(
        frames=len(errors.stamps),
        left_out=errors.left_out,
        position_m=Summary.of(errors.position_m),
        lateral_m=Summary.of(errors.lateral_m),
        longitudinal_m=Summary.of(errors.longitudinal_m),
        height_m=Summary.of(errors.height_m),
        heading_deg=Summary.of(errors.heading_deg),
        recall_percent=recall_percent(errors.position_m, errors.rotation_deg),
        lost=lost(errors),
    )


def _nothing_shared(estimate: Trajectory, reference: Trajectory) -> str:
    spans = (
        Span.of("the estimate's stamps", estimate.stamps),
        Span.of("the reference's", reference.stamps),
    )
    if not spans[0].meets(spans[1]):
        return apart(*spans)
    return (
        f"none of {len(estimate)} estimated poses has a reference within {reference.limit_s:g} s "
        f"before and after it ({spans[1]} have holes); raise max_pose_gap_s if the reference is "
        "accurate between its poses"
    )
