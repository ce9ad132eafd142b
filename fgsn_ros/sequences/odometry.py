"""Odometry derived from ground truth with a stated noise model."""

from dataclasses import dataclass

import numpy as np

from fgsn_ros.config import require
from fgsn_ros.geometry.trajectory import Trajectory


@dataclass(frozen=True)
class OdometryNoise:
    """Noise of derived wheel odometry."""

    scale_error: float = 0.02
    """share by which distances come out too long, in (-0.5, 0.5)"""
    yaw_drift_per_m: float = 0.0005
    """constant turn for each metre [rad/m], in [-0.1, 0.1]"""
    translation_noise_per_m: float = 0.02
    """standard deviation of a step's length after 1 m [m/sqrt(m)], in [0, 1]"""
    yaw_noise_per_m: float = 0.002
    """standard deviation of the heading after 1 m [rad/sqrt(m)], in [0, 1]"""
    yaw_noise_per_rad: float = 0.02
    """standard deviation of the heading after a turn of 1 rad [rad/sqrt(rad)], in [0, 1]"""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(abs(self.scale_error) < 0.5, "odometry_noise.scale_error must be in (-0.5, 0.5)")


def derive_odometry(
    ground_truth: Trajectory, noise: OdometryNoise, rng: np.random.Generator
) -> Trajectory:
    """Odometry T_odom_base at the ground truth's stamps; starts at the identity."""
    raise NotImplementedError
