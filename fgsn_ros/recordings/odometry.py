"""Wheel odometry derived from ground truth, for recordings that have none."""

import logging
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.config import require
from fgsn_ros.errors import RecordingError
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.clocks import Span, apart
from fgsn_ros.geometry.trajectory import Trajectory

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class OdometryNoise:
    """Noise model of derived wheel odometry.

    The defaults follow the wheel odometry of a Clearpath Husky over 359 m and 395 s (test1.bag of
    robot_localization) against its compass and GPS: distances 3 % too long; heading off by a drift
    of 0.0005 to 0.001 rad/m, by less than 5 % of the turns, and by a random walk of 0.02 to 0.03
    rad/sqrt(m). That walk holds the compass's own error and the slip of a skid-steered base, so a
    quarter of it stands here, for wheels that roll. The length's noise lies below the GPS's and is
    assumed. Like real wheel odometry, the result is planar: height, roll and pitch stay zero.
    """

    scale_error: float = 0.02
    """share by which distances come out too long, in (-0.5, 0.5)"""
    yaw_drift_per_m: float = 0.001
    """turn to the left for each metre driven [rad/m], in [-0.1, 0.1]"""
    translation_noise_per_m: float = 0.02
    """standard deviation of the length after 1 m, a random walk [m/sqrt(m)], in [0, 1]"""
    yaw_noise_per_m: float = 0.005
    """standard deviation of the heading after 1 m, a random walk [rad/sqrt(m)], in [0, 1]"""
    yaw_noise_per_rad: float = 0.02
    """standard deviation of the heading after 1 rad, a random walk [rad/sqrt(rad)], in [0, 1]"""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(abs(self.scale_error) < 0.5, "scale_error must be in (-0.5, 0.5)")
        require(abs(self.yaw_drift_per_m) <= 0.1, "yaw_drift_per_m must be in [-0.1, 0.1] rad/m")
        for name in ("translation_noise_per_m", "yaw_noise_per_m", "yaw_noise_per_rad"):
            require(0.0 <= getattr(self, name) <= 1.0, f"{name} must be in [0, 1]")

    def in_words(self) -> str:
        """The model and its numbers, for a report."""
        return (
            f"derived from ground truth: planar steps, distances {self.scale_error:+.1%}, "
            f"heading drift {self.yaw_drift_per_m:g} rad/m, random walks of "
            f"{self.translation_noise_per_m:g} m/sqrt(m) in length and "
            f"{self.yaw_noise_per_m:g} rad/sqrt(m) + {self.yaw_noise_per_rad:g} rad/sqrt(rad) "
            "in heading"
        )


def derive_odometry(
    ground_truth: Trajectory, noise: OdometryNoise, rng: np.random.Generator
) -> Trajectory:
    """Odometry T_odom_base at the ground truth's stamps, from the identity on.

    Each step is the planar part (x, y, yaw) of the true motion in the body frame, disturbed in
    length and heading by `noise`; with all noise zero, planar ground truth comes back.
    """
    true = poses.compose(poses.invert(ground_truth.poses[:-1]), ground_truth.poses[1:])
    xy, yaw = true[:, :2, 3], poses.to_rpy(true)[:, 2]
    distance = np.linalg.norm(xy, axis=-1)
    along = 1.0 + noise.scale_error
    length = along * distance + noise.translation_noise_per_m * np.sqrt(distance) * _normal(rng, xy)
    # A step without motion has no direction, and no noise.
    xy = xy * (length / np.where(distance > 0.0, distance, 1.0))[:, None]
    yaw_std = np.hypot(
        noise.yaw_noise_per_m * np.sqrt(distance), noise.yaw_noise_per_rad * np.sqrt(np.abs(yaw))
    )
    yaw = yaw + noise.yaw_drift_per_m * distance + yaw_std * _normal(rng, xy)
    return Trajectory(ground_truth.stamps, _integrated(xy, yaw), max_gap_s=math.inf)


def derived_from(
    ground_truth: Trajectory | None,
    noise: OdometryNoise,
    seed: int,
    stamps: NDArray[np.float64] | None,
    name: str,
) -> tuple[Trajectory, str]:
    """Odometry of a recording derived from its poses, and its origin in words.

    Args:
        ground_truth: The poses, T_map_base.
        noise: The noise model.
        seed: Seed of the noise.
        stamps: Where to derive poses, as far as the ground truth covers it [s]; None takes the
            ground truth's own stamps.
        name: The recording's, for the error.

    Raises:
        RecordingError: there are fewer than two poses to derive from.
    """
    if ground_truth is not None and stamps is not None:
        ground_truth = _at_frames(ground_truth, stamps, name)
    if ground_truth is None or len(ground_truth) < 2:
        raise RecordingError(
            f"{name} has no poses during its images to derive odometry from; name a pose file with "
            "the setting 'poses' or 'odometry_poses'"
        )
    derived = derive_odometry(ground_truth, noise, np.random.default_rng(seed))
    return derived, f"{noise.in_words()} (seed {seed})"


def _at_frames(
    ground_truth: Trajectory, stamps: NDArray[np.float64], name: str
) -> Trajectory | None:
    """The poses at those of the stamps (F,) that they cover, if any; holes are said."""
    covered = ground_truth.covered(stamps)
    first, last = ground_truth.stamps[[0, -1]]
    in_holes = int((~covered & (stamps > first) & (stamps < last)).sum())
    if not covered.any():
        spans = Span.of("the images", stamps), Span.of("the poses", ground_truth.stamps)
        if not spans[0].meets(spans[1]):
            raise RecordingError(f"{name}: {apart(*spans)}")
        return None
    if in_holes:
        _log.warning(
            "%s: no odometry is derived at %d of %d frames: no two poses within %g s around them",
            name,
            in_holes,
            len(stamps),
            ground_truth.limit_s,
        )
    return Trajectory(stamps[covered], ground_truth.at(stamps[covered]))


def _normal(rng: np.random.Generator, steps: NDArray[np.float64]) -> NDArray[np.float64]:
    return rng.standard_normal(len(steps))


def _integrated(xy: NDArray[np.float64], yaw: NDArray[np.float64]) -> NDArray[np.float64]:
    """Poses (N+1, 4, 4) after N planar steps, each in the frame before it."""
    heading = np.concatenate([[0.0], np.cumsum(yaw)])
    c, s = np.cos(heading[:-1]), np.sin(heading[:-1])
    x = np.cumsum(c * xy[:, 0] - s * xy[:, 1])
    y = np.cumsum(s * xy[:, 0] + c * xy[:, 1])
    return poses.from_planar(np.append(0.0, x), np.append(0.0, y), heading)
