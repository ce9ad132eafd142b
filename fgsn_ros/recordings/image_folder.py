"""Image folders with TUM poses and a camera.yaml."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.config import load_yaml
from fgsn_ros.errors import CameraError, RecordingError, SettingsError
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.cameras import T_BASE_OPTICAL, Camera, CameraMount
from fgsn_ros.messages.images import IMAGE_SUFFIXES
from fgsn_ros.recordings.folder_recording import (
    FolderRecording,
    PoseFiles,
    folder_recording,
    read_numbers,
)
from fgsn_ros.recordings.recording import RecordingSettings

CAMERA_FILE = "camera.yaml"
_CAMERA_NAME = "camera"


def is_image_folder(path: Path) -> bool:
    """Whether the path looks like an image folder."""
    return (path / CAMERA_FILE).is_file()


def open_image_folder(path: Path, settings: RecordingSettings) -> FolderRecording:
    """Open a folder of images, in it or in its subfolder `images`, with a camera.yaml.

    Stamps [s] come from times.txt (one a line, in the order of the image names) or else from the
    image names (1305031102.175304.png). Poses come from `settings.poses` or poses.txt, TUM text.

    camera.yaml is that of ROS's camera_calibration (image_width, image_height, camera_matrix.data,
    distortion_model, distortion_coefficients.data) and may add the mounting,
    `T_base_camera: {translation: [x, y, z], q_xyzw: [x, y, z, w]}`. With the mounting, poses are of
    base_link in a map whose z points up. Without it, poses are of the camera in a world with the
    axes of a camera (as KITTI's and visual odometry's are), base_link sits at the camera, and both
    are turned to x forward, y left, z up.

    Raises:
        RecordingError: a file is missing or cannot be used.
    """
    images = _images(path, settings)
    mount, mounted = read_camera(path / CAMERA_FILE)
    poses_file = settings.poses
    if poses_file is None and (path / "poses.txt").is_file():
        poses_file = path / "poses.txt"
    pose_files = PoseFiles(poses_file, of_camera=not mounted, times=None)
    return folder_recording(path, mount, images, pose_files, settings)


def _images(
    path: Path, settings: RecordingSettings
) -> tuple[NDArray[np.float64], tuple[Path, ...]]:
    folder = path / "images" if (path / "images").is_dir() else path
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES)
    if not files:
        raise RecordingError(f"{folder} holds no images ({', '.join(IMAGE_SUFFIXES)})")
    if (path / "times.txt").is_file():
        stamps = read_numbers(path / "times.txt", 1)[:, 0]
    else:
        stamps = np.array([_stamp_of_name(file) for file in files])
    if len(stamps) != len(files):
        raise RecordingError(
            f"{path / 'times.txt'} has {len(stamps)} stamps for {len(files)} images"
        )
    last = len(files) - 1 if settings.last is None else settings.last
    chosen = slice(settings.first or 0, last + 1)
    if last >= len(files) or not files[chosen]:
        raise RecordingError(f"{folder} holds images 0 to {len(files) - 1}; choose among them")
    return stamps[chosen], tuple(files[chosen])


def _stamp_of_name(file: Path) -> float:
    try:
        stamp = float(file.stem)
    except ValueError:
        stamp = np.nan
    if not np.isfinite(stamp):
        raise RecordingError(
            f"{file} has no stamp in its name; write stamps in seconds, one a line, to times.txt"
        )
    return stamp


def read_camera(path: Path) -> tuple[CameraMount, bool]:
    """The camera of a camera.yaml, and whether its mounting is given.

    Raises:
        RecordingError: the file cannot be used.
    """
    try:
        content = load_yaml(path)
        camera = Camera.from_camera_info(
            int(_numbers(content, "image_width", 1)[0]),
            int(_numbers(content, "image_height", 1)[0]),
            str(content.get("distortion_model", "")),
            _numbers(content.get("distortion_coefficients", {}), "data", None),
            _numbers(content.get("camera_matrix", {}), "data", 9),
        )
        mounting = content.get("T_base_camera")
        T_base_camera = T_BASE_OPTICAL if mounting is None else _pose(mounting)
    except (SettingsError, CameraError, RecordingError, ValueError) as error:
        raise RecordingError(f"{path} is no usable camera: {error}") from error
    return CameraMount(camera, T_base_camera, _CAMERA_NAME), mounting is not None


def _pose(mounting: object) -> NDArray[np.float64]:
    q_xyzw = _numbers(mounting, "q_xyzw", 4)
    if np.linalg.norm(q_xyzw) < 1e-3:
        raise RecordingError("the quaternion of T_base_camera is zero")
    return poses.from_quaternion(_numbers(mounting, "translation", 3), q_xyzw)


def _numbers(mapping: object, key: str, count: int | None) -> Sequence[float]:
    value = mapping.get(key, ()) if isinstance(mapping, dict) else ()
    try:
        numbers = np.array(value, dtype=np.float64).reshape(-1).tolist()
    except (TypeError, ValueError):
        numbers = [np.nan]
    if (count is not None and len(numbers) != count) or not np.isfinite(numbers).all():
        raise RecordingError(f"'{key}' takes {count or 'some'} finite numbers")
    return list(numbers)
