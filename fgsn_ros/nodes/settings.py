"""Settings of the nodes; their ROS parameters are made from these."""

from dataclasses import dataclass, field
from typing import Literal

from fgsn_ros.config import require
from fgsn_ros.segmentation.segmenter import SegmenterSettings


@dataclass(frozen=True)
class SegmentationNodeSettings:
    """Settings of the segmentation node."""

    checkpoint: str = ""
    """Trained network (.safetensors), a path; must be given."""
    segmenter: SegmenterSettings = field(default_factory=SegmenterSettings)
    """Where and how finely images are labelled."""
    image_transport: Literal["raw", "compressed"] = "raw"
    """raw: sensor_msgs/Image on `image`; compressed: CompressedImage on `image/compressed`."""
    image_reliability: Literal["best_effort", "reliable"] = "best_effort"
    """QoS of the image subscription; best_effort also matches reliable publishers."""
    rectified: bool = False
    """The images are rectified: their camera is P of the CameraInfo, without distortion."""
    stale_after_s: float = 1.0
    """Diagnostics warn when the newest image is older than this [s], > 0."""

    def __post_init__(self) -> None:
        require(self.stale_after_s > 0.0, "stale_after_s must be above 0")
