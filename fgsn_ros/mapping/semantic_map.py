"""The semantic map: labelled 3D points and key frames, found by tile."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.errors import MapError
from fgsn_ros.mapping.map_records import (
    POINT,
    SESSIONS,
    FloatArray,
    IndexArray,
    MapPoints,
    Records,
    check_keyframes,
    check_points,
    decoded,
    decoded_poses,
    joined,
    pack,
    require_whole,
    tiled_records,
    tiles_of,
    unpack,
)

_PART_POINTS = 1_000_000
MAP_POINTS_SHOWN = 500_000
"""A map of more points is shown around the robot."""
_SHOWN_RADIUS_M = 150.0
_MOVED_M = 50.0
"""A large map is shown anew when the robot has moved so far."""


class Rows(Protocol):
    """Records in memory, or in a file that is read slice by slice."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> NDArray[Any]: ...


@dataclass(frozen=True, eq=False)
class SemanticMap:
    """Labelled points and key frames of one map frame, in memory or in files.

    What is asked for is read, decoded and checked then: opening reads 40 bytes a tile.
    """

    points: Rows
    """(N,) POINT records; those of a tile are consecutive"""
    keyframes: Rows
    """(F,) key-frame records; those of a tile are consecutive"""
    tile_keys: IndexArray
    """(T,) packed column and row of each tile, strictly increasing"""
    tiles: Records
    """(T,) TILE records: where the points and the key frames of each tile are"""
    tile_size_m: float
    """side of the square tiles of the x-y plane"""
    label_count: int
    """K"""
    fingerprint: str
    """fingerprint of the checkpoint that labelled the points"""
    identity: str
    """hash of all of it, to tell maps apart"""
    sessions: Rows | None = None
    """(N,) SESSIONS records beside the points; None: one drive made them all"""

    def __post_init__(self) -> None:
        """Check what can be checked without reading the arrays."""
        require_whole(0 < self.label_count < 65535, f"label count {self.label_count} is impossible")
        require_whole(
            1e-3 < self.tile_size_m < 1e6, f"tile size {self.tile_size_m} m is impossible"
        )
        require_whole(
            len(self.tiles) == len(self.tile_keys), "tile_keys and tiles are not of one length"
        )
        require_whole(len(self.keyframes) > 0, "there are no key frames")
        require_whole(
            self.sessions is None or len(self.sessions) == len(self.points),
            "sessions and points are not of one length",
        )

    def __len__(self) -> int:
        return len(self.points)

    @staticmethod
    def from_points(
        points: NDArray[np.floating],
        labels: NDArray[np.integer],
        confidence: NDArray[np.floating],
        directions: NDArray[np.floating],
        min_range: NDArray[np.floating],
        max_range: NDArray[np.floating],
        keyframe_poses: FloatArray,
        keyframe_histograms: NDArray[np.floating],
        fingerprint: str,
        tile_size_m: float = 10.0,
    ) -> "SemanticMap":
        """A map in memory of points (as in `MapPoints`) and key frames (F, 4, 4), (F, K).

        Raises:
            MapError: the arrays contradict each other or hold invalid values.
        """
        given = MapPoints(points, labels, confidence, directions, min_range, max_range)  # type: ignore[arg-type]
        check_points(given, keyframe_histograms.shape[-1])
        check_keyframes(keyframe_poses, keyframe_histograms)
        stored = tiled_records(given, keyframe_poses, keyframe_histograms, tile_size_m)
        return SemanticMap(
            stored.points,
            stored.keyframes,
            stored.keys,
            stored.table,
            tile_size_m,
            keyframe_histograms.shape[-1],
            fingerprint,
            identity_of(
                fingerprint,
                *(hashlib.sha256(rows.tobytes()) for rows in (stored.points, stored.keyframes)),
            ),
        )

    def in_memory(self) -> "SemanticMap":
        """The same map without its files."""
        return replace(
            self,
            points=self.points[:],
            keyframes=self.keyframes[:],
            sessions=None if self.sessions is None else self.sessions[:],
            tile_keys=np.array(self.tile_keys),
            tiles=np.array(self.tiles),
        )

    def points_near(self, position: NDArray[np.floating], radius_m: float) -> MapPoints:
        """Points within radius_m of a position (3,) [m].

        Only the tiles that the radius touches are read, whatever the size of the map.

        Raises:
            MapError: what is read is damaged, or the position is not finite.
        """
        centre = np.asarray(position, dtype=np.float64)
        if not (np.isfinite(centre).all() and radius_m >= 0.0):
            raise MapError("points_near needs a finite position and a radius of at least 0 m")
        around = self._points_of(self._tiles_within(centre[:2] - radius_m, centre[:2] + radius_m))
        offsets = around.points.astype(np.float64) - centre
        within = np.einsum("ij,ij->i", offsets, offsets) <= radius_m * radius_m
        return around[np.flatnonzero(within)]

    def all_points(self) -> MapPoints:
        """Every point: of a large map more than fits the memory, see `parts`."""
        return joined([self._points_of(np.zeros(0, np.int64)), *self.parts()])

    def parts(self) -> Iterator[MapPoints]:
        """Every point, in parts of whole tiles and about a million points."""
        for part in self._tile_parts():
            yield self._points_of(part)

    def parts_with_sessions(self) -> Iterator[tuple[MapPoints, Records]]:
        """Every point as `parts` has them, and SESSIONS records of them."""
        for points, rows in self.parts_with_rows():
            yield points, self._sessions_at(rows, len(points))

    def parts_with_rows(self) -> Iterator[tuple[MapPoints, list[tuple[int, int]]]]:
        """Every point as `parts` has them, and which rows they are, as of `points_within`."""
        for part in self._tile_parts():
            tiles = self._checked(part)
            yield self._points_of(part), list(_runs(tiles["first_point"], tiles["points"]))

    def _tile_parts(self) -> list[IndexArray]:
        counts = np.cumsum(self.tiles["points"], dtype=np.int64)
        splits = np.flatnonzero(np.diff(counts // _PART_POINTS)) + 1
        return np.split(np.arange(len(self.tiles)), splits)

    def _sessions_at(self, rows: list[tuple[int, int]], count: int) -> Records:
        """SESSIONS of `count` rows."""
        if self.sessions is None:
            alone = np.zeros(count, SESSIONS)
            alone["supported"] = 1
            return alone
        return np.concatenate([np.zeros(0, SESSIONS), *(self.sessions[a:b] for a, b in rows)])

    @property
    def keyframe_poses(self) -> FloatArray:
        """T_map_base (F, 4, 4) of every key frame, ordered by tile."""
        return self._poses_of(self.keyframes[:])

    @property
    def keyframe_histograms(self) -> NDArray[np.float32]:
        """(F, K) share of each label in every key frame's images, ordered by tile.

        Kept for localization from a single image, which will find key frames by them.
        """
        return self.keyframes[:]["shares"].astype(np.float32)

    def some_keyframe_poses(self, count: int) -> FloatArray:
        """T_map_base (F, 4, 4) of the first key frames, `count` at most."""
        return self._poses_of(self.keyframes[:count])

    def keyframes_within(self, low: FloatArray, high: FloatArray) -> FloatArray:
        """T_map_base (F, 4, 4) of the key frames in the tiles that a box of x, y (2,) [m] touches.

        Raises:
            MapError: what is read is damaged.
        """
        tiles = self._checked(self._tiles_within(low, high))
        read = [self.keyframes[a:b] for a, b in _runs(tiles["first_keyframe"], tiles["keyframes"])]
        return self._poses_of(np.concatenate([self.keyframes[:0], *read]))

    def points_within(
        self, low: FloatArray, high: FloatArray
    ) -> tuple[MapPoints, list[tuple[int, int]]]:
        """The points in the tiles that a box of x, y (2,) [m] touches, and which rows they are.

        The rows are ranges, each by its first and its last + 1.

        Raises:
            MapError: what is read is damaged.
        """
        numbers = self._tiles_within(low, high)
        tiles = self._checked(numbers)
        return self._points_of(numbers), list(_runs(tiles["first_point"], tiles["points"]))

    def _poses_of(self, keyframes: Records) -> FloatArray:
        lengths = np.linalg.norm(keyframes["q_xyzw"], axis=1)
        require_whole(
            bool((np.abs(lengths - 1.0) < 1e-3).all()),
            "a key frame's quaternion is not of length 1",
        )
        T_map_base = decoded_poses(keyframes)
        check_keyframes(T_map_base, keyframes["shares"])
        return T_map_base

    def _tiles_within(self, low: FloatArray, high: FloatArray) -> IndexArray:
        """Ascending numbers of the tiles that a box of x, y [m] touches."""
        first, last = tiles_of(np.stack([low, high]), self.tile_size_m)
        if len(self.tile_keys) == 0:
            return np.zeros(0, np.int64)
        ends = unpack(self.tile_keys[[0, -1]])[:, 0]
        first_column, last_column = max(first[0], ends[0]), min(last[0], ends[1])
        if last_column - first_column > len(self.tile_keys):
            tiles = unpack(np.asarray(self.tile_keys))
            return np.flatnonzero(((tiles >= first) & (tiles <= last)).all(axis=1))
        columns = np.arange(first_column, last_column + 1)
        rows = (np.full(len(columns), row) for row in (first[1], last[1]))
        lowest, highest = (pack(np.stack([columns, row], axis=1)) for row in rows)
        starts = np.searchsorted(self.tile_keys, lowest)
        stops = np.searchsorted(self.tile_keys, highest, side="right")
        runs = [np.arange(a, b) for a, b in zip(starts, stops, strict=True) if b > a]
        return np.concatenate([np.zeros(0, np.int64), *runs])

    def _points_of(self, numbers: IndexArray) -> MapPoints:
        tiles, keys = self._checked(numbers), self.tile_keys[numbers]
        read = [self.points[a:b] for a, b in _runs(tiles["first_point"], tiles["points"])]
        records = np.concatenate([np.zeros(0, POINT), *read])
        require_whole(
            int(records["label"].max(initial=0)) < self.label_count,
            "a label is not below the count",
        )
        require_whole(
            bool((records["range"][:, 0] <= records["range"][:, 1]).all()),
            "a point's shortest range is above its longest",
        )
        return decoded(records, keys, tiles, self.tile_size_m)

    def _checked(self, numbers: IndexArray) -> Records:
        """Tiles (T,) of the table, whose points and key frames lie within the map."""
        tiles = self.tiles[numbers]
        for first, count, total in (
            (tiles["first_point"], tiles["points"], len(self.points)),
            (tiles["first_keyframe"], tiles["keyframes"], len(self.keyframes)),
        ):
            inside = (first >= 0) & (count >= 0) & (first <= total - count)
            whole = bool(inside.all()) and int(count.sum(dtype=np.int64)) <= total
            require_whole(whole, "a tile lies outside the points")
        finite = np.isfinite(tiles["floor_m"]) & np.isfinite(tiles["height_m"])
        require_whole(bool(finite.all()), "a tile's height is not finite")
        keys = self.tile_keys[numbers]
        require_whole(bool((keys[1:] > keys[:-1]).all()), "tiles are not ordered")
        return np.asarray(tiles)


def identity_of(fingerprint: str, *records: "hashlib._Hash") -> str:
    """Identity of a map labelled by a checkpoint, from the hashes of its records."""
    digests = b"".join(each.digest() for each in records)
    return hashlib.sha256(fingerprint.encode() + digests).hexdigest()


def _runs(starts: IndexArray, counts: NDArray[np.int32]) -> Iterator[tuple[int, int]]:
    """First and last + 1 of the ranges (N,), those that follow each other joined."""
    starts, stops = starts[counts > 0], (starts + counts)[counts > 0]
    breaks = np.flatnonzero(starts[1:] != stops[:-1])
    first = np.append(0, breaks + 1) if len(starts) else breaks
    last = np.append(breaks, len(starts) - 1) if len(starts) else breaks
    return zip(starts[first].tolist(), stops[last].tolist(), strict=True)


def check_fingerprint(semantic_map: SemanticMap, fingerprint: str) -> None:
    """Refuse a map that another checkpoint labelled than the one of a fingerprint.

    Raises:
        MapError: the fingerprints differ; names both.
    """
    if semantic_map.fingerprint != fingerprint:
        raise MapError(
            f"the map was labelled by checkpoint {semantic_map.fingerprint[:12]}, "
            f"not by the given {fingerprint[:12]}; "
            "give that checkpoint or build the map again with `fgsn map`"
        )


class ShownPoints:
    """Says which points to show, all of a small map, else those near the robot; and when anew."""

    def __init__(self, semantic_map: SemanticMap) -> None:
        self._map = semantic_map
        self._small = len(semantic_map) <= MAP_POINTS_SHOWN
        self._shown_at: NDArray[np.float64] | None = None

    def restart(self) -> None:
        """Whoever is shown the map has none of it."""
        self._shown_at = None

    def at_once(self) -> MapPoints | None:
        """What can be shown before the robot's position is known."""
        return self.around(np.zeros(3)) if self._small else None

    def around(self, position: NDArray[np.float64]) -> MapPoints | None:
        """Points to show for a robot at a position (3,) [m]; None if they are shown already."""
        if self._shown_at is not None and (
            self._small or np.linalg.norm(position - self._shown_at) < _MOVED_M
        ):
            return None
        self._shown_at = position.copy()
        if self._small:
            return self._map.all_points()
        near = self._map.points_near(position, _SHOWN_RADIUS_M)
        return near[:: max(1, -(-len(near) // MAP_POINTS_SHOWN))]
