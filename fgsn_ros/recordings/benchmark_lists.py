"""Lists of the long-term visual localization benchmark (visuallocalization.net).

Queries have a line `name MODEL width height parameters...`, as Aachen Day-Night's
`*_queries_with_intrinsics.txt`, by COLMAP's camera models. Poses have a line
`name qw qx qy qz tx ty tz`, world to camera; some lists hold the camera's centre in place of the
translation (Sattler et al., "Benchmarking 6DOF Outdoor Visual Localization in Changing
Conditions", CVPR 2018).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.errors import CameraError, FgsnError, RecordingError
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.cameras import Camera
from fgsn_ros.geometry.distortion import EQUIDISTANT, PLUMB_BOB, RATIONAL
from fgsn_ros.left_out import LeftOut
from fgsn_ros.text_files import read_text

FloatArray = NDArray[np.float64]
_Item = TypeVar("_Item")

_MODELS = {
    "SIMPLE_PINHOLE": ("f cx cy", PLUMB_BOB, ""),
    "PINHOLE": ("fx fy cx cy", PLUMB_BOB, ""),
    "SIMPLE_RADIAL": ("f cx cy", PLUMB_BOB, "k1"),
    "RADIAL": ("f cx cy", PLUMB_BOB, "k1 k2"),
    "OPENCV": ("fx fy cx cy", PLUMB_BOB, "k1 k2 p1 p2"),
    "FULL_OPENCV": ("fx fy cx cy", RATIONAL, "k1 k2 p1 p2 k3 k4 k5 k6"),
    "OPENCV_FISHEYE": ("fx fy cx cy", EQUIDISTANT, "k1 k2 k3 k4"),
    "SIMPLE_RADIAL_FISHEYE": ("f cx cy", EQUIDISTANT, "k1"),
    "RADIAL_FISHEYE": ("f cx cy", EQUIDISTANT, "k1 k2"),
    "SIMPLE_FISHEYE": ("f cx cy", EQUIDISTANT, ""),
    "FISHEYE": ("fx fy cx cy", EQUIDISTANT, ""),
}
"""COLMAP's models: matrix, and distortion by our name."""
CORNER_PX = 0.5
"""COLMAP's pixel (0, 0) is the image's corner, ours the middle of the first pixel."""
_RIG = {"left", "rear", "right"}
"""Cameras that RobotCar Seasons' names begin with."""


@dataclass(frozen=True)
class ListedQuery:
    """An image that shall be located."""

    name: str
    """as listed: a path within the images' folder"""
    camera: Camera
    rig_camera: str = ""
    """which of a rig's cameras that is, where there is a rig"""


@dataclass(frozen=True, eq=False)
class KnownPose:
    """Where an image was taken."""

    name: str
    """as listed"""
    T_camera_world: FloatArray
    """(4, 4), in the data set's own world"""
    groups: tuple[str, ...]
    """conditions that it counts to"""


def submitted_name(name: str) -> str:
    """What the benchmark calls an image: its file, for RobotCar's rig after the camera."""
    path = PurePosixPath(name)
    return f"{path.parent.name}/{path.name}" if path.parent.name in _RIG else path.name


def colmap_camera(words: Sequence[str]) -> Camera:
    """Camera of `MODEL width height parameters...`.

    Raises:
        CameraError: the model is unknown, or the parameters are other than it takes.
    """
    model, *rest = words or [""]
    if model not in _MODELS:
        raise CameraError(f"the camera model {model!r:.40} is none of {', '.join(_MODELS)}")
    matrix, distortion_model, distortion = _MODELS[model]
    names = [*matrix.split(), *distortion.split()]
    try:
        width, height, *numbers = (float(word) for word in rest)
    except ValueError as error:
        raise CameraError(f"{model} takes numbers: width height {' '.join(names)}") from error
    if len(numbers) != len(names) or not all(size.is_integer() for size in (width, height)):
        raise CameraError(f"{model} takes whole width and height, then {' '.join(names)}")
    given = dict(zip(names, numbers, strict=True))
    fx, fy = (given.get(axis, given.get("f", 0.0)) for axis in ("fx", "fy"))
    cx, cy = given["cx"] - CORNER_PX, given["cy"] - CORNER_PX
    coefficients = tuple(given[name] for name in distortion.split())
    return Camera(int(width), int(height), fx, fy, cx, cy, distortion_model, coefficients)


def read_query_list(path: Path) -> list[ListedQuery]:
    """Images and their cameras, in the order of a list.

    Lines of another form are left out, counted and said.

    Raises:
        RecordingError: the file cannot be read, is empty, or mostly of another form.
    """
    form = "name MODEL width height parameters"
    return list(_listed(path, form, lambda w: ListedQuery(w[0], colmap_camera(w[1:]))))


def read_pose_list(path: Path, of_centres: bool = False) -> dict[str, FloatArray]:
    """T_camera_world (4, 4) by name, of lines `name qw qx qy qz` and translation or centre.

    Lines of another form, and those that repeat a name, are left out, counted and said.

    Raises:
        RecordingError: as `read_query_list`.
    """
    found: dict[str, FloatArray] = {}

    def add(words: list[str]) -> str:
        if words[0] in found:
            raise ValueError("with a name that was there before")
        found[words[0]] = _pose(words[1:], of_centres)
        return words[0]

    form = f"name qw qx qy qz {'cx cy cz' if of_centres else 'tx ty tz'}"
    for _ in _listed(path, form, add):
        pass
    return found


def _pose(words: list[str], of_centres: bool) -> FloatArray:
    w, x, y, z, *position = (float(word) for word in words)
    if len(position) != 3 or not np.isfinite(position).all():
        raise ValueError("of another form")
    T_camera_world = poses.from_quaternion(position, (x, y, z, w))
    return (
        turned_at(T_camera_world[:3, :3], T_camera_world[:3, 3]) if of_centres else T_camera_world
    )


def turned_at(R_camera_world: FloatArray, centre: FloatArray) -> FloatArray:
    """T_camera_world (4, 4) of a camera's rotation (3, 3) and its place in the world (3,)."""
    return poses.from_rotation_translation(R_camera_world, -R_camera_world @ centre)


def listed_lines(path: Path) -> list[tuple[int, list[str]]]:
    """Number and words of each line that says something; `#` begins one that does not.

    Raises:
        RecordingError: the file cannot be read, or says nothing.
    """
    try:
        lines = enumerate(read_text(path).splitlines(), start=1)
    except (OSError, UnicodeError) as error:
        raise RecordingError(f"cannot read {path}: {error}") from error
    found = [(number, line.split()) for number, line in lines if not line.startswith("#")]
    said = [(number, words) for number, words in found if words]
    if not said:
        raise RecordingError(f"{path} is empty; it should list images, one a line")
    return said


def _listed(path: Path, form: str, read: Callable[[list[str]], _Item]) -> Iterator[_Item]:
    lines = listed_lines(path)
    with LeftOut(str(path), f"lines '{form}'", len(lines)) as left_out:
        for number, words in lines:
            try:
                item = read(words)
            except (FgsnError, ValueError) as error:
                reason = str(error) if isinstance(error, CameraError) else "of another form"
                left_out.drop(reason, f"line {number}")
                continue
            left_out.keep()
            yield item
