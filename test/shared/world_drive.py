"""A tiny drive as single messages, to be given the form that drivers and recorders give it."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from mcap.writer import Writer as McapWriter
from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from fgsn_ros.geometry import poses
from fgsn_ros.geometry.cameras import T_BASE_OPTICAL, Camera
from fgsn_ros.messages.images import make_camera_info, make_jpeg
from fgsn_ros.messages.poses import make_odometry, make_transform, make_transforms
from fgsn_ros.messages.types import BAG_TYPES, TYPESTORE, Message, make_header, ros1_typestore

WIDTH, HEIGHT = 64, 48
CAMERA = Camera(WIDTH, HEIGHT, 60.0, 60.0, 31.5, 23.5, "plumb_bob", (0.0,) * 5)
START = 100.0
OPTICAL_FRAME = "camera_optical_frame"
T_BASE_CAMERA = poses.from_xyz_rpy([0.0, 0.0, 1.0], [0.0, 0.0, 0.0]) @ T_BASE_OPTICAL


class Item(NamedTuple):
    """A message of a topic, and when it was recorded [s]."""

    topic: str
    msgtype: str
    stamp: float
    message: Message


def picture(index: int) -> np.ndarray:
    """A smooth random image, RGB (HEIGHT, WIDTH, 3)."""
    coarse = np.random.default_rng(index).integers(0, 256, (12, 16, 3), np.uint8)
    return cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)


def pose_at(stamp: float) -> np.ndarray:
    """T_odom_base, and T_map_base: 2 m/s along a wide curve."""
    return poses.from_planar(2.0 * (stamp - START), 0.0, 0.3 + 0.02 * (stamp - START))


def drive(frames: int = 4) -> Iterator[Item]:
    """Images and camera_info at 10 Hz, odometry and ground truth at 20 Hz, a static transform."""
    mounting = make_transform(BAG_TYPES, START, "base_link", OPTICAL_FRAME, T_BASE_CAMERA)
    transforms = make_transforms(BAG_TYPES, [mounting])
    yield Item("/tf_static", "tf2_msgs/msg/TFMessage", START, transforms)
    for i in range(2 * frames + 2):
        t = START + 0.05 * i
        for topic, parent in ("/odom", "odom"), ("/ground_truth", "map"):
            message = make_odometry(BAG_TYPES, t, parent, "base_link", pose_at(t))
            yield Item(topic, "nav_msgs/msg/Odometry", t, message)
        if i % 2 == 0 and i < 2 * frames:
            info = make_camera_info(BAG_TYPES, make_header(BAG_TYPES, t, OPTICAL_FRAME), CAMERA)
            yield Item("/camera/camera_info", "sensor_msgs/msg/CameraInfo", t, info)
            header = make_header(BAG_TYPES, t, OPTICAL_FRAME)
            jpeg = make_jpeg(BAG_TYPES, header, picture(i // 2), 95)
            jpeg.format = "rgb8; jpeg compressed bgr8"
            yield Item("/camera/image/compressed", "sensor_msgs/msg/CompressedImage", t, jpeg)


def of_type(items: Iterable[Item], msgtype: str) -> list[Message]:
    """The messages of a type, named without its package."""
    return [item.message for item in items if item.msgtype.endswith(f"/{msgtype}")]


def write_bag(
    path: Path,
    items: Iterable[Item],
    plugin: StoragePlugin = StoragePlugin.MCAP,
    mode: CompressionMode = CompressionMode.NONE,
) -> Path:
    """A rosbag2 folder."""
    writer = Writer(path, version=8, storage_plugin=plugin)
    writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer:
        connections = {}
        for topic, msgtype, t, message in items:
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, msgtype, typestore=TYPESTORE)
            data = TYPESTORE.serialize_cdr(message, msgtype)
            writer.write(connections[topic], round(t * 1e9), data)
    return path


def fill_ros1(writer: Ros1Writer, items: Iterable[Item]) -> None:
    """Write the messages to an open ROS 1 bag."""
    types, connections = ros1_typestore(), {}
    for topic, msgtype, t, message in items:
        if topic not in connections:
            connections[topic] = writer.add_connection(topic, msgtype, typestore=types)
        data = types.serialize_ros1(_in_ros1(msgtype, message), msgtype)
        writer.write(connections[topic], round(t * 1e9), data)


def _in_ros1(msgtype: str, m: Message) -> Message:
    """The message with the headers, and the capitals, of ROS 1."""
    types = ros1_typestore().types
    for each in getattr(m, "transforms", [m]):
        each.header = types["std_msgs/msg/Header"](0, each.header.stamp, each.header.frame_id)
    if not msgtype.endswith("CameraInfo"):
        return m
    return types[msgtype](
        m.header, m.height, m.width, m.distortion_model, m.d, m.k, m.r, m.p, 0, 0, m.roi
    )


def write_mcap(path: Path, items: Iterable[Item], schemas: Mapping[str, tuple[str, str]]) -> Path:
    """A bare .mcap file in which some types' schemas are others: type to encoding and text."""
    with path.open("wb") as file:
        writer = McapWriter(file)
        writer.start(profile="ros2")
        types: dict[str, int] = {}
        channels: dict[str, int] = {}
        for topic, msgtype, t, message in items:
            if msgtype not in types:
                encoding, text = schemas.get(msgtype) or ("ros2msg", _definition(msgtype))
                types[msgtype] = writer.register_schema(msgtype, encoding, text.encode())
            if topic not in channels:
                channels[topic] = writer.register_channel(topic, "cdr", types[msgtype])
            data = message
            if not isinstance(data, bytes):
                data = bytes(TYPESTORE.serialize_cdr(message, msgtype))
            writer.add_message(channels[topic], round(t * 1e9), data, round(t * 1e9))
        writer.finish()
    return path


def _definition(msgtype: str) -> str:
    return TYPESTORE.generate_msgdef(msgtype, ros_version=2)[0]
