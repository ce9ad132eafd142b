"""Image folders, with a camera.yaml and TUM poses or without."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.errors import RecordingError
from fgsn_ros.geometry.cameras import T_BASE_OPTICAL, CameraMount
from fgsn_ros.messages.images import IMAGE_SUFFIXES
from fgsn_ros.recordings.camera_files import read_camera
from fgsn_ros.recordings.folder_recording import (
    FolderImages,
    FolderRecording,
    PoseFiles,
    folder_images,
    folder_recording,
    read_stamps,
)
from fgsn_ros.recordings.image_names import in_name_order, stamps_of_names
from fgsn_ros.recordings.recording import RecordingSettings

CAMERA_FILE = "camera.yaml"
_CAMERA_NAME = "camera"


def is_image_folder(path: Path) -> bool:
    """Whether the path looks like an image folder."""
    return (path / CAMERA_FILE).is_file()


def holds_images(path: Path) -> bool:
    """Whether the path is a folder with images in it or in its subfolder `images`."""
    return path.is_dir() and any(_is_image(file) for file in _folder(path).iterdir())


def open_folder_images(path: Path, settings: RecordingSettings) -> FolderImages:
    """Open the images of a folder alone, with stamps as `open_image_folder` has them.

    Raises:
        RecordingError: there are none, or their stamps cannot be used.
    """
    return folder_images(path, _CAMERA_NAME, *_images(path, settings))


def open_image_folder(path: Path, settings: RecordingSettings) -> FolderRecording:
    """Open a folder of images, in it or in its subfolder `images`, with a camera.yaml.

    Stamps [s] come from times.txt (one a line, in the order of the numbers in the image names) or
    else from the names (1305031102.175304.png); those since 1970 may be in milli-, micro- or
    nanoseconds. Poses come from `settings.poses` or poses.txt, TUM text.

    camera.yaml is that of ROS's camera_calibration, Kalibr or ORB-SLAM (see `read_camera`) and may
    add the mounting, T_base_camera. With the mounting, poses are of base_link in a map whose z
    points up. Without it, poses are of the camera in a world with the
    axes of a camera (as KITTI's and visual odometry's are), base_link sits at the camera, and both
    are turned to x forward, y left, z up.

    Raises:
        RecordingError: a file is missing or cannot be used.
    """
    images = open_folder_images(path, settings)
    camera, mounting = read_camera(path / CAMERA_FILE)
    mount = CameraMount(camera, T_BASE_OPTICAL if mounting is None else mounting, _CAMERA_NAME)
    poses_file = settings.poses
    if poses_file is None and (path / "poses.txt").is_file():
        poses_file = path / "poses.txt"
    pose_files = PoseFiles(poses_file, mounting is None, None, settings.max_pose_gap_s)
    return folder_recording(images, mount, pose_files, settings)


def _folder(path: Path) -> Path:
    return path / "images" if (path / "images").is_dir() else path


def _is_image(file: Path) -> bool:
    return file.suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith(".")


def _images(
    path: Path, settings: RecordingSettings
) -> tuple[NDArray[np.float64], tuple[Path, ...]]:
    folder = _folder(path)
    files = in_name_order(file for file in folder.iterdir() if _is_image(file))
    if not files:
        raise RecordingError(f"{folder} holds no images ({', '.join(IMAGE_SUFFIXES)})")
    if (path / "times.txt").is_file():
        stamps = read_stamps(path / "times.txt")
    else:
        stamps = stamps_of_names(files)
    if len(stamps) != len(files):
        raise RecordingError(
            f"{path / 'times.txt'} has {len(stamps)} stamps for {len(files)} images"
        )
    last = len(files) - 1 if settings.last is None else settings.last
    chosen = slice(settings.first or 0, last + 1)
    if last >= len(files) or not files[chosen]:
        raise RecordingError(f"{folder} holds images 0 to {len(files) - 1}; choose among them")
    return stamps[chosen], tuple(files[chosen])
