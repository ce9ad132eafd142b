"""A drive that is a folder of images with stamps, and pose files: KITTI's 12 columns, TUM text."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.errors import RecordingError
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.cameras import T_BASE_OPTICAL, CameraMount
from fgsn_ros.geometry.trajectory import Trajectory, read_tum
from fgsn_ros.messages.encoded_images import read_image_file
from fgsn_ros.messages.images import check_size, decode_image
from fgsn_ros.recordings.odometry import derived_from
from fgsn_ros.recordings.recording import RECORDED_ODOMETRY, Frame, RecordingSettings
from fgsn_ros.text_files import read_text

_KITTI_COLUMNS = 12


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
        data = read_image_file(path)
    except (OSError, ValueError) as error:
        raise RecordingError(f"cannot read the image {path}: {error}") from error
    return decode_image(data, str(path))


def read_poses(path: Path, times: NDArray[np.float64] | None) -> Trajectory:
    """Read a pose file, told apart by its columns: TUM text (8), or KITTI's 3x4 rows (12).

    Args:
        path: The pose file.
        times: Stamp of each row of a KITTI file [s]; None takes TUM text alone.

    Raises:
        RecordingError: the file cannot be read or used.
    """
    if times is None or _column_count(path) != _KITTI_COLUMNS:
        return read_tum(path)
    table = read_numbers(path, _KITTI_COLUMNS)
    if len(table) != len(times):
        raise RecordingError(
            f"{path} holds {len(table)} poses for {len(times)} stamps; is it another sequence's?"
        )
    matrices = table.reshape(-1, 3, 4)
    if np.abs(np.linalg.det(matrices[:, :, :3]) - 1.0).max() > 1e-2:
        raise RecordingError(f"{path} holds a matrix that is no rotation")
    # Through the quaternion: six decimals do not make a rotation matrix.
    rigid = poses.from_rotation_translation(matrices[:, :, :3], matrices[:, :, 3])
    return Trajectory(times, poses.from_quaternion(*poses.to_quaternion(rigid)))


def turned_to_base(camera_poses: Trajectory) -> Trajectory:
    """T_map_base from T_world_camera where base_link sits at the camera.

    The world has the axes of a camera (KITTI: those of the first) and is turned like it, so that
    the map's z points up: T_map_base = C T_world_camera C^-1, C from optical to body axes.
    """
    turned = T_BASE_OPTICAL @ camera_poses.poses @ poses.invert(T_BASE_OPTICAL)
    return Trajectory(camera_poses.stamps, turned)


def read_numbers(path: Path, columns: int) -> NDArray[np.float64]:
    """Rows of `columns` finite numbers, (N, columns).

    Raises:
        RecordingError: the file cannot be read, is empty, or a row (named) is wrong.
    """
    rows = []
    for number, line in enumerate(_read_lines(path), start=1):
        if line.strip() and not line.startswith("#"):
            rows.append(_row(line, columns, f"{path}, line {number}"))
    if not rows:
        raise RecordingError(f"{path} is empty; expected {columns} numbers a line")
    return np.array(rows)


def _row(line: str, columns: int, where: str) -> list[float]:
    try:
        row = [float(value) for value in line.split()]
    except ValueError as error:
        raise RecordingError(f"{where}: {error}") from error
    if len(row) != columns or not np.isfinite(row).all():
        raise RecordingError(f"{where}: expected {columns} finite numbers, got {len(row)}")
    return row


def _column_count(path: Path) -> int:
    lines = (line.split("#", 1)[0].split() for line in _read_lines(path))
    return len(next((line for line in lines if line), []))


def _read_lines(path: Path) -> list[str]:
    try:
        return read_text(path).splitlines()
    except (OSError, UnicodeError) as error:
        raise RecordingError(f"cannot read {path}: {error}") from error
