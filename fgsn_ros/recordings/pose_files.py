"""Pose files that come with image folders: KITTI's 12 columns, and TUM text."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.errors import RecordingError
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.cameras import T_BASE_OPTICAL
from fgsn_ros.geometry.trajectory import Trajectory, read_tum

_KITTI_COLUMNS = 12


def read_poses(path: Path, times: NDArray[np.float64] | None) -> Trajectory:
    """Read a pose file, told apart by its columns: TUM text (8), or KITTI's 3x4 rows (12).

    Args:
        path: The pose file.
        times: Stamp of each row of a KITTI file [s]; None takes TUM text alone.

    Raises:
        RecordingError: the file cannot be read or used.
    """
    if times is None or _column_count(path) != _KITTI_COLUMNS:
        return read_tum(path)
    table = read_numbers(path, _KITTI_COLUMNS)
    if len(table) != len(times):
        raise RecordingError(
            f"{path} holds {len(table)} poses for {len(times)} stamps; is it another sequence's?"
        )
    matrices = table.reshape(-1, 3, 4)
    if np.abs(np.linalg.det(matrices[:, :, :3]) - 1.0).max() > 1e-2:
        raise RecordingError(f"{path} holds a matrix that is no rotation")
    # Through the quaternion: six decimals do not make a rotation matrix.
    rigid = poses.from_rotation_translation(matrices[:, :, :3], matrices[:, :, 3])
    return Trajectory(times, poses.from_quaternion(*poses.to_quaternion(rigid)))


def turned_to_base(camera_poses: Trajectory) -> Trajectory:
    """T_map_base from T_world_camera where base_link sits at the camera.

    The world has the axes of a camera (KITTI: those of the first) and is turned like it, so that
    the map's z points up: T_map_base = C T_world_camera C^-1, C from optical to body axes.
    """
    turned = T_BASE_OPTICAL @ camera_poses.poses @ poses.invert(T_BASE_OPTICAL)
    return Trajectory(camera_poses.stamps, turned)


def read_numbers(path: Path, columns: int) -> NDArray[np.float64]:
    """Rows of `columns` finite numbers, (N, columns).

    Raises:
        RecordingError: the file cannot be read, is empty, or a row (named) is wrong.
    """
    rows = []
    for number, line in enumerate(_read_lines(path), start=1):
        if line.strip() and not line.startswith("#"):
            rows.append(_row(line, columns, f"{path}, line {number}"))
    if not rows:
        raise RecordingError(f"{path} is empty; expected {columns} numbers a line")
    return np.array(rows)


def _row(line: str, columns: int, where: str) -> list[float]:
    try:
        row = [float(value) for value in line.split()]
    except ValueError as error:
        raise RecordingError(f"{where}: {error}") from error
    if len(row) != columns or not np.isfinite(row).all():
        raise RecordingError(f"{where}: expected {columns} finite numbers, got {len(row)}")
    return row


def _column_count(path: Path) -> int:
    lines = (line.split("#", 1)[0].split() for line in _read_lines(path))
    return len(next((line for line in lines if line), []))


def _read_lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise RecordingError(f"cannot read {path}: {error}") from error
