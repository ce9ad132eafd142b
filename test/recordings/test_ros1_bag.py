from pathlib import Path

import numpy as np
import pytest
from rosbags.rosbag1 import Writer

from fgsn_ros.errors import RecordingError
from fgsn_ros.messages.images import make_camera_info
from fgsn_ros.messages.poses import make_odometry, make_transform
from fgsn_ros.messages.types import BAG_TYPES, ros1_typestore, split_stamp
from fgsn_ros.recordings.open import open_recording

ROS1 = ros1_typestore()
ENCODED = {"mono8": 1, "rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4}


def header(stamp: float, frame_id: str):
    seconds, nanoseconds = split_stamp(stamp)
    time = ROS1.types["builtin_interfaces/msg/Time"](seconds, nanoseconds)
    return ROS1.types["std_msgs/msg/Header"](seq=0, stamp=time, frame_id=frame_id)


def encoded(image: np.ndarray, encoding: str) -> np.ndarray:
    if encoding == "mono8":
        return image[:, :, :1]
    order = {"r": 0, "g": 1, "b": 2}
    channels = [image[:, :, order[c]] if c != "a" else image[:, :, 0] // 2 for c in encoding[:-1]]
    return np.stack(channels, axis=-1)


def write_ros1(path: Path, drive, encoding: str = "mono8") -> Path:
    """The drive as recorded by ROS 1: slashes in frames, padded rows, /tf repeated."""
    with Writer(path) as writer:
        connections = {}
        for topic, stamp, message in ros1_messages(drive, encoding):
            msgtype = message.__msgtype__
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, msgtype, typestore=ROS1)
            # Recorded late: the header's stamp is what counts.
            data = ROS1.serialize_ros1(message, msgtype)
            writer.write(connections[topic], int((stamp + 5) * 1e9), data)
    return path


def ros1_messages(drive, encoding: str):
    """Topic, stamp and message."""
    mount = drive.cameras["camera"]
    for stamp, T in zip(drive.odometry.stamps.tolist(), drive.odometry.poses, strict=True):
        pose = make_odometry(BAG_TYPES, stamp, "odom", "base_link", T)
        told = header(stamp, "/odom"), "/base_link", pose.pose, pose.twist
        yield "/odom", stamp, ROS1.types["nav_msgs/msg/Odometry"](*told)
    for frame in drive.frames():
        stamp = frame.stamp
        transform = make_transform(BAG_TYPES, stamp, "", mount.frame_id, mount.T_base_camera)
        transform.header = header(stamp, "/base_link")
        yield "/tf", stamp, ROS1.types["tf2_msgs/msg/TFMessage"]([transform])
        image_header = header(stamp, mount.frame_id)
        yield "/camera/camera_info", stamp, camera_info(image_header, mount.camera)
        pixels = encoded(frame.image, encoding)
        yield "/camera/image_raw", stamp, padded_image(image_header, pixels, encoding)


def camera_info(image_header, camera):
    info = make_camera_info(BAG_TYPES, image_header, camera)
    return ROS1.types["sensor_msgs/msg/CameraInfo"](
        image_header,
        *(camera.height, camera.width, camera.distortion_model),
        *(info.d, info.k, info.r, info.p, 0, 0, info.roi),
    )


def padded_image(image_header, pixels: np.ndarray, encoding: str):
    height, width = pixels.shape[:2]
    rows = np.pad(pixels.reshape(height, -1), [(0, 0), (0, 6)], constant_values=99)
    return ROS1.types["sensor_msgs/msg/Image"](
        image_header, height, width, encoding, 0, rows.shape[1], rows.reshape(-1)
    )


@pytest.mark.parametrize("encoding", ENCODED)
def test_a_ros1_bag_reads_back(tmp_path: Path, drive, encoding: str) -> None:
    recording = open_recording(write_ros1(tmp_path / "drive.bag", drive, encoding))
    np.testing.assert_array_equal(recording.odometry.stamps, drive.odometry.stamps)
    np.testing.assert_allclose(recording.odometry.poses, drive.odometry.poses, atol=1e-12)
    assert recording.ground_truth is None
    mount, made = recording.cameras["camera"], drive.cameras["camera"]
    assert mount.camera == made.camera
    np.testing.assert_allclose(mount.T_base_camera, made.T_base_camera, atol=1e-12)
    frames = list(recording.frames())
    assert len(frames) == drive.frame_count
    for frame, original in zip(frames, drive.frames(), strict=True):
        expected = original.image[:, :, [0, 0, 0]] if encoding == "mono8" else original.image
        assert frame.stamp == original.stamp
        np.testing.assert_array_equal(frame.image, expected)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.2, 0.5, 0.8, 0.99])
def test_a_truncated_ros1_bag_is_refused(tmp_path: Path, drive, share: float) -> None:
    path = write_ros1(tmp_path / "drive.bag", drive)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(RecordingError, match="truncated"):
        list(open_recording(path).frames())
