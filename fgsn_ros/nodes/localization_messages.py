"""Poses, particles and maps to and from ROS messages."""

from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import (
    Pose,
    PoseArray,
    PoseStamped,
    PoseWithCovarianceStamped,
    TransformStamped,
)
from nav_msgs.msg import Path
from numpy.typing import NDArray
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Header

from fgsn_ros.commands.result_messages import particle_records, point_records
from fgsn_ros.errors import LocalizationError
from fgsn_ros.geometry import poses
from fgsn_ros.messages.bag_messages import pose_row, valid_rows
from fgsn_ros.nodes.conversions import stamp_message

FloatArray = NDArray[np.float64]

_FIELD_TYPES = {"label": PointField.UINT16}  # the others, RViz's packed rgb too, are FLOAT32


def header(stamp: float, frame_id: str) -> Header:
    """Header of a stamp in seconds."""
    return Header(stamp=stamp_message(stamp), frame_id=frame_id)


def matrix_of(pose: Any) -> FloatArray:
    """T (4, 4) of a Pose or Transform.

    Raises:
        LocalizationError: a number is not finite or the quaternion is zero.
    """
    row = np.array(pose_row(pose))
    if not valid_rows(row):
        raise LocalizationError("a pose holds NaN or a quaternion of zeros; it is not used")
    return poses.from_quaternion(row[:3], row[3:])


def pose_message(T: FloatArray) -> Pose:
    """Pose of T (4, 4)."""
    message = Pose()
    (x, y, z), (qx, qy, qz, qw) = (values.tolist() for values in poses.to_quaternion(T))
    position, orientation = message.position, message.orientation
    position.x, position.y, position.z = x, y, z
    orientation.x, orientation.y, orientation.z, orientation.w = qx, qy, qz, qw
    return message


def estimate_message(
    stamp: float, frame_id: str, T: FloatArray, covariance: FloatArray
) -> PoseWithCovarianceStamped:
    """Pose (4, 4) with covariance (6, 6) x y z roll pitch yaw."""
    message = PoseWithCovarianceStamped(header=header(stamp, frame_id))
    message.pose.pose = pose_message(T)
    message.pose.covariance = covariance.reshape(36)
    return message


def transform_message(stamp: float, parent: str, child: str, T: FloatArray) -> TransformStamped:
    """Transform T_parent_child (4, 4)."""
    message = TransformStamped(header=header(stamp, parent), child_frame_id=child)
    pose = pose_message(T)
    translation = message.transform.translation
    translation.x, translation.y, translation.z = pose.position.x, pose.position.y, pose.position.z
    message.transform.rotation = pose.orientation
    return message


def particles_message(stamp: float, frame_id: str, T: FloatArray) -> PoseArray:
    """Poses (N, 4, 4)."""
    return PoseArray(header=header(stamp, frame_id), poses=[pose_message(pose) for pose in T])


def weighted_particles_message(
    stamp: float, frame_id: str, T: FloatArray, weights: FloatArray
) -> PointCloud2:
    """Positions of poses (N, 4, 4) with their weights (N,), relative to the mean weight."""
    return _cloud_message(header(stamp, frame_id), particle_records(T, weights))


def map_message(
    stamp: Time,
    frame_id: str,
    points: NDArray[np.float32],
    labels: NDArray[np.uint16],
    label_count: int,
) -> PointCloud2:
    """Points (N, 3) with their labels (N,) and the labels' colours."""
    cloud = point_records(points, labels, label_count)
    return _cloud_message(Header(stamp=stamp, frame_id=frame_id), cloud)


def stamped_pose(stamp: float, frame_id: str, T: FloatArray) -> PoseStamped:
    """Pose (4, 4) at a stamp, for a path."""
    return PoseStamped(header=header(stamp, frame_id), pose=pose_message(T))


def path_message(stamped: list[PoseStamped]) -> Path:
    """Path of at least one pose."""
    return Path(header=stamped[-1].header, poses=stamped)


def covariance_of(message: PoseWithCovarianceStamped) -> FloatArray:
    """(6, 6) x y z roll pitch yaw [m, rad]."""
    return np.array(message.pose.covariance, np.float64).reshape(6, 6)


def _cloud_message(cloud_header: Header, cloud: NDArray[Any]) -> PointCloud2:
    assert cloud.dtype.names is not None
    assert cloud.dtype.fields is not None
    fields = [
        PointField(
            name=name,
            offset=cloud.dtype.fields[name][1],
            datatype=_FIELD_TYPES.get(name, PointField.FLOAT32),
            count=1,
        )
        for name in cloud.dtype.names
    ]
    message = PointCloud2(
        header=cloud_header,
        height=1,
        width=len(cloud),
        fields=fields,
        is_bigendian=False,
        point_step=cloud.itemsize,
        row_step=cloud.nbytes,
        is_dense=True,
    )
    message.data.frombytes(cloud.tobytes())
    return message
