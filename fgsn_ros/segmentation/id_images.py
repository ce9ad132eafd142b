"""Images of ids, labels or classes: PNGs of one channel, or of a palette whose indices they are."""

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fgsn_ros.messages.encoded_images import decode, read_image_file

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEADER = slice(12, 33)
"""Type, content and check sum of IHDR, the first chunk."""
_BITS, _COLOUR_TYPE = 12, 13
"""Their places in it, after its type, width and height."""
_GREY, _PALETTE = 0, 3
_END = b"\0\0\0\0IEND\xaeB`\x82"


def read_id_image(path: Path) -> NDArray[np.unsignedinteger[Any]]:
    """The stored values (H, W) of an image of ids, uint8 or uint16; of a palette the indices.

    Raises:
        OSError: the file cannot be read.
        ValueError: the image is damaged, or has several channels.
    """
    content, bits = read_image_file(path), 8
    if content.startswith(_SIGNATURE):
        content, bits = _without_palette(content)
    read = decode(content, cv2.IMREAD_UNCHANGED)
    if read.ndim != 2 or read.dtype not in (np.uint8, np.uint16):
        raise ValueError("it holds colours, not ids; save ids in one channel of 8 or 16 bits")
    if read.dtype == np.uint16:
        return read.astype(np.uint16)
    spread = 255 // (2 ** min(bits, 8) - 1)  # of fewer bits over the range of 8, by OpenCV
    return np.asarray(read // spread, np.uint8)


def _without_palette(png: bytes) -> tuple[bytes, int]:
    """The PNG with its palette's indices as grey values, and its bits; OpenCV would give colours.

    Raises:
        ValueError: the header is damaged, or the end is missing.
    """
    header = bytearray(png[_HEADER])
    chunks = list(_chunks(png))
    if _END not in chunks or header[-4:] != _check_sum(header[:-4]):
        raise ValueError("it is damaged or cut off; restore it")
    if header[_COLOUR_TYPE] == _PALETTE:
        header[_COLOUR_TYPE] = _GREY
        header[-4:] = _check_sum(header[:-4])
    data = b"".join(chunk for chunk in chunks if chunk[4:8] == b"IDAT")
    return png[: _HEADER.start] + header + data + _END, header[_BITS]


def _check_sum(typed: bytearray) -> bytes:
    return zlib.crc32(typed).to_bytes(4, "big")


def _chunks(png: bytes) -> Iterator[bytes]:
    start = _HEADER.stop
    while start < len(png):
        end = start + 12 + int.from_bytes(png[start : start + 4], "big")
        yield png[start:end]
        start = end
