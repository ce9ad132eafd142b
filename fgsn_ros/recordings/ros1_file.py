"""ROS 1 bags (wiki.ros.org/Bags/Format/2.0), also without an index, as a killed recorder's."""

import struct
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from fgsn_ros.recordings.bag_storage import (
    BagError,
    BoundedFile,
    Channel,
    Chunk,
    Record,
    in_time_order,
    ros2_name,
)

MAGIC = b"#ROSBAG V2.0\n"
_MESSAGE, _BAG, _CHUNK, _CHUNK_INFO, _CONNECTION = 2, 3, 5, 6, 7
_MAX_HEADER = 16 * 2**20  # of a connection, with its definition

_Header = dict[bytes, bytes]


@dataclass
class _Contents:
    """What a bag holds."""

    channels: dict[int, Channel] = field(default_factory=dict)
    counts: Counter[int] = field(default_factory=Counter)
    chunks: dict[int, tuple[int, frozenset[int]]] = field(default_factory=dict)
    """start [ns] and connections, by offset"""

    def add_connection(self, header: _Header, body: bytes | memoryview) -> None:
        """Add a connection record."""
        told = _header(body)
        definition = told.get(b"message_definition", b"").decode(errors="replace")
        channel = Channel(
            _topic(_text(header, b"topic")), ros2_name(_text(told, b"type")), "ros1", definition, 0
        )
        self.channels.setdefault(_number(header, b"conn"), channel)


class Ros1File:
    """Reads a ROS 1 .bag.

    Raises:
        BagError: it is no such file, or its index is damaged.
    """

    def __init__(self, path: Path) -> None:
        self._file = BoundedFile(path)
        self.cut_off = ""
        try:
            if self._file.read(0, len(MAGIC)) != MAGIC:
                raise BagError("it does not begin as a ROS 1 bag of version 2.0 does")
            self._contents = self._read_contents()
        except BaseException:
            self._file.close()
            raise
        self._channels = {
            number: replace(channel, count=self._contents.counts[number])
            for number, channel in self._contents.channels.items()
        }

    @property
    def channels(self) -> Collection[Channel]:
        """All channels."""
        return self._channels.values()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def records(self, wanted: Collection[Channel]) -> Iterator[Record]:
        """Messages of these channels by time."""
        channels = {n: channel for n, channel in self._channels.items() if channel in wanted}
        chunks = [
            Chunk(start_ns, self._chunk_size(offset), _ChunkReader(self._file, offset, channels))
            for offset, (start_ns, connections) in self._contents.chunks.items()
            if not connections.isdisjoint(channels)
        ]
        yield from in_time_order(chunks)

    def _chunk_size(self, offset: int) -> int:
        header, _, _ = _record_at(self._file, offset)
        return _number(header, b"size")

    def _read_contents(self) -> _Contents:
        header, _, _ = _record_at(self._file, len(MAGIC))
        if _kind(header) != _BAG:
            raise BagError("it does not begin with a bag header")
        if header.get(b"encryptor"):
            raise BagError("it is encrypted")
        (index,) = struct.unpack("<Q", _bytes(header, b"index_pos", 8))
        if index == 0:
            self.cut_off = "it has no index, as its recorder was killed"
            return self._scan()
        return self._indexed(index, header)

    def _indexed(self, offset: int, bag: _Header) -> _Contents:
        contents = _Contents()
        for _ in range(_number(bag, b"conn_count") + _number(bag, b"chunk_count")):
            header, start, size = _record_at(self._file, offset)
            offset = start + size
            if _kind(header) == _CONNECTION:
                contents.add_connection(header, self._file.read(start, min(size, _MAX_HEADER)))
            elif _kind(header) == _CHUNK_INFO:
                counts = Counter(dict(struct.iter_unpack("<II", self._file.read(start, size))))
                contents.counts.update(counts)
                where = struct.unpack("<Q", _bytes(header, b"chunk_pos", 8))[0]
                contents.chunks[where] = _time_ns(header, b"start_time"), frozenset(counts)
            else:
                raise BagError("its index holds something else")
        return contents

    def _scan(self) -> _Contents:
        """What the chunks hold, as far as they are whole."""
        contents, offset = _Contents(), len(MAGIC)
        while offset < self._file.size:
            try:
                header, start, size = _record_at(self._file, offset)
                if start + size > self._file.size:
                    break
                if _kind(header) == _CHUNK:
                    self._scan_chunk(contents, offset)
            except BagError:  # the last one, cut off
                break
            offset = start + size
        return contents

    def _scan_chunk(self, contents: _Contents, offset: int) -> None:
        found, start_ns = Counter[int](), 2**64
        for header, body in _chunk_records(self._file, offset):
            if _kind(header) == _CONNECTION:
                contents.add_connection(header, body)
            elif _kind(header) == _MESSAGE:
                found[_number(header, b"conn")] += 1
                start_ns = min(start_ns, _time_ns(header, b"time"))
        contents.counts.update(found)
        contents.chunks[offset] = start_ns, frozenset(found)


@dataclass(frozen=True)
class _ChunkReader:
    """Reads the wanted messages of a chunk."""

    file: BoundedFile
    offset: int
    channels: dict[int, Channel]

    def __call__(self) -> Iterable[Record]:
        for header, body in _chunk_records(self.file, self.offset):
            if _kind(header) == _MESSAGE:
                channel = self.channels.get(_number(header, b"conn"))
                if channel is not None:
                    yield Record(channel, _time_ns(header, b"time"), body)


def _chunk_records(file: BoundedFile, offset: int) -> Iterator[tuple[_Header, memoryview]]:
    header, start, size = _record_at(file, offset)
    if _kind(header) != _CHUNK:
        raise BagError(f"its index names a chunk at byte {offset}, where there is none")
    compression = _text(header, b"compression")
    data = memoryview(file.unpack(file.read(start, size), compression, _number(header, b"size")))
    at = 0
    while at + 8 <= len(data):
        (length,) = struct.unpack_from("<I", data, at)
        file.count_record()
        header = _header(data[at + 4 : at + 4 + length])
        at += 4 + length
        (length,) = struct.unpack_from("<I", data, at)
        if at + 4 + length > len(data):
            raise BagError("a message is longer than its chunk")
        yield header, data[at + 4 : at + 4 + length]
        at += 4 + length


def _record_at(file: BoundedFile, offset: int) -> tuple[_Header, int, int]:
    """A record's header, and offset and size of its data."""
    (length,) = struct.unpack("<I", file.read(offset, 4))
    if length > _MAX_HEADER:
        raise BagError(f"a header of {length} bytes at byte {offset}")
    header = _header(file.read(offset + 4, length))
    offset += 4 + length
    (size,) = struct.unpack("<I", file.read(offset, 4))
    return header, offset + 4, size


def _header(data: bytes | memoryview) -> _Header:
    fields, offset, data = {}, 0, bytes(data)
    while offset < len(data):
        size = int.from_bytes(data[offset : offset + 4], "little")
        name, equals, value = data[offset + 4 : offset + 4 + size].partition(b"=")
        offset += 4 + size
        if not equals or offset > len(data):
            raise BagError("a header is damaged")
        fields[name] = value
    return fields


def _bytes(header: _Header, name: bytes, size: int) -> bytes:
    value = header.get(name, b"")
    if len(value) != size:
        raise BagError(f"a header lacks the field {name.decode()}")
    return value


def _kind(header: _Header) -> int:
    return _bytes(header, b"op", 1)[0]


def _number(header: _Header, name: bytes) -> int:
    return int.from_bytes(_bytes(header, name, 4), "little")


def _time_ns(header: _Header, name: bytes) -> int:
    seconds, nanoseconds = struct.unpack("<II", _bytes(header, name, 8))
    return int(seconds * 10**9 + nanoseconds)


def _text(header: _Header, name: bytes) -> str:
    return header.get(name, b"").decode()


def _topic(name: str) -> str:
    """Without the doubled slashes that ROS 1 lets pass."""
    return "/" * name.startswith("/") + "/".join(part for part in name.split("/") if part)
