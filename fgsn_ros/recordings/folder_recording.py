"""A drive that is a folder of images with stamps and poses."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.errors import RecordingError
from fgsn_ros.geometry.cameras import CameraMount
from fgsn_ros.geometry.trajectory import Trajectory
from fgsn_ros.messages.images import check_size, decode_image
from fgsn_ros.recordings.odometry import derived_from
from fgsn_ros.recordings.pose_files import read_poses, turned_to_base
from fgsn_ros.recordings.recording import RECORDED_ODOMETRY, Frame
from fgsn_ros.recordings.settings import RecordingSettings


@dataclass(frozen=True)
class FolderRecording:
    """A recorded drive (see `Recording`) of one camera whose frames are image files."""

    name: str
    cameras: Mapping[str, CameraMount]
    stamps: NDArray[np.float64]
    """(F,) strictly increasing stamps of the frames [s]"""
    files: tuple[Path, ...]
    """the frames' image files"""
    ground_truth: Trajectory | None
    """T_map_base"""
    odometry: Trajectory | None
    """T_odom_base"""
    odometry_origin: str
    poses_of_camera: bool
    """whether pose files of this folder hold camera poses, which are turned to base_link's"""

    @property
    def frame_count(self) -> int:
        """Number of frames."""
        return len(self.files)

    def frames(self) -> Iterator[Frame]:
        """Frames in order, decoded one by one.

        Raises:
            RecordingError: an image is damaged or of another size than its camera's.
        """
        (name, mount) = next(iter(self.cameras.items()))
        for stamp, path in zip(self.stamps, self.files, strict=True):
            image = read_image(path)
            check_size(image, mount.camera, str(path))
            yield Frame(float(stamp), name, image)


def folder_recording(
    path: Path,
    mount: CameraMount,
    frames: tuple[NDArray[np.float64], tuple[Path, ...]],
    pose_files: "PoseFiles",
    settings: RecordingSettings,
) -> FolderRecording:
    """The recording of image files with stamps, its poses read and its odometry derived.

    Raises:
        RecordingError: stamps do not increase, or a pose file cannot be used.
    """
    stamps, files = frames
    backwards = np.flatnonzero(np.diff(stamps) <= 0.0)
    if len(backwards):
        late = files[int(backwards[0]) + 1]
        raise RecordingError(f"time goes backwards in the images at {late}; correct its stamp")
    ground_truth = pose_files.read(pose_files.ground_truth)
    odometry, origin = None, RECORDED_ODOMETRY
    if settings.derive_odometry:
        source = pose_files.read(settings.odometry_poses) or ground_truth
        odometry, origin = derived_from(
            source, settings.odometry_noise, settings.seed, stamps, str(path)
        )
    return FolderRecording(
        path.resolve().name,
        {mount.frame_id: mount},
        stamps,
        files,
        ground_truth,
        odometry,
        origin,
        pose_files.of_camera,
    )


@dataclass(frozen=True)
class PoseFiles:
    """Where a folder's poses are and what they are of."""

    ground_truth: Path | None
    of_camera: bool
    """camera poses in a world with camera axes; else T_map_base"""
    times: NDArray[np.float64] | None
    """stamps [s] of the rows of a KITTI file; None takes TUM text alone"""

    def read(self, path: Path | None) -> Trajectory | None:
        """T_map_base of a pose file, if there is one.

        Raises:
            RecordingError: the file cannot be used.
        """
        if path is None:
            return None
        trajectory = read_poses(path, self.times)
        return turned_to_base(trajectory) if self.of_camera else trajectory


def read_image(path: Path) -> NDArray[np.uint8]:
    """RGB (H, W, 3) of an image file.

    Raises:
        RecordingError: the file cannot be read or decoded.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RecordingError(f"cannot read the image {path}: {error.strerror}") from error
    return decode_image(data, str(path))
