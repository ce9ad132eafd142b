"""Encoded images: decoded only after their header was read, as a decoder takes its word for a size.

A PNG of a hundred bytes can ask for gigabytes. Read are PNG, JPEG, BMP, WebP, TIFF and PNM; what
else OpenCV would decode is refused.
"""

import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

MOST_PIXELS = 100_000_000
"""Of an image; decoders take 6 bytes for each."""
_MOST_SCANS = 16
"""Of a progressive JPEG of so many pixels: each passes all of them. Smaller ones may have more."""
_MOST_BYTES = 1 << 29
"""Of an image file, and of an image in memory."""
_PNM = re.compile(rb"P[1-6](?:\s|#[^\n]*\n)+(\d{1,9})(?:\s|#[^\n]*\n)+(\d{1,9})\s")
_NO_FRAME = (0xC4, 0xC8, 0xCC)
"""Of the JPEG markers 0xC0 to 0xCF, those that begin no frame."""
_ALONE = (0x01, *range(0xD0, 0xD9))
"""JPEG markers without a segment."""


def read_image_file(path: Path) -> bytes:
    """What is in an image file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is too large, or its path is none.
    """
    with path.open("rb") as file:
        data = file.read(_MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        raise ValueError("it is too large for an image")
    return data


def decode(data: bytes, flags: int) -> NDArray[Any]:
    """The pixels of an encoded image, as `cv2.imdecode` gives them.

    Raises:
        ValueError: it is damaged, of a format that is not read, or has too many pixels.
    """
    width, height = declared_size(data)
    if width * height > MOST_PIXELS:
        raise ValueError(f"it claims {width}x{height} pixels; more than {MOST_PIXELS} are not read")
    try:
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        decoded = None
    if decoded is None:
        raise ValueError(_DAMAGED)
    return np.asarray(decoded)


_DAMAGED = "it cannot be decoded as an image; restore it"


def declared_size(data: bytes) -> tuple[int, int]:
    """Width and height of an encoded image, as its header says.

    Raises:
        ValueError: the header is damaged, or the format is not read.
    """
    reader = next((read for start, read in _READERS.items() if data.startswith(start)), None)
    if reader is None:
        raise ValueError(
            "it is no PNG, JPEG, BMP, WebP, TIFF or PNM image; restore it or convert it"
        )
    try:
        width, height = reader(data)
    except (struct.error, IndexError) as error:
        raise ValueError(_DAMAGED) from error
    if width <= 0 or height <= 0:
        raise ValueError(_DAMAGED)
    return width, height


def _png(data: bytes) -> tuple[int, int]:
    at, kind = 8, b""
    while kind != b"IEND":  # a decoder takes memory for a chunk before it reads it
        length, kind = struct.unpack_from(">I4s", data, at)
        at += 12 + length
    if data[12:16] != b"IHDR" or at > len(data):
        raise ValueError(_DAMAGED)
    width, height = struct.unpack_from(">II", data, 16)
    return width, height


def _jpeg(data: bytes) -> tuple[int, int]:
    at = 2
    while True:
        at = data.index(0xFF, at)
        while data[at] == 0xFF:
            at += 1
        marker, at = data[at], at + 1
        if 0xC0 <= marker <= 0xCF and marker not in _NO_FRAME:
            height, width = struct.unpack_from(">HH", data, at + 3)
            if data.count(b"\xff\xda") * width * height > _MOST_SCANS * MOST_PIXELS:
                raise ValueError(f"it has too many scans for {width}x{height} pixels")
            return width, height
        if marker not in (0, *_ALONE):
            at += struct.unpack_from(">H", data, at)[0]


def _bmp(data: bytes) -> tuple[int, int]:
    if struct.unpack_from("<I", data, 14)[0] < 36:  # OS/2's first
        width, height = struct.unpack_from("<HH", data, 18)
    else:
        width, height = struct.unpack_from("<ii", data, 18)
    return width, abs(height)


def _webp(data: bytes) -> tuple[int, int]:
    kind = data[8:16]
    if kind == b"WEBPVP8X":
        width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
    elif kind == b"WEBPVP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    elif kind == b"WEBPVP8 ":
        width, height = (size & 0x3FFF for size in struct.unpack_from("<HH", data, 26))
    else:
        raise ValueError(_DAMAGED)
    return width, height


def _pnm(data: bytes) -> tuple[int, int]:
    sizes = _PNM.match(data[:4096])
    if sizes is None:
        raise ValueError(_DAMAGED)
    return int(sizes[1]), int(sizes[2])


_WIDTH, _HEIGHT, _BITS, _SAMPLES, _TILE_WIDTH, _TILE_HEIGHT = 256, 257, 258, 277, 322, 323
_SHORT, _LONG = 3, 4


def _tiff(data: bytes) -> tuple[int, int]:
    """Size of the first image, which is the one that is decoded."""
    order = "<" if data[:1] == b"I" else ">"
    (at,) = struct.unpack_from(f"{order}I", data, 4)
    (count,) = struct.unpack_from(f"{order}H", data, at)
    found = {_BITS: 1, _SAMPLES: 1, _TILE_WIDTH: 0, _TILE_HEIGHT: 0}
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        tag, kind, values = struct.unpack_from(f"{order}HHI", data, entry)
        if kind in (_SHORT, _LONG):
            form, place = order + ("H" if kind == _SHORT else "I"), entry + 8
            if values * struct.calcsize(form) > 4:  # where they are
                (place,) = struct.unpack_from(f"{order}I", data, place)
            (found[tag],) = struct.unpack_from(form, data, place)
    if _WIDTH not in found or _HEIGHT not in found:
        raise ValueError(_DAMAGED)
    width, height = (max(found[a], found[b]) for a, b in _TIFF_SIZES)
    if width * height * found[_SAMPLES] * found[_BITS] > 8 * _MOST_BYTES:
        raise ValueError(f"it claims {width}x{height} pixels of {found[_BITS]} bits; convert it")
    return width, height


_TIFF_SIZES = ((_WIDTH, _TILE_WIDTH), (_HEIGHT, _TILE_HEIGHT))
_READERS: dict[bytes, Callable[[bytes], tuple[int, int]]] = {
    b"\x89PNG\r\n\x1a\n": _png,
    b"\xff\xd8\xff": _jpeg,
    b"BM": _bmp,
    b"RIFF": _webp,
    b"II*\0": _tiff,
    b"MM\0*": _tiff,
    **{f"P{kind}".encode(): _pnm for kind in range(1, 7)},
}
"""By how the format begins."""
