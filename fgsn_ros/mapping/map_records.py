"""How a map stores points and key frames: compact records, ordered by square tiles; their checks.

A point takes 13 bytes: its place within its tile in 1/65536 of the tile, the range limits on a
logarithmic scale, the viewing direction as an octahedron's coordinates (Cigolle et al., A Survey
of Efficient Representations for Independent Unit Vectors, 2014), the confidence in 1/255.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.errors import MapError
from fgsn_ros.geometry import poses

FloatArray = NDArray[np.float64]
Float32Array = NDArray[np.float32]
IndexArray = NDArray[np.int64]
Records = NDArray[np.void]

POINT = np.dtype(
    [
        ("cell", "<u2", (3,)),  # x and y in the tile's side, z in the tile's height, / 65536
        ("label", "<u2"),
        ("range", "u1", (2,)),  # shortest and longest, see `_RANGE_STEP`
        ("direction", "i1", (2,)),
        ("confidence", "u1"),
    ]
)
TILE = np.dtype(
    [
        ("first_point", "<i8"),
        ("first_keyframe", "<i8"),
        ("points", "<i4"),
        ("keyframes", "<i4"),
        ("floor_m", "<f4"),  # lowest z of its points
        ("height_m", "<f4"),  # from there to the highest
    ]
)
SESSIONS = np.dtype([("supported", "u1"), ("contradicted", "u1")])
"""What drives said of a point: how many saw it as it is labelled, and how many contradicted it
since one did so last. 255 stands for more, too."""
_CELLS = 65536
_NEAREST_M, _FARTHEST_M = 0.1, 2000.0
_RANGE_STEP = float(np.log(_FARTHEST_M / _NEAREST_M)) / 255.0
"""3.9 %: the ranges' limits are used with a slack of half and more."""
_OCTAHEDRON = 127.0
_COLUMN = 1 << 32
_CENTRE = 1 << 31


def keyframe_dtype(label_count: int) -> np.dtype[np.void]:
    """Record of a key frame: T_map_base, and the share of each label in its images.

    The shares are for localization from a single image, which will look key frames up by them;
    tracking does not read them.
    """
    return np.dtype(
        [("position", "<f8", (3,)), ("q_xyzw", "<f4", (4,)), ("shares", "<f2", (label_count,))]
    )


@dataclass(frozen=True, eq=False)
class MapPoints:
    """Labelled points of a map frame."""

    points: NDArray[np.floating]
    """(N, 3) positions [m]"""
    labels: NDArray[np.uint16]
    """(N,)"""
    confidence: NDArray[np.floating]
    """(N,) share of the votes that agree with the label, in [0, 1]"""
    directions: NDArray[np.floating]
    """(N, 3) mean unit viewing direction, from camera to point"""
    min_range: NDArray[np.floating]
    """(N,) shortest distance from which the point was seen [m]"""
    max_range: NDArray[np.floating]
    """(N,) longest distance from which the point was seen [m]"""

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, chosen: NDArray[np.integer] | NDArray[np.bool_] | slice) -> "MapPoints":
        return MapPoints(*(getattr(self, field.name)[chosen] for field in fields(self)))

    @staticmethod
    def joined(parts: "Sequence[MapPoints]") -> "MapPoints":
        """Those of all parts, of which there is one at least."""
        columns = zip(*([getattr(p, f.name) for f in fields(p)] for p in parts), strict=True)
        return MapPoints(*(np.concatenate(column) for column in columns))


@dataclass(frozen=True, eq=False)
class TiledRecords:
    """Points and key frames as records, ordered by tile."""

    keys: IndexArray
    """(T,) packed column and row of each tile, strictly increasing"""
    table: Records
    """(T,) TILE"""
    points: Records
    """(N,) POINT"""
    keyframes: Records
    """(F,) keyframe_dtype"""


def pack(tiles: IndexArray) -> IndexArray:
    """(N,) keys of tiles (N, 2): ordered by column, then row."""
    packed: IndexArray = tiles[..., 0] * _COLUMN + tiles[..., 1] + _CENTRE
    return packed


def unpack(keys: IndexArray) -> IndexArray:
    """(N, 2) column and row of packed keys (N,)."""
    return np.stack([keys // _COLUMN, keys % _COLUMN - _CENTRE], axis=-1)


def tiles_of(positions: NDArray[np.floating], tile_size_m: float) -> IndexArray:
    """(N, 2) column and row of the tile of each position (N, 2 or 3) [m]."""
    tiles = np.floor(positions[:, :2].astype(np.float64) / tile_size_m)
    clipped: IndexArray = np.clip(tiles, -_CENTRE, _CENTRE - 1).astype(np.int64)
    return clipped


def tiled_records(
    points: MapPoints, keyframe_poses: FloatArray, shares: NDArray[np.floating], tile_size_m: float
) -> TiledRecords:
    """Points and key frames (F, 4, 4) with label shares (F, K), ordered by tile and packed."""
    of_points, of_keyframes = (
        pack(tiles_of(positions, tile_size_m))
        for positions in (points.points, keyframe_poses[:, :3, 3])
    )
    order, keyframe_order = (np.argsort(keys, kind="stable") for keys in (of_points, of_keyframes))
    keys = np.unique(np.concatenate([of_points, of_keyframes]))
    table = np.zeros(len(keys), TILE)
    for name, sorted_keys in (
        ("point", of_points[order]),
        ("keyframe", of_keyframes[keyframe_order]),
    ):
        first, last = (np.searchsorted(sorted_keys, keys, side) for side in ("left", "right"))
        table[f"first_{name}"], table[f"{name}s"] = first, last - first
    numbers = np.repeat(np.arange(len(keys)), table["points"])
    records = _encoded(points[order], keys, table, numbers, tile_size_m)
    keyframes = encoded_keyframes(keyframe_poses, shares)[keyframe_order]
    return TiledRecords(keys, table, records, keyframes)


def _encoded(
    points: MapPoints, keys: IndexArray, table: Records, numbers: IndexArray, tile_size_m: float
) -> Records:
    """Records of points ordered by tile; sets floor and height of the tiles' table."""
    positions = points.points.astype(np.float64)
    within = positions[:, :2] / tile_size_m - unpack(keys)[numbers]
    z, starts = positions[:, 2], np.flatnonzero(np.diff(numbers, prepend=-1))
    if len(starts):
        used = numbers[starts]
        table["floor_m"][used] = np.minimum.reduceat(z, starts)
        table["height_m"][used] = np.maximum.reduceat(z, starts) - table["floor_m"][used]
    above = z - table["floor_m"][numbers]
    height = np.maximum(table["height_m"][numbers], 1e-6)
    records = np.zeros(len(points), POINT)
    cells = np.column_stack([within, above / height]) * _CELLS
    records["cell"] = np.clip(np.floor(cells), 0, _CELLS - 1)
    records["label"] = points.labels
    for column, ranges in enumerate((points.min_range, points.max_range)):
        steps = np.log(np.clip(ranges, _NEAREST_M, _FARTHEST_M) / _NEAREST_M) / _RANGE_STEP
        records["range"][:, column] = np.rint(steps)
    records["direction"] = _to_octahedron(points.directions.astype(np.float64))
    records["confidence"] = np.rint(points.confidence * 255.0)
    return records


def decoded(records: Records, keys: IndexArray, tiles: Records, tile_size_m: float) -> MapPoints:
    """Points of records (N,), which are those of whole tiles (T,) in turn."""
    scale = np.empty((len(keys), 3))
    scale[:, :2], scale[:, 2] = tile_size_m / _CELLS, tiles["height_m"] / _CELLS
    origin = np.column_stack([unpack(keys) * tile_size_m, tiles["floor_m"]]) + 0.5 * scale
    origin, scale = (np.repeat(of_tiles, tiles["points"], axis=0) for of_tiles in (origin, scale))
    limits = _RANGES[records["range"]]
    return MapPoints(
        (origin + records["cell"] * scale).astype(np.float32),
        np.ascontiguousarray(records["label"]),
        records["confidence"] * np.float32(1.0 / 255.0),
        _DIRECTIONS[np.ascontiguousarray(records["direction"]).view(np.uint16)[:, 0]],
        np.ascontiguousarray(limits[:, 0]),
        np.ascontiguousarray(limits[:, 1]),
    )


_RANGES = (_NEAREST_M * np.exp(_RANGE_STEP * np.arange(256))).astype(np.float32)


def encoded_keyframes(keyframe_poses: FloatArray, shares: NDArray[np.floating]) -> Records:
    """Records of key frames (F, 4, 4) with label shares (F, K)."""
    records = np.zeros(len(keyframe_poses), keyframe_dtype(shares.shape[1]))
    records["position"], records["q_xyzw"] = poses.to_quaternion(keyframe_poses)
    records["shares"] = shares
    return records


def decoded_poses(keyframes: Records) -> FloatArray:
    """T_map_base (F, 4, 4) of records (F,)."""
    return poses.from_quaternion(keyframes["position"], keyframes["q_xyzw"].astype(np.float64))


def joined(parts: Sequence[MapPoints]) -> MapPoints:
    """The points of all parts (at least one), in turn."""
    return MapPoints(
        *(
            np.concatenate([getattr(part, field.name) for part in parts])
            for field in fields(parts[0])
        )
    )


def _to_octahedron(directions: FloatArray) -> NDArray[np.int8]:
    """(N, 2) of unit vectors (N, 3): the sphere's lower half is folded over the upper's corners."""
    flat = directions / np.abs(directions).sum(axis=1, keepdims=True)
    folded = (1.0 - np.abs(flat[:, 1::-1])) * np.where(flat[:, :2] >= 0.0, 1.0, -1.0)
    xy = np.where(flat[:, 2:] >= 0.0, flat[:, :2], folded)
    codes: NDArray[np.int8] = np.rint(xy * _OCTAHEDRON).astype(np.int8)
    return codes


def _from_octahedron(codes: NDArray[np.int8]) -> Float32Array:
    xy = np.clip(codes.astype(np.float32) / np.float32(_OCTAHEDRON), -1.0, 1.0)
    z = 1.0 - np.abs(xy).sum(axis=1, keepdims=True)
    folded = (1.0 - np.abs(xy[:, ::-1])) * np.where(xy >= 0.0, np.float32(1.0), np.float32(-1.0))
    directions = np.hstack([np.where(z >= 0.0, xy, folded), z])
    unit: Float32Array = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    return unit


_DIRECTIONS = _from_octahedron(np.arange(1 << 16, dtype=np.uint16).view(np.int8).reshape(-1, 2))
"""Directions of all codes."""


MAX_COORDINATE_M = 1e5
"""Beyond it float32 coordinates are coarser than 8 mm."""


def require_whole(condition: bool, what: str) -> None:
    """Raise MapError, which says what is damaged, unless a condition holds."""
    if not condition:
        raise MapError(f"the map is damaged: {what}; build it again with `fgsn map`")


def check_points(points: MapPoints, label_count: int) -> None:
    """Check points before they are stored.

    Raises:
        MapError: the arrays contradict each other or hold invalid values.
    """
    count = len(points.points)
    for name in ("points", "directions"):
        shape = getattr(points, name).shape
        require_whole(shape == (count, 3), f"{name} is {shape}, not {(count, 3)}")
    for name in ("labels", "confidence", "min_range", "max_range"):
        shape = getattr(points, name).shape
        require_whole(shape == (count,), f"{name} is {shape}, not {(count,)}")
    require_whole(0 < label_count < 65535, f"label count {label_count} is not in 1..65534")
    for name in ("points", "confidence", "directions", "min_range", "max_range"):
        finite = bool(np.isfinite(getattr(points, name)).all())
        require_whole(finite, f"{name} has a value not finite")
    if count:
        _check_values(points, label_count)


def _check_values(points: MapPoints, label_count: int) -> None:
    if float(np.abs(points.points).max()) > MAX_COORDINATE_M:
        raise MapError(
            f"map coordinates exceed {MAX_COORDINATE_M:.0f} m, too far for float32; "
            "subtract an origin from the poses"
        )
    labels, confidence = points.labels, points.confidence
    require_whole(
        int(labels.min()) >= 0 and int(labels.max()) < label_count,
        "a label is not below the label count",
    )
    require_whole(
        bool((confidence >= 0.0).all() and (confidence <= 1.0).all()),
        "a confidence is outside [0, 1]",
    )
    norms = np.linalg.norm(points.directions, axis=1)
    require_whole(
        bool((np.abs(norms - 1.0) < 1e-3).all()), "a viewing direction is not of length 1"
    )
    require_whole(
        bool((points.min_range > 0.0).all() and (points.min_range <= points.max_range).all()),
        "a point's ranges are not 0 < min <= max",
    )


def check_keyframes(T_map_base: FloatArray, shares: NDArray[np.floating]) -> None:
    """Check poses (F, 4, 4) and label shares (F, K) of key frames.

    Raises:
        MapError: a value is not finite, a pose not rigid or too far, a share negative.
    """
    require_whole(
        T_map_base.shape == (len(shares), 4, 4) and shares.ndim == 2,
        f"keyframe_poses is {T_map_base.shape}, keyframe_histograms {shares.shape}",
    )
    require_whole(bool(np.isfinite(T_map_base).all()), "a key frame's pose is not finite")
    rotations = T_map_base[:, :3, :3]
    products = rotations @ np.swapaxes(rotations, 1, 2)
    rigid = (
        np.allclose(products, np.eye(3), atol=1e-4)
        and bool((np.linalg.det(rotations) > 0.0).all())
        and bool((T_map_base[:, 3] == (0.0, 0.0, 0.0, 1.0)).all())
    )
    require_whole(rigid, "a key frame's pose is not a rigid transform")
    require_whole(
        bool(np.isfinite(shares).all() and (shares >= 0.0).all()),
        "a key frame's label histogram has a negative or not finite value",
    )
