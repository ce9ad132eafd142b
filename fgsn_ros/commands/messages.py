"""ROS 2 messages, without ROS, from poses, particles and points."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from rosbags.typesys import Stores, get_typestore

from fgsn_ros.geometry import poses

FloatArray = NDArray[np.float64]

TYPES: dict[str, Any] = dict(get_typestore(Stores.ROS2_HUMBLE).types)
_FLOAT32, _UINT16, _UINT32 = 7, 4, 6  # sensor_msgs/PointField


def message(name: str, *fields: Any) -> Any:
    """Message of a type such as "nav_msgs/Path" from its fields in order."""
    return TYPES[name.replace("/", "/msg/")](*fields)


def header(stamp: float, frame_id: str) -> Any:
    """std_msgs/Header of a stamp [s]."""
    seconds, nanoseconds = divmod(round(stamp * 1e9), 10**9)
    return message(
        "std_msgs/Header", message("builtin_interfaces/Time", seconds, nanoseconds), frame_id
    )


def pose(T: FloatArray) -> Any:
    """geometry_msgs/Pose of a pose (4, 4)."""
    translation, q_xyzw = poses.to_quaternion(T)
    return message(
        "geometry_msgs/Pose",
        message("geometry_msgs/Point", *map(float, translation)),
        message("geometry_msgs/Quaternion", *map(float, q_xyzw)),
    )


def pose_with_covariance(stamp: float, frame_id: str, T: FloatArray, covariance: FloatArray) -> Any:
    """geometry_msgs/PoseWithCovarianceStamped; covariance (6, 6) of x y z roll pitch yaw."""
    return message(
        "geometry_msgs/PoseWithCovarianceStamped",
        header(stamp, frame_id),
        message("geometry_msgs/PoseWithCovariance", pose(T), covariance.reshape(36)),
    )


def pose_array(stamp: float, frame_id: str, T: FloatArray) -> Any:
    """geometry_msgs/PoseArray of poses (N, 4, 4)."""
    return message("geometry_msgs/PoseArray", header(stamp, frame_id), [pose(one) for one in T])


def path(stamps: list[float], frame_id: str, T: list[FloatArray]) -> Any:
    """nav_msgs/Path of at least one stamped pose (4, 4)."""
    stamped = [
        message("geometry_msgs/PoseStamped", header(stamp, frame_id), pose(one))
        for stamp, one in zip(stamps, T, strict=True)
    ]
    return message("nav_msgs/Path", header(stamps[-1], frame_id), stamped)


def transform(stamp: float, parent: str, child: str, T_parent_child: FloatArray) -> Any:
    """geometry_msgs/TransformStamped of a pose (4, 4)."""
    translation, q_xyzw = poses.to_quaternion(T_parent_child)
    return message(
        "geometry_msgs/TransformStamped",
        header(stamp, parent),
        child,
        message(
            "geometry_msgs/Transform",
            message("geometry_msgs/Vector3", *map(float, translation)),
            message("geometry_msgs/Quaternion", *map(float, q_xyzw)),
        ),
    )


def odometry(stamp: float, frame_id: str, child_frame_id: str, T: FloatArray) -> Any:
    """nav_msgs/Odometry of a pose (4, 4); covariance and twist are zero, which means unknown."""
    zero = message("geometry_msgs/Vector3", 0.0, 0.0, 0.0)
    twist = message("geometry_msgs/Twist", zero, zero)
    return message(
        "nav_msgs/Odometry",
        header(stamp, frame_id),
        child_frame_id,
        message("geometry_msgs/PoseWithCovariance", pose(T), np.zeros(36)),
        message("geometry_msgs/TwistWithCovariance", twist, np.zeros(36)),
    )


def transforms(*stamped: Any) -> Any:
    """tf2_msgs/TFMessage of TransformStamped messages."""
    return message("tf2_msgs/TFMessage", list(stamped))


def label_cloud(
    stamp: float,
    frame_id: str,
    points: NDArray[np.float32],
    labels: NDArray[np.uint16],
    colours: NDArray[np.uint8],
) -> Any:
    """sensor_msgs/PointCloud2 of points (N, 3) [m] with rgb (N, 3) and label (N,)."""
    layout = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("rgb", "<u4"), ("label", "<u2")])
    cloud = np.zeros(len(points), layout)
    cloud["x"], cloud["y"], cloud["z"] = np.asarray(points).T
    red, green, blue = colours.astype(np.uint32).T
    cloud["rgb"] = red << 16 | green << 8 | blue
    cloud["label"] = labels
    kinds = {"rgb": _FLOAT32, "label": _UINT16}  # RViz reads rgb packed in a float32
    fields = [
        message(
            "sensor_msgs/PointField", name, layout.fields[name][1], kinds.get(name, _FLOAT32), 1
        )
        for name in layout.names or ()
    ]
    return message(
        "sensor_msgs/PointCloud2",
        header(stamp, frame_id),
        1,
        len(points),
        fields,
        False,
        layout.itemsize,
        layout.itemsize * len(points),
        cloud.view(np.uint8),
        True,
    )


def compressed_image(stamp: float, frame_id: str, jpeg: bytes) -> Any:
    """sensor_msgs/CompressedImage of JPEG data."""
    data = np.frombuffer(jpeg, np.uint8)
    return message("sensor_msgs/CompressedImage", header(stamp, frame_id), "jpeg", data)
