"""Where a localized run starts."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.config import require
from fgsn_ros.errors import LocalizationError
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.clocks import Span, apart
from fgsn_ros.geometry.trajectory import Trajectory
from fgsn_ros.localization.initial_pose import InitialPose
from fgsn_ros.recordings.recording import Recording, require_odometry

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Start:
    """The initial pose: one that you give, the ground truth with an offset, or none at all."""

    pose: tuple[float, float, float, float] | None = None
    """x y z [m] and yaw [deg] of base_link in the map at the first frame; else ground truth"""
    unknown: bool = False
    """there is none: look for the robot on the whole map by its labels"""
    offset_m: float = 0.0
    """horizontal offset from the ground truth [m], direction from the seed, in [0, 100]"""
    offset_deg: float = 0.0
    """heading offset from the ground truth [deg], sign from the seed, in [0, 180]"""
    std_m: float = 1.0
    """standard deviation of the initial particles in x and in y [m], in (0, 100]"""
    std_deg: float = 4.0
    """standard deviation of the initial particles' heading [deg], in (0, 180]"""

    def __post_init__(self) -> None:
        """Check the ranges."""
        given = self.pose is not None or self.offset_m > 0 or self.offset_deg > 0
        require(not (self.unknown and given), "start.unknown goes without a pose or an offset")
        require(0 <= self.offset_m <= 100, "start.offset_m must be in [0, 100]")
        require(0 <= self.offset_deg <= 180, "start.offset_deg must be in [0, 180]")
        require(0 < self.std_m <= 100, "start.std_m must be in (0, 100]")
        require(0 < self.std_deg <= 180, "start.std_deg must be in (0, 180]")

    def initial(
        self, recording: Recording, reference: Trajectory | None, rng: np.random.Generator
    ) -> InitialPose:
        """Initial pose at the recording's first frame, or when odometry and reference begin.

        Raises:
            RecordingError: the recording has no odometry.
            LocalizationError: neither a pose is given nor does a reference cover the start, or it
                is unknown.
        """
        if self.unknown:
            raise LocalizationError("start.unknown has no initial pose, and one is needed here")
        odometry, std_yaw = require_odometry(recording), float(np.deg2rad(self.std_deg))
        if self.pose is not None:
            x, y, z, yaw_deg = self.pose
            return InitialPose.planar(x, y, z, np.deg2rad(yaw_deg), self.std_m, std_yaw)
        if reference is not None:
            stamp = _first_shared(odometry, reference)
            near = displaced(reference.at(stamp), self.offset_m, self.offset_deg, rng)
            return InitialPose.around(near, self.std_m, std_yaw, stamp)
        raise LocalizationError(
            "neither ground truth nor a reference covers the start; "
            "give --start.pose X Y Z YAW_DEG, or --start.unknown"
        )


def check_clocks(odometry: Trajectory, reference: Trajectory) -> None:
    """Refuse a reference that odometry has no time in common with.

    Raises:
        LocalizationError: it has none; names both times.
    """
    own, others = (
        Span.of("odometry's stamps", odometry.stamps),
        Span.of("the reference's", reference.stamps),
    )
    if not own.meets(others):
        raise LocalizationError(apart(own, others))


def _first_shared(odometry: Trajectory, reference: Trajectory) -> float:
    """The first stamp [s] that both know."""
    check_clocks(odometry, reference)
    begin = max(float(odometry.stamps[0]), float(reference.stamps[0]))
    if reference.covers(begin):
        return begin
    after = reference.stamps[reference.stamps > begin]  # past the hole that odometry begins in
    return float(after[0])


def displaced(
    T_map_base: FloatArray, offset_m: float, offset_deg: float, rng: np.random.Generator
) -> FloatArray:
    """Pose moved by `offset_m` in a random horizontal direction and turned by +- `offset_deg`."""
    direction = rng.uniform(-np.pi, np.pi)
    turn = np.deg2rad(offset_deg) * (1.0 if rng.uniform() < 0.5 else -1.0)
    offset = poses.from_planar(
        np.array(offset_m * np.cos(direction)),
        np.array(offset_m * np.sin(direction)),
        np.array(turn),
    )
    return poses.compose(T_map_base, offset)
