from pathlib import Path

import numpy as np
import pytest
from rosbags.rosbag1 import Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from fgsn_ros.errors import RecordingError
from fgsn_ros.geometry import poses
from fgsn_ros.messages import bag_messages as messages
from fgsn_ros.recordings.open import open_recording

ROS1 = get_typestore(Stores.ROS1_NOETIC)
ROS1.register(
    get_types_from_msg("geometry_msgs/TransformStamped[] transforms", "tf2_msgs/msg/TFMessage")
)
ENCODED = {"mono8": 1, "rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4}


def header(stamp: float, frame_id: str):
    seconds, nanoseconds = messages.split_stamp(stamp)
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
            message = messages.make_odometry(float(stamp), "odom", "base_link", T)
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
            transform = messages.make_transform(stamp, "", mount.frame_id, mount.T_base_camera)
            transform = ROS1.types["geometry_msgs/msg/TransformStamped"](
                header(stamp, "/base_link"), transform.child_frame_id, transform.transform
            )
            write("/tf", "tf2_msgs/msg/TFMessage", stamp, transforms=[transform])
            camera = mount.camera
            info = messages.make_camera_info(stamp, mount.frame_id, camera)
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


def image_message(encoding: str, pixels: np.ndarray):
    return messages.make_image(1.0, "camera", encoding, pixels)


@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
@pytest.mark.parametrize("bits", [8, 16])
def test_bayer_images_get_their_colours_back(pattern: str, bits: int) -> None:
    colour = {"r": 200, "g": 120, "b": 40}
    tile = np.array([colour[c] for c in pattern]).reshape(2, 2)
    mosaic = np.tile(tile, (10, 16)).astype(np.uint8)
    if bits == 16:
        mosaic = mosaic.astype(np.uint16) * 256 + 9
    image = messages.image_of(image_message(f"bayer_{pattern}{bits}", mosaic), "test")
    assert image.shape == (20, 32, 3)
    np.testing.assert_array_equal(image[4:-4, 4:-4].reshape(-1, 3).max(axis=0), [200, 120, 40])
    np.testing.assert_array_equal(image[4:-4, 4:-4].reshape(-1, 3).min(axis=0), [200, 120, 40])


def test_a_mosaic_compressed_as_grey_gets_its_colours_back() -> None:
    mosaic = np.tile(np.array([[200, 120], [120, 40]], np.uint8), (10, 16))
    message = messages.make_jpeg(1.0, "camera", np.repeat(mosaic[:, :, None], 3, axis=2), 100)
    message.format = "bayer_rggb8; jpeg compressed "
    image = messages.image_of(message, "test")[4:-4, 4:-4]
    assert np.abs(image.astype(int) - [200, 120, 40]).mean() < 5


def test_sixteen_bit_images_of_either_byte_order_keep_their_high_byte() -> None:
    grey = (np.arange(12).reshape(3, 4) * 5000).astype(np.uint16)
    little = messages.image_of(image_message("mono16", grey), "test")
    swapped = image_message("mono16", grey.astype(">u2"))
    swapped.is_bigendian = 1
    big = messages.image_of(swapped, "test")
    np.testing.assert_array_equal(little[:, :, 1], grey // 256)
    np.testing.assert_array_equal(big, little)


@pytest.mark.parametrize(
    "changes",
    [
        {"encoding": "32FC1", "step": 256},
        {"step": 3},
        {"height": 900},
        {"width": 0},
        {"data": np.zeros(0)},
    ],
)
def test_a_raw_image_that_cannot_be_is_refused(changes: dict[str, object]) -> None:
    message = image_message("mono8", np.zeros((40, 64), np.uint8))
    for name, value in changes.items():
        setattr(message, name, value)
    with pytest.raises(RecordingError, match="source"):
        messages.image_of(message, "source")


def test_rectified_images_have_the_projection_matrix_and_no_distortion(drive) -> None:
    info = messages.make_camera_info(1.0, "camera", drive.cameras["camera"].camera)
    info.p = np.array([40.0, 0, 30, 0, 0, 41, 20, 0, 0, 0, 1, 0])
    camera = messages.camera_of(info, True, "topic")
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == (40.0, 41.0, 30.0, 20.0)
    assert not camera.is_distorted
    assert messages.camera_of(info, False, "topic").is_distorted


def test_a_pose_survives_a_message() -> None:
    T = poses.from_xyz_rpy([1, -2, 3], [0.1, -0.4, 2.8])
    row = np.array(messages.pose_row(messages.make_pose(T)))
    np.testing.assert_allclose(poses.from_quaternion(row[:3], row[3:]), T, atol=1e-12)
