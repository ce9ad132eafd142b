"""A camera's calibration in a YAML file of ROS, OpenCV, Kalibr or ORB-SLAM."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.documents import MOST_YAML_CHARACTERS, parse_yaml
from fgsn_ros.errors import CameraError, FgsnError, RecordingError
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.cameras import Camera
from fgsn_ros.text_files import read_text

Content = Mapping[str, object]

_OPENCV = re.compile(r"\A%YAML:1\.0.*\n|!!opencv-matrix")
"""What OpenCV writes and YAML does not know."""
_KALIBR_CAMERA = re.compile(r"cam\d+")
_ORB_SLAM = "Camera1.", "Camera."
_ORB_SLAM_MODELS = {"pinhole": "plumb_bob", "rectified": "none", "kannalabrandt8": "equidistant"}
_ORB_SLAM_COEFFICIENTS = {
    "plumb_bob": "k1 k2 p1 p2 k3 k4 k5 k6",
    "equidistant": "k1 k2 k3 k4",
    "none": "",
}


def read_camera(path: Path) -> tuple[Camera, NDArray[np.float64] | None]:
    """The camera of a file and its mounting T_base_camera (4, 4), if the file has that.

    Read are the files of ROS's camera_calibration and OpenCV (image_width, image_height,
    camera_matrix, distortion_model or camera_model, distortion_coefficients), Kalibr's camchain of
    one camera, and ORB-SLAM's settings (Camera.fx or Camera1.fx, Camera.width, ...). Each may add
    `T_base_camera: {translation: [x, y, z], q_xyzw: [x, y, z, w]}`.

    Raises:
        RecordingError: the file cannot be read or makes no camera.
    """
    try:
        text = _OPENCV.sub("", read_text(path, MOST_YAML_CHARACTERS))
        content = parse_yaml(text)
        if not isinstance(content, dict):
            raise CameraError("it holds no mapping of names to values")
        mounting = content.get("T_base_camera")
        return _camera(content), None if mounting is None else _pose(mounting)
    except (FgsnError, OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise RecordingError(f"{path} is no usable camera: {reason}") from error


def write_camera(path: Path, camera: Camera, T_base_camera: NDArray[np.float64]) -> None:
    """Write a camera and its mounting (4, 4) as `read_camera` reads them, in ROS's form.

    Raises:
        OSError: the file cannot be written.
    """
    translation, q_xyzw = poses.to_quaternion(T_base_camera)
    lines = [
        f"image_width: {camera.width}",
        f"image_height: {camera.height}",
        f"camera_matrix: {{rows: 3, cols: 3, data: {_list(camera.matrix.ravel())}}}",
        f"distortion_model: {camera.distortion_model}",
        f"distortion_coefficients: {{rows: 1, cols: {len(camera.distortion)}, data: "
        f"{_list(camera.distortion)}}}",
        f"T_base_camera: {{translation: {_list(translation)}, q_xyzw: {_list(q_xyzw)}}}",
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _list(numbers: Iterable[float]) -> str:
    return f"[{', '.join(repr(float(number)) for number in numbers)}]"


def _camera(content: Content) -> Camera:
    kalibr = [str(name) for name in content if _KALIBR_CAMERA.fullmatch(str(name))]
    if kalibr:
        return _of_kalibr(content, kalibr)
    for prefix in _ORB_SLAM:
        if f"{prefix}fx" in content:
            return _of_orb_slam(content, prefix)
    return _of_ros(content)


def _of_ros(content: Content) -> Camera:
    model = content.get("distortion_model", content.get("camera_model", ""))
    if model and "distortion_coefficients" not in content:
        raise CameraError(f"it lacks the distortion_coefficients of its {model!s:.40} model")
    return Camera.from_camera_info(
        _whole(content, "image_width"),
        _whole(content, "image_height"),
        str(model or ""),
        _matrix(content, "distortion_coefficients", None),
        _matrix(content, "camera_matrix", 9),
    )


def _of_kalibr(content: Content, names: list[str]) -> Camera:
    if len(names) > 1:
        raise CameraError(
            f"it holds {', '.join(names)[:40]}; keep the camera of these images alone"
        )
    camera = content[names[0]]
    if not isinstance(camera, dict):
        raise CameraError(f"{names[0]} is no camera of Kalibr")
    if camera.get("camera_model") != "pinhole":
        raise CameraError(
            f"Kalibr's camera_model {camera.get('camera_model')!s:.40} is not supported; calibrate "
            "as pinhole-radtan or pinhole-equi"
        )
    fx, fy, cx, cy = _numbers(camera.get("intrinsics"), "intrinsics", 4)
    width, height = _numbers(camera.get("resolution"), "resolution", 2)
    coefficients = _numbers(camera.get("distortion_coeffs"), "distortion_coeffs", None)
    k = [fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0]
    size = int(width), int(height)
    return Camera.from_camera_info(*size, str(camera.get("distortion_model")), coefficients, k)


def _of_orb_slam(content: Content, prefix: str) -> Camera:
    kind = str(content.get("Camera.type", "PinHole"))
    model = _ORB_SLAM_MODELS.get(kind.lower())
    if model is None:
        raise CameraError(f"Camera.type {kind:.40} is unknown; known: PinHole, KannalaBrandt8")
    names = _ORB_SLAM_COEFFICIENTS[model].split()
    coefficients = [_number(content, prefix + name, 0.0) for name in names]
    fx, fy, cx, cy = (_number(content, prefix + name) for name in ("fx", "fy", "cx", "cy"))
    size = _whole(content, "Camera.width"), _whole(content, "Camera.height")
    k = [fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0]
    return Camera.from_camera_info(*size, model, coefficients, k)


def _pose(mounting: object) -> NDArray[np.float64]:
    content = mounting if isinstance(mounting, dict) else {}
    translation = _numbers(content.get("translation"), "translation", 3)
    return poses.from_quaternion(translation, _numbers(content.get("q_xyzw"), "q_xyzw", 4))


def _matrix(content: Content, name: str, count: int | None) -> Sequence[float]:
    """Numbers of a list, or of the data of OpenCV's matrix; none where there is nothing."""
    value = content.get(name, ())
    return _numbers(value.get("data") if isinstance(value, dict) else value, name, count)


def _whole(content: Content, name: str) -> int:
    number = _number(content, name)
    if number != int(number):
        raise CameraError(f"'{name}' takes a whole number, not {number:g}")
    return int(number)


def _number(content: Content, name: str, default: float | None = None) -> float:
    value = content.get(name, default)
    if value is None:
        raise CameraError(f"it lacks '{name}'")
    return _numbers(value, name, 1)[0]


def _numbers(value: object, name: str, count: int | None) -> Sequence[float]:
    try:
        numbers = np.array(value, dtype=np.float64).reshape(-1).tolist()
    except (TypeError, ValueError, OverflowError):
        numbers = [np.nan]
    if (count is not None and len(numbers) != count) or not np.isfinite(numbers).all():
        raise CameraError(f"'{name}' takes {count or 'some'} finite numbers")
    return list(numbers)
