"""Map folders (meta.json and memory-mapped .npy arrays) and PLY export."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from fgsn_ros.errors import MapError
from fgsn_ros.mapping.semantic_map import SemanticMap
from fgsn_ros.outputs import whole_file, whole_folder
from fgsn_ros.segmentation.labels import palette

FORMAT = "fgsn_ros semantic map"
VERSION = 1
_ARRAYS = (
    "points",
    "labels",
    "confidence",
    "directions",
    "min_range",
    "max_range",
    "tile_keys",
    "tile_starts",
    "keyframe_poses",
    "keyframe_histograms",
)
_META_TYPES: dict[str, type] = {
    "label_count": int,
    "fingerprint": str,
    "tile_size_m": float,
    "point_count": int,
    "keyframe_count": int,
}
_META_LIMIT_BYTES = 1 << 20


def save_map(folder: Path, semantic_map: SemanticMap, overwrite: bool = False) -> None:
    """Write a map folder, whole or not at all.

    Raises:
        OutputError: the folder exists (without overwrite) or cannot be written.
    """
    meta = {
        "format": FORMAT,
        "version": VERSION,
        "label_count": semantic_map.label_count,
        "fingerprint": semantic_map.fingerprint,
        "tile_size_m": float(semantic_map.tile_size_m),
        "point_count": len(semantic_map.points),
        "keyframe_count": len(semantic_map.keyframe_poses),
    }
    with whole_folder(folder, overwrite=overwrite) as temporary:
        for name in _ARRAYS:
            np.save(temporary / f"{name}.npy", getattr(semantic_map, name), allow_pickle=False)
        (temporary / "meta.json").write_text(json.dumps(meta, indent=2) + "\n")


def load_map(folder: Path) -> SemanticMap:
    """Open a map folder with its arrays memory-mapped, and check it.

    Raises:
        MapError: a file is missing, damaged, of another format, or holds invalid values.
    """
    meta = _read_meta(folder)
    arrays = {name: _read_array(folder / f"{name}.npy") for name in _ARRAYS}
    counts = (arrays["points"].shape[:1], arrays["keyframe_poses"].shape[:1])
    if counts != ((meta["point_count"],), (meta["keyframe_count"],)):
        raise MapError(f"the map {folder} is damaged: its arrays do not match meta.json")
    try:
        return SemanticMap(
            tile_size_m=meta["tile_size_m"],
            label_count=meta["label_count"],
            fingerprint=meta["fingerprint"],
            **arrays,
        )
    except MapError as error:
        raise MapError(f"{folder}: {error}") from error


def export_ply(path: Path, semantic_map: SemanticMap) -> None:
    """Write the points as binary PLY, coloured by label, with label and confidence.

    Raises:
        OutputError: the file cannot be written.
    """
    fields = [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("red", "u1"), ("green", "u1")]
    fields += [("blue", "u1"), ("label", "<u2"), ("confidence", "<f4")]
    vertices = np.zeros(len(semantic_map), dtype=fields)
    colours = palette(semantic_map.label_count)[semantic_map.labels]
    for column, (axis, colour) in enumerate(zip("xyz", ("red", "green", "blue"), strict=True)):
        vertices[axis] = semantic_map.points[:, column]
        vertices[colour] = colours[:, column]
    vertices["label"] = semantic_map.labels
    vertices["confidence"] = semantic_map.confidence
    kinds = {"<f4": "float", "u1": "uchar", "<u2": "ushort"}
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(vertices)}"]
    header += [f"property {kinds[kind]} {name}" for name, kind in fields] + ["end_header", ""]
    with whole_file(path) as temporary:
        temporary.write_bytes("\n".join(header).encode("ascii") + vertices.tobytes())


def _read_meta(folder: Path) -> dict[str, Any]:
    path = folder / "meta.json"
    if not path.is_file():
        raise MapError(f"{folder} is no map: meta.json is missing; build one with `fgsn map`")
    try:
        if path.stat().st_size > _META_LIMIT_BYTES:
            raise MapError(f"{path} is damaged: it is larger than {_META_LIMIT_BYTES} bytes")
        meta = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise MapError(f"{path} is damaged: {' '.join(str(error).split())}") from error
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        raise MapError(f"{path} does not describe a map; build one with `fgsn map`")
    if meta.get("version") != VERSION:
        raise MapError(
            f"{path} has format version {meta.get('version')!r:.40}, not {VERSION}; "
            "build the map again with `fgsn map`"
        )
    for name, kind in _META_TYPES.items():
        if type(meta.get(name)) is not kind:
            raise MapError(f"{path} is damaged: {name} must be of type {kind.__name__}")
    return meta


def _read_array(path: Path) -> np.ndarray[Any, Any]:
    try:
        with np.errstate(all="ignore"):
            return _plain(np.load(path, mmap_mode="r", allow_pickle=False))
    except FileNotFoundError as error:
        raise MapError(f"the map is damaged: {path} is missing; build it again") from error
    except Exception as error:  # np.load meets hostile headers with many kinds of exception
        reason = " ".join(str(error).split())[:200]
        raise MapError(f"the map is damaged: {path} cannot be read: {reason}") from error


def _plain(loaded: Any) -> np.ndarray[Any, Any]:
    if not isinstance(loaded, np.ndarray) or not loaded.flags.c_contiguous:
        raise ValueError("not a C-ordered array")
    return loaded
