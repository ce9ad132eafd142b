"""The one interface over recorded drives, and how to open them."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.config import require
from fgsn_ros.errors import RecordingError
from fgsn_ros.geometry.cameras import CameraMount
from fgsn_ros.geometry.trajectory import Trajectory
from fgsn_ros.recordings.odometry import OdometryNoise

RECORDED_ODOMETRY = "recorded"


@dataclass(frozen=True)
class Frame:
    """An image of one camera at its capture time."""

    stamp: float
    """[s], the header's stamp, not the time of recording"""
    camera: str
    """name of the camera, a key of `Recording.cameras`"""
    image: NDArray[np.uint8]
    """RGB, (H, W, 3)"""


class RecordedImages(Protocol):
    """The images of a recorded drive, for which nothing else of it is read."""

    @property
    def camera_names(self) -> Collection[str]:
        """Names of the cameras."""

    @property
    def frame_count(self) -> int:
        """Number of frames, those included that `frames` leaves out."""

    def frames(self) -> Iterator[Frame]:
        """Frames of all cameras ordered by stamp, read and decoded one by one.

        A frame that is damaged, late or repeats a stamp is left out, counted and said.

        Raises:
            RecordingError: too many frames are bad.
        """


class Recording(Protocol):
    """A recorded drive; every pose is of base_link (x forward, y left, z up)."""

    @property
    def name(self) -> str:
        """Short name for reports."""

    @property
    def cameras(self) -> Mapping[str, CameraMount]:
        """Cameras by name."""

    @property
    def odometry(self) -> Trajectory | None:
        """T_odom_base, or None where the recording has none (see `require_odometry`)."""

    @property
    def odometry_origin(self) -> str:
        """RECORDED_ODOMETRY, or the noise model that it was derived with, for the report."""

    @property
    def ground_truth(self) -> Trajectory | None:
        """T_map_base; may cover a part of the frames only (`ground_truth.covers(stamp)`)."""

    @property
    def frame_count(self) -> int:
        """Number of frames, those included that `frames` leaves out."""

    def frames(self) -> Iterator[Frame]:
        """Frames of all cameras ordered by stamp, read and decoded one by one.

        A frame that is damaged, late, repeats a stamp or is of another size than its camera's is
        left out, counted and said.

        Raises:
            RecordingError: too many frames are bad.
        """


@dataclass(frozen=True)
class RecordingSettings:
    """How to open a recording; the defaults find everything where there is one of each."""

    first: int | None = None
    """first frame, inclusive (KITTI: frame number; image folder: index in name order); not bags"""
    last: int | None = None
    """last frame, inclusive"""
    poses: Path | None = None
    """ground-truth pose file: TUM text, or for KITTI also 12 columns a frame number"""
    max_pose_gap_s: float | None = None
    """longest time between two poses of ground truth that is interpolated over [s], > 0; frames in
    a longer hole count as without poses. None: 2.5 times the median step, at least 0.5 and at most
    10 s"""
    odometry_poses: Path | None = None
    """pose file that odometry is derived from, where it is not `poses`"""
    derive_odometry: bool = False
    """derive odometry from poses with `odometry_noise`, also where odometry was recorded"""
    odometry_noise: OdometryNoise = field(default_factory=OdometryNoise)
    """noise model of derived odometry"""
    seed: int = 0
    """seed of the derived odometry, >= 0"""
    image_topics: tuple[str, ...] = ()
    """bags: image topics, one a camera; found by type where there is one camera"""
    camera_info_topics: tuple[str, ...] = ()
    """bags: camera_info topics in the order of `image_topics`; found beside the image topic"""
    odometry_topic: str = ""
    """bags: nav_msgs/Odometry topic; found by type where there is one"""
    ground_truth_topic: str = ""
    """bags: nav_msgs/Odometry topic with T_map_base; found by its frame_id 'map'"""
    gps_topic: str = ""
    """bags: sensor_msgs/NavSatFix topic, for poses that are made; found by type where there is
    one"""
    imu_topic: str = ""
    """bags: sensor_msgs/Imu topic, for poses that are made; found by type where there is one"""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.first is None or self.first >= 0, "first must be >= 0")
        require(self.last is None or self.last >= (self.first or 0), "last must be >= first")
        require(self.seed >= 0, "seed must be >= 0")
        require_gap(self.max_pose_gap_s)
        require(
            self.odometry_poses is None or self.derive_odometry,
            "odometry_poses is of use with derive_odometry only",
        )
        require(
            not self.camera_info_topics or len(self.camera_info_topics) == len(self.image_topics),
            "camera_info_topics must name one topic for each of image_topics",
        )


def require_gap(max_pose_gap_s: float | None) -> None:
    """Check the range of a setting of that name."""
    require(max_pose_gap_s is None or max_pose_gap_s > 0.0, "max_pose_gap_s must be above 0")


def require_odometry(recording: Recording) -> Trajectory:
    """The recording's odometry.

    Raises:
        RecordingError: it has none; says how to derive it.
    """
    if recording.odometry is None:
        raise RecordingError(
            f"{recording.name} has no odometry; record nav_msgs/Odometry, or set derive_odometry "
            "to derive it from ground-truth poses with a noise model"
        )
    return recording.odometry


def require_ground_truth(recording: Recording) -> Trajectory:
    """The recording's ground-truth poses.

    Raises:
        RecordingError: it has none; says how to give them.
    """
    if recording.ground_truth is None:
        raise RecordingError(
            f"{recording.name} has no ground-truth poses; name a pose file with the setting 'poses'"
        )
    return recording.ground_truth
