"""Poses, transforms, odometry and paths to and from messages."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.geometry import poses
from fgsn_ros.messages.types import Message, MessageTypes, make_header

FloatArray = NDArray[np.float64]

PARTICLES_SHOWN = 300
"""Poses of particles in a message."""


def pose_row(pose: Message) -> list[float]:
    """X y z qx qy qz qw of a Pose or Transform, as it is in the message."""
    t = pose.position if hasattr(pose, "position") else pose.translation
    q = pose.orientation if hasattr(pose, "orientation") else pose.rotation
    return [t.x, t.y, t.z, q.x, q.y, q.z, q.w]


def valid_rows(rows: FloatArray) -> NDArray[np.bool_]:
    """Which rows (..., 7) of `pose_row` are poses, (...); `poses.faults` says why not."""
    return np.asarray(poses.faults(rows) == "")


def covariance_of(message: Message) -> FloatArray:
    """(6, 6) x y z roll pitch yaw [m, rad] of a PoseWithCovarianceStamped."""
    return np.array(message.pose.covariance, np.float64).reshape(6, 6)


def make_pose(types: MessageTypes, T: FloatArray) -> Message:
    """geometry_msgs/Pose of T (4, 4)."""
    return _pose(types, T[:3, 3].tolist(), types.q_xyzw(T))


def make_poses(types: MessageTypes, T: FloatArray) -> list[Message]:
    """geometry_msgs/Pose of each of T (N, 4, 4): the quaternions are computed in one go."""
    translations, q_xyzw = (values.tolist() for values in poses.to_quaternion(T))
    return [_pose(types, t, q) for t, q in zip(translations, q_xyzw, strict=True)]


def _pose(types: MessageTypes, t: Sequence[float], q_xyzw: Sequence[float]) -> Message:
    x, y, z, w = q_xyzw
    return types.make(
        "geometry_msgs/msg/Pose",
        position=types.make("geometry_msgs/msg/Point", x=t[0], y=t[1], z=t[2]),
        orientation=types.make("geometry_msgs/msg/Quaternion", x=x, y=y, z=z, w=w),
    )


def make_transform(
    types: MessageTypes, stamp: float, parent: str, child: str, T: FloatArray
) -> Message:
    """geometry_msgs/TransformStamped of T_parent_child (4, 4)."""
    x, y, z = T[:3, 3].tolist()
    qx, qy, qz, qw = types.q_xyzw(T)
    return types.make(
        "geometry_msgs/msg/TransformStamped",
        header=make_header(types, stamp, parent),
        child_frame_id=child,
        transform=types.make(
            "geometry_msgs/msg/Transform",
            translation=types.make("geometry_msgs/msg/Vector3", x=x, y=y, z=z),
            rotation=types.make("geometry_msgs/msg/Quaternion", x=qx, y=qy, z=qz, w=qw),
        ),
    )


def make_transforms(types: MessageTypes, transforms: list[Message]) -> Message:
    """tf2_msgs/TFMessage."""
    return types.make("tf2_msgs/msg/TFMessage", transforms=transforms)


def make_odometry(
    types: MessageTypes, stamp: float, parent: str, child: str, T: FloatArray
) -> Message:
    """nav_msgs/Odometry of T_parent_child (4, 4); twist and covariances stay zero (unknown)."""
    zero = types.make("geometry_msgs/msg/Vector3", x=0.0, y=0.0, z=0.0)
    return types.make(
        "nav_msgs/msg/Odometry",
        header=make_header(types, stamp, parent),
        child_frame_id=child,
        pose=_with_covariance(types, T, np.zeros((6, 6))),
        twist=types.make(
            "geometry_msgs/msg/TwistWithCovariance",
            twist=types.make("geometry_msgs/msg/Twist", linear=zero, angular=zero),
            covariance=np.zeros(36),
        ),
    )


def make_estimate(
    types: MessageTypes, stamp: float, frame_id: str, T: FloatArray, covariance: FloatArray
) -> Message:
    """geometry_msgs/PoseWithCovarianceStamped; covariance (6, 6) of x y z roll pitch yaw."""
    return types.make(
        "geometry_msgs/msg/PoseWithCovarianceStamped",
        header=make_header(types, stamp, frame_id),
        pose=_with_covariance(types, T, covariance),
    )


def _with_covariance(types: MessageTypes, T: FloatArray, covariance: FloatArray) -> Message:
    return types.make(
        "geometry_msgs/msg/PoseWithCovariance",
        pose=make_pose(types, T),
        covariance=covariance.reshape(36),
    )


def make_particles(types: MessageTypes, stamp: float, frame_id: str, T: FloatArray) -> Message:
    """geometry_msgs/PoseArray of poses (N, 4, 4)."""
    return types.make(
        "geometry_msgs/msg/PoseArray",
        header=make_header(types, stamp, frame_id),
        poses=make_poses(types, T),
    )


def make_stamped_pose(types: MessageTypes, stamp: float, frame_id: str, T: FloatArray) -> Message:
    """geometry_msgs/PoseStamped, for a path."""
    return types.make(
        "geometry_msgs/msg/PoseStamped",
        header=make_header(types, stamp, frame_id),
        pose=make_pose(types, T),
    )


def make_path(types: MessageTypes, stamped: list[Message]) -> Message:
    """nav_msgs/Path of at least one PoseStamped; its stamp is the last one's."""
    return types.make("nav_msgs/msg/Path", header=stamped[-1].header, poses=stamped)


def drawn(weights: FloatArray, count: int = PARTICLES_SHOWN) -> NDArray[np.int64]:
    """Indices of `count` evenly spaced draws by weight (N,): PoseArray has no room for weights."""
    cumulative = np.cumsum(weights / weights.sum())
    positions = (0.5 + np.arange(count)) / count
    return np.minimum(np.searchsorted(cumulative, positions), len(weights) - 1)
