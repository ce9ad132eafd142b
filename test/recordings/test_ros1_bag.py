from pathlib import Path

import numpy as np
import pytest
from rosbags.rosbag1 import Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from fgsn_ros.errors import RecordingError
from fgsn_ros.messages.images import make_camera_info
from fgsn_ros.messages.poses import make_odometry, make_transform
from fgsn_ros.messages.types import BAG_TYPES, make_header, split_stamp
from fgsn_ros.recordings.open import open_recording

ROS1 = get_typestore(Stores.ROS1_NOETIC)
ROS1.register(
    get_types_from_msg("geometry_msgs/TransformStamped[] transforms", "tf2_msgs/msg/TFMessage")
)
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
    mount = drive.cameras["camera"]
    with Writer(path) as writer:

        def write(topic: str, msgtype: str, stamp: float, **fields) -> None:
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, msgtype, typestore=ROS1)
            data = ROS1.serialize_ros1(ROS1.types[msgtype](**fields), msgtype)
            # Recorded late: the header's stamp is what counts.
            writer.write(connections[topic], int((stamp + 5) * 1e9), data)

        connections = {}
        for stamp, T in zip(drive.odometry.stamps, drive.odometry.poses, strict=True):
            message = make_odometry(BAG_TYPES, float(stamp), "odom", "base_link", T)
            write(
                "/odom",
                "nav_msgs/msg/Odometry",
                stamp,
                header=header(float(stamp), "/odom"),
                child_frame_id="/base_link",
                pose=message.pose,
                twist=message.twist,
            )
        for frame in drive.frames():
            stamp = frame.stamp
            transform = make_transform(BAG_TYPES, stamp, "", mount.frame_id, mount.T_base_camera)
            transform = ROS1.types["geometry_msgs/msg/TransformStamped"](
                header(stamp, "/base_link"), transform.child_frame_id, transform.transform
            )
            write("/tf", "tf2_msgs/msg/TFMessage", stamp, transforms=[transform])
            camera = mount.camera
            info = make_camera_info(BAG_TYPES, make_header(BAG_TYPES, stamp, ""), camera)
            write(
                "/camera/camera_info",
                "sensor_msgs/msg/CameraInfo",
                stamp,
                header=header(stamp, mount.frame_id),
                height=camera.height,
                width=camera.width,
                distortion_model=camera.distortion_model,
                D=info.d,
                K=info.k,
                R=info.r,
                P=info.p,
                binning_x=0,
                binning_y=0,
                roi=info.roi,
            )
            pixels = encoded(frame.image, encoding)
            rows = np.pad(pixels.reshape(camera.height, -1), [(0, 0), (0, 6)], constant_values=99)
            write(
                "/camera/image_raw",
                "sensor_msgs/msg/Image",
                stamp,
                header=header(stamp, mount.frame_id),
                height=camera.height,
                width=camera.width,
                encoding=encoding,
                is_bigendian=0,
                step=rows.shape[1],
                data=rows.reshape(-1),
            )
    return path


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
