"""What the files of bags have in common: channels, and chunks unpacked within limits, in order.

A file can ask for far more memory than it has bytes, so every size is checked before it is taken.
"""

import bz2
import heapq
import io
import os
import shutil
from collections.abc import Callable, Collection, Generator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import lz4.frame
from backports import zstd

MAX_MESSAGE_BYTES = 128 * 2**20
"""A larger message is none that is used here."""
MAX_CHUNK_BYTES = 128 * 2**20
_MAX_OPEN_BYTES = 384 * 2**20
_MAX_RATIO = 1000
_ALWAYS_RECORDS = 300_000
_ALWAYS_BYTES = 2**29  # however small the file is

ZSTD_START = b"\x28\xb5\x2f\xfd"

_DECOMPRESSORS: dict[str, Callable[[], Any]] = {
    "zstd": zstd.ZstdDecompressor,
    "lz4": lz4.frame.LZ4FrameDecompressor,
    "bz2": bz2.BZ2Decompressor,
}


class BagError(Exception):
    """A bag's file is damaged; says how. `bag_files` adds which bag, and what to do."""


@dataclass(frozen=True)
class Channel:
    """Messages of one topic and type."""

    topic: str
    msgtype: str
    """such as nav_msgs/msg/Odometry, also in ROS 1"""
    encoding: str
    """of the messages: "cdr", "ros1", or another"""
    definition: str
    """of the type, as text of .msg files; empty where there is none in that form"""
    count: int
    """number of messages"""


@dataclass(frozen=True)
class Record:
    """A message as it is stored."""

    channel: Channel
    time_ns: int
    """when it was recorded"""
    data: bytes | memoryview | None
    """None: larger than MAX_MESSAGE_BYTES"""


def ros2_name(msgtype: str) -> str:
    """nav_msgs/msg/Odometry of a name that may be nav_msgs/Odometry, as ROS 1 has it."""
    package, _, kind = msgtype.partition("/")
    return msgtype if "/" in kind or not kind else f"{package}/msg/{kind}"


class Storage(Protocol):
    """A file of a bag."""

    @property
    def channels(self) -> Collection[Channel]:
        """All that it holds."""

    @property
    def cut_off(self) -> str:
        """What the file lacks at its end, in words; empty where it is whole."""

    def records(self, wanted: Collection[Channel]) -> Iterator[Record]:
        """Messages of these channels, nearly in the order of their recording."""

    def close(self) -> None:
        """Close the file."""


class BoundedFile:
    """A file that is read by offset, never beyond its end."""

    def __init__(self, path: Path) -> None:
        self._file: io.BufferedReader = path.open("rb")
        self.size = os.fstat(self._file.fileno()).st_size
        self._left = max(_ALWAYS_BYTES, _MAX_RATIO * self.size)
        self._records_left = max(_ALWAYS_RECORDS, self.size)

    def read(self, offset: int, size: int) -> bytes:
        """The bytes there.

        Raises:
            BagError: the file ends before.
        """
        if offset < 0 or size < 0 or offset + size > self.size:
            raise BagError(f"byte {offset + size} is asked for, the file ends at {self.size}")
        self._file.seek(offset)
        data = self._file.read(size)
        if len(data) != size:
            raise BagError(f"the file ended at byte {offset + len(data)} while it was read")
        return data

    def unpack(self, data: bytes | memoryview, compression: str, size: int) -> bytes:
        """What a chunk holds, `size` bytes as it declares.

        Raises:
            BagError: it is larger than a chunk may be, or holds more or less than it declares.
        """
        if size > MAX_CHUNK_BYTES:
            raise BagError(f"a chunk declares {size} bytes; {MAX_CHUNK_BYTES} are read")
        self._left -= size
        if self._left < 0:
            raise BagError(f"its chunks unpack to more than {_MAX_RATIO} times the file's size")
        return unpacked(data, compression, size)

    def count_record(self) -> None:
        """Count a record of a chunk.

        Raises:
            BagError: there are more than the file has bytes.
        """
        self._records_left -= 1
        if self._records_left < 0:
            raise BagError("its chunks hold more records than the file has bytes")

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def unpacked(data: bytes | memoryview, compression: str, size: int) -> bytes:
    """Decompressed data of exactly `size` bytes.

    Raises:
        BagError: it is of another size, damaged, or the compression is not known.
    """
    if compression in ("", "none"):
        result = bytes(data)
    elif compression in _DECOMPRESSORS:
        result = expanded(data, compression, size + 1)
    else:
        raise BagError(f"a chunk is compressed by {compression[:20]!r}, which is not known")
    if len(result) != size:
        raise BagError(f"a chunk does not hold the {size} bytes that it declares")
    return result


def expanded(data: bytes | memoryview, compression: str, limit: int) -> bytes:
    """Decompressed data, at most `limit` bytes of it; less than all where the data are cut."""
    parts: list[bytes] = []
    while len(data) and limit > 0:
        decompressor = _DECOMPRESSORS[compression]()
        part = decompressor.decompress(data, max_length=limit)
        parts.append(part)
        limit -= len(part)
        data = decompressor.unused_data if decompressor.eof else b""
        data = data or b""
    return parts[0] if len(parts) == 1 else b"".join(parts)


@dataclass(frozen=True)
class Chunk:
    """Messages that are stored together."""

    start_ns: int
    """time of the first one"""
    size: int
    """bytes when unpacked"""
    read: Callable[[], Iterable[Record]]
    """the wanted ones"""


def in_time_order(chunks: Collection[Chunk]) -> Iterator[Record]:
    """Records of chunks ordered by time, each chunk unpacked when its time comes.

    Raises:
        BagError: so many chunks overlap in time that memory does not hold them.
    """
    heap: list[tuple[int, int, int, list[Record], int]] = []
    held = 0
    for number, chunk in enumerate(sorted(chunks, key=lambda chunk: chunk.start_ns)):
        while heap and heap[0][0] < chunk.start_ns:
            held -= yield from _next_of(heap)
        records = sorted(chunk.read(), key=lambda record: record.time_ns)
        if records:
            held += chunk.size
            if held > _MAX_OPEN_BYTES:
                raise BagError("too many of its chunks overlap in time; write it anew, in order")
            heapq.heappush(heap, (records[0].time_ns, number, 0, records, chunk.size))
    while heap:
        yield from _next_of(heap)


def _next_of(
    heap: list[tuple[int, int, int, list[Record], int]],
) -> Generator[Record, None, int]:
    """Yield the first record of the heap; returns the bytes of its chunk if it was the last."""
    _, number, index, records, size = heap[0]
    yield records[index]
    if index + 1 < len(records):
        following = (records[index + 1].time_ns, number, index + 1, records, size)
        heapq.heapreplace(heap, following)
        return 0
    heapq.heappop(heap)
    return size


def unpack_file(packed: Path, path: Path) -> Path:
    """Unpack a zstd file to `path`.

    Raises:
        BagError: it takes more of the disk than there is, or far more than its size allows.
    """
    size = packed.stat().st_size
    left = min(max(_ALWAYS_BYTES, _MAX_RATIO * size), shutil.disk_usage(path.parent).free * 9 // 10)
    with zstd.open(packed, "rb") as source, path.open("wb") as target:
        while part := source.read(2**20):
            left -= len(part)
            if left < 0:
                raise BagError(f"it does not fit unpacked into {path.parent}; try 'zstd -d'")
            target.write(part)
    return path
