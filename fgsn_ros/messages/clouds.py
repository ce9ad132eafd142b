"""Point clouds as RViz shows them: particles by weight, the map's points by label."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.messages.types import Message, MessageTypes

_PARTICLE = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("weight", "<f4")])
_POINT = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("rgb", "<u4"), ("label", "<u2")])
_TYPES = {"i1": 1, "u1": 2, "u2": 4, "f4": 7}
"""PointField's numbers."""
_RGB = 7  # RViz reads it packed in a float


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
    return make_cloud(types, header, cloud)


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
    return make_cloud(types, header, cloud)


def make_cloud(types: MessageTypes, header: Message, cloud: NDArray[Any]) -> Message:
    """sensor_msgs/PointCloud2 of records (N,)."""
    fields = [
        types.make(
            "sensor_msgs/msg/PointField", name=name, offset=offset, datatype=datatype, count=count
        )
        for name, offset, datatype, count in fields_of(cloud.dtype)
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
        data=cloud.view(np.uint8).reshape(-1),
        is_dense=True,
    )


def fields_of(record: np.dtype[Any]) -> list[tuple[str, int, int, int]]:
    """Name, offset, PointField's number of the type, and count of each field of a record."""
    assert record.fields is not None
    return [
        (
            name,
            int(offset),
            _RGB if name == "rgb" else _TYPES[dtype.base.str[1:]],
            int(np.prod(dtype.shape)),
        )
        for name, (dtype, offset, *_) in record.fields.items()
    ]
