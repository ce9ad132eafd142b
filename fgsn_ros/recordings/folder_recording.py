"""A drive that is a folder of images with stamps, and pose files: KITTI's 12 columns, TUM text."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.errors import RecordingError
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.cameras import T_BASE_OPTICAL, Camera, CameraMount
from fgsn_ros.geometry.clocks import check_seconds
from fgsn_ros.geometry.number_rows import column_count, read_rows
from fgsn_ros.geometry.trajectory import Trajectory, read_tum, recorded_trajectory
from fgsn_ros.left_out import LeftOut
from fgsn_ros.messages.encoded_images import read_image_file
from fgsn_ros.messages.images import UnreadableImage, check_size, decode_image
from fgsn_ros.recordings.image_names import in_seconds
from fgsn_ros.recordings.image_order import in_stamp_order
from fgsn_ros.recordings.odometry import derived_from
from fgsn_ros.recordings.recording import RECORDED_ODOMETRY, Frame, RecordingSettings

_KITTI_COLUMNS = 12


@dataclass(frozen=True)
class FolderImages:
    """Image files with stamps (see `RecordedImages`), of one camera."""

    path: Path
    camera_name: str
    stamps: NDArray[np.float64]
    """(F,) strictly increasing stamps of the frames [s]"""
    files: tuple[Path, ...]
    """the frames' image files"""

    @property
    def camera_names(self) -> tuple[str]:
        """Name of the camera."""
        return (self.camera_name,)

    @property
    def frame_count(self) -> int:
        """Number of frames, with those that are left out."""
        return len(self.files)

    def frames(self, camera: Camera | None = None) -> Iterator[Frame]:
        """Frames in order; of `camera`'s size if one is given.

        Raises:
            RecordingError: too many images are damaged or of another size.
        """
        with LeftOut(str(self.path), "images", len(self.files)) as left_out:
            for stamp, path in zip(self.stamps, self.files, strict=True):
                try:
                    image = read_image(path)
                    if camera is not None:
                        check_size(image, camera, str(path))
                except RecordingError as error:
                    left_out.drop(getattr(error, "reason", "damaged"), path.name)
                    continue
                left_out.keep()
                yield Frame(float(stamp), self.camera_name, image)


def folder_images(
    path: Path, camera_name: str, stamps: NDArray[np.float64], files: tuple[Path, ...]
) -> FolderImages:
    """Image files in the order of their stamps [s], (F,); NaN where there is none.

    Raises:
        RecordingError: too many stamps are missing, go backwards or repeat the one before.
    """
    with LeftOut(str(path), "stamps of images", len(files)) as left_out:
        known = np.isfinite(stamps)
        for i in np.flatnonzero(~known).tolist():
            left_out.drop("without a stamp", files[i].name)
        given = zip(stamps.tolist(), known, files, strict=True)
        items = ((stamp, 0, file) for stamp, is_known, file in given if is_known)
        ordered = list(in_stamp_order(items, left_out))
        left_out.keep(len(ordered))
    return FolderImages(
        path,
        camera_name,
        np.array([stamp for stamp, _ in ordered]),
        tuple(file for _, file in ordered),
    )


@dataclass(frozen=True)
class FolderRecording:
    """A recorded drive (see `Recording`) of one camera whose frames are image files."""

    images: FolderImages
    cameras: Mapping[str, CameraMount]
    ground_truth: Trajectory | None
    """T_map_base"""
    odometry: Trajectory | None
    """T_odom_base"""
    odometry_origin: str
    poses_of_camera: bool
    """whether pose files of this folder hold camera poses, which are turned to base_link's"""

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.images.path.resolve().name

    @property
    def frame_count(self) -> int:
        """Number of frames, with those that are left out."""
        return self.images.frame_count

    def frames(self) -> Iterator[Frame]:
        """Frames in order, decoded one by one (see `Recording`)."""
        return self.images.frames(self.cameras[self.images.camera_name].camera)


def folder_recording(
    images: FolderImages, mount: CameraMount, pose_files: "PoseFiles", settings: RecordingSettings
) -> FolderRecording:
    """The recording of image files with stamps, its poses read and its odometry derived.

    Raises:
        RecordingError: a pose file cannot be used.
    """
    ground_truth = pose_files.read(pose_files.ground_truth)
    odometry, origin = None, RECORDED_ODOMETRY
    if settings.derive_odometry:
        source = pose_files.read(settings.odometry_poses) or ground_truth
        odometry, origin = derived_from(
            source, settings.odometry_noise, settings.seed, images.stamps, str(images.path)
        )
    return FolderRecording(
        images,
        {images.camera_name: mount},
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
        raise UnreadableImage(str(path), f"not readable: {error}") from error
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
    """Stamps (N,) [s] of a file with one a line (see `in_seconds`); NaN where a line is damaged.

    Raises:
        RecordingError: the file cannot be read, is empty, of another form, or not in seconds.
    """
    stamps = read_rows(path, 1, "a stamp [s]").values[:, 0]
    stamps = in_seconds(np.where(np.isfinite(stamps), stamps, np.nan), str(path))
    check_seconds(stamps, str(path))
    return stamps
