"""Timed poses, and TUM text files of them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fgsn_ros.errors import RecordingError, TrajectoryError
from fgsn_ros.geometry import poses
from fgsn_ros.outputs import whole_file
from fgsn_ros.text_files import read_text

_TUM_COLUMNS = 8


@dataclass(frozen=True, eq=False)
class Trajectory:
    """Poses of one frame in another over time; at least one.

    Raises:
        TrajectoryError: it is empty, a value is not finite, or stamps do not increase.
    """

    stamps: NDArray[np.float64]
    """(N,) seconds, strictly increasing."""
    poses: NDArray[np.float64]
    """(N, 4, 4) T_parent_child."""

    def __post_init__(self) -> None:
        stamps = np.ascontiguousarray(self.stamps, np.float64)
        T = np.ascontiguousarray(self.poses, np.float64)
        object.__setattr__(self, "stamps", stamps)
        object.__setattr__(self, "poses", T)
        if stamps.ndim != 1 or T.shape != (len(stamps), 4, 4):
            raise TrajectoryError(
                f"stamps {stamps.shape} and poses {T.shape} do not match (N,) and (N, 4, 4)"
            )
        if len(stamps) == 0:
            raise TrajectoryError("a trajectory needs at least one pose")
        if not (np.isfinite(stamps).all() and np.isfinite(T).all()):
            raise TrajectoryError("a trajectory holds values that are not finite")
        backwards = np.flatnonzero(np.diff(stamps) <= 0.0)
        if len(backwards):
            i = int(backwards[0])
            raise TrajectoryError(
                f"stamps must increase: {stamps[i + 1]:.6f} s follows {stamps[i]:.6f} s"
            )

    def __len__(self) -> int:
        return len(self.stamps)

    def covers(self, stamp: float) -> bool:
        """Whether the stamp [s] lies in [first, last]."""
        return bool(self.stamps[0] <= stamp <= self.stamps[-1])

    def at(self, stamp: ArrayLike) -> NDArray[np.float64]:
        """Poses (..., 4, 4) interpolated along the geodesic at stamps (...) [s].

        Raises:
            TrajectoryError: a stamp lies outside [first, last].
        """
        asked = np.asarray(stamp, np.float64)
        outside = asked[~((asked >= self.stamps[0]) & (asked <= self.stamps[-1]))]
        if outside.size:
            raise TrajectoryError(
                f"no pose at {outside.flat[0]:.6f} s: the trajectory covers "
                f"{self.stamps[0]:.6f} to {self.stamps[-1]:.6f} s"
            )
        after = np.searchsorted(self.stamps, asked, side="left")
        before = np.maximum(after - 1, 0)
        gap = np.where(after > before, self.stamps[after] - self.stamps[before], 1.0)
        alpha = np.where(after > before, (asked - self.stamps[before]) / gap, 0.0)
        between = poses.interpolate(self.poses[before], self.poses[after], alpha)
        # A stored stamp gives back its stored pose to the bit.
        stored = (self.stamps[after] == asked)[..., None, None]
        return np.where(stored, self.poses[after], between)

    def between(self, first: float, last: float) -> "Trajectory":
        """The poses stamped within `first` and `last` [s], both included.

        Raises:
            TrajectoryError: there is none.
        """
        inside = (self.stamps >= first) & (self.stamps <= last)
        if not inside.any():
            raise TrajectoryError(f"no pose between {first:.6f} and {last:.6f} s")
        return Trajectory(self.stamps[inside], self.poses[inside])

    def length_m(self) -> float:
        """Length of the path through the poses [m]."""
        return float(np.linalg.norm(np.diff(self.poses[:, :3, 3], axis=0), axis=1).sum())


def write_tum(path: Path, trajectory: Trajectory) -> None:
    """Write `timestamp tx ty tz qx qy qz qw`, one pose a line.

    Raises:
        OutputError: the file cannot be written.
    """
    translation, q_xyzw = poses.to_quaternion(trajectory.poses)
    rows = np.column_stack([trajectory.stamps, translation, q_xyzw])
    with whole_file(path) as temporary:
        np.savetxt(
            temporary, rows, fmt="%.9f", header="timestamp tx ty tz qx qy qz qw", encoding="utf-8"
        )


def read_tum(path: Path) -> Trajectory:
    """Read a TUM text file; `#` starts a comment, quaternions are normalised.

    Raises:
        RecordingError: the file or one of its rows (named by its line) cannot be used.
    """
    try:
        lines = read_text(path).splitlines()
    except (OSError, UnicodeError) as error:
        raise RecordingError(f"cannot read the TUM file {path}: {error}") from error
    rows: list[list[float]] = []
    for number, line in enumerate(lines, start=1):
        content = line.split("#", 1)[0].split()
        if content:
            row = _tum_row(content, f"{path}, line {number}")
            if rows and row[0] <= rows[-1][0]:
                raise RecordingError(f"{path}, line {number}: timestamps must increase")
            rows.append(row)
    if not rows:
        raise RecordingError(f"{path} holds no pose; expected 'timestamp tx ty tz qx qy qz qw'")
    table = np.array(rows)
    return Trajectory(table[:, 0], poses.from_quaternion(table[:, 1:4], table[:, 4:]))


def _tum_row(content: list[str], where: str) -> list[float]:
    try:
        row = [float(value) for value in content]
    except ValueError as error:
        raise RecordingError(f"{where}: {error}") from error
    if len(row) != _TUM_COLUMNS:
        raise RecordingError(f"{where}: {len(row)} values, expected {_TUM_COLUMNS}")
    if not np.isfinite(row).all():
        raise RecordingError(f"{where}: a value is not finite")
    if np.linalg.norm(row[4:]) < 1e-3:
        raise RecordingError(f"{where}: the quaternion is zero")
    return row
