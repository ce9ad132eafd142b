"""The local features of a map: labelled points with descriptors, and the places of its images.

They lie in the map's folder, in one of their own that is laid out as a map is: the points are
those of the features, the key frames are the poses of the camera that took an image.

    local_features/meta.json, tile_keys.npy, tiles.npy, points.npy, keyframes.npy
    local_features/descriptors.npy  a descriptor for each point
    local_features/places.npy       a code for each image: see places
    local_features/place_mean.npy, place_projection.npy  what makes such codes
    local_features/kind.json        format, version, kind of the features, length of a code
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.errors import MapError
from fgsn_ros.mapping.descriptors import KINDS, SIZES, TYPES, Kind
from fgsn_ros.mapping.feature_tracks import FeaturePoints
from fgsn_ros.mapping.map_files import MapWriter, RowWriter, StoredRows, load_map
from fgsn_ros.mapping.map_records import (
    FloatArray,
    check_keyframes,
    check_points,
    pack,
    tiled_records,
    tiles_of,
)
from fgsn_ros.mapping.places import CODE_SIZE, PlaceCodes, pooled_size
from fgsn_ros.mapping.semantic_map import SemanticMap, check_fingerprint

FOLDER = "local_features"
FORMAT, VERSION = "fgsn_ros local features", 1
_LIMIT_BYTES = 1 << 16


def _row(size: int, kind: str) -> np.dtype[Any]:
    return np.dtype([("row", kind, (size,))])


@dataclass(frozen=True, eq=False)
class LocalFeatures:
    """The local features of a map, read where they are asked for."""

    kind: Kind
    """what describes them"""
    tiles: SemanticMap
    """points, and as key frames the cameras' poses"""
    descriptors: StoredRows
    """of each point"""
    codes: NDArray[np.float32]
    """(V, C) of each image, of length 1"""
    place_codes: PlaceCodes
    """what makes the code of another image"""

    @property
    def T_map_camera(self) -> FloatArray:
        """(V, 4, 4) poses of the cameras that took the images of `codes`."""
        return self.tiles.keyframe_poses

    def near(self, position: FloatArray, radius_m: float) -> FeaturePoints:
        """Points in the tiles that a square around a position (3,) [m] touches.

        Raises:
            MapError: what is read is damaged.
        """
        low, high = position[:2] - radius_m, position[:2] + radius_m
        points, runs = self.tiles.points_within(low, high)
        read = [self.descriptors[a:b]["row"] for a, b in runs]
        empty = np.zeros((0, SIZES[self.kind]), TYPES[self.kind])
        return FeaturePoints(points, np.concatenate([empty, *read]))


def has_local_features(map_folder: Path) -> bool:
    """Whether a map was built with local features."""
    return (map_folder / FOLDER).is_dir()


def load_local_features(map_folder: Path, semantic_map: SemanticMap) -> LocalFeatures:
    """Open the local features of a map.

    Raises:
        MapError: the map has none, or they are damaged or of another map.
    """
    folder = map_folder / FOLDER
    if not has_local_features(map_folder):
        raise MapError(
            f"the map {map_folder} has no local features to locate images by; "
            "build it again with `fgsn map` and without `--mapping.local-features.kind none`"
        )
    kind, size = _read_kind(folder / "kind.json")
    tiles = load_map(folder)
    check_fingerprint(tiles, semantic_map.fingerprint)
    descriptors = StoredRows(folder / "descriptors.npy", _row(SIZES[kind], TYPES[kind]))
    codes = StoredRows(folder / "places.npy", _row(size, "<f2"))
    if (len(descriptors), len(codes)) != (len(tiles.points), len(tiles.keyframes)):
        raise MapError(f"the map {map_folder} is damaged: {folder}'s arrays do not match")
    mean = StoredRows(folder / "place_mean.npy", np.dtype("<f4"))[:]
    projection = StoredRows(folder / "place_projection.npy", _row(size, "<f2"))[:]["row"]
    values = codes[:]["row"].astype(np.float32)
    pooled = pooled_size(tiles.label_count)
    finite = all(np.isfinite(array).all() for array in (mean, projection, values))
    if (len(mean), len(projection)) != (pooled, pooled) or not finite:
        raise MapError(f"the map is damaged: {folder} holds no usable place codes; build it again")
    place_codes = PlaceCodes(mean, projection.astype(np.float32))
    return LocalFeatures(kind, tiles, descriptors, values, place_codes)


def _read_kind(path: Path) -> tuple[Kind, int]:
    """Kind of the features, and the length of a place's code."""
    try:
        if path.stat().st_size > _LIMIT_BYTES:
            raise ValueError(f"larger than {_LIMIT_BYTES} bytes")
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise MapError(f"the map is damaged: {path} cannot be read: {reason}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise MapError(f"the map is damaged: {path} does not describe local features")
    kind, size = content.get("kind"), content.get("code_size")
    if content.get("version") != VERSION or kind not in KINDS:
        raise MapError(
            f"{path} has local features of kind {kind!r:.40}, version "
            f"{content.get('version')!r:.40}, not {', '.join(KINDS)} of version {VERSION}; "
            "build the map again with `fgsn map`"
        )
    if type(size) is not int or not 0 < size <= CODE_SIZE:
        raise MapError(f"{path} is damaged: code_size must be in 1..{CODE_SIZE}")
    return cast(Kind, kind), size


class FeatureWriter:
    """Writes local features into a map's folder, any number of whole tiles at a time."""

    def __init__(
        self,
        map_folder: Path,
        kind: Kind,
        label_count: int,
        fingerprint: str,
        tile_size_m: float,
        place_codes: PlaceCodes,
    ) -> None:
        self._folder = map_folder / FOLDER
        self._folder.mkdir()
        self._kind: Kind = kind
        self._tile_size_m = tile_size_m
        self._place_codes = place_codes
        self._size = place_codes.projection.shape[1]
        self._label_count = label_count
        self._tiles = MapWriter(self._folder, label_count, fingerprint, tile_size_m)
        self._descriptors = self._rows("descriptors", _row(SIZES[kind], TYPES[kind]))
        self._codes = self._rows("places", _row(self._size, "<f2"))

    def _rows(self, name: str, dtype: np.dtype[Any]) -> RowWriter:
        return RowWriter(self._folder / f"{name}.npy", dtype)

    @property
    def point_count(self) -> int:
        """Points so far."""
        return self._tiles.point_count

    def add(
        self,
        features: FeaturePoints,
        T_map_camera: FloatArray,
        pooled: NDArray[np.floating],
        shares: NDArray[np.floating],
    ) -> None:
        """Write features, and images by pose (V, 4, 4), pooled labels (V, P) and shares (V, K).

        They are of whole tiles, which were not written before.
        """
        self.add_coded(features, T_map_camera, self._place_codes.of(pooled), shares)

    def add_coded(
        self,
        features: FeaturePoints,
        T_map_camera: FloatArray,
        codes: NDArray[np.floating],
        shares: NDArray[np.floating],
    ) -> None:
        """Write as `add` does, by images' codes (V, C) in place of their pooled labels."""
        check_points(features.points, self._label_count)
        check_keyframes(T_map_camera, shares)
        # In the order of tiles, which `tiled_records` keeps: the rows beside them follow it.
        by_tile, images = (
            np.argsort(pack(tiles_of(positions, self._tile_size_m)), kind="stable")
            for positions in (features.points.points, T_map_camera[:, :3, 3])
        )
        features = features[by_tile]
        self._tiles.add(
            tiled_records(features.points, T_map_camera[images], shares[images], self._tile_size_m)
        )
        for rows, values in (
            (self._descriptors, features.descriptors),
            (self._codes, codes[images]),
        ):
            rows.add(_records(values))

    def close(self) -> None:
        """Write the index and what makes codes."""
        self._tiles.close()
        for rows in (self._descriptors, self._codes):
            rows.close()
        np.save(self._folder / "place_mean.npy", self._place_codes.mean)
        np.save(
            self._folder / "place_projection.npy",
            _records(self._place_codes.projection.astype(np.float16)),
        )
        content = {
            "format": FORMAT,
            "version": VERSION,
            "kind": self._kind,
            "code_size": self._size,
        }
        (self._folder / "kind.json").write_text(json.dumps(content, indent=2) + "\n")


def _records(values: NDArray[Any]) -> NDArray[np.void]:
    """Rows (N, M) as records that a .npy file can hold in one dimension."""
    kind = values.dtype.str[1:] if values.dtype.itemsize == 1 else "<f2"
    records = np.zeros(len(values), _row(values.shape[1], kind))
    records["row"] = values
    return records
