"""A drive that is a folder of images with stamps, and pose files: KITTI's 12 columns, TUM text."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.errors import RecordingError
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.cameras import T_BASE_OPTICAL, CameraMount
from fgsn_ros.geometry.clocks import check_seconds
from fgsn_ros.geometry.number_rows import column_count, read_rows
from fgsn_ros.geometry.trajectory import Trajectory, read_tum, recorded_trajectory
from fgsn_ros.left_out import LeftOut
from fgsn_ros.messages.encoded_images import read_image_file
from fgsn_ros.messages.images import check_size, decode_image
from fgsn_ros.recordings.odometry import derived_from
from fgsn_ros.recordings.recording import RECORDED_ODOMETRY, Frame, RecordingSettings

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
    stamps, files = _with_stamps(path, *frames)
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


def _with_stamps(
    path: Path, stamps: NDArray[np.float64], files: tuple[Path, ...]
) -> tuple[NDArray[np.float64], tuple[Path, ...]]:
    """Without the files whose stamp is damaged (NaN), which are said."""
    known = np.isfinite(stamps)
    left_out = LeftOut(str(path), "images")
    left_out.keep(int(known.sum()))
    for i in np.flatnonzero(~known).tolist():
        left_out.drop("without a stamp", files[i].name)
    left_out.close()
    return stamps[known], tuple(file for file, kept in zip(files, known, strict=True) if kept)


@dataclass(frozen=True)
class PoseFiles:
    """Where a folder's poses are and what they are of."""

    ground_truth: Path | None
    of_camera: bool
    """camera poses in a world with camera axes; else T_map_base"""
    times: NDArray[np.float64] | None
    """stamps [s] of the rows of a KITTI file; None takes TUM text alone"""
    max_gap_s: float | None
    """of the trajectories (`RecordingSettings.max_pose_gap_s`)"""

    def read(self, path: Path | None) -> Trajectory | None:
        """T_map_base of a pose file, if there is one.

        Raises:
            RecordingError: the file cannot be used.
        """
        if path is None:
            return None
        trajectory = read_poses(path, self.times, self.max_gap_s)
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


def read_poses(
    path: Path, times: NDArray[np.float64] | None, max_gap_s: float | None
) -> Trajectory:
    """Read a pose file, told apart by its columns: TUM text (8), or KITTI's 3x4 rows (12).

    Args:
        path: The pose file.
        times: Stamp of each row of a KITTI file [s]; None takes TUM text alone.
        max_gap_s: The trajectory's.

    Raises:
        RecordingError: the file cannot be read or used.
    """
    if times is None or column_count(path) != _KITTI_COLUMNS:
        return read_tum(path, max_gap_s)
    rows = read_rows(path, _KITTI_COLUMNS, "the 12 numbers of a 3x4 matrix")
    if len(rows.values) != len(times):
        raise RecordingError(
            f"{path} holds {len(rows.values)} poses for {len(times)} stamps; is it another "
            "sequence's?"
        )
    matrices = rows.values.reshape(-1, 3, 4)
    damaged = np.where(rows.damaged != "", rows.damaged, _matrix_faults(matrices))
    usable = np.where(np.asarray(damaged == "")[:, None, None], matrices, np.eye(3, 4))
    # Through the quaternion: six decimals do not make a rotation matrix.
    rigid = poses.from_rotation_translation(usable[:, :, :3], usable[:, :, 3])
    table = np.column_stack(poses.to_quaternion(rigid))
    return recorded_trajectory(times, table, str(path), max_gap_s, rows.place, damaged)


def _matrix_faults(matrices: NDArray[np.float64]) -> NDArray[np.str_]:
    """Why 3x4 matrices (N, 3, 4) are no poses, in words (N,); empty where they are."""
    finite = np.asarray(np.isfinite(matrices).all(axis=(1, 2)))
    R = np.where(finite[:, None, None], matrices[:, :, :3], np.eye(3))
    with np.errstate(over="ignore", invalid="ignore"):
        off = np.abs(R @ R.swapaxes(1, 2) - np.eye(3)).max(axis=(1, 2))
        rotates = (off < 2.0 * poses.QUATERNION_TOLERANCE) & (np.linalg.det(R) > 0.0)
    reasons = [poses.NOT_FINITE, "with a matrix that is no rotation"]
    return np.asarray(np.select([~finite, ~rotates], reasons, ""), np.str_)


def turned_to_base(camera_poses: Trajectory) -> Trajectory:
    """T_map_base from T_world_camera where base_link sits at the camera.

    The world has the axes of a camera (KITTI: those of the first) and is turned like it, so that
    the map's z points up: T_map_base = C T_world_camera C^-1, C from optical to body axes.
    """
    turned = T_BASE_OPTICAL @ camera_poses.poses @ poses.invert(T_BASE_OPTICAL)
    return camera_poses.with_poses(turned)


def read_stamps(path: Path) -> NDArray[np.float64]:
    """Stamps (N,) [s] of a file with one a line; NaN where a line is damaged.

    Raises:
        RecordingError: the file cannot be read, is empty, of another form, or not in seconds.
    """
    stamps = read_rows(path, 1, "a stamp [s]").values[:, 0]
    check_seconds(stamps, str(path))
    return np.where(np.isfinite(stamps), stamps, np.nan)
