import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fgsn_ros.geometry import poses
from fgsn_ros.messages.poses import (
    covariance_of,
    drawn,
    make_estimate,
    make_odometry,
    make_particles,
    make_path,
    make_pose,
    make_stamped_pose,
    make_transform,
    make_transforms,
    pose_row,
    valid_rows,
)
from fgsn_ros.messages.types import BAG_TYPES, frame_name, make_header, stamp_of

T = poses.from_xyz_rpy([1, -2, 3], [0.1, -0.4, 2.8])
OTHER = poses.from_xyz_rpy([4, 5, -6], [0.0, 0.2, -1.0])


def matrix_of(pose) -> np.ndarray:
    row = np.array(pose_row(pose))
    return poses.from_quaternion(row[:3], row[3:])


@given(stamp=st.floats(0.0, 4e9))
def test_stamps_survive_a_message_to_the_nanosecond(stamp: float) -> None:
    pose = make_stamped_pose(BAG_TYPES, stamp, "map", np.eye(4))
    assert abs(stamp_of(pose) - stamp) <= 0.51e-9
    assert stamp_of(pose) == stamp or stamp < 2**23


def test_a_leading_slash_is_no_part_of_a_frame() -> None:
    assert frame_name("/odom") == frame_name("odom") == "odom"
    assert make_header(BAG_TYPES, 1.0, "odom").frame_id == "odom"


def test_a_pose_survives_a_message(sent) -> None:
    np.testing.assert_allclose(matrix_of(sent(make_pose(BAG_TYPES, T))), T, atol=1e-12)


def test_a_pose_with_nan_or_without_a_rotation_is_not_valid() -> None:
    rows = np.array([pose_row(make_pose(BAG_TYPES, T))] * 6)
    rows[1, 0], rows[2, 5], rows[3, 3:] = np.nan, np.inf, 0.0
    rows[4, 3:] *= 1.011
    rows[5, 3:] *= 0.991
    np.testing.assert_array_equal(valid_rows(rows), [True, False, False, False, False, True])


def test_transforms_and_odometry_name_both_frames(sent) -> None:
    transforms = [make_transform(BAG_TYPES, 1.5, "map", "odom", pose) for pose in (T, OTHER)]
    odometry = make_odometry(BAG_TYPES, 1.5, "map", "odom", T)
    tree = sent(make_transforms(BAG_TYPES, transforms)).transforms
    for message in (*tree, sent(odometry)):
        assert (stamp_of(message), message.header.frame_id) == (1.5, "map")
        assert message.child_frame_id == "odom"
    np.testing.assert_allclose(matrix_of(tree[0].transform), T, atol=1e-12)
    np.testing.assert_allclose(matrix_of(tree[1].transform), OTHER, atol=1e-12)
    np.testing.assert_allclose(matrix_of(sent(odometry).pose.pose), T, atol=1e-12)


def test_an_estimate_keeps_its_covariance(sent) -> None:
    covariance = np.arange(36.0).reshape(6, 6)
    message = sent(make_estimate(BAG_TYPES, 2.0, "map", T, covariance))
    np.testing.assert_array_equal(covariance_of(message), covariance)
    np.testing.assert_allclose(matrix_of(message.pose.pose), T, atol=1e-12)


def test_particles_are_the_poses_one_by_one(sent) -> None:
    message = sent(make_particles(BAG_TYPES, 2.0, "map", np.stack([T, OTHER])))
    assert (stamp_of(message), message.header.frame_id) == (2.0, "map")
    assert message.poses == [make_pose(BAG_TYPES, T), make_pose(BAG_TYPES, OTHER)]


def test_a_path_has_the_stamp_of_its_end(sent) -> None:
    stamped = [
        make_stamped_pose(BAG_TYPES, stamp, "map", pose) for stamp, pose in ((2.0, T), (3.0, OTHER))
    ]
    message = sent(make_path(BAG_TYPES, stamped))
    assert stamp_of(message) == 3.0
    assert [stamp_of(pose) for pose in message.poses] == [2.0, 3.0]
    np.testing.assert_allclose(matrix_of(message.poses[1].pose), OTHER, atol=1e-12)


@pytest.mark.parametrize("count", [1, 7, 300])
def test_particles_are_drawn_by_weight(count: int) -> None:
    weights = np.array([0.0, 3.0, 0.0, 1.0, 0.0])
    indices = drawn(weights, count)
    assert len(indices) == count
    assert set(indices) <= {1, 3}
    assert abs(np.sum(indices == 1) - 0.75 * count) <= 1.0
