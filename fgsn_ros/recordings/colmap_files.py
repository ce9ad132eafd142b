"""The files of a COLMAP model, as they stand: cameras, images, points3D and rigs, .bin or .txt.

Forms: colmap.github.io/format.html. Poses are taken from images.*, which hold them in models with
rigs and frames (COLMAP 3.12 and later) too, so that frames.* is not needed.
"""

import os
import struct
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.text_files import open_file

FloatArray = NDArray[np.float64]

NO_POINT = -1
"""Id in place of a point's, of a keypoint that shows none."""
_MODELS = {
    "SIMPLE_PINHOLE": 3,
    "PINHOLE": 4,
    "SIMPLE_RADIAL": 4,
    "RADIAL": 5,
    "OPENCV": 8,
    "OPENCV_FISHEYE": 8,
    "FULL_OPENCV": 12,
    "FOV": 5,
    "SIMPLE_RADIAL_FISHEYE": 4,
    "RADIAL_FISHEYE": 5,
    "THIN_PRISM_FISHEYE": 12,
    "RAD_TAN_THIN_PRISM_FISHEYE": 16,
    "SIMPLE_DIVISION": 4,
    "DIVISION": 5,
    "SIMPLE_FISHEYE": 3,
    "FISHEYE": 4,
    "EUCM": 6,
    "EQUIRECTANGULAR": 2,
}
"""Parameters of each camera model, in the order of the models' numbers."""
_LONGEST_LINE = 1 << 23
_LONGEST_NAME = 4096
_CAMERA_SENSOR = 0
_KEYPOINT = np.dtype([("u", "<f8"), ("v", "<f8"), ("point", "<i8")])
_POINT = struct.Struct("<Q3d3xdQ")
_IMAGE = struct.Struct("<I7dI")
_SENSOR = struct.Struct("<iI")


@dataclass(frozen=True, eq=False)
class ImageRow:
    """An image as a file has it."""

    number: int
    pose: tuple[float, ...]
    """qw qx qy qz tx ty tz, world to camera"""
    camera: int
    name: str
    pixels: FloatArray
    """(M, 2) keypoints that show a point, of COLMAP's kind: (0, 0) is the image's corner"""
    points: NDArray[np.int64]
    """(M,) ids of those points"""


@dataclass(frozen=True, eq=False)
class PointRows:
    """All points as a file has them."""

    ids: NDArray[np.int64]
    """(P,)"""
    positions: FloatArray
    """(P, 3)"""
    track_lengths: NDArray[np.int64]
    """(P,) images in the track of each"""
    track_images: NDArray[np.int64]
    """(M,) numbers of those images, track by track"""


@dataclass(frozen=True, eq=False)
class Form:
    """How a model is written."""

    suffix: str

    def cameras(self, folder: Path) -> Iterator[tuple[int, list[str]]]:
        """Number of each camera, and its words `MODEL width height parameters...`.

        Raises:
            OSError, ValueError: the file cannot be read; so of all that reads here.
        """
        path = folder / f"cameras{self.suffix}"
        return _binary_cameras(path) if self.suffix == ".bin" else _text_cameras(path)

    def images(self, folder: Path) -> Iterator[ImageRow | str]:
        """Images one by one; of a line of another form, where it is."""
        path = folder / f"images{self.suffix}"
        return _binary_images(path) if self.suffix == ".bin" else _text_images(path)

    def points(self, folder: Path) -> PointRows:
        """All points."""
        path = folder / f"points3D{self.suffix}"
        rows = _binary_points(path) if self.suffix == ".bin" else _text_points(path)
        ids, positions, lengths, images = array("q"), array("d"), array("q"), array("q")
        for number, position, track in rows:
            ids.append(number)
            positions.extend(position)
            lengths.append(len(track))
            images.extend(track.tolist())
        return PointRows(
            np.array(ids, np.int64),
            np.array(positions, np.float64).reshape(-1, 3),
            np.array(lengths, np.int64),
            np.array(images, np.int64),
        )

    def rigs(self, folder: Path) -> Iterator[tuple[int, tuple[float, ...]]]:
        """Number and qw qx qy qz tx ty tz, rig to camera, of each camera but its rig's first.

        Nothing where the model has no rigs.
        """
        path = folder / f"rigs{self.suffix}"
        if not path.exists():
            return iter(())
        return _binary_rigs(path) if self.suffix == ".bin" else _text_rigs(path)


class _Binary:
    """Reads a file from its beginning; takes no memory for more than the file has."""

    def __init__(self, path: Path) -> None:
        self._file = open_file(path)
        self._left = os.fstat(self._file.fileno()).st_size

    def __enter__(self) -> "_Binary":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def take(self, size: int) -> bytes:
        data = self._file.read(size) if size <= self._left else b""
        if len(data) < size:
            raise ValueError("it is cut off")
        self._left -= size
        return data

    def values(self, form: struct.Struct) -> tuple[float, ...]:
        return form.unpack(self.take(form.size))

    def count(self, least_bytes: int) -> int:
        """A number of items that take so many bytes each, at least."""
        number = int.from_bytes(self.take(8), "little")
        if number * least_bytes > self._left:
            raise ValueError(f"it is cut off or damaged: it claims {number} items")
        return number

    def numbers(self, count: int) -> tuple[float, ...]:
        return struct.unpack(f"<{count}d", self.take(8 * count))

    def name(self) -> str:
        name = bytearray()
        while (character := self.take(1)) != b"\0":
            name += character
            if len(name) > _LONGEST_NAME:
                raise ValueError("it is damaged: a name does not end")
        return os.fsdecode(bytes(name))


def _binary_cameras(path: Path) -> Iterator[tuple[int, list[str]]]:
    names = list(_MODELS)
    with _Binary(path) as file:
        for _ in range(file.count(24)):
            number, model = (int(v) for v in file.values(struct.Struct("<Ii")))
            if not 0 <= model < len(names):
                raise ValueError(f"camera {number} is of the unknown model number {model}")
            sizes = file.values(struct.Struct("<QQ"))
            parameters = file.numbers(_MODELS[names[model]])
            yield number, [names[model], *map(str, sizes), *map(repr, parameters)]


def _binary_images(path: Path) -> Iterator[ImageRow]:
    with _Binary(path) as file:
        for _ in range(file.count(_IMAGE.size + 9)):
            number, *pose, camera = file.values(_IMAGE)
            name = file.name()
            size = file.count(_KEYPOINT.itemsize) * _KEYPOINT.itemsize
            keypoints = np.frombuffer(file.take(size), _KEYPOINT)
            shown = keypoints[keypoints["point"] != NO_POINT]
            pixels = np.stack([shown["u"], shown["v"]], axis=1)
            yield ImageRow(
                int(number), tuple(pose), int(camera), name, pixels, shown["point"].copy()
            )


def _binary_points(path: Path) -> Iterator[tuple[int, list[float], NDArray[np.int64]]]:
    with _Binary(path) as file:
        for _ in range(file.count(_POINT.size)):
            number, *position, _, length = file.values(_POINT)
            track = np.frombuffer(file.take(8 * int(length)), "<u4").reshape(-1, 2)
            yield _in_64_bits(int(number)), position, track[:, 0].astype(np.int64)


def _binary_rigs(path: Path) -> Iterator[tuple[int, tuple[float, ...]]]:
    with _Binary(path) as file:
        for _ in range(file.count(8)):
            _, sensors = file.values(struct.Struct("<II"))
            if sensors:
                file.values(_SENSOR)
            for _ in range(int(sensors) - 1):
                kind, number = file.values(_SENSOR)
                pose = file.numbers(7) if file.take(1) != b"\0" else None
                if kind == _CAMERA_SENSOR and pose is not None:
                    yield int(number), pose


def _in_64_bits(number: int) -> int:
    if not 0 <= number < 2**63:
        raise ValueError(f"it is damaged: a point has the id {number}")
    return number


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines with their numbers; none is longer than _LONGEST_LINE bytes."""
    with open_file(path) as file:
        number = 0
        while data := file.readline(_LONGEST_LINE):
            number += 1
            if len(data) == _LONGEST_LINE:
                raise ValueError(f"line {number} is longer than {_LONGEST_LINE} bytes")
            yield number, data.decode("utf-8-sig" if number == 1 else "utf-8").strip()


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    for number, line in _lines(path):
        if line and not line.startswith("#"):
            yield number, line.split()


def _text_cameras(path: Path) -> Iterator[tuple[int, list[str]]]:
    for line, words in _rows(path):
        yield _whole(words[0], line), words[1:]


def _text_images(path: Path) -> Iterator[ImageRow | str]:
    lines = _lines(path)
    for number, line in lines:
        if not line or line.startswith("#"):
            continue
        _, keypoints = next(lines, (0, ""))
        try:
            yield _text_image(line, keypoints)
        except (ValueError, OverflowError):
            yield f"line {number}"


def _text_image(line: str, keypoints: str) -> ImageRow:
    number, *pose, camera, name = line.split(maxsplit=9)
    if len(pose) != 7:
        raise ValueError
    words = keypoints.split()
    values = np.array(words, np.float64).reshape(-1, 3)
    ids = np.array(words[2::3], object).astype(np.int64)
    shown = ids != NO_POINT
    numbers = tuple(float(word) for word in pose)
    return ImageRow(int(number), numbers, int(camera), name, values[shown, :2], ids[shown])


def _text_points(path: Path) -> Iterator[tuple[int, list[float], NDArray[np.int64]]]:
    for line, words in _rows(path):
        try:
            position = [float(word) for word in words[1:4]]
            track = np.array(words[8::2], object).astype(np.int64)
            if len(words) < 8 or len(words) % 2:
                raise ValueError
            yield _in_64_bits(int(words[0])), position, track
        except (ValueError, OverflowError) as error:
            raise ValueError(
                f"line {line}: expected 'POINT3D_ID X Y Z R G B ERROR', then IMAGE_ID POINT2D_IDX"
            ) from error


def _text_rigs(path: Path) -> Iterator[tuple[int, tuple[float, ...]]]:
    for line, words in _rows(path):
        rest = iter(words[4:])
        for kind in rest:
            number = _whole(next(rest, ""), line)
            if next(rest, "0") == "0":
                continue
            try:
                pose = tuple(float(next(rest, "")) for _ in range(7))
            except ValueError as error:
                raise ValueError(f"line {line}: a sensor's pose is no 7 numbers") from error
            if kind == "CAMERA":
                yield number, pose


def _whole(word: str, line: int) -> int:
    try:
        return int(word)
    except ValueError as error:
        raise ValueError(f"line {line}: {word!r:.40} is no number of a camera") from error
