"""What makes a ROS message: rosbags' classes for bags, those of ROS 2 for nodes; stamps, headers.

Functions that build messages take a `MessageTypes` first and serve both.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from fgsn_ros.geometry import poses

Message = Any
"""A message: its class is made at run time from a definition, by rosbags or by ROS 2."""

# The messages used here are the same in Humble and Jazzy; bags of Humble are read by both.
TYPESTORE: Typestore = get_typestore(Stores.ROS2_HUMBLE)


@cache
def ros1_typestore() -> Typestore:
    """The messages of ROS 1."""
    store = get_typestore(Stores.ROS1_NOETIC)
    for name in ("tf2_msgs/msg/TFMessage", "tf/msg/tfMessage"):
        fields = "geometry_msgs/TransformStamped[] transforms"
        store.register(get_types_from_msg(fields, name))
    return store


@dataclass(frozen=True)
class MessageTypes:
    """Classes of messages, and how a pose becomes numbers in them."""

    make: Callable[..., Message]
    """a message by its type's name and all its fields: make("std_msgs/msg/Float32", data=0.5);
    fields of numbers are arrays"""
    q_xyzw: Callable[[NDArray[np.float64]], Sequence[float]]
    """unit quaternion of a pose (4, 4)"""


def _make(msgtype: str, **fields: Message) -> Message:
    return TYPESTORE.types[msgtype](**fields)


def _q_xyzw(T: NDArray[np.float64]) -> list[float]:
    q_xyzw: list[float] = poses.to_quaternion(T)[1].tolist()
    return q_xyzw


BAG_TYPES = MessageTypes(_make, _q_xyzw)
"""Messages to be written by rosbags."""


def stamp_of(message: Message) -> float:
    """The header's stamp [s]."""
    stamp = message.header.stamp
    return float(stamp.sec + 1e-9 * stamp.nanosec)


def frame_name(frame_id: str) -> str:
    """A frame id without ROS 1's leading slash."""
    return frame_id.lstrip("/")


def split_stamp(stamp: float) -> tuple[int, int]:
    """Seconds and nanoseconds of a stamp [s]."""
    seconds = int(np.floor(stamp))
    nanoseconds = round((stamp - seconds) * 1e9)
    return (seconds + 1, 0) if nanoseconds == 1_000_000_000 else (seconds, nanoseconds)


def make_time(types: MessageTypes, stamp: float) -> Message:
    """builtin_interfaces/Time of a stamp [s]."""
    seconds, nanoseconds = split_stamp(stamp)
    return types.make("builtin_interfaces/msg/Time", sec=seconds, nanosec=nanoseconds)


def make_header(types: MessageTypes, stamp: float, frame_id: str) -> Message:
    """std_msgs/Header of a stamp [s]."""
    return types.make("std_msgs/msg/Header", stamp=make_time(types, stamp), frame_id=frame_id)
