"""Segmentation node: camera images in, label images out. One per camera namespace.

A lifecycle node that starts itself (parameter `autostart`).

Subscribes:
    image (sensor_msgs/Image) or image/compressed (sensor_msgs/CompressedImage), by the parameter
    image_transport; camera_info (sensor_msgs/CameraInfo).

Publishes, with the image's stamp and frame_id:
    labels (sensor_msgs/Image): mono8 up to 255 labels, else mono16; 255 or 65535 is unlabelled.
    labels/camera_info (sensor_msgs/CameraInfo): the camera of the label grid.
    labels/info (vision_msgs/LabelInfo, latched): the labels' names; header.frame_id is the
    checkpoint's fingerprint, which names the label set and which a map must match.
    overlay (bgr8) and confidence (mono8, 255 is certain), while someone subscribes.
    features (sensor_msgs/PointCloud2), before the labels and while someone subscribes: the local
    features of the image, u, v [px] and a descriptor; features/camera_info, of the whole image.
    /diagnostics.

The newest image wins: a worker thread labels one image while the next one waits in a place for one.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2
from std_msgs.msg import Header
from vision_msgs.msg import LabelInfo

from fgsn_ros.config import require
from fgsn_ros.errors import RecordingError, SettingsError, one_line
from fgsn_ros.geometry.cameras import Camera
from fgsn_ros.mapping.descriptors import Extractor, ImageFeatures, feature_extractor
from fgsn_ros.messages.images import camera_of, check_size, make_camera_info
from fgsn_ros.messages.types import stamp_of
from fgsn_ros.nodes import parameters
from fgsn_ros.nodes.diagnostics import SegmentationDiagnostics, ThrottledLog
from fgsn_ros.nodes.executables import run
from fgsn_ros.nodes.feature_clouds import make_feature_cloud
from fgsn_ros.nodes.image_stream import ImageStatistics, NewestPlace
from fgsn_ros.nodes.managed_node import ManagedNode
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
from fgsn_ros.segmentation.segmenter import Segmenter, shrunk

NODE_NAME = "segmentation_node"
# Reliable, so that best-effort and reliable subscribers both match; a slow one loses old labels.
LABELS_QOS = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)


class SegmentationNode(ManagedNode):
    """Subscribes to a camera, labels its images in a worker thread, publishes the labels.

    Raises:
        SettingsError: a parameter is out of its range.
    """

    def __init__(self) -> None:
        super().__init__(NODE_NAME)
        self._settings = parameters.declare(self, *SEGMENTATION_PARAMETERS[0])
        self._log = ThrottledLog(self)
        self._segmenter: Segmenter | None = None
        self._extract: Extractor | None = None
        self._camera: Camera | None = None
        self._frame_id = ""
        """That of camera_info, for images that name none."""
        self._newest: NewestPlace[Image | CompressedImage] = NewestPlace()
        self._worker: threading.Thread | None = None
        self._from_camera: list[Any] = []
        self._publishers_of_labels: list[Publisher] = []
        self._statistics = ImageStatistics()
        self._diagnostics = SegmentationDiagnostics(
            self, self._statistics, self._settings.stale_after_s
        )
        parameters.watch(self, self._settings, self._change)
        self.start(self._settings.autostart)

    def destroy_node(self) -> None:
        """Let the worker go, then what ROS holds."""
        self._newest.close()
        super().destroy_node()

    def prepare(self) -> tuple[Segmenter, Extractor | None]:
        """The segmenter, which has labelled an image, and what finds local features, if it can.

        Raises:
            SettingsError: the parameter checkpoint is missing, or another does not fit it.
            CheckpointError: the checkpoint cannot be read.
        """
        settings = self._settings
        require(
            settings.checkpoint != "",
            "the parameter 'checkpoint' needs a .safetensors or .onnx file",
        )
        segmenter = Segmenter(load_checkpoint(Path(settings.checkpoint)), settings.segmenter)
        segmenter.warm_up()
        try:
            return segmenter, feature_extractor(settings.local_features)
        except SettingsError as error:  # labels do without
            self.get_logger().warning(f"no local features: {one_line(str(error))}")
            return segmenter, None

    def configure(self, prepared: tuple[Segmenter, Extractor | None]) -> None:
        """Tell of the labels."""
        self._segmenter, self._extract = segmenter, _ = prepared
        self._features = self._publisher(PointCloud2, "features", LABELS_QOS)
        self._features_camera = self._publisher(CameraInfo, "features/camera_info", LABELS_QOS)
        self._labels = self._publisher(Image, "labels", LABELS_QOS)
        self._labels_camera = self._publisher(CameraInfo, "labels/camera_info", LABELS_QOS)
        self._overlay = self._publisher(Image, "overlay", LABELS_QOS)
        self._confidence = self._publisher(Image, "confidence", LABELS_QOS)
        info = self._publisher(LabelInfo, "labels/info", LATCHED_QOS)
        info.publish(label_info_message(self.get_clock().now().to_msg(), segmenter.checkpoint))
        self.get_logger().info(
            f"checkpoint {segmenter.checkpoint.fingerprint[:12]} with {segmenter.label_count} "
            f"labels, stride {segmenter.stride}, on {segmenter.device} by {segmenter.backend}"
        )

    def activate(self) -> None:
        """Subscribe, and let a worker label."""
        self._newest = NewestPlace()
        self._worker = threading.Thread(
            target=self._work, args=(self._newest, self._worker), name="segmentation", daemon=True
        )
        self._worker.start()
        self._subscribe()

    def deactivate(self) -> None:
        """Stop listening; the image that is being labelled is not published."""
        self._newest.close()
        for subscription in self._from_camera:
            self.destroy_subscription(subscription)
        self._from_camera = []

    def clean_up(self) -> None:
        """Let go of the network."""
        self.deactivate()
        for publisher in self._publishers_of_labels:
            self.destroy_publisher(publisher)
        self._publishers_of_labels = []
        self._segmenter = self._extract = None

    def _publisher(self, kind: type, topic: str, qos: QoSProfile) -> Publisher:
        publisher = self.create_publisher(kind, topic, qos)
        self._publishers_of_labels.append(publisher)
        return publisher

    def _subscribe(self) -> None:
        best_effort = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        info = self.create_subscription(
            CameraInfo, "camera_info", self._take_camera_info, best_effort
        )
        reliability = ReliabilityPolicy[self._settings.image_reliability.upper()]
        qos = QoSProfile(depth=1, reliability=reliability)
        if self._settings.image_transport == "raw":
            image = self.create_subscription(Image, "image", self._take_image, qos)
        else:  # a remapped `image` moves `image/compressed` along, as in image_transport
            topic = self.resolve_topic_name("image") + "/compressed"
            image = self.create_subscription(CompressedImage, topic, self._take_image, qos)
        self._from_camera = [info, image]

    def _change(self, settings: SegmentationNodeSettings) -> None:
        self._settings = settings
        self._diagnostics.stale_after_s = settings.stale_after_s

    def _take_camera_info(self, message: CameraInfo) -> None:
        self._frame_id = message.header.frame_id
        try:
            self._camera = camera_of(message, self._settings.rectified, "camera_info")
            self._diagnostics.uncalibrated = ""
        except RecordingError as error:
            self._camera = None
            self._diagnostics.uncalibrated = str(error)
            self._log.warning("camera_info", str(error))

    def _take_image(self, message: Image | CompressedImage) -> None:
        self._statistics.received(stamp_of(message), self.get_clock().now().nanoseconds * 1e-9)
        if self._newest.put(message):
            self._statistics.count("dropped")

    def _work(
        self, place: NewestPlace[Image | CompressedImage], before: threading.Thread | None
    ) -> None:
        """Label the newest image, again and again, until the place is closed."""
        if before is not None:
            before.join()
        while (message := place.take()) is not None:
            try:
                self._process(message, place)
            except Exception as error:  # one image must not end the worker
                if self.context.ok() and not place.closed:  # else the end came while publishing
                    self._skip("failed", f"{type(error).__name__}: {error}")

    def _process(
        self, message: Image | CompressedImage, place: NewestPlace[Image | CompressedImage]
    ) -> None:
        camera, segmenter = self._camera, self._segmenter
        if camera is None or segmenter is None:
            reason = "uncalibrated" if self._diagnostics.uncalibrated else "no_camera_info"
            self._skip(reason, "images come without a usable camera_info: skipped")
            return
        image = self._read(message, camera)
        if image is None:
            return
        message.header.frame_id = message.header.frame_id or self._frame_id
        with self._timed("inference"):
            label_map = segmenter.segment(image)
        features = None
        if self._extract is not None and _has_subscriber(self._features):
            with self._timed("local features"):
                features = found_in(image, self._extract, self._settings.segmenter.shrink)
        if not place.closed:
            with self._timed("publishing"):
                if features is not None:
                    self._publish_features(message.header, features, camera)
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

    def _publish_features(self, header: Header, features: ImageFeatures, camera: Camera) -> None:
        kind = self._settings.local_features
        self._features_camera.publish(make_camera_info(ROS_TYPES, header, camera))
        self._features.publish(make_feature_cloud(ROS_TYPES, header, kind, features))

    def _publish(
        self, header: Header, image: NDArray[np.uint8], label_map: LabelMap, camera: Camera
    ) -> None:
        grid = camera.at_stride(label_map.stride)
        self._labels_camera.publish(make_camera_info(ROS_TYPES, header, grid))
        message = labels_message(header, label_map)
        self._labels.publish(message)
        self._statistics.published(stamp_of(message))
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


def found_in(image: NDArray[np.uint8], extract: Extractor, shrink: int) -> ImageFeatures:
    """Local features of an image, found in one that is so many times smaller."""
    found = extract(shrunk(image, shrink))
    pixels = (found.pixels + 0.5) * shrink - 0.5
    return ImageFeatures(pixels.astype(np.float32), found.descriptors)


def _has_subscriber(publisher: Publisher) -> bool:
    return publisher.get_subscription_count() > 0


def main() -> int:
    """Run the segmentation node."""
    return run(SegmentationNode, NODE_NAME)
