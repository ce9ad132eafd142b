"""Where a robot is thought to be at the start, and the last pose kept over restarts."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fgsn_ros.documents import parse_json
from fgsn_ros.errors import FgsnError, LocalizationError
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.arrays import Array
from fgsn_ros.localization.motion import MotionSettings
from fgsn_ros.localization.odometry_buffer import AT_ORIGIN_M, AWAY_M, Doubt
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
    doubt: Doubt | None = None
    """What the robot may have done since, beside what pose and covariance say."""

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


@dataclass(frozen=True, eq=False)
class SavedPose:
    """A pose kept over a restart, and what tells how far the robot may have come since."""

    pose: InitialPose
    """With its stamp, where one is known."""
    T_odom_base: Array | None = None
    """(4, 4) of odometry at the pose's stamp; None in files that do not hold it."""
    saved_at: float | None = None
    """Time of day [s since 1970] at which it was saved."""
    top_speed_m_s: float = 1.0
    """The most that was seen of the robot [m/s]."""
    top_turn_rad_s: float = 0.5
    """Likewise [rad/s]."""

    def carried_on(
        self,
        stamp: float,
        T_odom_base: Array,
        now: float | None,
        motion: MotionSettings,
        reach_m: float,
    ) -> InitialPose:
        """The pose at a stamp of odometry (4, 4), at a time of day, and how well it is known then.

        Where odometry ran on in its frame, the pose follows it. Else, as after a restart of its
        node, the robot may have driven anywhere that its speed and the time allow, up to `reach_m`.
        """
        if self.T_odom_base is None or self.pose.stamp is None:
            return replace(self.pose, stamp=stamp)
        passed = stamp - self.pose.stamp
        if passed < 0.0:  # another clock, or a recording from its start
            passed = 0.0 if now is None or self.saved_at is None else max(now - self.saved_at, 0.0)
            return replace(self.pose, stamp=stamp, doubt=self._doubt(passed, reach_m))
        moved = poses.compose(poses.invert(self.T_odom_base), T_odom_base)
        metres = float(np.linalg.norm(moved[:3, 3]))
        origin, away = (float(np.linalg.norm(T[:3, 3])) for T in (T_odom_base, self.T_odom_base))
        reset = origin < AT_ORIGIN_M and away > AWAY_M
        # It may drive faster than it did before.
        if reset or metres > 2.0 * self.top_speed_m_s * passed + AT_ORIGIN_M:
            return replace(self.pose, stamp=stamp, doubt=self._doubt(passed, reach_m))
        T_map_base = poses.compose(self.pose.T_map_base, moved)
        return InitialPose(T_map_base, self._grown(moved, motion), stamp)

    def _doubt(self, seconds: float, reach_m: float) -> Doubt:
        turn = min(self.top_turn_rad_s * seconds, np.pi)
        return Doubt(min(self.top_speed_m_s * seconds, reach_m), turn)

    def _grown(self, moved: Array, motion: MotionSettings) -> Array:
        """The covariance (6, 6) after a motion (4, 4) by odometry.

        The heading's error swings the way; what odometry adds is of any direction in the map.
        """
        way = self.pose.T_map_base[:3, :3] @ moved[:3, 3]
        metres = float(np.linalg.norm(way))
        swing = np.eye(6)
        swing[:3, 3:] = np.cross(np.eye(3), way).T
        x, y, z, roll, pitch, yaw = motion.std(moved)
        along = max(x, y) ** 2 + (motion.scale * metres) ** 2 + (yaw * metres) ** 2 / 3.0
        added = np.array([along, along, z**2, roll**2, pitch**2, yaw**2])
        grown = swing @ self.pose.covariance @ swing.T + np.diag(added)
        symmetric: Array = 0.5 * (grown + grown.T)
        return symmetric


def save_pose(path: Path, saved: SavedPose, map_identity: str) -> None:
    """Write a pose on the map of a `SemanticMap.identity`, whole or not at all.

    Raises:
        OutputError: the file cannot be written.
    """
    pose = saved.pose
    content: dict[str, object] = {
        "map": map_identity,
        **_row(pose.T_map_base),
        "covariance": pose.covariance.tolist(),
    }
    if saved.T_odom_base is not None and pose.stamp is not None:
        content["since"] = {
            "stamp": pose.stamp,
            "odometry": _row(saved.T_odom_base),
            "saved_at": saved.saved_at,
            "top_speed_m_s": saved.top_speed_m_s,
            "top_turn_rad_s": saved.top_turn_rad_s,
        }
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n")


def load_pose(path: Path, map_identity: str) -> SavedPose | None:
    """The saved pose; None if there is no file.

    Raises:
        LocalizationError: the file is damaged, or the pose is on another map.
    """
    try:
        content = parse_json(read_text(path, _MOST_BYTES))
        saved = _saved_pose(content)
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
    return saved


def _saved_pose(content: Mapping[str, Any]) -> SavedPose:
    """The pose of a file; the first ones written did not say how old it is."""
    covariance = np.array(content["covariance"], np.float64)
    since = content.get("since")
    if since is None:
        return SavedPose(InitialPose(_pose_of(content), covariance))
    numbers = [
        float(since[name]) for name in ("stamp", "saved_at", "top_speed_m_s", "top_turn_rad_s")
    ]
    stamp, saved_at, speed, turn = numbers
    if not np.isfinite(numbers).all() or min(speed, turn) < 0.0:
        raise ValueError("stamp, time or speed is no number")
    pose = InitialPose(_pose_of(content), covariance, stamp)
    return SavedPose(pose, _pose_of(since["odometry"]), saved_at, speed, turn)


def _row(T: Array) -> dict[str, list[float]]:
    translation, q_xyzw = poses.to_quaternion(T)
    return {"translation": translation.tolist(), "q_xyzw": q_xyzw.tolist()}


def _pose_of(content: Mapping[str, Any]) -> Array:
    row = np.array([*content["translation"], *content["q_xyzw"]], np.float64)
    if row.shape != (7,) or not np.isfinite(row).all():
        raise ValueError("numbers are missing")
    return poses.from_quaternion(row[:3], row[3:])


def _is_covariance(matrix: Array) -> bool:
    """Whether a finite (n, n) matrix is symmetric and positive semi-definite, up to rounding."""
    tolerance = 1e-9 * max(float(np.abs(matrix).max()), 1e-12)
    symmetric = np.allclose(matrix, matrix.T, rtol=1e-6, atol=tolerance)
    return bool(symmetric and np.linalg.eigvalsh(matrix).min() >= -tolerance)
