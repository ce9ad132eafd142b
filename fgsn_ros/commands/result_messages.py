"""ROS messages of a localized run, beside those that a recording has."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.messages.bag_messages import Message, make, make_header, make_pose
from fgsn_ros.segmentation.labels import palette

MAP_FRAME = "map"

_PARTICLE = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("weight", "<f4")])
_CLOUD = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("rgb", "<u4"), ("label", "<u2")])
_POINT_FIELD_TYPES = {"label": 4}  # UINT16
_FLOAT32 = 7  # also of rgb, which RViz reads packed in a float

FloatArray = NDArray[np.float64]


def make_estimate(stamp: float, T_map_base: FloatArray, covariance: FloatArray) -> Message:
    """geometry_msgs/PoseWithCovarianceStamped; covariance (6, 6) of x y z roll pitch yaw."""
    return make(
        "geometry_msgs/msg/PoseWithCovarianceStamped",
        header=make_header(stamp, MAP_FRAME),
        pose=make(
            "geometry_msgs/msg/PoseWithCovariance",
            pose=make_pose(T_map_base),
            covariance=covariance.reshape(36),
        ),
    )


def make_particles(stamp: float, T_map_base: FloatArray) -> Message:
    """geometry_msgs/PoseArray of poses (N, 4, 4)."""
    return make(
        "geometry_msgs/msg/PoseArray",
        header=make_header(stamp, MAP_FRAME),
        poses=[make_pose(T) for T in T_map_base],
    )


def make_particle_weights(stamp: float, T_map_base: FloatArray, weights: FloatArray) -> Message:
    """sensor_msgs/PointCloud2 of poses (N, 4, 4): positions, weights (N,) relative to the mean."""
    return _make_cloud(stamp, particle_records(T_map_base, weights))


def make_path(stamps: list[float], T_map_base: list[FloatArray]) -> Message:
    """nav_msgs/Path of at least one stamped pose (4, 4)."""
    stamped = [
        make(
            "geometry_msgs/msg/PoseStamped", header=make_header(stamp, MAP_FRAME), pose=make_pose(T)
        )
        for stamp, T in zip(stamps, T_map_base, strict=True)
    ]
    return make("nav_msgs/msg/Path", header=make_header(stamps[-1], MAP_FRAME), poses=stamped)


def make_map_points(
    stamp: float, points: NDArray[np.float32], labels: NDArray[np.uint16], label_count: int
) -> Message:
    """sensor_msgs/PointCloud2 of points (N, 3) [m] with label (N,) and the label's colour."""
    return _make_cloud(stamp, point_records(points, labels, label_count))


def particle_records(T_map_base: FloatArray, weights: FloatArray) -> NDArray[Any]:
    """Records (N,) of a cloud: positions of poses (N, 4, 4), weights (N,) relative to the mean."""
    cloud = np.zeros(len(T_map_base), _PARTICLE)
    cloud["x"], cloud["y"], cloud["z"] = T_map_base[:, :3, 3].T
    cloud["weight"] = weights * len(weights)
    return cloud


def point_records(
    points: NDArray[np.float32], labels: NDArray[np.uint16], label_count: int
) -> NDArray[Any]:
    """Records (N,) of a cloud: points (N, 3) [m] with label (N,) and the label's colour."""
    cloud = np.zeros(len(points), _CLOUD)
    cloud["x"], cloud["y"], cloud["z"] = points.T
    red, green, blue = palette(label_count)[labels].astype(np.uint32).T
    cloud["rgb"] = red << 16 | green << 8 | blue
    cloud["label"] = labels
    return cloud


def _make_cloud(stamp: float, cloud: NDArray[Any]) -> Message:
    assert cloud.dtype.names is not None
    assert cloud.dtype.fields is not None
    fields = [
        make(
            "sensor_msgs/msg/PointField",
            name=name,
            offset=int(cloud.dtype.fields[name][1]),
            datatype=_POINT_FIELD_TYPES.get(name, _FLOAT32),
            count=1,
        )
        for name in cloud.dtype.names
    ]
    return make(
        "sensor_msgs/msg/PointCloud2",
        header=make_header(stamp, MAP_FRAME),
        height=1,
        width=len(cloud),
        fields=fields,
        is_bigendian=False,
        point_step=cloud.itemsize,
        row_step=cloud.nbytes,
        data=cloud.view(np.uint8),
        is_dense=True,
    )
