"""Damages of containers, whose check sums and lengths stay right so that what is within is read."""

import bz2
import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable
from random import Random
from typing import Any

import numpy as np

from fuzzing.mutators import INTEGERS, mutated_bytes, mutated_json, mutated_text, mutated_yaml

Mutator = Callable[[Random, bytes, bytes], bytes]
SIZES = (0, 1, 3, 5, 17, 4096, 20_000, 65_500, 65_535, 65_536, 2**20, 2**31 - 1, 2**31, 2**32 - 1)
"""Widths and heights."""


# ---- images


def mutated_image(rng: Random, data: bytes, other: bytes = b"") -> bytes:
    """Damage of an encoded image, by its kind: often another size in its header."""
    if rng.random() < 0.3:
        return mutated_bytes(rng, data, other)
    if data.startswith(b"\x89PNG"):
        return _png(rng, data)
    if data.startswith(b"\xff\xd8"):
        return _jpeg(rng, data)
    if data[:1] == b"P":
        return mutated_text(rng, data, other)
    for start, places in _HEADER_SIZES.items():
        if data.startswith(start):
            return _with_sizes(rng, data, places)
    return mutated_bytes(rng, data, other)


_HEADER_SIZES = {b"BM": "<18i 22i", b"GIF8": "<6H 8H", b"RIFF": "<26H 28H", b"II": "<4I"}
"""Where sizes are, after the byte order, by how an image begins."""


def _with_sizes(rng: Random, data: bytes, places: str) -> bytes:
    changed = bytearray(data)
    for place in places[1:].split():
        size = struct.calcsize(place[-1])
        if rng.random() < 0.7 and int(place[:-1]) + size <= len(data):
            value = rng.choice(SIZES) % 256**size
            changed[int(place[:-1]) : int(place[:-1]) + size] = value.to_bytes(size, "little")
    return bytes(changed)


def png_chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a PNG."""
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )


def _png(rng: Random, data: bytes) -> bytes:
    chunks, at = [], 8
    while at + 8 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + size]))
        at += 12 + size
    where = rng.randrange(len(chunks))
    kind, content = chunks[where]
    damage = rng.randrange(6)
    if damage < 2 or kind == b"IHDR":
        where, (kind, content) = 0, chunks[0]
        header = list(struct.unpack(">IIBBBBB", content))
        for field in rng.sample(range(7), rng.choice((1, 2, 2, 3))):
            header[field] = rng.choice(SIZES) if field < 2 else rng.choice((0, 1, 2, 3, 4, 6, 16))
        chunks[0] = kind, struct.pack(">IIBBBBB", *header)
    elif damage == 2:
        chunks[where] = kind, mutated_bytes(rng, content)
    elif damage == 3:
        chunks[where:where] = [chunks[where]] * rng.choice((1, 1, 200))
    elif damage == 4:
        del chunks[where]
    else:
        names = (b"PLTE", b"tRNS", b"gAMA", b"iCCP", b"zTXt", b"acTL", b"fcTL", b"fdAT", b"eXIf")
        bomb = zlib.compress(bytes(rng.choice((10, 30_000_000))))
        chunks.insert(
            where, (rng.choice(names), rng.choice((b"", b"a\0\0" + bomb, rng.randbytes(26))))
        )
    return data[:8] + b"".join(png_chunk(*chunk) for chunk in chunks)


def _jpeg(rng: Random, data: bytes) -> bytes:
    changed = bytearray(data)
    starts = [i for i in range(len(data) - 9) if data[i] == 0xFF and 0xC0 <= data[i + 1] <= 0xC2]
    if starts and rng.random() < 0.7:
        at = starts[0] + 5
        for place in (at, at + 2):
            if rng.random() < 0.7:
                changed[place : place + 2] = (rng.choice(SIZES) % 65536).to_bytes(2, "big")
        if rng.random() < 0.2:
            changed[starts[0] + 1] = rng.choice((0xC0, 0xC1, 0xC2, 0xC3, 0xC9))
        return bytes(changed)
    marker = bytes([0xFF, rng.choice((0xC0, 0xC4, 0xDA, 0xDD, 0xE1, 0xE2, 0xEE, 0xFE))])
    content = rng.randbytes(rng.choice((0, 6, 15, 300)))
    changed[2:2] = marker + struct.pack(">H", rng.choice((len(content) + 2, 0, 65535))) + content
    return bytes(changed)


# ---- arrays and archives


def npy(header: str, content: bytes, version: int = 1) -> bytes:
    """A .npy file of a header's text."""
    text = header.encode("latin-1", "replace") + b"\n"
    size = struct.pack("<H" if version == 1 else "<I", len(text) % (1 << (16 * version)))
    return b"\x93NUMPY" + bytes([version, 0]) + size + text + content


def mutated_npy(rng: Random, data: bytes, other: bytes = b"") -> bytes:
    """Damage of a .npy file: mostly another shape or type than there is."""
    if rng.random() < 0.4 or not data.startswith(b"\x93NUMPY"):
        return mutated_bytes(rng, data, other)
    size = int.from_bytes(data[8:10], "little")
    header, content = data[10 : 10 + size].decode("latin-1").strip(), data[10 + size :]
    if rng.random() < 0.3:
        return npy(header, mutated_bytes(rng, content, other))
    shapes = ("()", "(-1,)", "(0,)", f"({2**40},)", f"({2**63},)", "(1, 0, 7)", "(3.0,)", "[4]")
    shapes += ("(" + "1," * 70 + ")", "(True,)", f"({'9' * 400},)", "(" * 3000, "None", "(1,)")
    types = ("'|O'", "'<i8'", "'|V0'", "'|S0'", f"'|V{2**31 - 1}'", "'<U5'", "'<f2'", "'<M8[s]'")
    types += ("[('a', '|O')]", "[('a', '<i4', (100000, 100000))]", "[]", "'x'", "None", "'<c16'")
    parts = {"descr": rng.choice(types), "shape": rng.choice(shapes), "fortran_order": "True"}
    replaced = {name: value for name, value in parts.items() if rng.random() < 0.5}
    try:
        fields = {name: repr(value) for name, value in eval(header, {"__builtins__": {}}).items()}
    except SyntaxError:
        fields = {}
    text = ", ".join(f"'{name}': {value}" for name, value in (fields | replaced).items())
    return npy("{" + text + "}", content, rng.choice((1, 1, 1, 2, 3)))


def mutated_zip(rng: Random, data: bytes, other: bytes = b"") -> bytes:
    """Damage of a zip archive: of a member, whose check sum is right, or of the archive's bytes."""
    if rng.random() < 0.3:
        return mutated_bytes(rng, data, other)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    small = [name for name, content in members.items() if len(content) < 10_000]
    name = rng.choice(small or list(members))
    kind = rng.randrange(6)
    if kind == 0:
        del members[name]
    elif kind == 1:
        members[name + "x"] = members.pop(name)
    elif kind == 2:
        members[name] = bytes(rng.choice((10, 10**6)))
    else:
        members[name] = mutated_bytes(rng, members[name], other)
    made = io.BytesIO()
    packed = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    with zipfile.ZipFile(made, "w", packed) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return made.getvalue()


# ---- checkpoints


def mutated_safetensors(rng: Random, data: bytes, other: bytes = b"") -> bytes:
    """Damage of a .safetensors file: of its header's tree, or of the settings that it holds."""
    kind = rng.random()
    size = int.from_bytes(data[:8], "little")
    if kind < 0.2 or size > len(data):
        return mutated_bytes(rng, data, other)
    header, content = data[8 : 8 + size], data[8 + size :]
    if kind < 0.6:
        tree = json.loads(header)
        settings = tree.get("__metadata__", {}).get("fgsn", "{}").encode()
        tree["__metadata__"] = {"fgsn": mutated_json(rng, settings).decode("utf-8", "replace")}
        header = json.dumps(tree).encode()
    elif kind < 0.8:
        header = _tensor_entry(rng, json.loads(header))
    else:
        header = mutated_json(rng, header, other)
    length = rng.choice(INTEGERS) % 2**64 if rng.random() < 0.03 else len(header)
    return struct.pack("<Q", length) + header + content


def _tensor_entry(rng: Random, tree: dict[str, Any]) -> bytes:
    """A tensor of another type, shape or place, often one whose size is still right."""
    name = rng.choice([name for name in tree if name != "__metadata__"])
    entry = tree[name]
    first, last = entry["data_offsets"]
    types = ("F64", "F32", "F16", "BF16", "I64", "I32", "I8", "U8", "BOOL", "F8_E4M3", "F8_E5M2")
    types += ("F4", "C64", "U16", "F8_E8M0")
    entry["dtype"] = rng.choice(types)
    bits = {"4": 4, "64": 64, "32": 32, "16": 16}.get(entry["dtype"].lstrip("BFIUC"), 8)
    bits *= 2 if entry["dtype"].startswith("C") else 1
    count = (last - first) * 8 // bits
    entry["shape"] = rng.choice(
        ([count], [count, 1], [1, count], [0, 2**40], [2**62, 4], entry["shape"])
    )
    if rng.random() < 0.2:
        tree[rng.choice(("statistics.log_ratio", "network.x", "classifier.weight"))] = tree.pop(
            name
        )
    return json.dumps(tree).encode()


def mutated_onnx(rng: Random, data: bytes, other: bytes = b"") -> bytes:
    """Damage of an exported network's metadata, its digest right; or of its bytes."""
    from fgsn_ros.segmentation.onnx_file import metadata_of, with_metadata

    if rng.random() < 0.3:
        return mutated_bytes(rng, data, other)
    metadata = metadata_of(data)
    name = rng.choice(list(metadata))
    if name == "fgsn":
        metadata[name] = mutated_json(rng, metadata[name].encode()).decode("utf-8", "replace")
    else:
        metadata[name] = mutated_bytes(rng, metadata[name].encode()).decode("latin-1")
    return with_metadata(b"", metadata)


# ---- bags

Record = tuple[int, bytes]
"""Operation code and content of a record of an MCAP file."""
_MAGIC = b"\x89MCAP0\r\n"


def text(value: str | bytes) -> bytes:
    """A string of an MCAP record."""
    encoded = value if isinstance(value, bytes) else value.encode("utf-8", "surrogatepass")
    return struct.pack("<I", len(encoded)) + encoded


def record(operation: int, content: bytes) -> bytes:
    """A record of an MCAP file."""
    return bytes([operation]) + struct.pack("<Q", len(content)) + content


def mcap(records: Iterable[Record]) -> bytes:
    """An MCAP file without a summary."""
    begin = record(1, text("ros2") + text("fuzzing"))
    body = b"".join(record(*item) for item in records)
    return _MAGIC + begin + body + record(0x0F, bytes(4)) + record(2, bytes(20)) + _MAGIC


def chunk(records: Iterable[Record], compression: str, size: int | None = None) -> Record:
    """A chunk of records; of another size than it has, if one is given."""
    content = b"".join(record(*item) for item in records)
    packed = compressed(content, compression)
    declared = len(content) if size is None else size
    head = struct.pack("<QQQI", 0, 2**62, declared, 0)
    return 6, head + text(compression) + struct.pack("<Q", len(packed)) + packed


def compressed(content: bytes, compression: str) -> bytes:
    """Packed as MCAP and ROS 1 name it."""
    if compression == "lz4":
        from lz4.frame import compress

        return compress(content)
    if compression == "zstd":
        from backports.zstd import compress as compress_zstd

        return compress_zstd(content)
    return bz2.compress(content) if compression == "bz2" else content


def records_of(data: bytes) -> list[Record]:
    """The records of an MCAP file that are not packed in chunks, without the summary."""
    found, at = [], len(_MAGIC)
    while at + 9 <= len(data):
        size = int.from_bytes(data[at + 1 : at + 9], "little")
        if data[at] == 0x0F:
            break
        if data[at] in (3, 4, 5):
            found.append((data[at], data[at + 9 : at + 9 + size]))
        at += 9 + size
    return found


def mutated_mcap(rng: Random, data: bytes, other: bytes = b"") -> bytes:
    """Damage of an MCAP file: of a record's content, its order, or of chunks made of them."""
    kind, records = rng.random(), records_of(data)
    if data[:1].isalpha():
        return mutated_yaml(rng, data, other)
    if kind < 0.35 or not records:
        return mutated_bytes(rng, data, other)
    if kind < 0.8:
        where = rng.randrange(len(records))
        operation, content = records[where]
        damage = rng.randrange(5)
        if damage < 3:
            records[where] = operation, mutated_bytes(rng, content, rng.choice(records)[1])
        elif damage == 3:
            records.insert(rng.randrange(len(records) + 1), records.pop(where))
        else:
            records[where:where] = [records[where]] * rng.choice((1, 3))
    if rng.random() < 0.5:
        return mcap(records)
    size = rng.choice((None, None, *SIZES, 2**40, 2**63))
    compression = rng.choice(("", "lz4", "zstd", "zstd", "bz2", "x"))
    if rng.random() < 0.1:
        records.append((5, bytes(rng.choice((100, 50_000_000)))))
    packed = chunk(records, compression, size)
    if rng.random() < 0.2:
        packed = chunk([packed], compression)
    if rng.random() < 0.3:
        packed = packed[0], mutated_bytes(rng, packed[1])
    return mcap([packed])


_LINES = ("uint32 x", "string[200000000]", "float64[4000000000] a", "float64[1000000] a")
_LINES += ("string<=5 a", "a", "Header header", "std_msgs/Header header", "nav_msgs/Odometry o")
_LINES += ("int32 X=5", "int32 X=import os", 'string s="""', "float64[9] k", "float64[] d")
_LINES += ("uint8[<=1000000000] b", "float64[10][10] m", "===", "wstring w", "int8 def", "# x")
_LINES += ("x/y/z q", "uint8 __class__", "string class", "char c", "time t", "duration d", "")


def mutated_definition(rng: Random, definition: str) -> str:
    """A message definition with a field more, less, twice or of another type."""
    lines = definition.split("\n")
    for _ in range(rng.choice((1, 1, 2, 4))):
        where, kind = rng.randrange(len(lines)), rng.randrange(6)
        if kind == 0:
            lines[where] = rng.choice(_LINES)
        elif kind == 1:
            lines.insert(where, rng.choice(_LINES))
        elif kind == 2:
            lines.pop(where) if len(lines) > 1 else None
        elif kind == 3:
            lines.insert(rng.randrange(len(lines) + 1), lines[where])
        elif kind == 4:
            lines[where] = mutated_bytes(rng, lines[where].encode()).decode("latin-1")
        else:
            return rng.choice((*_LINES, "\n".join(lines * 20), "a " * 5000))
    return "\n".join(lines)


def array_of(rng: Random, values: np.ndarray) -> np.ndarray:
    """Another array of about the same size: other type, shape, values."""
    flat = values.reshape(-1)
    kinds: tuple[Callable[[], np.ndarray], ...] = (
        lambda: values.astype(rng.choice(("f4", "f8", "i8", "u1", "u2", "c16", ">f8", "i4"))),
        lambda: flat[: rng.randrange(len(flat) + 1)],
        lambda: values[..., None],
        lambda: np.zeros((0, *values.shape[1:]), values.dtype),
        lambda: np.full_like(values, rng.choice((0, 1, 255)), dtype=values.dtype),
        lambda: np.full(values.shape, rng.choice((np.nan, np.inf, 1e308, -1.0)), "f8"),
        lambda: np.array(rng.choice((0, 1.5, -1))),
    )
    return rng.choice(kinds)()
