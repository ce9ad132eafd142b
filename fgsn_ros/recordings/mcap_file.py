"""MCAP files (mcap.dev/spec), whole or without an end, as a recorder that was killed leaves them.

Schemas are kept as text and never run, and only those of wanted channels are looked at by anyone.
"""

import struct
import zlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from fgsn_ros.recordings.bag_storage import (
    MAX_MESSAGE_BYTES,
    BagError,
    BoundedFile,
    Channel,
    Chunk,
    Record,
    in_time_order,
    ros2_name,
)

MAGIC = b"\x89MCAP0\r\n"
_SCHEMA, _CHANNEL, _MESSAGE, _CHUNK, _CHUNK_INDEX, _STATISTICS = 3, 4, 5, 6, 8, 11
_FOOTER, _DATA_END = 2, 15
_RECORD = struct.Struct("<BQ")
_MESSAGE_HEAD = struct.Struct("<HIQQ")
_CHUNK_HEAD = struct.Struct("<QQQI")
_FOOTER_BODY = struct.Struct("<QQI")
_FOOTER_SIZE = _RECORD.size + _FOOTER_BODY.size
_MAX_DESCRIPTION = 16 * 2**20  # of a schema or channel
_MAX_SUMMARY = 256 * 2**20
_TEXT_SCHEMAS = ("ros2msg", "ros1msg")


@dataclass(frozen=True)
class _StoredChunk:
    """Where a chunk is."""

    offset: int
    start_ns: int
    size: int
    """bytes when unpacked"""
    channel_ids: frozenset[int] | None
    """None where the index does not say"""


@dataclass
class _Contents:
    """What a file holds, as its summary or its records say."""

    schemas: dict[int, tuple[str, str, str]] = field(default_factory=dict)
    """name, encoding, text"""
    channels: dict[int, Channel] = field(default_factory=dict)
    counts: Counter[int] = field(default_factory=Counter)
    """messages by channel"""
    chunks: dict[int, _StoredChunk] = field(default_factory=dict)
    """by offset"""
    has_loose: bool = False
    """messages outside of chunks"""
    lacks_schema: bool = False
    """a channel's schema is not there"""

    def add(self, kind: int, body: memoryview) -> None:
        """Add a schema or channel record."""
        fields = _Fields(body)
        if kind == _SCHEMA:
            number = fields.number("<H")
            self.schemas[number] = fields.text(), fields.text(), fields.text()
        elif kind == _CHANNEL:
            number, schema = fields.number("<H"), fields.number("<H")
            name, encoding, text = self.schemas.get(schema, ("", "", ""))
            self.lacks_schema |= schema not in (0, *self.schemas)
            definition = text if encoding in _TEXT_SCHEMAS else ""
            topic, encoding = fields.text(), fields.text()
            self.channels.setdefault(
                number, Channel(topic, ros2_name(name), encoding, definition, 0)
            )

    def counted(self) -> dict[int, Channel]:
        """Channels with their numbers of messages."""
        return {
            number: replace(channel, count=self.counts[number])
            for number, channel in self.channels.items()
        }


class McapFile:
    """Reads an .mcap file.

    Raises:
        BagError: it is no MCAP file or holds no whole record.
    """

    def __init__(self, path: Path) -> None:
        self._file = BoundedFile(path)
        self.cut_off = ""
        try:
            if self._file.read(0, len(MAGIC)) != MAGIC:
                raise BagError("it does not begin as an MCAP file does")
            self._end = self._file.size - len(MAGIC) - _FOOTER_SIZE
            self._contents = self._summary() or self._scan()
        except BaseException:
            self._file.close()
            raise
        self._channels = self._contents.counted()

    @property
    def channels(self) -> Collection[Channel]:
        """All channels."""
        return self._channels.values()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def records(self, wanted: Collection[Channel]) -> Iterator[Record]:
        """Messages of these channels: those in chunks by time, loose ones as they are stored."""
        channels = {n: channel for n, channel in self._channels.items() if channel in wanted}
        chunks = [
            Chunk(stored.start_ns, stored.size, self._reader(stored, channels))
            for stored in self._contents.chunks.values()
            if stored.channel_ids is None or not stored.channel_ids.isdisjoint(channels)
        ]
        yield from in_time_order(chunks)
        if self._contents.has_loose:
            yield from self._loose(channels)

    def _reader(self, stored: _StoredChunk, channels: dict[int, Channel]) -> "_ChunkReader":
        return _ChunkReader(self._file, stored.offset, channels)

    def _loose(self, channels: dict[int, Channel]) -> Iterator[Record]:
        for kind, offset, size in self._records_of_file():
            if kind != _MESSAGE:
                continue
            number, _, time_ns, _ = _MESSAGE_HEAD.unpack(
                self._file.read(offset, _MESSAGE_HEAD.size)
            )
            if number in channels:
                data_size = size - _MESSAGE_HEAD.size
                fits = data_size <= MAX_MESSAGE_BYTES
                data = self._file.read(offset + _MESSAGE_HEAD.size, data_size) if fits else None
                yield Record(channels[number], time_ns, data)

    def _summary(self) -> _Contents | None:
        """What the end of the file says; None where it must be looked for."""
        if self._end < len(MAGIC) or self._file.read(self._end + _FOOTER_SIZE, 8) != MAGIC:
            self.cut_off = "it has no end, as its recorder was killed or its copy was cut"
            self._end = self._file.size
            return None
        footer = self._file.read(self._end, _FOOTER_SIZE)
        start, _, _ = _FOOTER_BODY.unpack_from(footer, _RECORD.size)
        size = self._end - start
        if footer[0] != _FOOTER or not start or not 0 < size <= _MAX_SUMMARY:
            return None
        contents, chunk_count, messages = _Contents(), 0, -1
        for kind, body in _records_of(memoryview(self._file.read(start, size))):
            if kind in (_SCHEMA, _CHANNEL):
                contents.add(kind, body)
            elif kind == _CHUNK_INDEX:
                stored = _indexed_chunk(body)
                contents.chunks[stored.offset] = stored
            elif kind == _STATISTICS:
                messages, chunk_count, contents.counts = _statistics(body)
        contents.has_loose = not chunk_count
        complete = messages == contents.counts.total() and chunk_count == len(contents.chunks)
        described = contents.counts.keys() <= contents.channels.keys() and contents.channels
        return contents if complete and described and not contents.lacks_schema else None

    def _scan(self) -> _Contents:
        """What the records say, as far as they are whole."""
        contents = _Contents()
        for kind, offset, size in self._records_of_file():
            if kind in (_SCHEMA, _CHANNEL):
                if size > _MAX_DESCRIPTION:
                    raise BagError(f"a definition of {size} bytes")
                contents.add(kind, memoryview(self._file.read(offset, size)))
            elif kind == _MESSAGE:
                (number,) = struct.unpack("<H", self._file.read(offset, 2))
                contents.counts[number] += 1
                contents.has_loose = True
            elif kind == _CHUNK:
                self._scan_chunk(contents, offset)
        return contents

    def _scan_chunk(self, contents: _Contents, offset: int) -> None:
        """Add a chunk; its times are those of its messages."""
        data, found, start_ns = _chunk_data(self._file, offset), Counter[int](), 2**64
        for kind, body in _chunk_records(self._file, data):
            if kind == _MESSAGE:
                number, _, time_ns, _ = _MESSAGE_HEAD.unpack_from(body)
                found[number] += 1
                start_ns = min(start_ns, time_ns)
            else:
                contents.add(kind, body)
        contents.counts.update(found)
        where = offset - _RECORD.size
        contents.chunks[where] = _StoredChunk(where, start_ns, len(data), frozenset(found))

    def _records_of_file(self) -> Iterator[tuple[int, int, int]]:
        """Kind, offset and size of each whole record up to the end of the data."""
        offset = len(MAGIC)
        while offset + _RECORD.size <= self._end:
            kind, size = _RECORD.unpack(self._file.read(offset, _RECORD.size))
            offset += _RECORD.size
            if offset + size > self._end or kind in (_FOOTER, _DATA_END):
                return
            yield kind, offset, size
            offset += size


@dataclass(frozen=True)
class _ChunkReader:
    """Reads the wanted messages of a chunk."""

    file: BoundedFile
    offset: int
    channels: dict[int, Channel]

    def __call__(self) -> Iterable[Record]:
        kind, _ = _RECORD.unpack(self.file.read(self.offset, _RECORD.size))
        if kind != _CHUNK:
            raise BagError(f"its index names a chunk at byte {self.offset}, where there is none")
        channels, head = self.channels, _MESSAGE_HEAD
        data = _chunk_data(self.file, self.offset + _RECORD.size)
        for kind, body in _chunk_records(self.file, data):
            if kind == _MESSAGE:
                number, _, time_ns, _ = head.unpack_from(body)
                if number in channels:
                    yield Record(channels[number], time_ns, body[head.size :])


def _chunk_data(file: BoundedFile, offset: int) -> bytes:
    """The unpacked records of the chunk whose body begins there."""
    _, _, size, checksum = _CHUNK_HEAD.unpack(file.read(offset, _CHUNK_HEAD.size))
    offset += _CHUNK_HEAD.size
    (length,) = struct.unpack("<I", file.read(offset, 4))
    compression = file.read(offset + 4, min(length, 100)).decode()
    offset += 4 + length
    (packed,) = struct.unpack("<Q", file.read(offset, 8))
    data = file.unpack(file.read(offset + 8, packed), compression, size)
    if checksum and zlib.crc32(data) != checksum:
        raise BagError("the checksum of a chunk is wrong")
    return data


def _chunk_records(file: BoundedFile, data: bytes) -> Iterator[tuple[int, memoryview]]:
    """Kind and body of each record of a chunk, whose kinds are few."""
    for kind, body in _records_of(memoryview(data)):
        if kind not in (_SCHEMA, _CHANNEL, _MESSAGE):
            raise BagError(f"a chunk holds a record of kind {kind}")
        file.count_record()
        yield kind, body


def _records_of(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Kind and body of each record."""
    offset, end = 0, len(data)
    while offset + _RECORD.size <= end:
        kind, size = _RECORD.unpack_from(data, offset)
        offset += _RECORD.size
        if offset + size > end:
            raise BagError("a record is longer than what holds it")
        yield kind, data[offset : offset + size]
        offset += size


def _indexed_chunk(body: memoryview) -> _StoredChunk:
    fields = _Fields(body)
    start_ns, _, offset, _ = (fields.number("<Q") for _ in range(4))
    channel_ids = [number for number, _ in struct.iter_unpack("<HQ", fields.bytes())]
    fields.number("<Q")
    fields.text()
    fields.number("<Q")
    size = fields.number("<Q")
    return _StoredChunk(offset, start_ns, size, frozenset(channel_ids) or None)


def _statistics(body: memoryview) -> tuple[int, int, Counter[int]]:
    """Number of messages, of chunks, and of each channel's messages."""
    messages, _, _, _, _, chunks, _, _ = struct.unpack_from("<QHIIIIQQ", body)
    fields = _Fields(body[42:])
    return messages, chunks, Counter(dict(struct.iter_unpack("<HQ", fields.bytes())))


class _Fields:
    """Fields of a record, one after the other."""

    def __init__(self, body: memoryview) -> None:
        self._body = body
        self._offset = 0

    def number(self, form: str) -> int:
        (number,) = struct.unpack_from(form, self._body, self._offset)
        self._offset += struct.calcsize(form)
        return int(number)

    def bytes(self) -> memoryview:
        size = self.number("<I")
        self._offset += size
        if self._offset > len(self._body):
            raise BagError("a field is longer than its record")
        return self._body[self._offset - size : self._offset]

    def text(self) -> str:
        return bytes(self.bytes()).decode()
