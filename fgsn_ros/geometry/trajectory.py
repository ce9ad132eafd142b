"""Timed poses, what time they cover, and TUM text files of them."""

import bisect
import dataclasses
import itertools
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fgsn_ros.errors import RecordingError, TrajectoryError
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.clocks import check_seconds
from fgsn_ros.geometry.number_rows import read_rows
from fgsn_ros.left_out import LeftOut
from fgsn_ros.outputs import whole_file

TUM_FORM = "timestamp tx ty tz qx qy qz qw"

USUAL_STEPS = 2.5
"""Median steps that are interpolated over: where one pose is missing, but not where two are."""
SHORTEST_LIMIT_S, LONGEST_LIMIT_S = 0.5, 10.0
"""Bounds of that [s]. In half a second a robot leaves the geodesic by centimetres (a t^2 / 8), so
that jitter and bursts at high rates do no harm; over ten nobody knows where it went."""
_STAMP_ROUNDING_S = 1e-6
_log = logging.getLogger(__name__)


def usual_max_gap_s(stamps: NDArray[np.float64]) -> float:
    """Longest gap that poses at stamps (N,) are interpolated over unless set otherwise [s]."""
    typical = float(np.median(np.diff(stamps))) if len(stamps) > 1 else 0.0
    return float(np.clip(USUAL_STEPS * typical, SHORTEST_LIMIT_S, LONGEST_LIMIT_S))


@dataclass(frozen=True, eq=False)
class Trajectory:
    """Poses of one frame in another over time; at least one.

    Nothing is known outside its ends, nor in its holes: between poses farther apart than
    `max_gap_s`.

    Raises:
        TrajectoryError: it is empty, a value is not finite, stamps do not increase, or `max_gap_s`
            is not above 0.
    """

    stamps: NDArray[np.float64]
    """(N,) seconds, strictly increasing."""
    poses: NDArray[np.float64]
    """(N, 4, 4) T_parent_child."""
    max_gap_s: float | None = None
    """longest time between two poses that is interpolated over [s]; None: `usual_max_gap_s`, which
    then stands here, so that a part of a trajectory has the same"""

    def __post_init__(self) -> None:
        stamps = np.ascontiguousarray(self.stamps, np.float64)
        T = np.ascontiguousarray(self.poses, np.float64)
        object.__setattr__(self, "stamps", stamps)
        object.__setattr__(self, "poses", T)
        _check(stamps, T)
        if self.max_gap_s is None:
            object.__setattr__(self, "max_gap_s", usual_max_gap_s(stamps))
        if not self.limit_s > 0.0:
            raise TrajectoryError(f"max_gap_s must be above 0 s, not {self.max_gap_s}")

    def __len__(self) -> int:
        return len(self.stamps)

    @property
    def limit_s(self) -> float:
        """`max_gap_s`, which is never None after construction."""
        return cast(float, self.max_gap_s)

    @property
    def holes(self) -> NDArray[np.int64]:
        """(M,) numbers of the poses before a hole."""
        return np.flatnonzero(np.diff(self.stamps) > self.limit_s + _STAMP_ROUNDING_S)

    def covers(self, stamp: float) -> bool:
        """Whether the stamp [s] is that of a pose, or between two that are near in time."""
        return bool(self.covered(stamp))

    def covered(self, stamps: ArrayLike) -> NDArray[np.bool_]:
        """Whether the trajectory `covers` each of the stamps (...) [s]."""
        asked = np.asarray(stamps, np.float64)
        before, after = self._around(asked)
        near = self.stamps[after] - self.stamps[before] <= self.limit_s + _STAMP_ROUNDING_S
        inside = (asked >= self.stamps[0]) & (asked <= self.stamps[-1])
        return np.asarray(inside & (near | (self.stamps[after] == asked)))

    def at(self, stamp: ArrayLike) -> NDArray[np.float64]:
        """Poses (..., 4, 4) interpolated along the geodesic at stamps (...) [s].

        Raises:
            TrajectoryError: a stamp lies outside [first, last] or in a hole.
        """
        asked = np.asarray(stamp, np.float64)
        unknown = asked[~self.covered(asked)]
        if unknown.size:
            raise TrajectoryError(self._unknown(float(unknown.flat[0])))
        before, after = self._around(asked)
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
        return dataclasses.replace(self, stamps=self.stamps[inside], poses=self.poses[inside])

    def with_poses(self, T: NDArray[np.float64]) -> "Trajectory":
        """Other poses (N, 4, 4) at the same stamps, such as those of another frame."""
        return dataclasses.replace(self, poses=T)

    def pieces(self) -> list["Trajectory"]:
        """The parts between its holes, in order; one without any."""
        ends = [0, *(self.holes + 1).tolist(), len(self)]
        return [
            dataclasses.replace(self, stamps=self.stamps[i:j], poses=self.poses[i:j])
            for i, j in itertools.pairwise(ends)
        ]

    def length_m(self) -> float:
        """Length of the path through the poses [m], also over holes."""
        return float(np.linalg.norm(np.diff(self.poses[:, :3, 3], axis=0), axis=1).sum())

    def _around(self, asked: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Numbers (...) of the last pose before each stamp and the first at or after it."""
        after = np.searchsorted(self.stamps, asked, side="left")
        return np.maximum(after - 1, 0), np.minimum(after, len(self) - 1)

    def _unknown(self, stamp: float) -> str:
        first, last = self.stamps[[0, -1]]
        if not first <= stamp <= last:
            return f"no pose at {stamp:.6f} s: the trajectory covers {first:.6f} to {last:.6f} s"
        before, after = (float(self.stamps[i]) for i in self._around(np.array(stamp)))
        return (
            f"no pose at {stamp:.6f} s: the trajectory has none between {before:.6f} and "
            f"{after:.6f} s, and gaps of more than {self.limit_s:g} s are not interpolated over"
        )


def _check(stamps: NDArray[np.float64], T: NDArray[np.float64]) -> None:
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


def recorded_trajectory(
    stamps: ArrayLike,
    rows: ArrayLike,
    source: str,
    max_gap_s: float | None = None,
    place: Callable[[int], str] | None = None,
    damaged: ArrayLike | None = None,
) -> Trajectory:
    """Trajectory of poses as they were recorded, without those that cannot be used.

    Left out, counted and said (see `LeftOut`): poses that are not finite or whose quaternion has
    another length than 1, those that repeat a stamp with another pose (the first stays), and as few
    as it takes to leave the others in order. Two kinds never end the work: poses before the first
    that can be used, which a driver sends until it is initialised and a receiver until it has a
    fix; and messages that are there twice.

    Args:
        stamps: (N,) [s], in the order of recording.
        rows: (N, 7) x y z qx qy qz qw.
        source: What holds them, for the messages.
        max_gap_s: The trajectory's.
        place: Where one is, in words, by its number; at its stamp unless given.
        damaged: (N,) why each is damaged beside what its row shows, in words; empty where it isn't.

    Raises:
        RecordingError: too many cannot be used, none can, or the stamps are no seconds.
    """
    times, values = np.asarray(stamps, np.float64), np.asarray(rows, np.float64).reshape(-1, 7)
    check_seconds(times, source)
    faults = np.where(np.isfinite(times), poses.faults(values), "without a stamp").astype(object)
    if damaged is not None:
        faults = np.where(np.asarray(damaged) != "", damaged, faults)
    counted = np.arange(len(faults)) >= _before_first(faults, source)
    good = np.flatnonzero(faults == "")
    repeated, twice = _repeated(times[good], values[good], source)
    faults[good[repeated]] = "that repeat a stamp"
    counted[good[twice]] = False
    good = np.flatnonzero(faults == "")
    faults[good[~_in_order(times[good])]] = "out of order in time"
    left_out = LeftOut(source, "poses")
    left_out.keep(int((faults == "").sum()))
    for i in np.flatnonzero(counted & (faults != "")).tolist():
        left_out.drop(str(faults[i]), f"at {times[i]:.6f} s" if place is None else place(i))
    left_out.close()
    kept = faults == ""
    if not kept.any():
        raise RecordingError(f"{source} holds no pose")
    T = poses.from_quaternion(values[kept, :3], values[kept, 3:])
    return Trajectory(times[kept], T, max_gap_s)


def _before_first(faults: NDArray[np.object_], source: str) -> int:
    """How many poses come before the first that can be used; 0 if none can. Says so."""
    before = int(np.argmax(faults == "")) if len(faults) else 0
    if before:
        _log.warning(
            "%s: %d before the first usable pose, %s, are left out", source, before, faults[0]
        )
    return before


def _repeated(
    stamps: NDArray[np.float64], rows: NDArray[np.float64], source: str
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which poses (N,) have the stamp of one before them, and which are that one. Says so."""
    _, first, number = np.unique(stamps, return_index=True, return_inverse=True)
    repeated = first[number] != np.arange(len(stamps))
    twice = repeated & (rows == rows[first[number]]).all(axis=1)
    if twice.any():
        _log.warning("%s: %d poses that are there twice count once", source, twice.sum())
    return repeated, twice


def _in_order(stamps: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which of the stamps (N,) are of the longest sequence of them that increases.

    Of several as long, the one whose stamps come first: of two that are swapped the late one goes.
    """
    kept = np.ones(len(stamps), bool)
    if np.all(np.diff(stamps) > 0.0):
        return kept
    length = _sequence_lengths(stamps)
    longest = length + _sequence_lengths(-stamps[::-1])[::-1] - 1 == length.max()
    last, level = -np.inf, 0
    for i, stamp in enumerate(stamps.tolist()):
        kept[i] = longest[i] and length[i] == level + 1 and stamp > last
        if kept[i]:
            last, level = stamp, level + 1
    return kept


def _sequence_lengths(stamps: NDArray[np.float64]) -> NDArray[np.int64]:
    """Length (N,) of the longest increasing sequence of stamps (N,) that ends with each."""
    lengths = np.zeros(len(stamps), np.int64)
    ends: list[float] = []  # the lowest last stamp of the sequences of each length so far
    for i, stamp in enumerate(stamps.tolist()):
        place = bisect.bisect_left(ends, stamp)
        ends[place : place + 1] = [stamp]
        lengths[i] = place + 1
    return lengths


def write_tum(path: Path, trajectory: Trajectory) -> None:
    """Write `timestamp tx ty tz qx qy qz qw`, one pose a line.

    Raises:
        OutputError: the file cannot be written.
    """
    translation, q_xyzw = poses.to_quaternion(trajectory.poses)
    rows = np.column_stack([trajectory.stamps, translation, q_xyzw])
    with whole_file(path) as temporary:
        np.savetxt(temporary, rows, fmt="%.9f", header=TUM_FORM, encoding="utf-8")


def read_tum(path: Path, max_gap_s: float | None = None) -> Trajectory:
    """Read a TUM text file; `#` starts a comment. For what is left out see `recorded_trajectory`.

    Args:
        path: The file.
        max_gap_s: The trajectory's.

    Raises:
        RecordingError: the file cannot be read, is no TUM file, or too many rows cannot be used.
    """
    rows = read_rows(path, len(TUM_FORM.split()), TUM_FORM)
    stamps, values = rows.values[:, 0], rows.values[:, 1:]
    return recorded_trajectory(stamps, values, str(path), max_gap_s, rows.place, rows.damaged)
