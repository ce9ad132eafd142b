"""Messages of ROS 2: built as those of bags, and what the nodes make of those that they get."""

import array
import dataclasses
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from geometry_msgs.msg import Pose, Transform
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from fgsn_ros.errors import LocalizationError, RecordingError
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.cameras import Camera
from fgsn_ros.messages import clouds, images
from fgsn_ros.messages import poses as pose_messages
from fgsn_ros.messages.images import camera_of, image_of, make_camera_info, make_image
from fgsn_ros.messages.types import (
    BAG_TYPES,
    TYPESTORE,
    MessageTypes,
    make_header,
    make_time,
    stamp_of,
)
from fgsn_ros.nodes.ros_messages import (
    ROS_TYPES,
    confidence_message,
    fingerprint_of,
    label_info_message,
    label_map_from,
    labels_message,
    matrix_of,
    rgb_of,
)
from fgsn_ros.segmentation.architectures import LRASPP
from fgsn_ros.segmentation.checkpoint import Checkpoint
from fgsn_ros.segmentation.labels import UNLABELLED, LabelMap
from fgsn_ros.segmentation.networks import make_network

HEADER = Header(frame_id="camera_optical", stamp=make_time(ROS_TYPES, 12.25))
RGB = np.random.default_rng(2).integers(0, 256, (6, 10, 3), np.uint8)

CAMERA = Camera(640, 480, 500.0, 510.0, 320.5, 239.25, "plumb_bob", (0.1, -0.2, 0.01, 0.0, 0.0))
ANGLES = np.random.default_rng(3).uniform(-3.0, 3.0, (7, 3))
POSES = poses.from_xyz_rpy(10.0 * ANGLES[::-1], ANGLES)
COVARIANCE = np.arange(36.0).reshape(6, 6)
LABELS, POINTS = np.arange(7, dtype=np.uint16), ANGLES.astype(np.float32)


def at(types: MessageTypes) -> Any:
    return make_header(types, 12.25, "map")


def path_of(types: MessageTypes) -> Any:
    stamped = [pose_messages.make_stamped_pose(types, 3.5, "map", T) for T in POSES]
    return pose_messages.make_path(types, stamped)


def transforms_of(types: MessageTypes) -> Any:
    transforms = [pose_messages.make_transform(types, 3.5, "map", "odom", T) for T in POSES]
    return pose_messages.make_transforms(types, transforms)


BUILT: dict[str, Callable[[MessageTypes], Any]] = {
    "transforms": transforms_of,
    "odometry": lambda t: pose_messages.make_odometry(t, 3.5, "odom", "base_link", POSES[0]),
    "estimate": lambda t: pose_messages.make_estimate(t, 3.5, "map", POSES[0], COVARIANCE),
    "particles": lambda t: pose_messages.make_particles(t, 3.5, "map", POSES),
    "path": path_of,
    "particle cloud": lambda t: clouds.make_particle_cloud(t, at(t), POSES, LABELS / 21.0),
    "point cloud": lambda t: clouds.make_point_cloud(t, at(t), POINTS, LABELS, RGB[0, :7]),
    "camera info": lambda t: make_camera_info(t, at(t), CAMERA),
    "image": lambda t: make_image(t, at(t), "rgb8", RGB[:, ::2]),
    "depth": lambda t: make_image(t, at(t), "32FC1", RGB[..., 0].astype(np.float32)),
    "jpeg": lambda t: images.make_jpeg(t, at(t), RGB, 90),
}


def assert_same(one: Any, other: Any) -> None:
    """Whether messages that rosbags has read are the same but for the last digits of numbers."""
    if dataclasses.is_dataclass(one):
        assert type(one) is type(other)
        for field in dataclasses.fields(one):
            assert_same(getattr(one, field.name), getattr(other, field.name))
    elif isinstance(one, list):
        assert len(one) == len(other)
        for item, its in zip(one, other, strict=True):
            assert_same(item, its)
    elif isinstance(one, str):
        assert one == other
    else:
        np.testing.assert_allclose(one, other, rtol=0.0, atol=1e-12)


@pytest.mark.parametrize("name", BUILT)
def test_a_message_of_a_node_is_that_of_a_bag(name: str) -> None:
    expected = BUILT[name](BAG_TYPES)
    kind = expected.__msgtype__
    sent = serialize_message(BUILT[name](ROS_TYPES))
    written = TYPESTORE.deserialize_cdr(TYPESTORE.serialize_cdr(expected, kind), kind)
    assert_same(TYPESTORE.deserialize_cdr(sent, kind), written)


@pytest.mark.parametrize("T", POSES)
def test_a_pose_comes_back_as_the_matrix_that_it_was(T: np.ndarray) -> None:
    pose = pose_messages.make_pose(ROS_TYPES, T)
    stamped = pose_messages.make_transform(ROS_TYPES, 1.0, "map", "odom", T)
    np.testing.assert_allclose(matrix_of(pose), T, atol=1e-12)
    np.testing.assert_allclose(matrix_of(stamped.transform), T, atol=1e-12)
    for name in "xyzw":  # of nearly unit length
        setattr(pose.orientation, name, 1.005 * getattr(pose.orientation, name))
    np.testing.assert_allclose(matrix_of(pose), T, atol=1e-12)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_pose_that_is_none_is_refused(value: float) -> None:
    broken, turned = Pose(), Transform()
    broken.position.y = value
    turned.rotation.z = value
    unturned, shortened = Pose(), Pose()
    unturned.orientation.w = 0.0
    shortened.orientation.w = 0.3
    for message, fault in (
        (broken, "not finite"),
        (turned, "not finite"),
        (unturned, "with a quaternion of zeros"),
        (shortened, "with a quaternion whose length is not 1"),
    ):
        with pytest.raises(LocalizationError, match=fault):
            matrix_of(message)


@pytest.mark.parametrize("module", ["localization_node", "live_localization", "segmentation_node"])
def test_a_node_of_a_robot_needs_no_training_package(module: str) -> None:
    code = (
        f"import sys, fgsn_ros.nodes.{module}; "
        "print({'torch', 'open3d', 'faiss', 'h5py', 'tensorboard'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def smooth_image(channels: int, kind: type = np.uint8) -> np.ndarray:
    """Large and smooth enough that two ways of demosaicing agree inside."""
    v, u = np.mgrid[0:24, 0:32]
    image = np.stack([60 + 3 * v + u, 40 + 2 * u, 200 - 4 * v, 255 + 0 * u][:channels], axis=-1)
    return image.astype(kind).squeeze()


def test_rgb_image_is_a_view_of_the_message() -> None:
    message = make_image(ROS_TYPES, HEADER, "rgb8", RGB)
    pixels = rgb_of(message)
    np.testing.assert_array_equal(pixels, RGB)
    assert np.shares_memory(pixels, np.frombuffer(message.data, np.uint8))


@pytest.mark.parametrize(
    ("encoding", "channels", "kind"),
    [
        ("mono8", 1, np.uint8),
        ("8UC1", 1, np.uint8),
        ("mono16", 1, np.uint16),
        ("bgr8", 3, np.uint8),
        ("8UC3", 3, np.uint8),
        ("rgba8", 4, np.uint8),
        ("bgra8", 4, np.uint8),
        ("yuv422", 2, np.uint8),
        ("yuv422_yuy2", 2, np.uint8),
        ("bayer_rggb8", 1, np.uint8),
        ("bayer_grbg8", 1, np.uint8),
    ],
)
def test_pixels_are_those_that_a_recording_gives(encoding: str, channels: int, kind: type) -> None:
    pixels = smooth_image(channels, kind) * (257 if kind is np.uint16 else 1)
    message = make_image(ROS_TYPES, HEADER, encoding, pixels)
    ours = rgb_of(message)
    recorded = image_of(message, "test")
    assert ours.dtype == np.uint8
    np.testing.assert_allclose(ours.astype(int), recorded.astype(int), atol=1)


@pytest.mark.parametrize("padding", [1, 2, 6])
def test_padded_rows_are_read_without_shear(padding: int) -> None:
    rows = np.pad(RGB.reshape(6, 30), [(0, 0), (0, padding)])
    message = make_image(ROS_TYPES, HEADER, "bgr8", RGB)
    message.data, message.step = array.array("B", rows.tobytes()), 30 + padding
    np.testing.assert_array_equal(rgb_of(message), RGB[..., ::-1])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"data": array.array("B", [1, 2, 3])}, "3 bytes for 10x6"),
        ({"step": 5}, "damaged"),
        ({"width": 0}, "damaged"),
        ({"encoding": "rainbow"}, "rainbow"),
        ({"encoding": "32FC1", "width": 7}, "32FC1"),
    ],
)
def test_damaged_image_is_refused(change: dict[str, object], reason: str) -> None:
    message = make_image(ROS_TYPES, HEADER, "rgb8", RGB)
    for name, value in change.items():
        setattr(message, name, value)
    with pytest.raises(RecordingError, match=reason) as caught:
        rgb_of(message)
    assert "\n" not in str(caught.value)


def test_compressed_image_is_read_and_a_truncated_one_refused() -> None:
    data = cv2.imencode(".png", RGB[..., ::-1])[1].tobytes()
    message = CompressedImage(format="rgb8; png compressed bgr8", data=array.array("B", data))
    np.testing.assert_array_equal(rgb_of(message), RGB)
    message.data = message.data[:-20]
    with pytest.raises(RecordingError, match="cannot be decoded"):
        rgb_of(message)


@pytest.mark.parametrize(("label_count", "encoding"), [(255, "mono8"), (256, "mono16")])
def test_labels_come_back_with_stamp_and_frame(label_count: int, encoding: str) -> None:
    labels = np.array([[0, 1, label_count - 1], [UNLABELLED, 2, 3]], np.uint16)
    label_map = LabelMap(labels, np.full((2, 3), 0.5, np.float32), 4, label_count)
    message = labels_message(HEADER, label_map)
    assert (message.encoding, message.header) == (encoding, HEADER)
    assert (message.height, message.width) == (2, 3)
    back = label_map_from(message, label_count)
    np.testing.assert_array_equal(back.labels, labels)
    assert back.stride == 1
    confidence = confidence_message(HEADER, label_map)
    assert (confidence.encoding, set(confidence.data)) == ("mono8", {128})


def test_image_that_holds_no_labels_is_refused() -> None:
    with pytest.raises(RecordingError, match="not 'rgb8'"):
        label_map_from(make_image(ROS_TYPES, HEADER, "rgb8", RGB), 20)
    damaged = Image(encoding="mono8", width=5, height=5, step=5)
    with pytest.raises(RecordingError, match="damaged"):
        label_map_from(damaged, 20)


def test_camera_info_gives_the_camera_back() -> None:
    for wanted in (CAMERA, CAMERA.at_stride(4)):
        message = make_camera_info(ROS_TYPES, HEADER, wanted)
        assert camera_of(message, False, "test") == wanted
        assert camera_of(message, True, "test") == wanted.undistorted()


def test_label_info_names_the_labels_and_the_checkpoint() -> None:
    checkpoint = Checkpoint(make_network(LRASPP, 3).eval())
    info = label_info_message(HEADER.stamp, checkpoint)
    assert fingerprint_of(info) == checkpoint.fingerprint
    assert [(c.class_id, c.class_name) for c in info.class_map] == [
        (0, "cluster 0"),
        (1, "cluster 1"),
        (2, "cluster 2"),
    ]


@pytest.mark.parametrize("seconds", [0.0, 12.999_999_9, 1_763_636_137.123_456])
def test_stamps_keep_the_microsecond(seconds: float) -> None:
    header = Header(stamp=make_time(ROS_TYPES, seconds))
    assert abs(stamp_of(Image(header=header)) - seconds) < 1e-6
