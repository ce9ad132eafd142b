"""Metadata of ONNX files, read and written without the onnx package.

An ONNX file is one protobuf message, `ModelProto`: a sequence of numbered fields, of which those
numbered 14 are pairs of strings. A message with fields appended is the message with those fields.
https://protobuf.dev/programming-guides/encoding, https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
"""

import hashlib
from collections.abc import Iterator, Mapping

_VARINT, _FIXED_64, _BYTES, _FIXED_32 = 0, 1, 2, 5
_METADATA, _KEY, _VALUE = 14, 1, 2
_LONGEST_VARINT = 10
_DIGEST = "sha256"
"""Of everything but the metadata: a file that was damaged or changed does not pass as the same."""


def with_metadata(graph: bytes, metadata: Mapping[str, str]) -> bytes:
    """The ONNX file of a graph without metadata."""
    named = {**metadata, _DIGEST: hashlib.sha256(graph).hexdigest()}
    entries = (
        _field(_METADATA, _field(_KEY, key.encode()) + _field(_VALUE, value.encode()))
        for key, value in named.items()
    )
    return graph + b"".join(entries)


def metadata_of(file: bytes) -> dict[str, str]:
    """The metadata that `with_metadata` gave an ONNX file.

    Raises:
        ValueError: it has none, or is not as it was then.
    """
    metadata, digest = {}, hashlib.sha256()
    for number, whole, content in _fields(memoryview(file)):
        if number == _METADATA:
            entry = {number: bytes(text).decode() for number, _, text in _fields(content)}
            metadata[entry.get(_KEY, "")] = entry.get(_VALUE, "")
        else:
            digest.update(whole)
    expected = metadata.pop(_DIGEST, "")
    if not expected:
        raise ValueError("it was not written by `fgsn export`")
    if digest.hexdigest() != expected:
        raise ValueError("it is damaged or was changed")
    return metadata


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | _BYTES) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview, memoryview]]:
    """Number of each field of a message, the whole of it, and its content."""
    start = 0
    while start < len(message):
        tag, begin = _read_varint(message, start)
        number, wire_type = tag >> 3, tag & 7
        if wire_type == _VARINT:
            _, end = _read_varint(message, begin)
        elif wire_type == _BYTES:
            length, begin = _read_varint(message, begin)
            end = begin + length
        elif wire_type in (_FIXED_32, _FIXED_64):
            end = begin + (4 if wire_type == _FIXED_32 else 8)
        else:
            raise ValueError("it is no ONNX file")
        if end > len(message):
            raise ValueError("it is no ONNX file, or cut off")
        yield number, message[start:end], message[begin:end]
        start = end


def _read_varint(message: memoryview, start: int) -> tuple[int, int]:
    """A number of 7 bits a byte, the lowest first; and where it ends."""
    value = 0
    for index, byte in enumerate(message[start : start + _LONGEST_VARINT]):
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return value, start + index + 1
    raise ValueError("it is no ONNX file, or cut off")
