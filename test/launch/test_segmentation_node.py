"""The segmentation node as its users meet it: through topics, parameters and its exit code."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from launch_ros.actions import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2
from std_msgs.msg import Header
from vision_msgs.msg import LabelInfo

import fgsn_ros
from fgsn_ros.geometry.cameras import Camera
from fgsn_ros.mapping.descriptors import feature_extractor
from fgsn_ros.messages.images import camera_of, make_camera_info, make_image
from fgsn_ros.messages.types import make_time, stamp_of
from fgsn_ros.nodes.feature_clouds import features_of
from fgsn_ros.nodes.ros_messages import (
    LATCHED_QOS,
    ROS_TYPES,
    fingerprint_of,
    label_map_from,
    rgb_of,
)
from fgsn_ros.segmentation.checkpoint import load_checkpoint
from fgsn_ros.segmentation.labels import overlay
from fgsn_ros.segmentation.segmenter import Segmenter, SegmenterSettings

CHECKPOINT = Path(fgsn_ros.__file__).parent / "data" / "town.safetensors"
EXPORTED = CHECKPOINT.with_suffix(".onnx")
CAMERA = Camera(202, 150, 180.0, 182.0, 100.0, 74.0, "plumb_bob", (0.1, -0.05, 0.0, 0.001, 0.0))


def node_of(namespace: str, **parameters: object) -> Node:
    return Node(
        package="fgsn_ros",
        executable="segmentation_node",
        namespace=namespace,
        parameters=[parameters],
    )


class Talk:
    """A camera driver and a subscriber of one segmentation node."""

    def __init__(self, ros: Any, namespace: str, process: Node, kind: type, topic: str) -> None:
        self.ros, self.namespace, self.process = ros, namespace, process
        self.labels: list[Image] = []
        self.cameras: list[CameraInfo] = []
        self.statuses: dict[str, Any] = {}
        node = ros.node
        self.images = node.create_publisher(kind, f"{namespace}/{topic}", 1)
        self.infos = node.create_publisher(CameraInfo, f"{namespace}/camera_info", 1)
        self.listen(Image, "labels", self.labels.append)
        self.listen(CameraInfo, "labels/camera_info", self.cameras.append)
        node.create_subscription(DiagnosticArray, "/diagnostics", self._diagnostics, 10)

    def listen(self, kind: type, topic: str, callback: Callable[[Any], None]) -> Any:
        return self.ros.node.create_subscription(kind, f"{self.namespace}/{topic}", callback, 10)

    def send(self, message: Any, camera: Camera = CAMERA) -> None:
        self.infos.publish(make_camera_info(ROS_TYPES, message.header, camera))
        self.images.publish(message)

    def answer(self, message: Any) -> Image:
        """Send an image until its labels come."""
        stamp = message.header.stamp
        return self.ros.until(
            lambda: next((m for m in self.labels if m.header.stamp == stamp), None),
            f"labels of the image at {stamp}",
            lambda: self.send(message),
        )

    def until_diagnosed(self, key: str, repeat: Callable[[], None] = int, above: int = 0) -> int:
        """Wait until a count in the diagnostics is above a value."""
        return self.ros.until(
            lambda: self.count(key) > above and self.count(key), f"{key} in diagnostics", repeat
        )

    def count(self, key: str) -> int:
        return int(self.value("images", key) or self.value("labels", key) or 0)

    def value(self, task: str, key: str) -> str:
        values = self.statuses[task].values if task in self.statuses else []
        return next((pair.value for pair in values if pair.key == key), "")

    def _diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            node, _, task = status.name.partition(": ")
            if node == f"{self.namespace}/segmentation_node".lstrip("/"):
                assert status.hardware_id == self.namespace
                self.statuses[task] = status


@pytest.fixture(scope="module")
def talks(ros: Any) -> dict[str, Any]:
    """Every process at once: each takes its seconds to start."""
    nodes = {
        "/raw": node_of("/raw", checkpoint=str(CHECKPOINT), image_reliability="reliable"),
        "/jpeg": node_of(
            "/jpeg", checkpoint=str(EXPORTED), image_transport="compressed", use_sim_time=True
        ),
        "/absent": node_of("/absent", checkpoint="/absent.safetensors"),
        "/small": node_of(
            "/small",
            checkpoint=str(EXPORTED),
            image_reliability="reliable",
            **{"segmenter.shrink": 3, "diagnostic_updater.period": 0.2},
        ),
        "/none": node_of("/none"),
        "/yaml": Node(
            package="fgsn_ros",
            executable="segmentation_node",
            arguments=["--ros-args", "--params-file", "/absent.yaml"],
        ),
    }
    ros.start(*nodes.values())
    return {
        "/raw": Talk(ros, "/raw", nodes["/raw"], Image, "image"),
        "/jpeg": Talk(ros, "/jpeg", nodes["/jpeg"], CompressedImage, "image/compressed"),
        "/small": Talk(ros, "/small", nodes["/small"], Image, "image"),
        **{name: nodes[name] for name in ("/absent", "/none", "/yaml")},
    }


@pytest.fixture
def raw(talks: dict[str, Any]) -> Talk:
    return talks["/raw"]


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return Segmenter(load_checkpoint(CHECKPOINT), SegmenterSettings("cpu"))


def picture(seed: int, height: int = CAMERA.height, width: int = CAMERA.width) -> np.ndarray:
    """Coarse random blobs: several labels."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def message_of(image: np.ndarray, seconds: float) -> Image:
    header = Header(stamp=make_time(ROS_TYPES, seconds), frame_id="left_optical")
    return make_image(ROS_TYPES, header, "rgb8", image)


def test_labels_are_the_segmenters_with_stamp_and_frame_kept(raw: Talk, segmenter: Any) -> None:
    expected = segmenter.segment(picture(1))
    labels = raw.answer(message_of(picture(1), 100.25))
    assert (labels.header.frame_id, stamp_of(labels)) == ("left_optical", 100.25)
    assert labels.encoding == "mono8"
    received = label_map_from(labels, segmenter.label_count)
    np.testing.assert_array_equal(received.labels, expected.labels)
    assert len(np.unique(received.labels)) > 3


def test_camera_info_of_the_labels_fits_their_grid(raw: Talk) -> None:
    labels = raw.answer(message_of(picture(2), 101.5))
    info = raw.ros.until(
        lambda: next((m for m in raw.cameras if m.header == labels.header), None), "camera_info"
    )
    assert (info.height, info.width) == (labels.height, labels.width) == (38, 51)
    assert camera_of(info, False, "labels") == CAMERA.at_stride(4)


def test_late_subscriber_gets_the_label_info(raw: Talk, segmenter: Any) -> None:
    received: list[LabelInfo] = []
    raw.ros.node.create_subscription(LabelInfo, "/raw/labels/info", received.append, LATCHED_QOS)
    raw.ros.until(lambda: received, "label info")
    assert fingerprint_of(received[0]) == segmenter.checkpoint.fingerprint
    assert [c.class_id for c in received[0].class_map] == list(range(segmenter.label_count))


def test_best_effort_subscriber_gets_labels_too(raw: Talk) -> None:
    received: list[Image] = []
    qos = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    raw.ros.node.create_subscription(Image, "/raw/labels", received.append, qos)
    raw.ros.until(lambda: received, "labels", lambda: raw.send(message_of(picture(3), 102.0)))


def test_overlay_and_confidence_are_made_while_someone_listens(raw: Talk, segmenter: Any) -> None:
    node, image = raw.ros.node, picture(4)
    raw.answer(message_of(image, 103.0))
    raw.until_diagnosed("published")
    assert raw.value("labels", "overlays") == "0"
    received: dict[str, list[Image]] = {"overlay": [], "confidence": []}
    subscriptions = [raw.listen(Image, topic, got.append) for topic, got in received.items()]
    send = lambda: raw.send(message_of(image, 104.0))  # noqa: E731
    raw.ros.until(lambda: all(received.values()), "overlay and confidence", send)
    label_map = segmenter.segment(image)
    shown = rgb_of(received["overlay"][0])
    np.testing.assert_array_equal(shown, overlay(image, label_map))
    assert received["overlay"][0].encoding == "bgr8"
    confidence = np.asarray(received["confidence"][0].data).reshape(label_map.labels.shape)
    np.testing.assert_allclose(confidence / 255.0, label_map.confidence, atol=0.005)
    for subscription in subscriptions:
        node.destroy_subscription(subscription)
    made = raw.until_diagnosed("overlays")
    published = raw.until_diagnosed("published", send, above=raw.count("published") + 4)
    assert raw.count("overlays") - made < published


def test_local_features_are_found_while_someone_listens(raw: Talk) -> None:
    image = picture(4)
    raw.answer(message_of(image, 104.25))
    raw.statuses.clear()
    raw.until_diagnosed("published")
    assert raw.value("labels", "local features time, median [ms]") == ""
    clouds: list[PointCloud2] = []
    infos: list[CameraInfo] = []
    subscriptions = [
        raw.listen(PointCloud2, "features", clouds.append),
        raw.listen(CameraInfo, "features/camera_info", infos.append),
    ]
    message = message_of(image, 104.5)
    raw.ros.until(lambda: clouds and infos, "features", lambda: raw.send(message))
    kind, found = features_of(clouds[-1])
    expected = feature_extractor("sift")(image)
    assert (kind, clouds[-1].header, infos[-1].header) == ("sift", message.header, message.header)
    assert len(found) == len(expected) > 10
    np.testing.assert_array_equal(found.pixels, expected.pixels)
    np.testing.assert_array_equal(found.descriptors, expected.descriptors)
    assert camera_of(infos[-1], False, "features") == CAMERA
    for subscription in subscriptions:
        raw.ros.node.destroy_subscription(subscription)


def test_image_of_another_size_is_skipped_and_counted(raw: Talk) -> None:
    wrong = message_of(picture(5, 120, 160), 105.0)
    raw.until_diagnosed("image size differs from camera_info", lambda: raw.send(wrong))
    assert not [m for m in raw.labels if m.header.stamp == wrong.header.stamp]
    raw.answer(message_of(picture(5), 106.0))
    assert "the image is 160x120 but its camera is 202x150" in raw.ros.stderr(raw.process)


def test_damaged_image_is_skipped_and_said(raw: Talk) -> None:
    damaged = message_of(picture(6), 107.0)
    damaged.data = damaged.data[:999]
    raw.until_diagnosed("damaged images", lambda: raw.send(damaged))
    raw.answer(message_of(picture(6), 108.0))
    assert "the image is damaged: 999 bytes" in raw.ros.stderr(raw.process)


def test_newest_image_wins_and_drops_are_counted(raw: Talk) -> None:
    stamps = iter(np.arange(200.0, 10_000.0, 0.25))
    large, camera = picture(7, 480, 640), CAMERA.scaled(640, 480)

    def flood() -> None:
        for _ in range(10):
            raw.send(message_of(large, next(stamps)), camera)
            raw.ros.turn()

    def send() -> None:  # again and again: best effort may lose one
        raw.send(message_of(large, next(stamps)), camera)

    raw.until_diagnosed("dropped for a newer one", flood)
    flooded = next(stamps)
    raw.ros.until(lambda: stamp_of(raw.labels[-1]) > flooded, "labels of a newer image", send)
    times = [stamp_of(m) for m in raw.labels if stamp_of(m) >= 200.0]
    assert times == sorted(times)


def test_large_images_are_labelled_smaller_and_their_camera_fits(talks: dict[str, Any]) -> None:
    small = talks["/small"]
    large, camera = message_of(picture(7, 480, 640), 300.0), CAMERA.scaled(640, 480)
    labels = small.ros.until(
        lambda: small.labels and small.labels[-1], "labels", lambda: small.send(large, camera)
    )
    assert (labels.height, labels.width) == (40, 54)
    info = small.ros.until(lambda: small.cameras and small.cameras[-1], "camera_info")
    assert camera_of(info, False, "labels") == camera.at_stride(12)
    clouds: list[PointCloud2] = []
    small.listen(PointCloud2, "features", clouds.append)
    small.ros.until(lambda: clouds, "features", lambda: small.send(large, camera))
    found, fine = features_of(clouds[-1])[1].pixels, feature_extractor("sift")(picture(7, 480, 640))
    apart = np.linalg.norm(found[:, None] - fine.pixels, axis=2).min(axis=1)
    assert len(found) > 10
    assert np.median(apart) < 3.0


def test_an_uncalibrated_camera_is_said_until_it_has_a_calibration(talks: dict[str, Any]) -> None:
    small = talks["/small"]
    image = message_of(picture(9), 301.0)
    empty = CameraInfo(header=image.header, height=CAMERA.height, width=CAMERA.width)

    def send() -> None:
        small.infos.publish(empty)
        small.images.publish(image)

    def told() -> bool:
        words = small.statuses["images"].message if "images" in small.statuses else ""
        return "camera_info: " in words and "images without a usable camera_info: " in words

    small.ros.until(told, "the calibration to be missed", send)
    assert small.statuses["images"].level == DiagnosticStatus.WARN
    small.answer(image)


def test_an_image_without_a_frame_has_that_of_its_camera_info(talks: dict[str, Any]) -> None:
    small = talks["/small"]
    image = message_of(picture(9), 302.0)
    info = make_camera_info(ROS_TYPES, message_of(picture(9), 302.0).header, CAMERA)
    image.header.frame_id = ""

    def send() -> None:
        small.infos.publish(info)
        small.images.publish(image)

    labels = small.ros.until(
        lambda: next((m for m in small.labels if stamp_of(m) == 302.0), None), "labels", send
    )
    assert labels.header.frame_id == "left_optical"


def test_compressed_images_are_labelled(talks: dict[str, Any], segmenter: Any) -> None:
    data = cv2.imencode(".png", picture(8)[..., ::-1])[1].tobytes()
    message = CompressedImage(header=message_of(picture(8), 50.5).header, format="png")
    message.data.frombytes(data)
    labels = talks["/jpeg"].answer(message)
    received = label_map_from(labels, segmenter.label_count)
    np.testing.assert_array_equal(received.labels, segmenter.segment(picture(8)).labels)


def test_simulated_clock_may_jump_back(talks: dict[str, Any], ros: Any) -> None:
    jpeg = talks["/jpeg"]
    publisher = ros.node.create_publisher(Clock, "/clock", 1)
    seconds = 60.0

    def tick() -> None:
        nonlocal seconds
        seconds += 0.5
        publisher.publish(Clock(clock=make_time(ROS_TYPES, seconds)))

    jpeg.statuses.clear()
    in_time = lambda: float(jpeg.value("images", "age [s]") or "nan") + 50.5 > 60.0  # noqa: E731
    ros.until(in_time, "diagnostics in simulated time", tick)
    seconds = 10.0
    jpeg.statuses.clear()
    ros.until(lambda: jpeg.value("images", "rate [Hz]"), "diagnostics after the jump", tick)
    assert jpeg.value("images", "age [s]") == ""  # the images before are of another time


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("/absent", "cannot read checkpoint /absent.safetensors"),
        ("/none", "'checkpoint' needs"),
        ("/yaml", "/absent.yaml"),
    ],
)
def test_bad_arguments_end_with_one_line(
    talks: dict[str, Any], ros: Any, name: str, reason: str
) -> None:
    process = talks[name]
    assert ros.exit_code(process) == 2
    lines = [line for line in ros.stderr(process).splitlines() if line.strip()]
    (line,) = [line for line in lines if "[rcl]" not in line]  # which speaks up by itself
    assert line.startswith("segmentation_node: error: ")
    assert reason in line


def test_interrupt_ends_the_node_cleanly(talks: dict[str, Any], ros: Any) -> None:
    process = talks["/jpeg"].process
    ros.interrupt(process)
    assert ros.exit_code(process) == 0
    assert "Traceback" not in ros.stderr(process)
