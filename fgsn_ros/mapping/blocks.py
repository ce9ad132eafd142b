"""What building a map puts aside in files: points, votes and key frames by block, labelled views.

Memory holds the blocks' extents, and what a caller has read.
"""

import os
from array import array
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.mapping.map_records import (
    FloatArray,
    IndexArray,
    Records,
    encoded_keyframes,
    keyframe_dtype,
    pack,
    tiles_of,
)
from fgsn_ros.mapping.structure import StructurePoints
from fgsn_ros.segmentation.labels import LabelMap

_BLOCK_M = 50.0
_POINT = np.dtype([("position", "<f8", (3,)), ("direction", "<f8", (3,)), ("range", "<f8", (2,))])
_SIGHTING = np.dtype([("point", "<i4"), ("frame", "<i4")])
_VOTE = np.dtype([("key", "<i8"), ("weight", "<f8")])


@dataclass
class _Extent:
    """Where a block's points are, and from how far they are seen."""

    count: int
    low: FloatArray
    high: FloatArray
    reach_m: float


_COLUMNS = ("low", "high", "reach_m")


def block_side_m(tile_size_m: float) -> float:
    """Side of a block: of whole tiles, about _BLOCK_M."""
    return tile_size_m * max(1, round(_BLOCK_M / tile_size_m))


class Blocks:
    """Square blocks of whole tiles, each with its points in the order in which they came."""

    def __init__(self, folder: Path, tile_size_m: float, label_count: int) -> None:
        self.label_count = label_count
        self._side_m = block_side_m(tile_size_m)
        self._points = Spill(folder / "points", _POINT)
        self._sightings = Spill(folder / "sightings", _SIGHTING)
        self._votes = Spill(folder / "votes", _VOTE)
        self._keyframes = Spill(folder / "keyframes", keyframe_dtype(label_count))
        self._extents: dict[int, _Extent] = {}
        self._stacked: tuple[Any, ...] | None = None  # the extents as arrays
        self._keyframe_keys: set[int] = set()

    @property
    def keys(self) -> list[int]:
        """Blocks that have points or key frames, in an order that depends on their place alone."""
        return sorted(self._keyframe_keys.union(self._extents))

    @property
    def point_count(self) -> int:
        """Points in all blocks."""
        return sum(extent.count for extent in self._extents.values())

    def close(self) -> None:
        """Let go of the files."""
        for spill in (self._points, self._sightings, self._votes, self._keyframes):
            spill.close()

    def add(self, points: StructurePoints) -> tuple[IndexArray, IndexArray]:
        """Put points aside; returns the block of each (P,), and its number there (P,)."""
        records = np.zeros(len(points.points), _POINT)
        records["position"], records["direction"] = points.points, points.directions
        records["range"] = np.stack([points.min_range, points.max_range], axis=1)
        keys = self.keys_of(points.points)
        rank = np.empty(len(keys), np.int64)  # of each point in its block
        for key, chosen in grouped(keys):
            before = self._extents[key].count if key in self._extents else 0
            rank[chosen] = before + np.arange(len(chosen))
            self._points.add(key, records[chosen])
            self._extend(key, records[chosen])
        seen = points.observations
        sightings = np.zeros(len(seen.track), _SIGHTING)
        sightings["point"], sightings["frame"] = rank[seen.track], seen.frame
        for key, chosen in grouped(keys[seen.track]):
            self._sightings.add(key, sightings[chosen])
        return keys, rank

    def _extend(self, key: int, records: Records) -> None:
        low, high = records["position"].min(axis=0), records["position"].max(axis=0)
        extent = _Extent(len(records), low, high, float(records["range"].max()))
        before = self._extents.get(key)
        if before is not None:
            extent.count += before.count
            extent.low, extent.high = np.minimum(low, before.low), np.maximum(high, before.high)
            extent.reach_m = max(extent.reach_m, before.reach_m)
        self._extents[key] = extent
        self._stacked = None

    def add_keyframe(self, T_map_base: FloatArray, shares: NDArray[np.floating]) -> None:
        """Put a key frame (4, 4) with its label shares (K,) aside."""
        (key,) = self.keys_of(T_map_base[None, :3, 3]).tolist()
        self._keyframe_keys.add(key)
        self._keyframes.add(key, encoded_keyframes(T_map_base[None], shares[None]))

    def near(self, centre: FloatArray, range_factor: float, slack_m: float) -> list[int]:
        """Blocks with points that may be seen from within slack_m of a centre (3,)."""
        if not self._extents:
            return []
        if self._stacked is None:
            extents = list(self._extents.values())
            columns = (np.array([getattr(one, name) for one in extents]) for name in _COLUMNS)
            self._stacked = (np.fromiter(self._extents, np.int64), *columns)
        keys, low, high, reach = self._stacked
        outside = np.maximum(np.maximum(low - centre, centre - high), 0.0)
        near = np.linalg.norm(outside, axis=1) <= range_factor * reach + slack_m
        return sorted(keys[near].tolist())

    def points(self, key: int) -> Records:
        """Records of a block's points: position, direction, range."""
        return self._points.read(key)

    def sightings(self, key: int) -> NDArray[np.int32]:
        """(S, 2) point of the block and frame of each view."""
        read = self._sightings.read(key)
        return read.view("<i4").reshape(-1, 2)

    def keyframes(self, key: int) -> Records:
        """Key frames of a block."""
        return self._keyframes.read(key)

    def add_votes(self, key: int, keys: IndexArray, weights: FloatArray) -> None:
        """Put the sums of a block's `LabelVotes` aside."""
        votes = np.zeros(len(keys), _VOTE)
        votes["key"], votes["weight"] = keys, weights
        self._votes.add(key, votes)

    def votes(self, key: int) -> tuple[IndexArray, FloatArray]:
        """All sums of a block."""
        read = self._votes.read(key)
        return read["key"].copy(), read["weight"].copy()

    def keys_of(self, positions: FloatArray) -> IndexArray:
        """(N,) block that each position (N, 2 or 3) [m] lies in."""
        return pack(tiles_of(positions, self._side_m))


def grouped(keys: IndexArray) -> Iterator[tuple[int, IndexArray]]:
    """Each key and where it stands, ascending."""
    order = np.argsort(keys, kind="stable")
    starts = np.flatnonzero(np.diff(keys[order], prepend=keys[order[:1]] - 1))
    for chosen in np.split(order, starts[1:]) if len(keys) else []:
        yield int(keys[chosen[0]]), chosen


@dataclass(frozen=True, eq=False)
class LabelledView:
    """The labels of one image, and where it was taken."""

    frame: int
    """its number in the structure"""
    camera: str
    T_map_camera: FloatArray
    """(4, 4)"""
    label_map: LabelMap


class LabelledViews:
    """Appends views to a file; iterating reads them in order."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("x+b")
        self._cameras: list[str] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, view: LabelledView) -> None:
        """Append a view."""
        if view.camera not in self._cameras:
            self._cameras.append(view.camera)
        labels = view.label_map
        numbers = [view.frame, self._cameras.index(view.camera), labels.stride, labels.label_count]
        for values in (np.array(numbers), view.T_map_camera, labels.labels, labels.confidence):
            np.save(self._file, values, allow_pickle=False)
        self._count += 1

    def __iter__(self) -> Iterator[LabelledView]:
        self._file.seek(0)
        for _ in range(self._count):
            numbers, T_map_camera, labels, confidence = (
                np.load(self._file, allow_pickle=False) for _ in range(4)
            )
            frame, camera, stride, label_count = numbers.tolist()
            label_map = LabelMap(labels, confidence, stride, label_count)
            yield LabelledView(frame, self._cameras[camera], T_map_camera, label_map)

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


class Spill:
    """Appends records to a file under keys, and gives back all those of a key, in order."""

    def __init__(self, path: Path, dtype: np.dtype[Any]) -> None:
        self._file = path.open("x+b", buffering=0)
        self._dtype = dtype
        self._size = 0
        self._chunks: defaultdict[int, array[int]] = defaultdict(lambda: array("q"))

    def add(self, key: int, records: NDArray[Any]) -> None:
        """Append records (N,) under a key.

        Raises:
            OSError: the disk is full.
        """
        data = np.ascontiguousarray(records, self._dtype).tobytes()
        self._file.seek(self._size)
        written = 0
        while written < len(data):  # one call writes 2 GiB at most
            written += self._file.write(data[written:]) or 0
        self._chunks[key].extend((self._size, len(data)))
        self._size += len(data)

    def read(self, key: int) -> NDArray[Any]:
        """All records (N,) under a key."""
        chunks = self._chunks.get(key, array("q"))
        descriptor = self._file.fileno()
        parts = [
            os.pread(descriptor, size, offset)
            for offset, size in zip(chunks[::2], chunks[1::2], strict=True)
        ]
        return np.frombuffer(b"".join(parts), self._dtype)

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()
