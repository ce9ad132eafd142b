"""Write a COLMAP text model: cameras.txt, images.txt, points3D.txt."""

import dataclasses
import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.geometry import poses
from fgsn_ros.geometry.cameras import Camera
from fgsn_ros.mapping.sfm.keyframes import KeyFrame
from fgsn_ros.mapping.sfm.session_poses import Solution

FloatArray = NDArray[np.float64]
MODEL_FILES = ("cameras.txt", "images.txt", "points3D.txt")
PIXEL_CENTRE = 0.5  # COLMAP's pixel (0, 0) is the corner of the top-left pixel
_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, eq=False)
class ModelImages:
    """Images of a model."""

    names: tuple[str, ...]
    frames: tuple[KeyFrame, ...]
    cameras: tuple[Camera, ...]
    """as they are calibrated"""
    camera: NDArray[np.int64]
    """(N,) number of each image's camera"""
    T_base_camera: FloatArray
    """(N, 4, 4)."""


def write_model(folder: Path, images: ModelImages, solution: Solution) -> None:
    """Write a solution; `images` are those of its poses, in their order.

    Raises:
        OSError: a file cannot be written.
    """
    folder.mkdir(parents=True)
    corrected = [
        corrected_camera(camera, *row)
        for camera, row in zip(images.cameras, solution.calibration.tolist(), strict=True)
    ]
    lines = [camera_line(number, camera) for number, camera in enumerate(corrected, 1)]
    _write(folder / "cameras.txt", "CAMERA_ID, MODEL, WIDTH, HEIGHT, PARAMS[]", lines)
    image_form = "IMAGE_ID, QW, QX, QY, QZ, TX, TY, TZ, CAMERA_ID, NAME, then X, Y, POINT3D_ID"
    _write(folder / "images.txt", image_form, _image_lines(images, solution))
    point_form = "POINT3D_ID, X, Y, Z, R, G, B, ERROR, then IMAGE_ID, POINT2D_IDX"
    _write(folder / "points3D.txt", point_form, _point_lines(images, solution))


def _write(path: Path, form: str, lines: list[str]) -> None:
    path.write_text("\n".join([f"# {form}", *lines]) + "\n", encoding="utf-8")


def corrected_camera(camera: Camera, focal: float, radial: float) -> Camera:
    """A camera with the corrections that `Adjusted` has, to the first order of both."""
    factor, distortion = float(np.exp(focal)), list(camera.distortion or (0.0,) * 5)
    distortion[0] += radial
    return dataclasses.replace(
        camera, fx=camera.fx * factor, fy=camera.fy * factor, distortion=tuple(distortion)
    )


def camera_line(number: int, camera: Camera) -> str:
    """A line of cameras.txt."""
    name, numbers = colmap_parameters(camera)
    size = f"{number} {name} {camera.width} {camera.height}"
    return " ".join([size, *(f"{value:.9g}" for value in numbers)])


def colmap_parameters(camera: Camera) -> tuple[str, list[float]]:
    """COLMAP's model of a camera, and its parameters."""
    if camera.skew or any(camera.distortion[8:]):
        _log.warning("COLMAP has no skew or thin prism: its model leaves that of a camera out")
    d = [*camera.distortion, *[0.0] * 8][:8]
    numbers = [camera.fx, camera.fy, camera.cx + PIXEL_CENTRE, camera.cy + PIXEL_CENTRE]
    if camera.distortion_model == "equidistant":
        return "OPENCV_FISHEYE", numbers + d[:4]
    if any(d[4:]):
        return "FULL_OPENCV", numbers + d
    return "OPENCV", numbers + d[:4]


def _image_lines(images: ModelImages, solution: Solution) -> list[str]:
    T_camera_map = poses.invert(poses.compose(solution.T_map_base, images.T_base_camera))
    translation, q_xyzw = poses.to_quaternion(T_camera_map)
    order, starts = _by_image(images, solution)
    found, lines = solution.structure, []
    first = np.concatenate([[0], np.cumsum([len(frame) for frame in images.frames])])
    for i, frame in enumerate(images.frames):
        x, y, z, w = q_xyzw[i]
        numbers = " ".join(f"{value:.9g}" for value in (w, x, y, z, *translation[i]))
        lines.append(f"{i + 1} {numbers} {int(images.camera[i]) + 1} {images.names[i]}")
        own = order[starts[i] : starts[i + 1]]
        pixels = frame.pixels[found.feature[own] - first[i]] + PIXEL_CENTRE
        shown = zip(pixels.tolist(), found.seen.point[own].tolist(), strict=True)
        lines.append(" ".join(f"{u:.3f} {v:.3f} {point + 1}" for (u, v), point in shown))
    return lines


def _by_image(
    images: ModelImages, solution: Solution
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Observations in the order of images, and where those of each begin."""
    pose = solution.structure.seen.pose
    order = np.argsort(pose, kind="stable")
    return order, np.searchsorted(pose[order], np.arange(len(images.frames) + 1))


def _point_lines(images: ModelImages, solution: Solution) -> list[str]:
    found = solution.structure
    order, starts = _by_image(images, solution)
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order)) - starts[found.seen.pose[order]]
    ends = np.searchsorted(found.seen.point, np.arange(len(found.points) + 1))
    lines = []
    for p, (x, y, z) in enumerate(found.points.tolist()):
        own = slice(ends[p], ends[p + 1])
        track = zip((found.seen.pose[own] + 1).tolist(), place[own].tolist(), strict=True)
        error = float(np.mean(np.minimum(solution.error_px[own], 1e3)))
        seen = " ".join(f"{image} {number}" for image, number in track)
        lines.append(f"{p + 1} {x:.6f} {y:.6f} {z:.6f} 128 128 128 {error:.4f} {seen}")
    return lines
