"""A drive that is a folder of images with stamps, and pose files: KITTI's 12 columns, TUM text."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.errors import RecordingError
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.cameras import T_BASE_OPTICAL, Camera, CameraMount
from fgsn_ros.geometry.trajectory import Trajectory, read_tum
from fgsn_ros.left_out import LeftOut
from fgsn_ros.messages.images import UnreadableImage, check_size, decode_image
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
    """Image files in the order of their stamps [s], (F,); those are left out that repeat one.

    Raises:
        RecordingError: too many stamps go backwards or repeat the one before.
    """
    with LeftOut(str(path), "stamps of images", len(files)) as left_out:
        given = zip(stamps.tolist(), files, strict=True)
        items = ((stamp, 0, file) for stamp, file in given)
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
        raise UnreadableImage(str(path), f"not readable: {error.strerror}") from error
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
        return path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise RecordingError(f"cannot read {path}: {error}") from error
