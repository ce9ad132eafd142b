"""The compiled poses of particles against the plain formulas of `geometry.poses`."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fgsn_ros.geometry import poses
from fgsn_ros.localization.particle_filter import mean_and_covariance
from fgsn_ros.localization.particle_poses import (
    interpolated,
    mean_rotation,
    moved,
    relative,
    tangent,
)

seeds = st.integers(0, 2**32 - 1)
spreads = st.sampled_from([0.0, 1e-9, 1e-3, 0.1, 1.0])


def around_a_pose(seed, spread, count=60, far_m=500.0):
    """Poses (N, 4, 4) anywhere on a map, turned and moved by `spread` [m and rad], and weights."""
    rng = np.random.default_rng(seed)
    centre = poses.exp(rng.normal(0.0, 1.0, 6))
    centre[:3, 3] = rng.uniform(-far_m, far_m, 3)
    T = poses.compose(centre, poses.exp(spread * rng.normal(size=(count, 6))))
    return T, rng.dirichlet(np.ones(count))


@settings(deadline=None)
@given(seeds, spreads)
def test_poses_move_and_differ_as_the_plain_formulas_say(seed, spread):
    T, _ = around_a_pose(seed, spread)
    sizes = np.resize([1.0, 1e-9, 0.01], (60, 1))
    twists = sizes * np.random.default_rng(seed).normal(size=(60, 6))
    np.testing.assert_allclose(moved(T, twists), T @ poses.exp(twists), atol=1e-11)
    np.testing.assert_allclose(moved(T[:1], twists), T[0] @ poses.exp(twists), atol=1e-11)
    np.testing.assert_allclose(relative(T, T[::-1]), poses.invert(T) @ T[::-1], atol=1e-11)


@settings(deadline=None)
@given(seeds, spreads)
def test_the_tangent_at_the_mean_is_that_of_the_plain_formulas(seed, spread):
    T, weights = around_a_pose(seed, 0.5 * spread)
    mean, twists = tangent(T, weights)
    np.testing.assert_allclose(mean, poses.weighted_mean(T, weights), atol=1e-10)
    np.testing.assert_allclose(twists, poses.log(poses.invert(mean) @ T), atol=1e-9)
    np.testing.assert_allclose(moved(mean[None], twists), T, atol=1e-9)


@settings(deadline=None)
@given(seeds, spreads)
def test_mean_and_covariance_are_those_of_the_plain_formulas(seed, spread):
    T, weights = around_a_pose(seed, 0.5 * spread)
    R = poses.mean_rotation(T, weights)[:3, :3]
    centre = weights @ T[:, :3, 3]
    turned = poses.from_rotation_translation(T[:, :3, :3] @ R.T, np.zeros(3))
    deviations = np.concatenate([T[:, :3, 3] - centre, poses.rotation_vector(turned)], axis=1)
    mean, covariance = mean_and_covariance(T, weights)
    np.testing.assert_allclose(mean, poses.from_rotation_translation(R, centre), atol=1e-10)
    expected = (deviations * weights[:, None]).T @ deviations
    np.testing.assert_allclose(covariance, expected, atol=1e-9)


@settings(deadline=None)
@given(seeds, st.floats(0.0, 1.0))
def test_a_pose_between_two_is_that_of_the_plain_formula(seed, alpha):
    T, _ = around_a_pose(seed, 0.5, count=2)
    expected = poses.interpolate(T[0], T[1], alpha)
    np.testing.assert_allclose(interpolated(T[0], T[1], alpha), expected, atol=1e-11)


def test_half_a_turn_apart_is_no_angle_lost():
    turns = poses.from_xyz_rpy(np.zeros((3, 3)), np.pi * np.eye(3))
    _, around = mean_rotation(np.concatenate([np.eye(4)[None], turns]), np.array([1.0, 0, 0, 0]))
    np.testing.assert_allclose(np.abs(around), np.pi * np.eye(4, 3, -1), atol=1e-12)


@pytest.mark.parametrize("far_m", [0.0, 1e5])
def test_far_from_the_maps_origin_the_mean_is_as_exact(far_m):
    T, weights = around_a_pose(3, 0.1, far_m=0.0)
    moved_away = T.copy()
    moved_away[:, :3, 3] += far_m
    mean, twists = tangent(T, weights)
    far_mean, far_twists = tangent(moved_away, weights)
    np.testing.assert_allclose(far_mean[:3, 3] - far_m, mean[:3, 3], atol=1e-10)
    np.testing.assert_allclose(far_twists, twists, atol=1e-10)


@pytest.mark.parametrize("weights", [[np.nan, 0.5], [0.0, 0.0]])
def test_weights_that_are_none_are_refused(weights):
    with pytest.raises(ValueError, match="weights"):
        mean_and_covariance(poses.identity((2,)), np.array(weights))
