"""One run against its reference, in a few numbers."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from fgsn_ros.errors import TrajectoryError
from fgsn_ros.evaluation.recall import recall_percent
from fgsn_ros.evaluation.trajectory_errors import TrajectoryErrors, compare, lost
from fgsn_ros.geometry.trajectory import Trajectory


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
    """poses outside the reference's time span"""
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
