"""Settings of the nodes; their ROS parameters are made from these."""

from dataclasses import dataclass, field, fields
from typing import Literal

from fgsn_ros.config import require
from fgsn_ros.localization.localizer import LocalizerSettings
from fgsn_ros.localization.online import OnlineSettings
from fgsn_ros.localization.tracking import TrackingSettings
from fgsn_ros.mapping.descriptors import Kind
from fgsn_ros.segmentation.segmenter import SegmenterSettings


@dataclass(frozen=True)
class SegmentationNodeSettings:
    """Settings of the segmentation node."""

    checkpoint: str = ""
    """Trained network (.safetensors or .onnx), a path; must be given."""
    segmenter: SegmenterSettings = field(default_factory=SegmenterSettings)
    """Where and how finely images are labelled."""
    image_transport: Literal["raw", "compressed"] = "raw"
    """raw: sensor_msgs/Image on `image`; compressed: CompressedImage on `image/compressed`."""
    image_reliability: Literal["best_effort", "reliable"] = "best_effort"
    """QoS of the image subscription; best_effort also matches reliable publishers."""
    local_features: Kind = "sift"
    """Kind of the local features, that of the map; they are found while someone subscribes."""
    rectified: bool = False
    """The images are rectified: their camera is P of the CameraInfo, without distortion."""
    stale_after_s: float = 1.0
    """Diagnostics warn when images are older than this, or labels so far behind them [s], > 0."""
    autostart: bool = True
    """Configure and activate at the start; else a lifecycle manager does."""

    def __post_init__(self) -> None:
        require(self.stale_after_s > 0.0, "stale_after_s must be above 0")


@dataclass(frozen=True)
class InitialPoseSettings:
    """A pose to start from."""

    x: float = 0.0
    """Position of the base frame in the map [m]."""
    y: float = 0.0
    """Position of the base frame in the map [m]."""
    z: float = 0.0
    """Height of the base frame in the map [m]; the planar model takes it from the map's ground."""
    yaw: float = 0.0
    """Heading in the map [rad]."""
    std_m: float = 1.0
    """Standard deviation of x and of y [m], (0, 100]."""
    std_yaw: float = 0.07
    """Standard deviation of the heading [rad], (0, pi]."""

    def __post_init__(self) -> None:
        require(0.0 < self.std_m <= 100.0, "initial_pose.std_m must be in (0, 100]")
        require(0.0 < self.std_yaw <= 3.15, "initial_pose.std_yaw must be in (0, pi]")


@dataclass(frozen=True)
class LocalizationNodeSettings:
    """Settings of the localization node beside those of the localizer."""

    map: str = ""
    """Map folder made by `fgsn map`; must be given."""
    checkpoint: str = ""
    """Network that labelled the map (.safetensors or .onnx), for its statistics; must be given."""
    cameras: tuple[str, ...] = ("camera",)
    """Namespaces of the cameras; each has a segmentation node."""
    local_features: bool = True
    """Weigh the map's local features beside the labels, if the map has them."""
    global_frame_id: str = "map"
    """Frame of the map."""
    odom_frame_id: str = "odom"
    """Frame that odometry is in."""
    base_frame_id: str = "base_link"
    """Frame that odometry is of; its x axis points ahead."""
    tf_broadcast: bool = True
    """Publish the transform from the map to odometry's frame."""
    transform_tolerance: float = 0.1
    """That transform is valid for so long after the odometry that it was sent with [s], >= 0."""
    set_initial_pose: bool = False
    """Start from initial_pose; a pose received before activation goes before it."""
    initial_pose: InitialPoseSettings = field(default_factory=InitialPoseSettings)
    """Where to start, if set_initial_pose."""
    saved_pose: str = ""
    """File that keeps the last pose over restarts; empty: none. initial_pose goes before it."""
    save_period_s: float = 2.0
    """Time between writings of that file [s], > 0."""
    stale_after_s: float = 1.0
    """Diagnostics warn when the newest labels or odometry are older than this [s], > 0."""
    autostart: bool = True
    """Configure and activate at the start; else a lifecycle manager does."""

    def __post_init__(self) -> None:
        require(len(self.cameras) > 0, "cameras must name at least one namespace")
        require(len(set(self.cameras)) == len(self.cameras), "cameras must differ")
        for name in ("global_frame_id", "odom_frame_id", "base_frame_id"):
            require(getattr(self, name) != "", f"{name} must not be empty")
        require(self.transform_tolerance >= 0.0, "transform_tolerance must be at least 0")
        require(self.save_period_s > 0.0, "save_period_s must be above 0")
        require(self.stale_after_s > 0.0, "stale_after_s must be above 0")


def _all_but(settings: type, *fixed: str) -> tuple[str, ...]:
    return tuple(field.name for field in fields(settings) if field.name not in fixed)


SEGMENTATION_PARAMETERS = ((SegmentationNodeSettings(), ("stale_after_s",)),)
"""Settings at their defaults, and which of them may change at run time."""
LOCALIZATION_PARAMETERS = (
    (LocalizationNodeSettings(), ("tf_broadcast", "transform_tolerance", "stale_after_s")),
    (LocalizerSettings(), _all_but(LocalizerSettings, "model", "device", "random_seed")),
    (TrackingSettings(), _all_but(TrackingSettings)),
    (OnlineSettings(), _all_but(OnlineSettings)),
)
