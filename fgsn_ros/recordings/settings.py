"""How to open a recording."""

from dataclasses import dataclass, field
from pathlib import Path

from fgsn_ros.config import require
from fgsn_ros.recordings.odometry import OdometryNoise


@dataclass(frozen=True)
class RecordingSettings:
    """How to open a recording; the defaults find everything where there is one of each."""

    first: int | None = None
    """first frame, inclusive (KITTI: frame number; image folder: index in name order); not bags"""
    last: int | None = None
    """last frame, inclusive"""
    poses: Path | None = None
    """ground-truth pose file: TUM text, or for KITTI also 12 columns a frame number"""
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

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.first is None or self.first >= 0, "first must be >= 0")
        require(self.last is None or self.last >= (self.first or 0), "last must be >= first")
        require(self.seed >= 0, "seed must be >= 0")
        require(
            self.odometry_poses is None or self.derive_odometry,
            "odometry_poses is of use with derive_odometry only",
        )
        require(
            not self.camera_info_topics or len(self.camera_info_topics) == len(self.image_topics),
            "camera_info_topics must name one topic for each of image_topics",
        )
