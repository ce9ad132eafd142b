"""Map folders: written in a stream, read piece by piece; points as PLY.

    meta.json      format, version, label count, fingerprint of the checkpoint, tile size, counts
    tile_keys.npy  packed column and row of each tile, increasing
    tiles.npy      TILE records: where the points and the key frames of each tile are
    points.npy     POINT records, those of a tile together
    keyframes.npy  key-frame records, those of a tile together: pose, and the share of each label
                   in the images, which localization from a single image will read
    sessions.npy   a SESSIONS record for each point, in maps that drives were added to: `sessions`
                   of meta.json then tells of each what it changed

A query reads the tiles that it needs.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.documents import parse_json
from fgsn_ros.errors import MapError
from fgsn_ros.mapping.map_records import (
    POINT,
    SESSIONS,
    TILE,
    IndexArray,
    Records,
    TiledRecords,
    keyframe_dtype,
)
from fgsn_ros.mapping.semantic_map import SemanticMap, identity_of
from fgsn_ros.outputs import Layout, whole_file, whole_folder
from fgsn_ros.segmentation.labels import palette
from fgsn_ros.text_files import open_file, read_text

FORMAT = "fgsn_ros semantic map"
VERSION = 2
MAP_FOLDER = Layout(
    "meta.json", f'"{FORMAT}"', ("*.npy", "local_features/*.json", "model_to_map.json")
)
_META_TYPES: dict[str, type] = {
    "label_count": int,
    "fingerprint": str,
    "tile_size_m": float,
    "point_count": int,
    "keyframe_count": int,
    "identity": str,
}
_META_LIMIT_BYTES = 1 << 20
_TOLD_SESSIONS = 1000
"""The newest sessions that meta.json tells of: it has a largest size."""
_COPIED_ROWS = 1_000_000
_HEADER_BYTES = 512


class MapWriter:
    """Writes a map's files into a folder, any number of whole tiles at a time."""

    def __init__(
        self,
        folder: Path,
        label_count: int,
        fingerprint: str,
        tile_size_m: float,
        with_sessions: bool = False,
    ) -> None:
        """`with_sessions`: the map tells what drives said of each point."""
        self._folder = folder
        self._meta = {
            "format": FORMAT,
            "version": VERSION,
            "label_count": label_count,
            "fingerprint": fingerprint,
            "tile_size_m": float(tile_size_m),
        }
        self._rows = {
            "points": RowWriter(folder / "points.npy", POINT),
            "keyframes": RowWriter(folder / "keyframes.npy", keyframe_dtype(label_count)),
        }
        if with_sessions:
            self._rows["sessions"] = RowWriter(folder / "sessions.npy", SESSIONS)
        self._hashes = {name: hashlib.sha256() for name in self._rows}
        self._keys: list[IndexArray] = []
        self._tables: list[Records] = []

    @property
    def point_count(self) -> int:
        """Points so far."""
        return self._rows["points"].count

    @property
    def keyframe_count(self) -> int:
        """Key frames so far."""
        return self._rows["keyframes"].count

    def add(self, tiles: TiledRecords, sessions: Records | None = None) -> None:
        """Write tiles that were not written before; with sessions, SESSIONS of their points."""
        table = tiles.table.copy()
        table["first_point"] += self._rows["points"].count
        table["first_keyframe"] += self._rows["keyframes"].count
        self._keys.append(tiles.keys)
        self._tables.append(table)
        written = {"points": tiles.points, "keyframes": tiles.keyframes}
        if sessions is not None:
            written["sessions"] = sessions
        for name, records in written.items():
            self._rows[name].add(records)
            self._hashes[name].update(records.tobytes())

    def close(self, identity: str | None = None, told: Sequence[Mapping[str, object]] = ()) -> None:
        """Write the index; the identity is that of what was written unless one is given.

        `told`: of each drive that was added what it changed, the newest last.
        """
        for rows in self._rows.values():
            rows.close()
        keys = np.concatenate([np.zeros(0, np.int64), *self._keys])
        order = np.argsort(keys)
        np.save(self._folder / "tile_keys.npy", keys[order])
        np.save(
            self._folder / "tiles.npy", np.concatenate([np.zeros(0, TILE), *self._tables])[order]
        )
        fingerprint = str(self._meta["fingerprint"])
        meta = {
            **self._meta,
            "point_count": self.point_count,
            "keyframe_count": self.keyframe_count,
            "identity": identity or identity_of(fingerprint, *self._hashes.values()),
        }
        if "sessions" in self._rows:
            meta["sessions"] = list(told)[-_TOLD_SESSIONS:]
        (self._folder / "meta.json").write_text(json.dumps(meta, indent=2) + "\n")


def save_map(folder: Path, semantic_map: SemanticMap, overwrite: bool = False) -> None:
    """Write a map folder, whole or not at all.

    Raises:
        OutputError: the folder exists (without overwrite) or cannot be written.
    """
    m = semantic_map
    with whole_folder(folder, MAP_FOLDER, overwrite) as temporary:
        with_sessions = m.sessions is not None
        writer = MapWriter(temporary, m.label_count, m.fingerprint, m.tile_size_m, with_sessions)
        keys, table = np.asarray(m.tile_keys), np.asarray(m.tiles)
        for first in range(0, max(len(m.points), len(m.keyframes)), _COPIED_ROWS):
            part = slice(first, first + _COPIED_ROWS)
            sessions = None if m.sessions is None else m.sessions[part]
            writer.add(TiledRecords(keys, table, m.points[part], m.keyframes[part]), sessions)
            keys, table = keys[:0], table[:0]
        writer.close(m.identity)


def load_map(folder: Path) -> SemanticMap:
    """Open a map folder; points and key frames stay in their files until they are asked for.

    Raises:
        MapError: a file is missing, damaged or of another format. Values are checked when read.
    """
    meta = _read_meta(folder)
    if meta["version"] == 1:
        return _load_first_version(folder, meta)
    points = StoredRows(folder / "points.npy", POINT)
    keyframes = StoredRows(folder / "keyframes.npy", keyframe_dtype(meta["label_count"]))
    sessions = None
    if "sessions" in meta:
        sessions = StoredRows(folder / "sessions.npy", SESSIONS)
    if (len(points), len(keyframes)) != (meta["point_count"], meta["keyframe_count"]):
        raise MapError(f"the map {folder} is damaged: its arrays do not match meta.json")
    try:
        return SemanticMap(
            points,
            keyframes,
            StoredRows(folder / "tile_keys.npy", np.dtype("<i8"))[:],
            StoredRows(folder / "tiles.npy", TILE)[:],
            meta["tile_size_m"],
            meta["label_count"],
            meta["fingerprint"],
            meta["identity"],
            sessions,
        )
    except MapError as error:
        raise MapError(f"{folder}: {error}") from error


def told_sessions(folder: Path) -> list[dict[str, object]]:
    """What meta.json of a map tells of the drives that were added, the newest last.

    Raises:
        MapError: it is damaged.
    """
    told = _read_meta(folder).get("sessions", [])
    if not isinstance(told, list) or not all(isinstance(one, dict) for one in told):
        raise MapError(f"{folder / 'meta.json'} is damaged: sessions must be a list of objects")
    return told


def _load_first_version(folder: Path, meta: dict[str, Any]) -> SemanticMap:
    """A map of version 1, which had an array of floats for each value; read into memory."""
    names = ("points", "labels", "confidence", "directions", "min_range", "max_range")
    try:
        arrays = {
            name: _read_array(folder / f"{name}.npy")
            for name in (*names, "keyframe_poses", "keyframe_histograms")
        }
        return SemanticMap.from_points(
            **arrays, fingerprint=meta["fingerprint"], tile_size_m=meta["tile_size_m"]
        )
    except MapError as error:
        raise MapError(f"{folder}: {error}") from error
    except Exception as error:  # np.load meets hostile headers with many kinds of exception
        reason = " ".join(str(error).split())[:200]
        raise MapError(f"the map {folder} is damaged: {reason}; build it again") from error


def export_ply(path: Path, semantic_map: SemanticMap, overwrite: bool = True) -> None:
    """Write the points as binary PLY, coloured by label, with label and confidence.

    Raises:
        OutputError: the file exists (without overwrite) or cannot be written.
    """
    kinds = {"<f4": "float", "u1": "uchar", "<u2": "ushort"}
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(semantic_map)}"]
    header += [f"property {kinds[kind]} {name}" for name, kind in _PLY] + ["end_header", ""]
    colours = palette(semantic_map.label_count)
    with whole_file(path, overwrite) as temporary, temporary.open("wb") as file:
        file.write("\n".join(header).encode("ascii"))
        for part in semantic_map.parts():
            vertices = np.zeros(len(part), _PLY)
            for column, (axis, colour) in enumerate(zip("xyz", _COLOURS, strict=True)):
                vertices[axis] = part.points[:, column]
                vertices[colour] = colours[part.labels, column]
            vertices["label"] = part.labels
            vertices["confidence"] = part.confidence
            file.write(vertices.tobytes())


_COLOURS = ("red", "green", "blue")
_PLY = [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), *((colour, "u1") for colour in _COLOURS)]
_PLY += [("label", "<u2"), ("confidence", "<f4")]


def _read_meta(folder: Path) -> dict[str, Any]:
    path = folder / "meta.json"
    if not path.is_file():
        raise MapError(f"{folder} is no map: meta.json is missing; build one with `fgsn map`")
    try:
        meta = parse_json(read_text(path, _META_LIMIT_BYTES))
    except (OSError, ValueError) as error:
        raise MapError(f"{path} is damaged: {' '.join(str(error).split())}") from error
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        raise MapError(f"{path} does not describe a map; build one with `fgsn map`")
    if meta.get("version") not in (1, VERSION):
        raise MapError(
            f"{path} has format version {meta.get('version')!r:.40}, not {VERSION}; "
            "build the map again with `fgsn map`"
        )
    for name, kind in _META_TYPES.items():
        if name not in meta and (name, meta["version"]) == ("identity", 1):
            continue
        if type(meta.get(name)) is not kind:
            raise MapError(f"{path} is damaged: {name} must be of type {kind.__name__}")
    if not 0 < meta["label_count"] < 65535:
        raise MapError(f"{path} is damaged: label count {meta['label_count']} is not in 1..65534")
    return meta


class StoredRows:
    """The records of a .npy file, read from it slice by slice.

    Reads copy: memory holds what is in use, and a file that shrinks or a disk that fails is an
    error here, where a memory map would end the process.
    """

    def __init__(self, path: Path, dtype: np.dtype[Any]) -> None:
        """Open a file and check its header and its size.

        Raises:
            MapError: it is missing, damaged, or holds other records than of the dtype.
        """
        mapped = _mapped_array(path, dtype)
        self._path = path
        self._offset, self._count = mapped.offset, len(mapped)
        self.dtype = dtype
        self._file = path.open("rb", buffering=0)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, part: slice) -> NDArray[Any]:
        first, last, _ = part.indices(self._count)
        size = max(0, last - first) * self.dtype.itemsize
        data = self._read(size, self._offset + first * self.dtype.itemsize)
        if len(data) < size:
            raise MapError(f"the map is damaged: {self._path} was cut short; build it again")
        return np.frombuffer(data, self.dtype)

    def _read(self, size: int, offset: int) -> bytes | bytearray:
        try:
            data = os.pread(self._file.fileno(), size, offset)
            if len(data) < size:  # one call reads 2 GiB at most
                return _read_on(self._file.fileno(), bytearray(data), size, offset)
        except OSError as error:
            raise MapError(f"cannot read the map's {self._path}: {error.strerror}") from error
        return data


def _read_on(descriptor: int, data: bytearray, size: int, offset: int) -> bytearray:
    while len(data) < size:
        more = os.pread(descriptor, size - len(data), offset + len(data))
        if not more:
            break
        data += more
    return data


def _mapped(path: Path) -> Any:
    """A .npy file as NumPy maps it into memory; what is wrong with it raises almost anything."""
    with path.open("rb") as file:
        headers = np.lib.format
        first = headers.read_magic(file) == (1, 0)
        read = headers.read_array_header_1_0 if first else headers.read_array_header_2_0
        shape, _, dtype = read(file)
    if dtype.itemsize == 0 or min(shape, default=0) < 0:
        raise ValueError("it claims values of no size")  # by which NumPy would divide, and crash
    return np.load(path, mmap_mode="r", allow_pickle=False)


def _read_array(path: Path) -> NDArray[Any]:
    """The array of a .npy file, of any shape; what is wrong with it raises almost anything."""
    open_file(path).close()
    mapped = _mapped(path)  # for its header and size alone
    values = np.fromfile(path, mapped.dtype, mapped.size, offset=mapped.offset)
    shaped: NDArray[Any] = values.reshape(
        mapped.shape, order="C" if mapped.flags.c_contiguous else "F"
    )
    return shaped


def _mapped_array(path: Path, dtype: np.dtype[Any]) -> np.memmap[Any, Any]:
    """The one-dimensional array of a .npy file, memory-mapped, not yet read: see `StoredRows`.

    Raises:
        MapError: the file is missing, damaged or shorter than its header says, or of another dtype.
    """
    try:
        open_file(path).close()
        with np.errstate(all="ignore"):
            loaded: Any = _mapped(path)
    except FileNotFoundError as error:
        raise MapError(f"the map is damaged: {path} is missing; build it again") from error
    except Exception as error:  # np.load meets hostile headers with many kinds of exception
        reason = " ".join(str(error).split())[:200]
        raise MapError(f"the map is damaged: {path} cannot be read: {reason}") from error
    if not isinstance(loaded, np.memmap) or loaded.ndim != 1 or loaded.dtype != dtype:
        raise MapError(f"the map is damaged: {path} holds other values; build it again")
    return loaded


class RowWriter:
    """Appends records to a .npy file, whose header counts them in the end."""

    def __init__(self, path: Path, dtype: np.dtype[Any]) -> None:
        self._file: BinaryIO = path.open("xb")
        self._dtype = dtype
        self.count = 0
        self._file.write(self._header())

    def add(self, records: NDArray[Any]) -> None:
        """Append records (N,)."""
        self._file.write(np.ascontiguousarray(records, self._dtype).data)
        self.count += len(records)

    def close(self) -> None:
        """Write the header again, now with the count."""
        self._file.seek(0)
        self._file.write(self._header())
        self._file.close()

    def _header(self) -> bytes:
        """Header for `count` records, as long for any count."""
        header = {
            "descr": np.lib.format.dtype_to_descr(self._dtype),
            "fortran_order": False,
            "shape": (self.count,),
        }
        start = np.lib.format.magic(1, 0) + (_HEADER_BYTES - 10).to_bytes(2, "little")
        return start + f"{header!r}".ljust(_HEADER_BYTES - 11).encode("ascii") + b"\n"
