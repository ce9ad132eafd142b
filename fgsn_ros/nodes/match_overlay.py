"""The camera's overlay with the map's points drawn in it, while someone subscribes."""

from collections import OrderedDict
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

from fgsn_ros.errors import RecordingError
from fgsn_ros.evaluation.match_picture import draw_match
from fgsn_ros.geometry.cameras import CameraMount
from fgsn_ros.localization.localizer import Estimate
from fgsn_ros.mapping.semantic_map import SemanticMap
from fgsn_ros.messages.bag_messages import stamp_of
from fgsn_ros.nodes.conversions import bgr_message, rgb_of
from fgsn_ros.segmentation.labels import LabelMap

_KEPT = 10
"""Frames of which parts wait for the others."""
_CHECK_PERIOD_S = 0.5
_OVERLAY_QOS = QoSProfile(depth=2, reliability=ReliabilityPolicy.BEST_EFFORT)
_MATCH_QOS = QoSProfile(depth=2, reliability=ReliabilityPolicy.RELIABLE)


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
            name: node.create_publisher(Image, f"{name}/map_overlay", _MATCH_QOS)
            for name in cameras
        }
        self._subscriptions: dict[str, Any] = {}
        self._timer: Any = None
        self._parts: OrderedDict[tuple[str, float], dict[str, Any]] = OrderedDict()

    def activate(self) -> None:
        """Look now and then who subscribes."""
        self._timer = self._node.create_timer(_CHECK_PERIOD_S, self._follow_subscribers)

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
        while len(self._parts) > _KEPT:
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
                    Image, f"{name}/overlay", take, _OVERLAY_QOS
                )
            elif not wanted and name in self._subscriptions:
                self._unsubscribe(name)

    def _unsubscribe(self, name: str) -> None:
        self._node.destroy_subscription(self._subscriptions.pop(name))

    def _take_overlay(self, name: str, message: Image) -> None:
        self._add(name, stamp_of(message), "image", message)
