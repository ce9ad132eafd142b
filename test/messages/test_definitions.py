"""A bag's text of a type against that of ROS."""

import pytest

from fgsn_ros.messages.definitions import is_of_ros

# As ROS itself writes it into bags: comments, names without their package, parts below.
POINT_STAMPED = """# This represents a Point with reference coordinate frame and timestamp

# This contains timestamp and coordinate frame information.
std_msgs/Header header

# The point in space.
Point point
================================================================================
MSG: geometry_msgs/Point
# This contains the position of a point in free space
float64 x
float64 y
float64 z # up
================================================================================
MSG: std_msgs/Header
# Standard metadata
builtin_interfaces/Time stamp
string frame_id
================================================================================
MSG: builtin_interfaces/Time
uint8 NO_FIELD=3
string NOR_THIS = "a # b"
int32 sec
uint32 nanosec 7
"""
POINT_STAMPED_1 = """Header header
geometry_msgs/Point point
================================================================================
MSG: std_msgs/Header
uint32 seq
time stamp
string frame_id
================================================================================
MSG: geometry_msgs/Point
float64 X
float64 y
float64 z
"""
NAME = "geometry_msgs/msg/PointStamped"


def test_the_text_of_ros_is_that_of_ros() -> None:
    assert is_of_ros(NAME, POINT_STAMPED, "cdr")
    assert is_of_ros(NAME, POINT_STAMPED_1, "ros1")
    assert is_of_ros(NAME, "", "cdr")
    assert is_of_ros(NAME, "std_msgs/Header header\ngeometry_msgs/msg/Point point\n", "cdr")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("float64 x", "float32 x"),
        ("float64 x\nfloat64 y", "float64 y\nfloat64 x"),
        ("float64 z # up", "float64 z\nfloat64 w"),
        ("float64 z # up", ""),
        ("Point point", "Point[] point"),
        ("Point point", "my_msgs/Point point"),
        ("int32 sec", "int32 sec\n" + "int32 x\n" * 200_000),
        (POINT_STAMPED, "string[200000000] x"),
    ],
)
def test_other_fields_are_not_those_of_ros(old: str, new: str) -> None:
    assert old in POINT_STAMPED
    assert not is_of_ros(NAME, POINT_STAMPED.replace(old, new), "cdr")


def test_a_type_that_ros_does_not_have_is_not_of_ros() -> None:
    assert not is_of_ros("my_msgs/msg/Gear", "float64 x", "cdr")
    assert not is_of_ros(NAME, POINT_STAMPED_1, "cdr")
