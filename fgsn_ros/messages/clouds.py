"""Point clouds as RViz shows them: particles by weight, the map's points by label."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.messages.types import Message, MessageTypes

_PARTICLE = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("weight", "<f4")])
_POINT = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("rgb", "<u4"), ("label", "<u2")])
_FIELD_TYPES = {"label": 4}  # UINT16
_FLOAT32 = 7  # also of rgb, which RViz reads packed in a float


def make_particle_cloud(
    types: MessageTypes,
    header: Message,
    T_map_base: NDArray[np.float64],
    weights: NDArray[np.float64],
) -> Message:
    """sensor_msgs/PointCloud2 of poses (N, 4, 4): positions, weights (N,) relative to the mean."""
    cloud = np.zeros(len(T_map_base), _PARTICLE)
    cloud["x"], cloud["y"], cloud["z"] = T_map_base[:, :3, 3].T
    cloud["weight"] = weights * len(weights)
    return _make_cloud(types, header, cloud)


def make_point_cloud(
    types: MessageTypes,
    header: Message,
    points: NDArray[np.float32],
    labels: NDArray[np.uint16],
    colours: NDArray[np.uint8],
) -> Message:
    """sensor_msgs/PointCloud2 of points (N, 3) [m] with labels (N,) and RGB colours (N, 3)."""
    cloud = np.zeros(len(points), _POINT)
    cloud["x"], cloud["y"], cloud["z"] = points.T
    red, green, blue = colours.astype(np.uint32).T
    cloud["rgb"] = red << 16 | green << 8 | blue
    cloud["label"] = labels
    return _make_cloud(types, header, cloud)


def _make_cloud(types: MessageTypes, header: Message, cloud: NDArray[Any]) -> Message:
    assert cloud.dtype.fields is not None
    fields = [
        types.make(
            "sensor_msgs/msg/PointField",
            name=name,
            offset=int(offset),
            datatype=_FIELD_TYPES.get(name, _FLOAT32),
            count=1,
        )
        for name, (_, offset, *_) in cloud.dtype.fields.items()
    ]
    return types.make(
        "sensor_msgs/msg/PointCloud2",
        header=header,
        height=1,
        width=len(cloud),
        fields=fields,
        is_bigendian=False,
        point_step=cloud.itemsize,
        row_step=cloud.nbytes,
        data=cloud.view(np.uint8),
        is_dense=True,
    )
