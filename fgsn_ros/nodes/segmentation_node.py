"""Segmentation node: camera images in, label images out. One per camera namespace.

Subscribes:
    image (sensor_msgs/Image) or image/compressed (sensor_msgs/CompressedImage), by the parameter
    image_transport; camera_info (sensor_msgs/CameraInfo).

Publishes, with the image's stamp and frame_id:
    labels (sensor_msgs/Image): mono8 up to 255 labels, else mono16; 255 or 65535 is unlabelled.
    labels/camera_info (sensor_msgs/CameraInfo): the camera of the label grid.
    labels/info (vision_msgs/LabelInfo, latched): the labels' names; header.frame_id is the
    checkpoint's fingerprint, which names the label set and which a map must match.
    overlay (bgr8) and confidence (mono8, 255 is certain), while someone subscribes.
    /diagnostics.

The newest image wins: a worker thread labels one image while the next one waits in a place for one.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header
from vision_msgs.msg import LabelInfo

from fgsn_ros.config import require
from fgsn_ros.errors import RecordingError
from fgsn_ros.geometry.cameras import Camera
from fgsn_ros.messages.images import camera_of, check_size, make_camera_info
from fgsn_ros.messages.types import stamp_of
from fgsn_ros.nodes import parameters
from fgsn_ros.nodes.diagnostics import SegmentationDiagnostics, ThrottledLog
from fgsn_ros.nodes.executables import run
from fgsn_ros.nodes.image_stream import ImageStatistics, NewestPlace
from fgsn_ros.nodes.ros_messages import (
    LATCHED_QOS,
    ROS_TYPES,
    bgr_message,
    confidence_message,
    label_info_message,
    labels_message,
    rgb_of,
)
from fgsn_ros.nodes.settings import SEGMENTATION_PARAMETERS, SegmentationNodeSettings
from fgsn_ros.segmentation.checkpoint import load_checkpoint
from fgsn_ros.segmentation.labels import UNLABELLED, LabelMap, overlay
from fgsn_ros.segmentation.segmenter import Segmenter

NODE_NAME = "segmentation_node"
# Reliable, so that best-effort and reliable subscribers both match; a slow one loses old labels.
LABELS_QOS = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)


class SegmentationNode(Node):
    """Subscribes to a camera, labels its images in a worker thread, publishes the labels.

    Raises:
        SettingsError: a parameter is missing or out of its range.
        CheckpointError: the checkpoint cannot be read.
    """

    def __init__(self) -> None:
        super().__init__(NODE_NAME)
        settings = parameters.declare(self, *SEGMENTATION_PARAMETERS[0])
        require(
            settings.checkpoint != "",
            "the parameter 'checkpoint' needs a .safetensors or .onnx file",
        )
        self._settings = settings
        self._segmenter = Segmenter(load_checkpoint(Path(settings.checkpoint)), settings.segmenter)
        self._segmenter.warm_up()
        self._log = ThrottledLog(self)
        self._camera: Camera | None = None
        self._newest: NewestPlace[Image | CompressedImage] = NewestPlace()
        self._statistics = ImageStatistics()
        self._diagnostics = SegmentationDiagnostics(self, self._statistics, settings.stale_after_s)
        parameters.watch(self, settings, self._change)
        self._publish_to()
        self._worker = threading.Thread(target=self._work, name="segmentation", daemon=True)
        self._worker.start()
        self._subscribe()
        self._say_hello()

    def destroy_node(self) -> None:
        """Stop the worker, then let go of what ROS holds."""
        self._newest.close()
        self._worker.join()
        super().destroy_node()

    def _publish_to(self) -> None:
        self._labels = self.create_publisher(Image, "labels", LABELS_QOS)
        self._labels_camera = self.create_publisher(CameraInfo, "labels/camera_info", LABELS_QOS)
        self._overlay = self.create_publisher(Image, "overlay", LABELS_QOS)
        self._confidence = self.create_publisher(Image, "confidence", LABELS_QOS)
        self._info = self.create_publisher(LabelInfo, "labels/info", LATCHED_QOS)
        stamp = self.get_clock().now().to_msg()
        self._info.publish(label_info_message(stamp, self._segmenter.checkpoint))

    def _subscribe(self) -> None:
        best_effort = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        self.create_subscription(CameraInfo, "camera_info", self._take_camera_info, best_effort)
        reliability = ReliabilityPolicy[self._settings.image_reliability.upper()]
        qos = QoSProfile(depth=1, reliability=reliability)
        if self._settings.image_transport == "raw":
            self.create_subscription(Image, "image", self._take_image, qos)
        else:  # a remapped `image` moves `image/compressed` along, as in image_transport
            topic = self.resolve_topic_name("image") + "/compressed"
            self.create_subscription(CompressedImage, topic, self._take_image, qos)

    def _say_hello(self) -> None:
        checkpoint, segmenter = self._segmenter.checkpoint, self._segmenter
        self.get_logger().info(
            f"checkpoint {checkpoint.fingerprint[:12]} with {segmenter.label_count} labels, "
            f"stride {segmenter.stride}, on {segmenter.device} by {segmenter.backend}"
        )
        for name in parameters.unknown_overrides(self):
            self.get_logger().warning(f"unknown parameter '{name}' has no effect")

    def _change(self, settings: SegmentationNodeSettings) -> None:
        self._settings = settings
        self._diagnostics.stale_after_s = settings.stale_after_s

    def _take_camera_info(self, message: CameraInfo) -> None:
        try:
            self._camera = camera_of(message, self._settings.rectified, "camera_info")
        except RecordingError as error:
            self._camera = None
            self._log.warning("camera_info", str(error))

    def _take_image(self, message: Image | CompressedImage) -> None:
        self._statistics.received(stamp_of(message), self.get_clock().now().nanoseconds * 1e-9)
        if self._newest.put(message):
            self._statistics.count("dropped")

    def _work(self) -> None:
        """Label the newest image, again and again, until the place is closed."""
        while (message := self._newest.take()) is not None:
            try:
                self._process(message)
            except Exception as error:  # one image must not end the worker
                if self.context.ok():  # else the end came while publishing
                    self._skip("failed", f"{type(error).__name__}: {error}")

    def _process(self, message: Image | CompressedImage) -> None:
        camera = self._camera
        if camera is None:
            self._skip("no_camera_info", "images come without a usable camera_info: skipped")
            return
        image = self._read(message, camera)
        if image is None:
            return
        with self._timed("inference"):
            label_map = self._segmenter.segment(image)
        with self._timed("publishing"):
            self._publish(message.header, image, label_map, camera)

    def _read(self, message: Image | CompressedImage, camera: Camera) -> NDArray[np.uint8] | None:
        """RGB pixels, or None for an image that cannot be used."""
        reason = "damaged"
        try:
            with self._timed("conversion"):
                image = rgb_of(message)
            reason = "size_mismatch"
            check_size(image, camera, "the image")
        except RecordingError as error:
            self._skip(reason, f"image skipped: {error}")
            return None
        return image

    def _publish(
        self, header: Header, image: NDArray[np.uint8], label_map: LabelMap, camera: Camera
    ) -> None:
        grid = camera.at_stride(label_map.stride)
        self._labels_camera.publish(make_camera_info(ROS_TYPES, header, grid))
        self._labels.publish(labels_message(header, label_map))
        self._statistics.count("published")
        self._diagnostics.unlabelled_share = float(np.mean(label_map.labels == UNLABELLED))
        if _has_subscriber(self._confidence):
            self._confidence.publish(confidence_message(header, label_map))
        if _has_subscriber(self._overlay):
            self._statistics.count("overlays")
            self._overlay.publish(bgr_message(header, overlay(image, label_map)))

    @contextmanager
    def _timed(self, step: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self._statistics.took(step, time.perf_counter() - start)

    def _skip(self, reason: str, message: str) -> None:
        self._statistics.count(reason)
        self._log.warning(reason, message)


def _has_subscriber(publisher: Publisher) -> bool:
    return publisher.get_subscription_count() > 0


def main() -> int:
    """Run the segmentation node."""
    return run(SegmentationNode, NODE_NAME)
