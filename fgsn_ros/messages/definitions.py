"""Whether a bag's own definition of a type is that of ROS; text is compared, nothing is run."""

import re
from functools import lru_cache

from fgsn_ros.messages.types import TYPESTORE, ros1_typestore

_MAX_TEXT = 2**20
_SEPARATOR = re.compile(r"^={20,}\s*$", re.MULTILINE)
_FIELD = re.compile(r"^\s*([A-Za-z][\w/]*)((?:<=[0-9]+)?(?:\[[^\]\s]*\])?)\s+(\w+)\s*(=?)")
_PLAIN = re.compile(r"(u?int(8|16|32|64)|float(32|64)|bool|byte|char|w?string|time|duration)$")

Fields = list[tuple[str, str]]


@lru_cache(maxsize=64)
def is_of_ros(msgtype: str, definition: str, encoding: str) -> bool:
    """Whether the fields of a type, and of those it holds, are those of ROS, in their order.

    Args:
        msgtype: Such as nav_msgs/msg/Odometry.
        definition: Text of .msg files, as bags hold it; empty: nothing is said otherwise.
        encoding: "ros1", or that of ROS 2.
    """
    if not definition.strip():
        return True
    store, version = (ros1_typestore(), 1) if encoding == "ros1" else (TYPESTORE, 2)
    if len(definition) > _MAX_TEXT or msgtype not in store.fielddefs:
        return False
    ours = _sections(msgtype, store.generate_msgdef(msgtype, ros_version=version)[0])
    theirs = _sections(msgtype, definition)
    return all(theirs.get(name, fields) == fields for name, fields in ours.items())


def _sections(msgtype: str, text: str) -> dict[str, Fields]:
    """Fields by type of a definition with those of the types that it uses."""
    first, *others = _SEPARATOR.split(text)
    found = {_short(msgtype): _fields(first, _short(msgtype))}
    for section in others:
        head, _, body = section.strip().partition("\n")
        name = _short(head.removeprefix("MSG:").strip())
        found.setdefault(name, _fields(body, name))
    return found


def _fields(text: str, owner: str) -> Fields:
    """Type and name of each field, without constants, defaults and comments."""
    found = []
    for line in text.splitlines():
        field = _FIELD.match(line.split("#", 1)[0])
        if field and not field[4]:
            found.append((_resolved(field[1], owner) + field[2], field[3].lower()))
    return found


def _resolved(name: str, owner: str) -> str:
    if _PLAIN.match(name):
        return name
    if name == "Header":
        return "std_msgs/Header"
    return _short(name) if "/" in name else f"{owner.partition('/')[0]}/{name}"


def _short(name: str) -> str:
    """nav_msgs/Odometry of nav_msgs/msg/Odometry."""
    return name.replace("/msg/", "/")
