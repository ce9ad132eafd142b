"""The semantic map: labelled 3D points ordered by tile, and key frames."""

import hashlib
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.errors import MapError

MAX_COORDINATE_M = 1e5
"""Beyond it float32 coordinates are coarser than 8 mm."""
_COLUMN = 1 << 32
_CENTRE = 1 << 31

FloatArray = NDArray[np.float64]
Float32Array = NDArray[np.float32]
IndexArray = NDArray[np.int64]


@dataclass(frozen=True)
class SemanticMap:
    """Labelled points and key frames of one map frame; arrays may be memory-mapped.

    Raises:
        MapError: on construction, if shapes, types or values contradict each other.
    """

    points: Float32Array
    """(N, 3) positions in the map frame [m], ordered by tile."""
    labels: NDArray[np.uint16]
    """(N,) label of each point, below label_count."""
    confidence: Float32Array
    """(N,) share of the votes that agree with the label, in [0, 1]."""
    directions: Float32Array
    """(N, 3) mean unit viewing direction, from camera to point, in the map frame."""
    min_range: Float32Array
    """(N,) shortest distance from which the point was seen [m]."""
    max_range: Float32Array
    """(N,) longest distance from which the point was seen [m]."""
    tile_keys: NDArray[np.int32]
    """(T, 2) column and row of each occupied tile, strictly increasing by column, then row."""
    tile_starts: IndexArray
    """(T + 1,) first point of each tile, then N."""
    tile_size_m: float
    """Side of the square tiles of the x-y plane [m]."""
    keyframe_poses: FloatArray
    """(F, 4, 4) T_map_base."""
    keyframe_histograms: Float32Array
    """(F, K) share of each label in the key frame's images."""
    label_count: int
    """K."""
    fingerprint: str
    """Fingerprint of the checkpoint that labelled the points."""
    _packed_keys: IndexArray = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check every array against the others."""
        _check_shapes(self)
        _check_values(self)
        _check_tiles(self)
        _check_keyframes(self)
        object.__setattr__(self, "_packed_keys", _packed(self.tile_keys.astype(np.int64)))

    def __len__(self) -> int:
        return len(self.points)

    @property
    def identity(self) -> str:
        """SHA-256 (hex) of key frames and tiles: tells maps apart without reading their points."""
        digest = hashlib.sha256(self.fingerprint.encode())
        for array in (self.keyframe_poses, self.tile_keys, self.tile_starts):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

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
        """Order points (fields as in the class) by tile and index the tiles.

        Raises:
            MapError: the arrays contradict each other or hold invalid values.
        """
        positions = np.asarray(points, dtype=np.float32)
        _require_coordinates(positions)
        order, keys, starts = _tiled(positions, tile_size_m)
        return SemanticMap(
            points=positions[order],
            labels=np.asarray(labels, dtype=np.uint16)[order],
            confidence=np.asarray(confidence, dtype=np.float32)[order],
            directions=np.asarray(directions, dtype=np.float32)[order],
            min_range=np.asarray(min_range, dtype=np.float32)[order],
            max_range=np.asarray(max_range, dtype=np.float32)[order],
            tile_keys=keys,
            tile_starts=starts,
            tile_size_m=tile_size_m,
            keyframe_poses=np.asarray(keyframe_poses, dtype=np.float64),
            keyframe_histograms=np.asarray(keyframe_histograms, dtype=np.float32),
            label_count=int(np.asarray(keyframe_histograms).shape[-1]),
            fingerprint=fingerprint,
        )

    def points_near(self, position: NDArray[np.floating], radius_m: float) -> IndexArray:
        """Ascending indices of the points within radius_m of position (3,) [m].

        Only the tiles that the radius touches are read, whatever the size of the map.
        """
        centre = np.asarray(position, dtype=np.float64)
        if not (np.isfinite(centre).all() and radius_m >= 0.0):
            raise MapError("points_near needs a finite position and a radius of at least 0 m")
        low, high = (
            np.clip(np.floor((centre[:2] + reach) / self.tile_size_m), -_CENTRE, _CENTRE - 1)
            for reach in (-radius_m, radius_m)
        )
        columns = self._occupied_columns(int(low[0]), int(high[0]))
        first = np.searchsorted(self._packed_keys, columns * _COLUMN + int(low[1]) + _CENTRE)
        last = np.searchsorted(
            self._packed_keys, columns * _COLUMN + int(high[1]) + _CENTRE, side="right"
        )
        candidates = _ranges(self.tile_starts[first], self.tile_starts[last])
        offsets = self.points[candidates].astype(np.float64) - centre
        near: IndexArray = candidates[
            np.einsum("ij,ij->i", offsets, offsets) <= radius_m * radius_m
        ]
        return near

    def _occupied_columns(self, first: int, last: int) -> IndexArray:
        if len(self.tile_keys) == 0:
            return np.zeros(0, np.int64)
        return np.arange(
            max(first, int(self.tile_keys[0, 0])), min(last, int(self.tile_keys[-1, 0])) + 1
        )


def _packed(keys: IndexArray) -> IndexArray:
    packed: IndexArray = keys[:, 0] * _COLUMN + keys[:, 1] + _CENTRE
    return packed


def _ranges(starts: IndexArray, stops: IndexArray) -> IndexArray:
    pieces = [np.arange(a, b) for a, b in zip(starts, stops, strict=True) if b > a]
    return np.concatenate(pieces) if pieces else np.zeros(0, np.int64)


def _tile_of(points: Float32Array, tile_size_m: float) -> IndexArray:
    tiles: IndexArray = np.floor(points[:, :2].astype(np.float64) / tile_size_m).astype(np.int64)
    return tiles


def _tiled(
    points: Float32Array, tile_size_m: float
) -> tuple[IndexArray, NDArray[np.int32], IndexArray]:
    tiles = _tile_of(points, tile_size_m)
    order = np.lexsort((tiles[:, 1], tiles[:, 0]))
    keys, first = np.unique(tiles[order], axis=0, return_index=True)
    starts = np.append(first, len(points)).astype(np.int64)
    return order, keys.reshape(-1, 2).astype(np.int32), starts


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise MapError(f"the map is damaged: {what}; build it again with `fgsn map`")


def _require_coordinates(points: Float32Array) -> None:
    _require(points.ndim == 2 and points.shape[1] == 3, "points must be (N, 3)")
    _require(bool(np.isfinite(points).all()), "a point is not finite")
    if points.size and float(np.abs(points).max()) > MAX_COORDINATE_M:
        raise MapError(
            f"map coordinates exceed {MAX_COORDINATE_M:.0f} m, too far for float32; "
            "subtract an origin from the poses"
        )


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


def _check_shapes(m: SemanticMap) -> None:
    n = len(m.points)
    k = m.label_count
    _require(0 < k < 65535, f"label count {k} is not in 1..65534")
    tiles = m.tile_keys.shape[0] if m.tile_keys.ndim else 0
    expected: list[tuple[str, tuple[int, ...], type[np.generic]]] = [
        ("points", (n, 3), np.float32),
        ("labels", (n,), np.uint16),
        ("confidence", (n,), np.float32),
        ("directions", (n, 3), np.float32),
        ("min_range", (n,), np.float32),
        ("max_range", (n,), np.float32),
        ("tile_keys", (tiles, 2), np.int32),
        ("tile_starts", (tiles + 1,), np.int64),
        ("keyframe_poses", (len(m.keyframe_poses), 4, 4), np.float64),
        ("keyframe_histograms", (len(m.keyframe_poses), k), np.float32),
    ]
    for name, shape, dtype in expected:
        array = getattr(m, name)
        _require(array.shape == shape, f"{name} is {array.shape}, not {shape}")
        _require(array.dtype == dtype, f"{name} is {array.dtype}, not {np.dtype(dtype)}")


def _check_values(m: SemanticMap) -> None:
    _require_coordinates(m.points)
    if len(m.points) == 0:
        return
    _require(int(m.labels.max()) < m.label_count, "a label is not below the label count")
    for name in ("confidence", "directions", "min_range", "max_range"):
        _require(bool(np.isfinite(getattr(m, name)).all()), f"{name} has a value not finite")
    _require(
        bool((m.confidence >= 0.0).all() and (m.confidence <= 1.0).all()),
        "a confidence is outside [0, 1]",
    )
    norms = np.linalg.norm(m.directions, axis=1)
    _require(bool((np.abs(norms - 1.0) < 1e-3).all()), "a viewing direction is not of length 1")
    _require(
        bool((m.min_range > 0.0).all() and (m.min_range <= m.max_range).all()),
        "a point's ranges are not 0 < min <= max",
    )


def _check_tiles(m: SemanticMap) -> None:
    _require(1e-3 < m.tile_size_m < 1e6, f"tile size {m.tile_size_m} m is out of range")
    counts = np.diff(m.tile_starts)
    _require(
        int(m.tile_starts[0]) == 0
        and int(m.tile_starts[-1]) == len(m.points)
        and bool((counts > 0).all()),
        "the tile index does not cover the points",
    )
    _require(
        bool((np.diff(_packed(m.tile_keys.astype(np.int64))) > 0).all()), "tiles are not ordered"
    )
    tiles = np.repeat(m.tile_keys.astype(np.int64), counts, axis=0)
    _require(
        bool((tiles == _tile_of(m.points, m.tile_size_m)).all()), "a point lies outside its tile"
    )


def _check_keyframes(m: SemanticMap) -> None:
    poses, histograms = m.keyframe_poses, m.keyframe_histograms
    _require(len(poses) > 0, "there are no key frames")
    _require(bool(np.isfinite(poses).all()), "a key frame's pose is not finite")
    rotations = poses[:, :3, :3]
    products = rotations @ np.swapaxes(rotations, 1, 2)
    rigid = (
        np.allclose(products, np.eye(3), atol=1e-4)
        and bool((np.linalg.det(rotations) > 0.0).all())
        and bool((poses[:, 3] == (0.0, 0.0, 0.0, 1.0)).all())
    )
    _require(rigid, "a key frame's pose is not a rigid transform")
    _require(
        bool(np.isfinite(histograms).all() and (histograms >= 0.0).all()),
        "a key frame's label histogram has a negative or not finite value",
    )
