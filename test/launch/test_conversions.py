import array

import cv2
import numpy as np
import pytest
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from fgsn_ros.errors import RecordingError
from fgsn_ros.geometry.cameras import Camera
from fgsn_ros.messages.images import camera_of, image_of, make_camera_info, make_image
from fgsn_ros.messages.types import make_time, stamp_of
from fgsn_ros.nodes.ros_messages import (
    ROS_TYPES,
    confidence_message,
    fingerprint_of,
    label_info_message,
    label_map_from,
    labels_message,
    rgb_of,
)
from fgsn_ros.segmentation.architectures import LRASPP
from fgsn_ros.segmentation.checkpoint import Checkpoint
from fgsn_ros.segmentation.labels import UNLABELLED, LabelMap
from fgsn_ros.segmentation.networks import make_network

HEADER = Header(frame_id="camera_optical", stamp=make_time(ROS_TYPES, 12.25))
RGB = np.random.default_rng(2).integers(0, 256, (6, 10, 3), np.uint8)


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
    camera = Camera(640, 480, 500.0, 510.0, 320.5, 239.25, "plumb_bob", (0.1, -0.2, 0.01, 0.0, 0.0))
    for wanted in (camera, camera.at_stride(4)):
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
