"""What the localization node publishes beside map -> odom: poses, particles, map, overlays."""

from collections import OrderedDict
from functools import partial
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseArray, PoseStamped, PoseWithCovarianceStamped
from nav_msgs.msg import Path
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image, PointCloud2
from std_msgs.msg import Float32, Header, String

from fgsn_ros.errors import RecordingError
from fgsn_ros.evaluation.match_picture import draw_match
from fgsn_ros.geometry.cameras import CameraMount
from fgsn_ros.localization.estimate import Estimate
from fgsn_ros.localization.online import OnlineLocalizer
from fgsn_ros.mapping.map_records import MapPoints
from fgsn_ros.mapping.semantic_map import SemanticMap, ShownPoints
from fgsn_ros.messages.clouds import make_particle_cloud, make_point_cloud
from fgsn_ros.messages.poses import (
    drawn,
    make_estimate,
    make_particles,
    make_path,
    make_poses,
    make_stamped_pose,
)
from fgsn_ros.messages.types import make_header, stamp_of
from fgsn_ros.nodes.ros_messages import LATCHED_QOS, ROS_TYPES, bgr_message, rgb_of
from fgsn_ros.segmentation.labels import LabelMap, palette

FloatArray = NDArray[np.float64]

PATH_STEP_M = 0.2
"""A path gets a pose when the robot has moved so far [m]."""
PATH_LENGTH = 5000
"""Poses that a path holds: the oldest are dropped."""
PATH_PERIOD_S = 1.0
FRAMES_KEPT = 10
"""Frames of which an overlay's parts wait for the others."""
CHECK_PERIOD_S = 0.5
"""Time between two looks at who subscribes to the overlays [s]."""
OVERLAY_QOS = QoSProfile(depth=2, reliability=ReliabilityPolicy.BEST_EFFORT)
MATCH_QOS = QoSProfile(depth=2, reliability=ReliabilityPolicy.RELIABLE)


PARTICLES_QOS = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
QUALITY_QOS = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)

try:
    from nav2_msgs.msg import Particle, ParticleCloud
except ImportError:  # only where Nav2 is installed
    ParticleCloud = None


class LocalizationPublishers:
    """Publishes estimates; what is costly, only while someone subscribes."""

    def __init__(self, node: Node, frame_id: str, semantic_map: SemanticMap) -> None:
        self._node = node
        self._frame_id = frame_id
        self._palette = palette(semantic_map.label_count)
        self._shown = ShownPoints(semantic_map)
        self._all: list[Publisher] = []
        self._pose = self._publisher(PoseWithCovarianceStamped, "pose", LATCHED_QOS)
        self._quality = self._publisher(Float32, "quality", QUALITY_QOS)
        self._status = self._publisher(String, "status", LATCHED_QOS)
        self._said_status = ""
        self._particles = self._publisher(PoseArray, "particles", PARTICLES_QOS)
        self._weights = self._publisher(PointCloud2, "particle_weights", PARTICLES_QOS)
        self._map_points = self._publisher(PointCloud2, "map_points", LATCHED_QOS)
        self._cloud = None
        if ParticleCloud is not None:
            self._cloud = self._publisher(ParticleCloud, "particle_cloud", PARTICLES_QOS)
        self._localized = _GrowingPath(self._publisher(Path, "path", LATCHED_QOS), frame_id)
        self._reckoned = _GrowingPath(self._publisher(Path, "odometry_path", LATCHED_QOS), frame_id)
        self._T_map_odom_at_start: FloatArray | None = None

    def close(self) -> None:
        """Let go of the publishers."""
        for publisher in self._all:
            self._node.destroy_publisher(publisher)

    def _publisher(self, kind: type, topic: str, qos: QoSProfile) -> Publisher:
        publisher = self._node.create_publisher(kind, topic, qos)
        self._all.append(publisher)
        return publisher

    def publish_map(self) -> None:
        """Publish the map's points; of a large map later, those around the robot."""
        self._shown.restart()
        self._publish_map_points(self._shown.at_once())

    def _publish_map_points(self, shown: MapPoints | None) -> None:
        if shown is not None:
            stamp = self._node.get_clock().now().to_msg()
            header = Header(stamp=stamp, frame_id=self._frame_id)
            colours = self._palette[shown.labels]
            self._map_points.publish(
                make_point_cloud(ROS_TYPES, header, shown.points, shown.labels, colours)
            )

    def restart(self) -> None:
        """Begin new paths, as after an initial pose."""
        self._localized.clear()
        self._reckoned.clear()
        self._T_map_odom_at_start = None

    def publish_status(self, status: str) -> None:
        """Publish how far the pose can be relied on, when that changes."""
        if status != self._said_status:
            self._said_status = status
            self._status.publish(String(data=status))

    def publish(self, estimate: Estimate, online: OnlineLocalizer) -> None:
        """Publish an estimate, the particles that it came from, and the paths."""
        stamp, T_map_base = estimate.stamp, estimate.T_map_base
        if not (np.isfinite(T_map_base).all() and np.isfinite(estimate.covariance).all()):
            return
        self._pose.publish(
            make_estimate(ROS_TYPES, stamp, self._frame_id, T_map_base, estimate.covariance)
        )
        self._publish_map_points(self._shown.around(T_map_base[:3, 3]))
        self._quality.publish(Float32(data=online.tracking.quality or 0.0))
        self._publish_particles(stamp, *online.particles)
        self._localized.add(stamp, T_map_base)
        if self._T_map_odom_at_start is None:
            self._T_map_odom_at_start = online.T_map_odom
        if self._T_map_odom_at_start is not None:
            T_odom_base = online.T_odom_base(stamp)
            self._reckoned.add(stamp, self._T_map_odom_at_start @ T_odom_base)

    def _publish_particles(self, stamp: float, T: FloatArray, weights: FloatArray) -> None:
        if self._weights.get_subscription_count():
            header = make_header(ROS_TYPES, stamp, self._frame_id)
            self._weights.publish(make_particle_cloud(ROS_TYPES, header, T, weights))
        shown = T[drawn(weights)]
        if self._particles.get_subscription_count():
            self._particles.publish(make_particles(ROS_TYPES, stamp, self._frame_id, shown))
        if self._cloud is not None and self._cloud.get_subscription_count():
            particles = [
                Particle(pose=pose, weight=1.0 / len(shown))
                for pose in make_poses(ROS_TYPES, shown)
            ]
            header = make_header(ROS_TYPES, stamp, self._frame_id)
            self._cloud.publish(ParticleCloud(header=header, particles=particles))


class _GrowingPath:
    """A path that grows with the robot's way."""

    def __init__(self, publisher: Publisher, frame_id: str) -> None:
        self._publisher = publisher
        self._frame_id = frame_id
        self.clear()

    def clear(self) -> None:
        self._poses: list[PoseStamped] = []
        self._last: FloatArray | None = None
        self._next = float("-inf")

    def add(self, stamp: float, T: FloatArray) -> None:
        """Add a pose, and publish the path now and then while someone subscribes."""
        if self._last is None or np.linalg.norm(T[:3, 3] - self._last) >= PATH_STEP_M:
            self._last = T[:3, 3].copy()
            self._poses.append(make_stamped_pose(ROS_TYPES, stamp, self._frame_id, T))
            del self._poses[:-PATH_LENGTH]
        if stamp >= self._next and self._publisher.get_subscription_count():
            self._next = stamp + PATH_PERIOD_S
            self._publisher.publish(make_path(ROS_TYPES, self._poses))


class MatchOverlays:
    """Publishes `<camera>/map_overlay`: the segmentation's overlay with the expected map points.

    The overlay image is subscribed to only while somebody wants the result.
    """

    def __init__(
        self,
        node: Node,
        cameras: tuple[str, ...],
        semantic_map: SemanticMap,
        log_ratio: NDArray[np.float32],
    ) -> None:
        self._node = node
        self._map = semantic_map
        self._log_ratio = log_ratio
        self._publishers = {
            name: node.create_publisher(Image, f"{name}/map_overlay", MATCH_QOS) for name in cameras
        }
        self._subscriptions: dict[str, Any] = {}
        self._timer: Any = None
        self._parts: OrderedDict[tuple[str, float], dict[str, Any]] = OrderedDict()

    def activate(self) -> None:
        """Look now and then who subscribes."""
        self._timer = self._node.create_timer(CHECK_PERIOD_S, self._follow_subscribers)

    def deactivate(self) -> None:
        """Stop."""
        self._node.destroy_timer(self._timer)
        for name in list(self._subscriptions):
            self._unsubscribe(name)

    def close(self) -> None:
        """Let go of the publishers."""
        for publisher in self._publishers.values():
            self._node.destroy_publisher(publisher)

    def add_labels(self, name: str, stamp: float, label_map: LabelMap) -> None:
        """Label map of a camera's frame."""
        self._add(name, stamp, "labels", label_map)

    def wanted(self, name: str) -> bool:
        """Whether somebody subscribes to the result for a camera."""
        return name in self._subscriptions

    def add_estimate(self, estimate: Estimate, mount: CameraMount | None) -> None:
        """Estimate from a camera's frame, and where the camera was if that is known."""
        late = estimate.labels_stamp < estimate.stamp  # the pose of then is not known
        if mount is not None and not late:
            self._add(estimate.camera, estimate.stamp, "pose", (estimate.T_map_base, mount))

    def _add(self, name: str, stamp: float, part: str, value: Any) -> None:
        if not self.wanted(name):
            return
        parts = self._parts.setdefault((name, stamp), {})
        parts[part] = value
        if len(parts) == 3:
            del self._parts[name, stamp]
            self._publish(name, **parts)
        while len(self._parts) > FRAMES_KEPT:
            self._parts.popitem(last=False)

    def _publish(self, name: str, image: Image, labels: LabelMap, pose: Any) -> None:
        try:
            pixels = rgb_of(image)
        except RecordingError:
            return  # not ours to report
        T_map_base, mount = pose
        drawn = draw_match(pixels, T_map_base, mount, labels, self._map, self._log_ratio)
        self._publishers[name].publish(bgr_message(image.header, drawn))

    def _follow_subscribers(self) -> None:
        for name, publisher in self._publishers.items():
            wanted = publisher.get_subscription_count() > 0
            if wanted and name not in self._subscriptions:
                take = partial(self._take_overlay, name)
                self._subscriptions[name] = self._node.create_subscription(
                    Image, f"{name}/overlay", take, OVERLAY_QOS
                )
            elif not wanted and name in self._subscriptions:
                self._unsubscribe(name)

    def _unsubscribe(self, name: str) -> None:
        self._node.destroy_subscription(self._subscriptions.pop(name))

    def _take_overlay(self, name: str, message: Image) -> None:
        self._add(name, stamp_of(message), "image", message)
