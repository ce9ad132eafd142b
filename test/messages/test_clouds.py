import numpy as np

from fgsn_ros.geometry import poses
from fgsn_ros.messages.clouds import make_particle_cloud, make_point_cloud
from fgsn_ros.messages.types import BAG_TYPES, make_header, stamp_of

HEADER = make_header(BAG_TYPES, 12.25, "map")
KINDS = {4: "<u2", 7: "<f4"}


def records(message) -> np.ndarray:
    """The cloud's points, read as its fields tell."""
    kind = np.dtype(
        {
            "names": [field.name for field in message.fields],
            "formats": [KINDS[field.datatype] for field in message.fields],
            "offsets": [field.offset for field in message.fields],
            "itemsize": message.point_step,
        }
    )
    assert message.row_step == len(message.data) == message.width * message.point_step
    return np.frombuffer(message.data, kind)


def test_particles_have_weights_relative_to_the_mean(sent) -> None:
    T = poses.from_planar(np.array([1.0, 2.0, 3.0]), np.array([4.0, 5.0, 6.0]), np.zeros(3))
    message = sent(make_particle_cloud(BAG_TYPES, HEADER, T, np.array([0.5, 0.25, 0.25])))
    cloud = records(message)
    assert cloud.dtype.names == ("x", "y", "z", "weight")
    np.testing.assert_array_equal(cloud["x"], [1, 2, 3])
    np.testing.assert_array_equal(cloud["y"], [4, 5, 6])
    np.testing.assert_array_equal(cloud["weight"], [1.5, 0.75, 0.75])
    assert (stamp_of(message), message.header.frame_id) == (12.25, "map")


def test_points_have_label_and_colour(sent) -> None:
    points = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
    labels = np.array([7, 300], np.uint16)
    colours = np.array([[255, 0, 1], [2, 128, 3]], np.uint8)
    message = sent(make_point_cloud(BAG_TYPES, HEADER, points, labels, colours))
    cloud = records(message)
    assert cloud.dtype.names == ("x", "y", "z", "rgb", "label")
    np.testing.assert_array_equal(np.stack([cloud[axis] for axis in "xyz"], axis=1), points)
    np.testing.assert_array_equal(cloud["label"], labels)
    np.testing.assert_array_equal(cloud["rgb"].view("<u4"), [0xFF0001, 0x028003])


def test_a_cloud_may_be_empty(sent) -> None:
    nothing = np.zeros((0, 3), np.float32)
    message = make_point_cloud(
        BAG_TYPES, HEADER, nothing, np.zeros(0, np.uint16), np.zeros((0, 3), np.uint8)
    )
    assert len(records(sent(message))) == 0
