"""A drive of one or several cameras that is a list of image files, each with its camera's pose."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from fgsn_ros.errors import RecordingError
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.cameras import Camera, CameraMount
from fgsn_ros.geometry.trajectory import Trajectory
from fgsn_ros.left_out import LeftOut
from fgsn_ros.messages.images import check_size
from fgsn_ros.recordings.folder_recording import read_image
from fgsn_ros.recordings.recording import RECORDED_ODOMETRY, Frame, RecordingSettings

FloatArray = NDArray[np.float64]
_TOGETHER = 0.25
"""Of the time from image to image: images of two cameras this near were taken together."""


@dataclass(frozen=True, eq=False)
class PosedImage:
    """An image file and where it was taken."""

    stamp: float
    """[s]"""
    camera: str
    path: Path
    T_map_camera: FloatArray
    """(4, 4)"""


@dataclass(frozen=True, eq=False)
class PosedImages:
    """A recorded drive (see `Recording`) of posed images."""

    path: Path
    images: tuple[PosedImage, ...]
    """in the order of their stamps"""
    cameras: Mapping[str, CameraMount]
    ground_truth: Trajectory
    """T_map_base: exactly that of its camera at each image's stamp"""
    odometry: Trajectory | None = None
    odometry_origin: str = RECORDED_ODOMETRY

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.resolve().name

    @property
    def frame_count(self) -> int:
        """Number of frames, with those that are left out."""
        return len(self.images)

    def frames(self) -> Iterator[Frame]:
        """Frames in order, decoded one by one (see `Recording`)."""
        with LeftOut(str(self.path), "images", len(self.images)) as left_out:
            for posed in self.images:
                try:
                    image = read_image(posed.path)
                    check_size(image, self.cameras[posed.camera].camera, str(posed.path))
                except RecordingError as error:
                    left_out.drop(getattr(error, "reason", "damaged"), posed.path.name)
                    continue
                left_out.keep()
                yield Frame(posed.stamp, posed.camera, image)


def posed_recording(
    path: Path,
    images: Sequence[PosedImage],
    cameras: Mapping[str, Camera],
    T_rig_camera: Mapping[str, FloatArray] | None,
    settings: RecordingSettings,
) -> PosedImages:
    """The recording of images of a rig whose mounting on a robot is not known.

    base_link sits at the first camera, z up as the map's, x in the direction of travel. Where the
    rig is not given, it is the mean of the poses of images at one time.

    Args:
        path: What it is called.
        images: In any order.
        cameras: By name.
        T_rig_camera: Of each camera, if known.
        settings: `first` and `last` choose among the images in the order of their stamps.

    Raises:
        RecordingError: no image is chosen, or a camera has none at the time of another.
    """
    ordered = sorted(images, key=lambda image: (image.stamp, image.camera))
    last = len(ordered) - 1 if settings.last is None else settings.last
    chosen = ordered[settings.first or 0 : last + 1]
    if last >= len(ordered) or not chosen:
        raise RecordingError(f"{path} holds images 0 to {len(ordered) - 1}; choose among them")
    mounts = _mounts(path, ordered, cameras, T_rig_camera)
    truth = _trajectory(chosen, mounts, settings.max_pose_gap_s)
    return PosedImages(path, tuple(chosen), mounts, truth)


def _mounts(
    path: Path,
    images: Sequence[PosedImage],
    cameras: Mapping[str, Camera],
    T_rig_camera: Mapping[str, FloatArray] | None,
) -> dict[str, CameraMount]:
    by_camera = {name: [image for image in images if image.camera == name] for name in cameras}
    by_camera = {name: some for name, some in by_camera.items() if some}
    first = next(iter(by_camera))
    T_base_first = _level(np.stack([image.T_map_camera for image in by_camera[first]]))
    mounts = {}
    for name, some in by_camera.items():
        if T_rig_camera is None:
            T_first_camera = _relative(path, by_camera[first], some)
        else:
            T_first_camera = poses.compose(poses.invert(T_rig_camera[first]), T_rig_camera[name])
        T_base_camera = poses.compose(T_base_first, T_first_camera)
        mounts[name] = CameraMount(cameras[name], T_base_camera, name)
    return mounts


def _level(T_map_camera: FloatArray) -> FloatArray:
    """T_base_camera (4, 4) of a camera by its poses (N, 4, 4): z up, x where it mostly goes."""
    up = T_map_camera[:, 2, :3].mean(axis=0)
    up /= np.linalg.norm(up)
    steps = np.diff(T_map_camera[:, :3, 3], axis=0)
    metres = np.linalg.norm(steps, axis=1)
    ahead = np.array([0.0, 0.0, 1.0])
    if (metres > 0.0).any():
        going = np.einsum("nij,ni->nj", T_map_camera[:-1, :3, :3], steps)[metres > 0.0]
        ahead = np.median(going / metres[metres > 0.0, None], axis=0)
    left = np.cross(up, ahead)
    left /= np.linalg.norm(left)
    R_base_camera = np.stack([np.cross(left, up), left, up])
    return poses.from_rotation_translation(R_base_camera, np.zeros(3))


def _relative(path: Path, first: list[PosedImage], other: list[PosedImage]) -> FloatArray:
    """T_first_other (4, 4), the mean over images that were taken together."""
    stamps, others = (np.array([image.stamp for image in images]) for images in (first, other))
    together = _TOGETHER * float(np.median(np.diff(stamps))) if len(stamps) > 1 else np.inf
    apart, nearest = cKDTree(others[:, None]).query(stamps[:, None])
    found = np.flatnonzero(apart <= together)
    if not len(found):
        raise RecordingError(
            f"{path}: the cameras {first[0].camera} and {other[0].camera} never took images at one "
            "time; how they are mounted is unknown"
        )
    T_map_first = np.stack([first[i].T_map_camera for i in found])
    T_map_other = np.stack([other[i].T_map_camera for i in nearest[found]])
    relative = poses.compose(poses.invert(T_map_first), T_map_other)
    return poses.weighted_mean(relative, np.ones(len(found)))


def _trajectory(
    images: Sequence[PosedImage], mounts: Mapping[str, CameraMount], max_gap_s: float | None
) -> Trajectory:
    """T_map_base at each stamp; of images at one time, by the first."""
    by_stamp: dict[float, FloatArray] = {}
    for image in images:
        T_camera_base = poses.invert(mounts[image.camera].T_base_camera)
        by_stamp.setdefault(image.stamp, poses.compose(image.T_map_camera, T_camera_base))
    return Trajectory(np.array(list(by_stamp)), np.stack(list(by_stamp.values())), max_gap_s)
