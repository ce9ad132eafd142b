"""What a launch must know of a bag before it plays it, read by ROS 2's own reader."""

import math
from pathlib import Path

import rosbag2_py
from nav_msgs.msg import Odometry
from rclpy.serialization import deserialize_message

from fgsn_ros.errors import RecordingError

GROUND_TRUTH = "/ground_truth"
_TRANSPORTS = {"sensor_msgs/msg/Image": "raw", "sensor_msgs/msg/CompressedImage": "compressed"}


def topics_of(bag: Path) -> dict[str, str]:
    """Topics that hold messages, to their types.

    Raises:
        RecordingError: the bag cannot be read.
    """
    try:
        metadata = rosbag2_py.Info().read_metadata(str(bag), "")
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise RecordingError(f"cannot read the bag {bag}: {reason}") from error
    topics = metadata.topics_with_message_count
    return {t.topic_metadata.name: t.topic_metadata.type for t in topics if t.message_count}


def images_of(topics: dict[str, str]) -> dict[str, str]:
    """Image topics without the transport's name, to the transport: raw where there are both."""
    found: dict[str, str] = {}
    for topic, kind in topics.items():
        if kind not in _TRANSPORTS or topic.endswith("/compressedDepth"):
            continue
        base, transport = topic.removesuffix("/compressed"), _TRANSPORTS[kind]
        found[base] = "raw" if "raw" in (transport, found.get(base)) else "compressed"
    return dict(sorted(found.items()))


def ground_truth_of(bag: Path) -> tuple[float, float, float]:
    """First pose on /ground_truth: x, y [m], yaw [rad].

    Raises:
        RecordingError: there is none.
    """
    reader = rosbag2_py.SequentialReader()
    reader.open(rosbag2_py.StorageOptions(uri=str(bag)), rosbag2_py.ConverterOptions("cdr", "cdr"))
    reader.set_filter(rosbag2_py.StorageFilter(topics=[GROUND_TRUTH]))
    if not reader.has_next():
        raise RecordingError(f"{bag} has no {GROUND_TRUTH}; give initial_pose:='x y yaw'")
    pose = deserialize_message(reader.read_next()[1], Odometry).pose.pose
    q = pose.orientation
    yaw = math.atan2(2.0 * (q.w * q.z + q.x * q.y), 1.0 - 2.0 * (q.y * q.y + q.z * q.z))
    return pose.position.x, pose.position.y, yaw
