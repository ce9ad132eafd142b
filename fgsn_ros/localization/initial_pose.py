"""Where a robot is thought to be at the start, and the last pose kept over restarts."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fgsn_ros.documents import parse_json
from fgsn_ros.errors import FgsnError, LocalizationError
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.arrays import Array
from fgsn_ros.outputs import whole_file
from fgsn_ros.text_files import read_text

_MOST_BYTES = 1 << 20
_STD_Z_TILT = (0.1, 0.01, 0.01)
"""[m, rad, rad], of no effect where the map's ground gives height and tilt."""


@dataclass(frozen=True, eq=False)
class InitialPose:
    """A pose to start from, and how well it is known.

    Raises:
        LocalizationError: pose or stamp is not finite or of the wrong shape, or the covariance is
            not one.
    """

    T_map_base: Array
    """(4, 4)."""
    covariance: Array
    """(6, 6) x y z, then rotations about the map's x, y, z axes [m, rad]."""
    stamp: float | None = None
    """[s]; a pose of the past is carried on by odometry. None: as soon as there is odometry."""

    def __post_init__(self) -> None:
        shapes = self.T_map_base.shape, self.covariance.shape
        values = self.stamp or 0.0, self.T_map_base, self.covariance
        finite = all(np.isfinite(value).all() for value in values)
        if shapes != ((4, 4), (6, 6)) or not finite or not _is_covariance(self.covariance):
            raise LocalizationError(
                "an initial pose needs a finite stamp, a (4, 4) pose and a (6, 6) covariance"
            )

    @classmethod
    def around(
        cls, T_map_base: Array, std_m: float, std_yaw: float, stamp: float | None = None
    ) -> "InitialPose":
        """A pose (4, 4) known to standard deviations of x and of y [m] and of yaw [rad]."""
        std = np.array([std_m, std_m, *_STD_Z_TILT, std_yaw])
        return cls(T_map_base, np.diag(std**2), stamp)

    @classmethod
    def planar(
        cls, x: float, y: float, z: float, yaw: float, std_m: float, std_yaw: float
    ) -> "InitialPose":
        """An upright pose in the map [m, rad], known as in `around`, of no certain time."""
        T_map_base = poses.from_xyz_rpy(np.array([x, y, z]), np.array([0.0, 0.0, yaw]))
        return cls.around(T_map_base, std_m, std_yaw)


def save_pose(path: Path, pose: InitialPose, map_identity: str) -> None:
    """Write a pose on the map of a `SemanticMap.identity`, whole or not at all, without its stamp.

    Raises:
        OutputError: the file cannot be written.
    """
    translation, q_xyzw = poses.to_quaternion(pose.T_map_base)
    content = {
        "map": map_identity,
        "translation": translation.tolist(),
        "q_xyzw": q_xyzw.tolist(),
        "covariance": pose.covariance.tolist(),
    }
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n")


def load_pose(path: Path, map_identity: str) -> InitialPose | None:
    """The saved pose; None if there is no file.

    Raises:
        LocalizationError: the file is damaged, or the pose is on another map.
    """
    try:
        content = parse_json(read_text(path, _MOST_BYTES))
        row = np.array([*content["translation"], *content["q_xyzw"]], np.float64)
        covariance = np.array(content["covariance"], np.float64)
        if row.shape != (7,):
            raise ValueError("numbers are missing")
        pose = InitialPose(poses.from_quaternion(row[:3], row[3:]), covariance)
        saved_identity = str(content["map"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError, FgsnError) as error:
        reason = " ".join(str(error).split())
        raise LocalizationError(
            f"cannot read the saved pose {path}: {reason}; remove it"
        ) from error
    if saved_identity != map_identity:
        raise LocalizationError(f"the saved pose {path} is of another map: it is not used")
    return pose


def _is_covariance(matrix: Array) -> bool:
    """Whether a finite (n, n) matrix is symmetric and positive semi-definite, up to rounding."""
    tolerance = 1e-9 * max(float(np.abs(matrix).max()), 1e-12)
    symmetric = np.allclose(matrix, matrix.T, rtol=1e-6, atol=tolerance)
    return bool(symmetric and np.linalg.eigvalsh(matrix).min() >= -tolerance)
