import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import expm
from scipy.spatial.transform import Rotation

from fgsn_ros.errors import TrajectoryError
from fgsn_ros.geometry import poses

finite = st.floats(-50.0, 50.0)
directions = st.tuples(*[st.floats(-1.0, 1.0)] * 3).filter(lambda v: np.linalg.norm(v) > 1e-3)
# Angles from nothing, through the switch of the series, to a hair below pi.
angles = st.one_of(
    st.floats(0.0, 1e-6),
    st.floats(0.09, 0.11),
    st.floats(0.0, 3.1),
    st.floats(1e-9, 1e-3).map(lambda gap: np.pi - gap),
)


@st.composite
def twists(draw):
    direction = np.array(draw(directions))
    rho = [draw(finite) for _ in range(3)]
    phi = direction / np.linalg.norm(direction) * draw(angles)
    return np.concatenate([rho, phi])


def random_poses(seed, *shape):
    return poses.exp(np.random.default_rng(seed).normal(size=(*shape, 6)))


@settings(max_examples=200, deadline=None)
@given(twists())
def test_log_undoes_exp_from_zero_to_nearly_pi(xi):
    np.testing.assert_allclose(poses.log(poses.exp(xi)), xi, atol=1e-6, rtol=1e-9)


@settings(max_examples=100, deadline=None)
@given(twists())
def test_exp_undoes_log(xi):
    T = poses.exp(xi)
    np.testing.assert_allclose(poses.exp(poses.log(T)), T, atol=1e-11, rtol=1e-12)


@settings(max_examples=100, deadline=None)
@given(twists())
def test_exp_is_the_matrix_exponential(xi):
    generator = np.zeros((4, 4))
    x, y, z = xi[3:]
    generator[:3, :3] = [[0, -z, y], [z, 0, -x], [-y, x, 0]]
    generator[:3, 3] = xi[:3]
    np.testing.assert_allclose(poses.exp(xi), expm(generator), atol=1e-10)


@settings(max_examples=100, deadline=None)
@given(twists())
def test_poses_stay_rigid_and_inverses_cancel(xi):
    T = poses.exp(xi)
    np.testing.assert_allclose(T[:3, :3] @ T[:3, :3].T, np.eye(3), atol=1e-12)
    assert np.linalg.det(T[:3, :3]) == pytest.approx(1.0)
    np.testing.assert_allclose(poses.compose(T, poses.invert(T)), np.eye(4), atol=1e-11)


@pytest.mark.parametrize("axis", [(1, 0, 0), (0, 1, 0), (0, 0, -1), (0.6, 0, 0.8)])
def test_log_of_a_half_turn_has_the_angle_pi(axis):
    twist = poses.log(poses.exp(np.concatenate([[1.0, 2.0, 3.0], np.pi * np.array(axis)])))
    assert np.linalg.norm(twist[3:]) == pytest.approx(np.pi, abs=1e-12)
    np.testing.assert_allclose(abs(twist[3:] @ axis), np.pi, atol=1e-7)


def test_log_of_the_identity_is_exactly_zero():
    assert not poses.log(poses.identity((2, 3))).any()


@settings(max_examples=100, deadline=None)
@given(twists(), twists())
def test_interpolation_ends_at_its_ends_and_moves_at_constant_speed(first, second):
    T_0, T_1 = poses.exp(first), poses.exp(second)
    steps = poses.interpolate(T_0, T_1, [0.0, 0.25, 0.5, 1.0])
    np.testing.assert_allclose(steps[0], T_0, atol=1e-9)
    np.testing.assert_allclose(steps[3], T_1, atol=1e-8)
    quarter = poses.compose(poses.invert(steps[0]), steps[1])
    next_quarter = poses.compose(poses.invert(steps[1]), steps[2])
    np.testing.assert_allclose(quarter, next_quarter, atol=1e-8)


def test_weighted_mean_of_one_heavy_pose_is_that_pose():
    T = random_poses(0, 5)
    np.testing.assert_allclose(poses.weighted_mean(T, [0, 0, 7.0, 0, 0]), T[2], atol=1e-14)


def test_weighted_mean_of_two_lies_on_the_geodesic_between_them():
    T = random_poses(1, 2)
    expected = poses.interpolate(T[0], T[1], 0.25)
    np.testing.assert_allclose(poses.weighted_mean(T, [3.0, 1.0]), expected, atol=1e-9)


def test_weighted_mean_averages_yaw_across_the_seam_at_pi():
    yaws = np.radians([179.0, -179.0, 178.0, -178.0])
    mean = poses.weighted_mean(poses.from_planar([0, 2, 4, 6], 1.0, yaws), np.ones(4))
    assert abs(poses.to_rpy(mean)[2]) == pytest.approx(np.pi, abs=1e-9)
    # The tangent mean bends the path by the spread of the yaws, here below 2 degrees.
    np.testing.assert_allclose(mean[:3, 3], [3.0, 1.0, 0.0], atol=0.06)


@settings(max_examples=50, deadline=None)
@given(twists(), st.integers(0, 1000))
def test_weighted_mean_moves_with_the_frame(xi, seed):
    rng = np.random.default_rng(seed)
    T, weights = poses.exp(0.3 * rng.normal(size=(20, 6))), rng.random(20)
    moved = poses.weighted_mean(poses.compose(poses.exp(xi), T), weights)
    expected = poses.compose(poses.exp(xi), poses.weighted_mean(T, weights))
    np.testing.assert_allclose(moved, expected, atol=1e-9)


@pytest.mark.parametrize("weights", [[0.0, 0.0], [1.0, -1.0], [np.nan, 1.0], [np.inf, 1.0]])
def test_weighted_mean_refuses_weights_that_are_no_weights(weights):
    with pytest.raises(ValueError, match="weights"):
        poses.weighted_mean(poses.identity((2,)), weights)


@settings(max_examples=200, deadline=None)
@given(twists())
def test_quaternions_round_trip_and_agree_with_scipy(xi):
    T = poses.exp(xi)
    translation, q_xyzw = poses.to_quaternion(T)
    assert q_xyzw[3] >= 0.0
    np.testing.assert_allclose(poses.from_quaternion(translation, -1.005 * q_xyzw), T, atol=1e-12)
    np.testing.assert_allclose(Rotation.from_quat(q_xyzw).as_matrix(), T[:3, :3], atol=1e-12)


@pytest.mark.parametrize("q_xyzw", [(0, 0, 0, 0), (0, 0, np.nan, 1), (np.inf, 0, 0, 1)])
def test_a_quaternion_without_direction_is_refused(q_xyzw):
    with pytest.raises(TrajectoryError, match="quaternion"):
        poses.from_quaternion([0.0, 0.0, 0.0], q_xyzw)


def test_roll_pitch_yaw_follow_the_ros_convention():
    rpy = np.random.default_rng(2).uniform(-1.5, 1.5, (30, 3))
    T = poses.from_xyz_rpy([1.0, 2.0, 3.0], rpy)
    np.testing.assert_allclose(
        T[:, :3, :3], Rotation.from_euler("xyz", rpy).as_matrix(), atol=1e-14
    )
    np.testing.assert_allclose(poses.to_rpy(T), rpy, atol=1e-12)
    assert (T[:, :3, 3] == [1.0, 2.0, 3.0]).all()


def test_planar_poses_turn_left_with_positive_yaw():
    T = poses.from_planar([1.0, 2.0], 3.0, np.pi / 2)
    np.testing.assert_allclose(poses.transform(T, [[1.0, 0, 0]] * 2), [[1, 4, 0], [2, 4, 0]])


def test_transform_broadcasts_poses_against_points():
    T, points = random_poses(3, 4), np.random.default_rng(4).normal(size=(7, 3))
    moved = poses.transform(T[:, None], points)
    assert moved.shape == (4, 7, 3)
    np.testing.assert_allclose(moved[2], poses.transform(T[2], points), atol=1e-14)


def test_composition_broadcasts_and_associates():
    A, B, C = random_poses(5, 3, 1), random_poses(6, 4), random_poses(7)
    left = poses.compose(poses.compose(A, B), C)
    assert left.shape == (3, 4, 4, 4)
    np.testing.assert_allclose(left, poses.compose(A, poses.compose(B, C)), atol=1e-12)


def test_rotation_angle_is_exact_at_both_ends():
    T = poses.exp([[1, 2, 3, 0, 0, 0], [0, 0, 0, 1e-9, 0, 0], [0, 0, 0, 0, np.pi - 1e-9, 0]])
    np.testing.assert_allclose(poses.rotation_angle(T), [0, 1e-9, np.pi - 1e-9], atol=1e-15)


def test_wrapped_angles_lie_in_minus_pi_to_pi():
    wrapped = poses.wrap_angle([-np.pi, np.pi, 3 * np.pi / 2, 0.1 + 4 * np.pi])
    np.testing.assert_allclose(wrapped, [-np.pi, -np.pi, -np.pi / 2, 0.1], atol=1e-14)


def test_a_logarithm_has_the_same_bits_wherever_memory_lies():
    T, rng = random_poses(9, 400), np.random.default_rng(9)
    expected = poses.log(T)
    for _ in range(500):
        _between = [np.empty(rng.integers(1, 3000)) for _ in range(rng.integers(1, 4))]
        np.testing.assert_array_equal(poses.log(T), expected)


def test_the_mean_of_rotations_is_the_mean_of_poses_at_the_origin():
    T, weights = random_poses(10, 50), np.random.default_rng(10).random(50)
    at_origin = poses.from_rotation_translation(T[:, :3, :3], np.zeros(3))
    mean = poses.mean_rotation(T, weights)
    np.testing.assert_array_equal(mean, poses.weighted_mean(at_origin, weights))
    np.testing.assert_array_equal(poses.rotation_vector(T), poses.log(T)[:, 3:])
