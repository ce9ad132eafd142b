import numpy as np
import pytest
from scipy.stats import chi2

from fgsn_ros.errors import SettingsError
from fgsn_ros.geometry import poses
from fgsn_ros.localization.motion import (
    MotionSettings,
    PlanarMotion,
    SpatialMotion,
    kernel_shrinkage,
)
from fgsn_ros.mapping.ground import Ground

NOISELESS = MotionSettings(*[0.0] * 10)
COUNT = 20000


def flat_ground():
    return Ground(poses.from_planar(np.arange(0.0, 50.0, 5.0), 0.0, 0.0))


def assert_variance(samples, expected):
    """Sample variance within the two-sided 1e-6 bounds of chi2 (n - 1) / (n - 1) for normals."""
    low, high = chi2.ppf([5e-7, 1 - 5e-7], len(samples) - 1) / (len(samples) - 1)
    assert low * expected < np.var(samples, ddof=1) < high * expected


def test_planar_motion_without_noise_is_exact_dead_reckoning():
    rng = np.random.default_rng(0)
    steps = poses.from_planar(
        rng.uniform(0, 1, 50), rng.uniform(-0.1, 0.1, 50), rng.normal(size=50)
    )
    motion = PlanarMotion(NOISELESS, flat_ground())
    T = poses.from_planar(3.0, 4.0, 2.5)
    states = motion.sample(T, np.zeros((6, 6)), 3, rng)
    for step in steps:
        states = motion.propagate(states, step, rng)
        T = T @ step
    np.testing.assert_allclose(motion.poses(states), np.broadcast_to(T, (3, 4, 4)), atol=1e-9)


def test_spatial_motion_without_noise_is_exact_dead_reckoning():
    rng = np.random.default_rng(1)
    steps = poses.exp(rng.normal(0.0, 0.5, (50, 6)))
    motion = SpatialMotion(NOISELESS)
    T = poses.exp(rng.normal(size=6))
    states = motion.sample(T, np.zeros((6, 6)), 3, rng)
    for step in steps:
        states = motion.propagate(states, step, rng)
        T = T @ step
    np.testing.assert_allclose(motion.poses(states), np.broadcast_to(T, (3, 4, 4)), atol=1e-9)


def test_planar_noise_has_the_stated_variance_in_the_robots_axes():
    rng = np.random.default_rng(2)
    settings = MotionSettings(0.05, 0.03, 0.02, 0.04, 0.004, 0.05, scale=0.0, scale_per_metre=0.0)
    motion = PlanarMotion(settings, flat_ground())
    start = poses.from_planar(10.0, -2.0, 3.0)
    step = poses.from_planar(4.0, 0.0, 0.25)
    states = motion.propagate(motion.sample(start, np.zeros((6, 6)), COUNT, rng), step, rng)
    along, across = (
        np.array([[np.cos(3.0), np.sin(3.0)], [-np.sin(3.0), np.cos(3.0)]])
        @ (states[:, :2] - (start @ step)[:2, 3]).T
    )
    assert_variance(along, 0.05**2 * 4.0 + 0.03**2 * 0.25)
    assert_variance(across, 0.02**2 * 4.0 + 0.04**2 * 0.25)
    assert_variance(poses.wrap_angle(states[:, 2] - 3.25), 0.004**2 * 4.0 + 0.05**2 * 0.25)


def test_each_state_moves_by_its_own_scale_of_the_odometry():
    motion = PlanarMotion(NOISELESS, flat_ground())
    states = np.array([[1.0, 2.0, np.pi / 2, 1.0], [1.0, 2.0, np.pi / 2, 1.1]])
    moved = motion.propagate(states, poses.from_planar(2.0, 0.5, 0.1), np.random.default_rng(0))
    np.testing.assert_allclose(
        moved, [[0.5, 4.0, np.pi / 2 + 0.1, 1.0], [0.45, 4.2, np.pi / 2 + 0.1, 1.1]]
    )


def test_the_scale_starts_around_one_and_wanders_with_the_distance():
    rng = np.random.default_rng(6)
    motion = PlanarMotion(MotionSettings(scale=0.03, scale_per_metre=0.01), flat_ground())
    states = motion.sample(np.eye(4), np.zeros((6, 6)), COUNT, rng)
    assert abs(states[:, 3].mean() - 1.0) < 5 * 0.03 / np.sqrt(COUNT)
    assert_variance(states[:, 3], 0.03**2)
    moved = motion.propagate(states, poses.from_planar(9.0, 0.0, 0.0), rng)
    assert_variance(moved[:, 3], 0.03**2 + 0.01**2 * 9.0)


def test_noise_does_not_depend_on_how_a_distance_is_cut_into_frames():
    whole = MotionSettings().std(poses.from_planar(8.0, 0.0, 0.0)) ** 2
    parts = 16 * MotionSettings().std(poses.from_planar(0.5, 0.0, 0.0)) ** 2
    np.testing.assert_allclose(whole, parts)


def test_a_robot_that_stands_still_gets_no_noise():
    rng = np.random.default_rng(3)
    for motion in (PlanarMotion(MotionSettings(), flat_ground()), SpatialMotion(MotionSettings())):
        states = motion.sample(np.eye(4), 0.01 * np.eye(6), 10, rng)
        np.testing.assert_allclose(motion.propagate(states, np.eye(4), rng), states, atol=1e-12)


def test_spatial_noise_has_the_stated_variance():
    rng = np.random.default_rng(4)
    settings = MotionSettings()
    T = poses.exp([1.0, 2.0, 3.0, 0.3, -0.2, 2.0])
    step = poses.from_planar(1.0, 0.0, 0.0)
    motion = SpatialMotion(settings)
    states = motion.propagate(motion.sample(T, np.zeros((6, 6)), COUNT, rng), step, rng)
    twists = poses.log(poses.invert(T @ step) @ states)
    for axis, std in enumerate(settings.std(step)):
        assert_variance(twists[:, axis], std**2)


def test_initial_samples_have_the_stated_spread_in_the_maps_axes():
    rng = np.random.default_rng(5)
    std = np.array([0.5, 0.2, 0.1, 0.01, 0.02, 0.05])
    T = poses.from_xyz_rpy([5.0, 6.0, 0.0], [0.0, 0.0, 1.2])
    planar = PlanarMotion(NOISELESS, flat_ground()).sample(T, np.diag(std**2), COUNT, rng)
    for values, expected in zip(planar.T[:3], std[[0, 1, 5]], strict=True):
        assert_variance(values, expected**2)
    spatial = SpatialMotion(NOISELESS).sample(T, np.diag(std**2), COUNT, rng)
    for axis in range(3):
        assert_variance(spatial[:, axis, 3], std[axis] ** 2)
    rotations = poses.from_rotation_translation(spatial[:, :3, :3] @ T[:3, :3].T, np.zeros(3))
    for axis in range(3):
        assert_variance(poses.log(rotations)[:, 3 + axis], std[3 + axis] ** 2)


def test_initial_samples_keep_the_covariance_between_axes():
    rng = np.random.default_rng(7)
    root = rng.normal(0.0, 0.1, (6, 6))
    planar = PlanarMotion(NOISELESS, flat_ground()).sample(np.eye(4), root @ root.T, COUNT, rng)
    kept = np.ix_([0, 1, 5], [0, 1, 5])
    np.testing.assert_allclose(np.cov(planar[:, :3].T), (root @ root.T)[kept], rtol=0.1, atol=2e-3)


def test_kernel_shrinkage_keeps_mean_and_covariance_of_any_distribution():
    rng = np.random.default_rng(6)
    two_modes = rng.choice([-1.0, 1.0], (COUNT, 1)) * [1.0, 0.5, 0.0] + rng.normal(
        0.0, [0.1, 0.2, 0.3], (COUNT, 3)
    )
    moved = kernel_shrinkage(two_modes, 0.5, rng)
    std = two_modes.std(axis=0)
    # 5 sigma: the mean of h n has std h * std / sqrt(n); variances have relative std sqrt(2 / n).
    assert (np.abs(moved.mean(axis=0) - two_modes.mean(axis=0)) < 5 * 0.5 * std / COUNT**0.5).all()
    difference = np.cov(moved.T) - np.cov(two_modes.T)
    assert (np.abs(difference) < 5 * np.sqrt(2 / COUNT) * np.outer(std, std)).all()
    assert np.abs(moved - two_modes).mean() > 0.05


@pytest.mark.parametrize("yaw", [0.0, np.pi - 1e-3])
def test_jitter_keeps_the_mean_pose_also_across_the_wrap_of_the_heading(yaw):
    rng = np.random.default_rng(7)
    T = poses.from_planar(1.0, 2.0, yaw)
    std = np.diag(np.square([0.3, 0.3, 0.1, 0.01, 0.01, 0.05]))
    for motion in (PlanarMotion(NOISELESS, flat_ground()), SpatialMotion(NOISELESS)):
        states = motion.sample(T, std, 2000, rng)
        moved = motion.jitter(states, 0.4, rng)
        before, after = (
            poses.weighted_mean(motion.poses(s), np.ones(len(s))) for s in (states, moved)
        )
        shift = np.abs(poses.log(poses.invert(before) @ after))
        # 5 sigma of the mean of the added noise, of which the planar model has x, y and yaw.
        assert (shift < 5 * 0.4 * np.array([0.3] * 3 + [0.05] * 3) / 2000**0.5 + 1e-6).all()


def test_negative_noise_is_refused():
    with pytest.raises(SettingsError, match="yaw_per_metre"):
        MotionSettings(yaw_per_metre=-0.1)
