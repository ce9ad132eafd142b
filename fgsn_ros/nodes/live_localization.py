"""Topics in, topics out: what the localization node does between configuration and clean-up."""

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from geometry_msgs.msg import PoseWithCovarianceStamped
from nav_msgs.msg import Odometry
from numpy.typing import NDArray
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from tf2_ros import TransformBroadcaster
from vision_msgs.msg import LabelInfo

from fgsn_ros.errors import FgsnError, LocalizationError
from fgsn_ros.localization.estimate import Estimate
from fgsn_ros.localization.initial_pose import InitialPose, load_pose, save_pose
from fgsn_ros.localization.localizer import LocalizerSettings
from fgsn_ros.localization.online import OnlineLocalizer, OnlineSettings
from fgsn_ros.localization.tracking import TrackingSettings, TrackingStatus
from fgsn_ros.locating.feature_poses import FeaturePoses
from fgsn_ros.mapping.semantic_map import SemanticMap
from fgsn_ros.messages.poses import covariance_of, make_transform
from fgsn_ros.messages.types import frame_name, stamp_of
from fgsn_ros.nodes.diagnostics import LocalizationDiagnostics, ThrottledLog
from fgsn_ros.nodes.feature_clouds import FeaturesInWait
from fgsn_ros.nodes.mountings import CameraMountings
from fgsn_ros.nodes.publishers import LocalizationPublishers, MatchOverlays
from fgsn_ros.nodes.ros_messages import (
    LATCHED_QOS,
    ROS_TYPES,
    fingerprint_of,
    label_map_from,
    matrix_of,
)
from fgsn_ros.nodes.settings import InitialPoseSettings, LocalizationNodeSettings

ODOMETRY_QOS = QoSProfile(depth=50, reliability=ReliabilityPolicy.BEST_EFFORT)
LABELS_QOS = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
STATUS_PERIOD_S = 0.2
"""Time between two looks at whether anything comes at all [s]."""


@dataclass(frozen=True, eq=False)
class KnownPlace:
    """What there is to localize on."""

    map: SemanticMap
    log_ratio: NDArray[np.float32]
    """(K, K) of the checkpoint that labelled it"""
    finder: FeaturePoses | None
    """measures poses by the map's local features, if they are used"""


class LiveLocalization:
    """An `OnlineLocalizer` with its topics."""

    def __init__(
        self,
        node: Node,
        settings: LocalizationNodeSettings,
        place: KnownPlace,
        localizer: LocalizerSettings,
        online: OnlineSettings,
        tracking: TrackingSettings,
        diagnostics: LocalizationDiagnostics,
    ) -> None:
        self.settings = settings
        self._node = node
        self._log = ThrottledLog(node)
        self._map = place.map
        self._features: FeaturesInWait | None = None
        if place.finder is not None:
            self._features = FeaturesInWait(place.finder.kind)
        self._broadcaster = TransformBroadcaster(node)
        self._mountings = CameraMountings(
            node, settings.base_frame_id, lambda: self.online.online_settings.time_jump_s
        )
        self.online = OnlineLocalizer(
            place.map,
            place.log_ratio,
            self._mountings.at,
            localizer,
            online,
            tracking,
            finder=place.finder,
        )
        if settings.set_initial_pose:
            self.online.home = start_from(settings.initial_pose)
        self._publishers = LocalizationPublishers(node, settings.global_frame_id, place.map)
        self._diagnostics = diagnostics
        self._diagnostics.attach(
            self.online, self._mountings.failures, self._mountings.uncalibrated
        )
        self._overlays = MatchOverlays(node, settings.cameras, place.map, place.log_ratio)
        self._received: InitialPose | None = None
        self._begun = False  # whether there was a pose to start from, or a search
        self._fingerprints: dict[str, str] = {}
        self._subscriptions: list[object] = []
        self._timers: list[object] = []
        self.active = False

    def activate(self) -> None:
        """Subscribe, and start from the pose that is known; else look for the robot."""
        node, latched = self._node, LATCHED_QOS
        subscribe = node.create_subscription
        topics = [  # of what is there at once, the first goes first
            (LabelInfo, "labels/info", self._take_label_info, latched),
            (CameraInfo, "labels/camera_info", self._take_camera_info, LABELS_QOS),
            (Image, "labels", self._take_labels, LABELS_QOS),
        ]
        if self._features is not None:
            topics[1:1] = [
                (CameraInfo, "features/camera_info", self._take_image_camera_info, LABELS_QOS),
                (PointCloud2, "features", self._take_features, LABELS_QOS),
            ]
        for name in self.settings.cameras:
            for message, topic, take, qos in topics:
                self._subscriptions.append(
                    subscribe(message, f"{name}/{topic}", partial(take, name), qos)
                )
        self._subscriptions.append(subscribe(Odometry, "odom", self._take_odometry, ODOMETRY_QOS))
        if self.settings.saved_pose:
            self._timers.append(node.create_timer(self.settings.save_period_s, self._save_pose))
        # a simulated clock may stand still
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timers.append(node.create_timer(STATUS_PERIOD_S, self._tell_status, clock=steady))
        self._overlays.activate()
        self._publishers.publish_map()
        self.active = True
        self._start()

    def deactivate(self) -> None:
        """Stop listening; the particles stay."""
        self.active = False
        self._save_pose()
        if self._node.context.ok():
            self._publishers.publish_status("inactive")
        self._overlays.deactivate()
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        for timer in self._timers:
            self._node.destroy_timer(timer)
        self._subscriptions, self._timers = [], []

    def close(self) -> None:
        """Let go of what is left."""
        if self.active:
            self.deactivate()
        self._diagnostics.detach()
        self._mountings.close()
        self._node.destroy_publisher(self._broadcaster.pub_tf)
        self._publishers.close()
        self._overlays.close()

    def receive_pose(self, message: PoseWithCovarianceStamped) -> None:
        """Take an initial pose, now or, while inactive, at activation.

        Raises:
            LocalizationError: it is in another frame than the map's, or no pose.
        """
        frame_id = frame_name(message.header.frame_id)
        if frame_id != self.settings.global_frame_id:
            raise LocalizationError(
                f"an initial pose in the frame '{frame_id}' is not used; "
                f"give it in '{self.settings.global_frame_id}'"
            )
        T_map_base = matrix_of(message.pose.pose)
        start = InitialPose(T_map_base, covariance_of(message), stamp_of(message) or None)
        self._diagnostics.refused_pose = ""
        if self.active:
            self._initialize(start)
        else:
            self._received = start
            self._node.get_logger().info("initial pose kept until activation")

    def search(self) -> None:
        """Forget the pose, and look for the robot on the whole map once active."""
        self._received, self._begun = None, True
        self.online.search()
        self._diagnostics.estimate = None
        self._publishers.restart()
        self._node.get_logger().info("no pose: looking for the robot on the whole map")
        if self.active:
            self._tell_status()

    def _start(self) -> None:
        if self._received is not None:
            start, self._received = self._received, None
            self._initialize(start)
        elif self.online.initialized:
            return  # active before: the particles are still there
        elif self.online.home is not None:
            self._initialize(self.online.home)
        elif not self._start_from_saved() and not self._begun and self._recovers:
            self.search()

    @property
    def _recovers(self) -> bool:
        return self.online.online_settings.recover

    def _start_from_saved(self) -> bool:
        """Start from the saved pose; whether there is one."""
        if not self.settings.saved_pose:
            return False
        try:
            saved = load_pose(Path(self.settings.saved_pose), self._map.identity)
        except FgsnError as error:
            self._node.get_logger().warning(str(error))
            return False
        if saved is not None:
            self._begun = True
            self.online.resume(saved, time.time())
            self._publishers.restart()
            x, y = saved.pose.T_map_base[:2, 3]
            self._node.get_logger().info(f"saved pose at x {x:.2f} m, y {y:.2f} m")
        return saved is not None

    def _initialize(self, start: InitialPose) -> None:
        self._begun = True
        self.online.initialize(start)
        self._publishers.restart()
        x, y = start.T_map_base[:2, 3]
        self._node.get_logger().info(f"initial pose at x {x:.2f} m, y {y:.2f} m")
        self._broadcast()

    def _save_pose(self) -> None:
        saved = self.online.pose_to_save(time.time()) if self.settings.saved_pose else None
        if saved is None or self._diagnostics.tracking_status() != TrackingStatus.TRACKING:
            return  # the one saved before is better
        try:
            save_pose(Path(self.settings.saved_pose), saved, self._map.identity)
        except FgsnError as error:
            self._log.warning("saved_pose", str(error))

    def _tell_status(self) -> None:
        self._publishers.publish_status(self._diagnostics.tracking_status().value)

    def _take_labels(self, name: str, message: Image) -> None:
        stamp = stamp_of(message)
        now = self._node.get_clock().now().nanoseconds * 1e-9
        self._diagnostics.labels[name].received(stamp, now)
        if not self._are_of_the_map(name):
            return
        try:
            stride = self._mountings.stride(name)
            label_map = label_map_from(message, self._map.label_count, stride)
        except FgsnError as error:
            self.online.counts["unusable label images"] += 1
            self._log.warning("labels", str(error))
            return
        self._mountings.add_frame(name, message.header.frame_id)
        self._overlays.add_labels(name, stamp, label_map)
        features = None
        if self._features is not None:
            features = self._features.of(name, stamp)
            self.online.counts["labels with local features"] += features is not None
        self._publish(self.online.add_labels(stamp, name, label_map, features))

    def _take_features(self, name: str, message: PointCloud2) -> None:
        assert self._features is not None
        try:
            self._features.add(name, stamp_of(message), message)
        except FgsnError as error:
            self.online.counts["unusable local features"] += 1
            self._log.warning("features", str(error))

    def _take_image_camera_info(self, name: str, message: CameraInfo) -> None:
        try:
            self._mountings.add_image_camera_info(name, message)
        except FgsnError as error:
            self._log.warning("features/camera_info", str(error))

    def _take_camera_info(self, name: str, message: CameraInfo) -> None:
        try:
            self._mountings.add_camera_info(name, message)
        except FgsnError as error:
            self._log.warning("camera_info", str(error))

    def _are_of_the_map(self, name: str) -> bool:
        """Whether a camera's labels are those that the map has."""
        fingerprint = self._fingerprints.get(name)
        if fingerprint is None:
            self.online.counts["labels without labels/info"] += 1
            text = f"labels of {name} come without labels/info: they are not used"
            self._log.warning("label_info", text)
        elif fingerprint != self._map.fingerprint:
            self.online.counts["labels of another checkpoint"] += 1
        return fingerprint == self._map.fingerprint

    def _take_label_info(self, name: str, message: LabelInfo) -> None:
        self._fingerprints[name] = fingerprint_of(message)
        ours = self._map.fingerprint
        self._diagnostics.refusal = "; ".join(
            f"labels of {camera} are of checkpoint {fingerprint[:12]}, the map of {ours[:12]}: "
            "they are not used"
            for camera, fingerprint in self._fingerprints.items()
            if fingerprint != ours
        )
        if self._fingerprints[name] != ours:
            self._node.get_logger().error(self._diagnostics.refusal)

    def _take_odometry(self, message: Odometry) -> None:
        if not self._is_of_our_frames(message):
            return
        try:
            T_odom_base = matrix_of(message.pose.pose)
        except FgsnError as error:
            self.online.counts["refused messages"] += 1
            self._log.warning("odometry", f"odometry: {error}")
            return
        jumps, before = self.online.counts["time jumps"], self.online.odometry_span
        estimates = self.online.add_odometry(stamp_of(message), T_odom_base)
        if self.online.odometry_span != before:
            self._diagnostics.odometry_came_at = self._node.get_clock().now().nanoseconds * 1e-9
        if self.online.counts["time jumps"] > jumps:
            self._publishers.restart()
        self._publish(estimates)
        self._broadcast()

    def _is_of_our_frames(self, message: Odometry) -> bool:
        frames = frame_name(message.header.frame_id), frame_name(message.child_frame_id)
        expected = self.settings.odom_frame_id, self.settings.base_frame_id
        if any(got not in ("", ours) for got, ours in zip(frames, expected, strict=True)):
            self.online.counts["odometry of other frames"] += 1
            self._log.warning(
                "frames",
                f"odometry is from '{frames[0]}' to '{frames[1]}', not '{expected[0]}' to "
                f"'{expected[1]}': set odom_frame_id and base_frame_id",
            )
            return False
        return True

    def _publish(self, estimates: list[Estimate]) -> None:
        for estimate in estimates:
            self._diagnostics.add(estimate)
            self._publishers.publish(estimate, self.online)
            if self._overlays.wanted(estimate.camera):
                mount = self._mountings.at(estimate.camera, estimate.labels_stamp)
                self._overlays.add_estimate(estimate, mount)
        if estimates:
            self._tell_status()

    def _broadcast(self) -> None:
        """Send map -> odom, valid a little beyond the newest odometry."""
        T_map_odom, span = self.online.T_map_odom, self.online.odometry_span
        if T_map_odom is None or span is None or not self.settings.tf_broadcast or not self.active:
            return
        if not np.isfinite(T_map_odom).all():
            return
        stamp = span[1] + self.settings.transform_tolerance
        frames = self.settings.global_frame_id, self.settings.odom_frame_id
        self._broadcaster.sendTransform(make_transform(ROS_TYPES, stamp, *frames, T_map_odom))


def start_from(settings: InitialPoseSettings) -> InitialPose:
    """The pose of the parameters."""
    s = settings
    return InitialPose.planar(s.x, s.y, s.z, s.yaw, s.std_m, s.std_yaw)
