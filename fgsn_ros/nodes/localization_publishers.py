"""What the localization node publishes beside map -> odom."""

import numpy as np
from geometry_msgs.msg import PoseArray, PoseStamped, PoseWithCovarianceStamped
from nav_msgs.msg import Path
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Float32

from fgsn_ros.commands.result_bag import PARTICLES_SHOWN, drawn
from fgsn_ros.localization.estimate import Estimate
from fgsn_ros.localization.online import OnlineLocalizer
from fgsn_ros.mapping.map_records import MapPoints
from fgsn_ros.mapping.semantic_map import SemanticMap
from fgsn_ros.mapping.shown_points import ShownPoints
from fgsn_ros.nodes import localization_messages as messages

FloatArray = NDArray[np.float64]

PATH_STEP_M = 0.2
"""A path gets a pose when the robot has moved so far [m]."""
PATH_LENGTH = 5000
"""Poses that a path holds: the oldest are dropped."""
PATH_PERIOD_S = 1.0

# The last pose is there for whoever comes later, as users of amcl expect.
LATCHED_QOS = QoSProfile(
    depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)
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
        self._label_count = semantic_map.label_count
        self._shown = ShownPoints(semantic_map)
        self._all: list[Publisher] = []
        self._pose = self._publisher(PoseWithCovarianceStamped, "pose", LATCHED_QOS)
        self._quality = self._publisher(Float32, "quality", QUALITY_QOS)
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
            cloud = messages.map_message(
                stamp, self._frame_id, shown.points, shown.labels, self._label_count
            )
            self._map_points.publish(cloud)

    def restart(self) -> None:
        """Begin new paths, as after an initial pose."""
        self._localized.clear()
        self._reckoned.clear()
        self._T_map_odom_at_start = None

    def publish(self, estimate: Estimate, online: OnlineLocalizer) -> None:
        """Publish an estimate, the particles that it came from, and the paths."""
        stamp, T_map_base = estimate.stamp, estimate.T_map_base
        if not (np.isfinite(T_map_base).all() and np.isfinite(estimate.covariance).all()):
            return
        pose = messages.estimate_message(stamp, self._frame_id, T_map_base, estimate.covariance)
        self._pose.publish(pose)
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
            cloud = messages.weighted_particles_message(stamp, self._frame_id, T, weights)
            self._weights.publish(cloud)
        shown = T[drawn(weights, PARTICLES_SHOWN)]
        if self._particles.get_subscription_count():
            self._particles.publish(messages.particles_message(stamp, self._frame_id, shown))
        if self._cloud is not None and self._cloud.get_subscription_count():
            self._cloud.publish(
                ParticleCloud(
                    header=messages.header(stamp, self._frame_id),
                    particles=[
                        Particle(pose=messages.pose_message(pose), weight=1.0 / len(shown))
                        for pose in shown
                    ],
                )
            )


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
            self._poses.append(messages.stamped_pose(stamp, self._frame_id, T))
            del self._poses[:-PATH_LENGTH]
        if stamp >= self._next and self._publisher.get_subscription_count():
            self._next = stamp + PATH_PERIOD_S
            self._publisher.publish(messages.path_message(self._poses))
