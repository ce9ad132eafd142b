"""The one interface over recorded drives: frames, cameras, odometry, ground truth."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.errors import RecordingError
from fgsn_ros.geometry.cameras import CameraMount
from fgsn_ros.geometry.trajectory import Trajectory

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
        """Number of frames that `frames` yields."""

    def frames(self) -> Iterator[Frame]:
        """Frames of all cameras ordered by stamp, read and decoded one by one.

        Raises:
            RecordingError: an image is damaged, of another size than its camera's, or older than
                the one before.
        """


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
