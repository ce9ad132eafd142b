"""Open a recorded drive by its path."""

from pathlib import Path

from fgsn_ros.errors import RecordingError
from fgsn_ros.geometry.trajectory import Trajectory, read_tum
from fgsn_ros.recordings.bag_paths import bags_within, is_bag
from fgsn_ros.recordings.cmu_seasons import is_cmu_slice, open_cmu_slice
from fgsn_ros.recordings.folder_recording import FolderRecording, turned_to_base
from fgsn_ros.recordings.image_folder import (
    holds_images,
    is_image_folder,
    open_folder_images,
    open_image_folder,
)
from fgsn_ros.recordings.kitti import is_kitti, open_kitti, open_kitti_images
from fgsn_ros.recordings.recording import RecordedImages, Recording, RecordingSettings
from fgsn_ros.recordings.robotcar_seasons import open_robotcar, robotcar_root
from fgsn_ros.recordings.rosbag import open_bag_images, open_rosbag

_DEFAULTS = RecordingSettings()


def open_recording(path: Path, settings: RecordingSettings = _DEFAULTS) -> Recording:
    """Open a rosbag2 (folder or file), ROS 1 bag, KITTI sequence folder, or image folder.

    Of the long-term visual localization benchmark: a slice of Extended CMU Seasons, RobotCar
    Seasons; of each the images with known poses that a map is made of.

    Raises:
        RecordingError: the path is none of them, or is damaged or incomplete.
    """
    if not path.exists():
        raise RecordingError(f"there is no recording at {path}")
    if is_bag(path):
        return open_rosbag(path, settings)
    if is_kitti(path):
        return open_kitti(path, settings)
    if is_image_folder(path):
        return open_image_folder(path, settings)
    if is_cmu_slice(path):
        return open_cmu_slice(path, settings)
    if robotcar_root(path) == path:
        return open_robotcar(path, settings)
    if holds_images(path):
        raise RecordingError(
            f"{path} holds images without camera.yaml: put the calibration there, or "
            f"let `fgsn poses {path} --output poses` estimate it"
        )
    raise RecordingError(
        f"{path} is no recording: expected a rosbag2 folder, .mcap, .db3 or .bag file, a KITTI "
        f"folder (image_0, calib.txt), or a folder of images with camera.yaml{_bags_in(path)}"
    )


def is_uncalibrated(path: Path) -> bool:
    """Whether the path is a folder of images that tells nothing of their camera."""
    others = is_bag, is_kitti, is_image_folder, is_cmu_slice
    known = any(is_other(path) for is_other in others) or robotcar_root(path) == path
    return not known and holds_images(path)


def open_images(path: Path, settings: RecordingSettings = _DEFAULTS) -> RecordedImages:
    """Open the images of a bag, a KITTI sequence folder or an image folder alone.

    Calibration, mounting, odometry and poses are not looked at and may be missing or damaged.

    Raises:
        RecordingError: the path is none of them, or is damaged.
    """
    if is_bag(path):
        return open_bag_images(path, settings)
    if is_kitti(path):
        return open_kitti_images(path, settings)
    if holds_images(path):
        return open_folder_images(path, settings)
    raise RecordingError(f"{path} is no bag, KITTI folder or folder of images{_bags_in(path)}")


def _bags_in(folder: Path) -> str:
    """What to say of a folder of bags."""
    names = ", ".join(bag.name for bag in bags_within(folder)[:5])
    return f"; name one of the bags in it: {names}" if names else ""


def read_reference(
    path: Path, recording: Recording, max_pose_gap_s: float | None = None
) -> Trajectory:
    """Read a reference trajectory T_map_base (TUM text) to evaluate a recording against.

    Where the recording's own pose files hold poses of the camera (KITTI), so does this file, and
    it is turned in the same way.

    Raises:
        RecordingError: the file cannot be read.
    """
    trajectory = read_tum(path, max_pose_gap_s)
    if isinstance(recording, FolderRecording) and recording.poses_of_camera:
        return turned_to_base(trajectory)
    return trajectory
