"""KITTI odometry sequence folders (Geiger et al., CVPR 2012)."""

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.errors import CameraError, RecordingError
from fgsn_ros.geometry.cameras import T_BASE_OPTICAL, Camera, CameraMount
from fgsn_ros.left_out import FEW, MAX_SHARE
from fgsn_ros.messages.images import IMAGE_SUFFIXES
from fgsn_ros.recordings.folder_recording import (
    FolderImages,
    FolderRecording,
    PoseFiles,
    folder_images,
    folder_recording,
    read_image,
    read_stamps,
)
from fgsn_ros.recordings.recording import RecordingSettings
from fgsn_ros.text_files import read_text

_log = logging.getLogger(__name__)

_CAMERAS = ("image_2", "image_0")  # colour before grey
_SIZES, _LOOKED_AT = 3, 20  # images whose size is asked for, and those tried until they are found


def is_kitti(path: Path) -> bool:
    """Whether the path looks like a KITTI sequence folder."""
    return (path / "calib.txt").is_file() and any((path / name).is_dir() for name in _CAMERAS)


def open_kitti(path: Path, settings: RecordingSettings) -> FolderRecording:
    """Open `image_2` (colour) or else `image_0` of a sequence folder, with calib.txt and times.txt.

    Frames are numbered by their file names; `settings.first` and `settings.last` choose a range.
    Poses come from `settings.poses`, else poses.txt in the folder or ../../poses/<sequence>.txt:
    12 columns (a row for each stamp) or TUM text, of camera 0 in both. base_link sits at camera 0
    with x forward, y left, z up; the map is the file's world turned likewise.

    Raises:
        RecordingError: a frame of the range is missing (named), or a file cannot be used.
    """
    images, times = _images(path, settings)
    mount = _mount(path / "calib.txt", images.camera_name, images.files)
    pose_files = PoseFiles(_pose_file(path, settings), True, times, settings.max_pose_gap_s)
    return folder_recording(images, mount, pose_files, settings)


def open_kitti_images(path: Path, settings: RecordingSettings) -> FolderImages:
    """The images alone, with times.txt; calib.txt and poses are not read.

    Raises:
        RecordingError: a frame of the range is missing (named), or times.txt cannot be used.
    """
    return _images(path, settings)[0]


def _images(path: Path, settings: RecordingSettings) -> tuple[FolderImages, NDArray[np.float64]]:
    """The images, and the stamps of all frame numbers [s]."""
    folder = next(path / name for name in _CAMERAS if (path / name).is_dir())
    times = read_stamps(path / "times.txt")
    numbers, files = _frame_range(folder, settings)
    if numbers[-1] >= len(times):
        raise RecordingError(
            f"{path / 'times.txt'} has {len(times)} stamps, none for frame {numbers[-1]}"
        )
    return folder_images(path, folder.name, times[numbers], files), times


def _frame_range(folder: Path, settings: RecordingSettings) -> tuple[list[int], tuple[Path, ...]]:
    """Frame numbers and files from the first to the last asked for; some may be missing between."""
    found = {
        int(path.stem): path
        for path in folder.iterdir()
        if path.suffix.lower() in IMAGE_SUFFIXES and path.stem.isdecimal()
    }
    if not found:
        raise RecordingError(f"{folder} holds no frames such as 000000.png")
    first = min(found) if settings.first is None else settings.first
    last = max(found) if settings.last is None else settings.last
    numbers = sorted(number for number in found if first <= number <= last)
    total = last - first + 1
    lost = total - len(numbers)
    gaps = (n for n, number in enumerate(numbers, first) if n != number)
    missing = next(gaps, first + len(numbers))
    if settings.last is not None and last < first:
        missing = last
    if first not in found or last not in found or lost > max(MAX_SHARE * total, FEW):
        raise RecordingError(
            f"frame {missing} is missing in {folder}; it holds frames within {min(found)} to "
            f"{max(found)}; choose a range without gaps by 'first' and 'last'"
        )
    if lost:
        _log.warning("%s: %d of %d frames are missing (first: %d)", folder, lost, total, missing)
    return numbers, tuple(found[number] for number in numbers)


def _mount(calibration: Path, camera_name: str, files: Sequence[Path]) -> CameraMount:
    """Camera of the projection matrix P = K [I | t] that takes camera 0's points to pixels."""
    P = _projection(calibration, camera_name.removeprefix("image_"))
    height, width = _size(files)
    try:
        camera = Camera.from_camera_info(width, height, "", (), P[:, :3].ravel().tolist())
    except CameraError as error:
        raise RecordingError(f"{calibration}: {error}") from error
    T_base_camera = T_BASE_OPTICAL.copy()
    T_base_camera[:3, 3] = T_BASE_OPTICAL[:3, :3] @ -np.linalg.solve(P[:, :3], P[:, 3])
    return CameraMount(camera, T_base_camera, camera_name)


def _size(files: Sequence[Path]) -> tuple[int, int]:
    """(H, W) of the images, which calib.txt does not say: that of most of some."""
    sizes: Counter[tuple[int, int]] = Counter()
    for file in dict.fromkeys((files[0], files[-1], *files[1:_LOOKED_AT])):
        try:
            height, width = read_image(file).shape[:2]
        except RecordingError:
            continue
        sizes[height, width] += 1
        if sizes.total() == _SIZES:
            break
    if not sizes:
        raise RecordingError(f"{files[0]} and those after it are damaged: no image can be decoded")
    return sizes.most_common(1)[0][0]


def _projection(calibration: Path, number: str) -> NDArray[np.float64]:
    try:
        lines = read_text(calibration).splitlines()
        line = next(line for line in lines if line.startswith(f"P{number}:"))
        P = np.array(line.split()[1:], dtype=np.float64).reshape(3, 4)
    except (OSError, ValueError, StopIteration) as error:
        raise RecordingError(
            f"{calibration} lacks the camera matrix 'P{number}: <12 numbers>'"
        ) from error
    lower = P[1, 0], P[2, 0], P[2, 1], P[2, 2] - 1.0
    if not np.isfinite(P).all() or P[0, 0] <= 0.0 or P[1, 1] <= 0.0 or any(lower):
        raise RecordingError(f"{calibration}: P{number} is no projection matrix")
    return P


def _pose_file(path: Path, settings: RecordingSettings) -> Path | None:
    if settings.poses is not None:
        return settings.poses
    sequence = path.resolve()
    candidates = (path / "poses.txt", sequence.parents[1] / "poses" / f"{sequence.name}.txt")
    return next((candidate for candidate in candidates if candidate.is_file()), None)
