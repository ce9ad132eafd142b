import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fgsn_ros.errors import SettingsError
from fgsn_ros.geometry import poses
from fgsn_ros.localization.motion import MotionSettings, PlanarMotion
from fgsn_ros.localization.particle_filter import (
    FilterSettings,
    ParticleSet,
    effective_sample_size,
    mean_and_covariance,
    normalize,
    systematic_resample,
    tempered_share,
    update,
)
from fgsn_ros.mapping.ground import Ground


@given(
    arrays(np.float64, st.integers(1, 60), elements=st.floats(0.0, 1.0)),
    st.integers(1, 200),
    st.integers(0, 2**32 - 1),
)
def test_systematic_resampling_draws_each_index_floor_or_ceil_of_its_share(values, count, seed):
    weights = (values + (values.sum() == 0.0)) / (values + (values.sum() == 0.0)).sum()
    drawn = systematic_resample(weights, count, np.random.default_rng(seed))
    counts = np.bincount(drawn, minlength=len(weights))
    assert counts.sum() == count
    expected = count * weights
    assert (counts >= np.floor(expected - 1e-9)).all()
    assert (counts <= np.ceil(expected + 1e-9)).all()
    assert not counts[weights == 0.0].any()


def test_effective_sample_size_counts_equal_weights_and_ignores_scale():
    log_weights = np.log(np.array([0.25, 0.25, 0.25, 0.25, 1e-300]))
    assert effective_sample_size(log_weights) == pytest.approx(4.0)
    assert effective_sample_size(log_weights - 1000.0) == pytest.approx(4.0)
    assert effective_sample_size(np.array([0.0, -np.inf])) == pytest.approx(1.0)


def test_weights_far_below_the_range_of_floats_are_normalised():
    assert np.exp(normalize(np.array([-5000.0, -5000.0]))).sum() == pytest.approx(1.0)


def test_mean_and_covariance_are_in_the_maps_axes():
    T = poses.from_xyz_rpy([100.0, 5.0, 0.0], [0.0, 0.0, np.pi / 2])
    offsets = np.array([[1.0, 0, 0], [-1.0, 0, 0], [0, 0.5, 0], [0, -0.5, 0]])
    turned = poses.from_xyz_rpy(np.zeros((4, 3)), np.array([[0.1, 0, 0], [-0.1, 0, 0]] * 2))
    samples = poses.from_rotation_translation(turned[:, :3, :3] @ T[:3, :3], T[:3, 3] + offsets)
    mean, covariance = mean_and_covariance(samples, np.full(4, 0.25))
    np.testing.assert_allclose(mean, T, atol=1e-9)
    np.testing.assert_allclose(np.diag(covariance), [0.5, 0.125, 0, 0.01, 0, 0], atol=1e-9)


def test_tempered_share_leaves_the_asked_effective_sample_size():
    log_likelihood = -0.5 * (np.linspace(-3, 3, 500) / 0.05) ** 2
    flat = np.full(500, -np.log(500.0))
    share = tempered_share(flat, log_likelihood, 100.0)
    assert 0.0 < share < 1.0
    assert effective_sample_size(flat + share * log_likelihood) == pytest.approx(100.0, rel=1e-2)
    assert tempered_share(flat, 1e-3 * log_likelihood, 100.0) == 1.0


@pytest.mark.parametrize("layers", [1, 6])
def test_layers_find_a_gaussian_posterior_that_one_importance_step_cannot(layers):
    """Prior N(0, 2^2) on x and y; likelihood N(3, 0.1^2), N(-2, 0.1^2): few samples see it."""
    rng = np.random.default_rng(0)
    motion = PlanarMotion(MotionSettings(), Ground(poses.from_planar(np.arange(9.0), 0.0, 0.0)))
    std = np.array([2.0, 2.0, 0.0, 0.0, 0.0, 0.05])
    particles = ParticleSet.uniform(motion.sample(np.eye(4), np.diag(std**2), 1000, rng))
    peak = np.array([3.0, -2.0])

    def log_likelihood(particles):
        return -0.5 * (((particles.states[:, :2] - peak) / 0.1) ** 2).sum(axis=1)

    settings = FilterSettings(layers=layers)
    posterior, used = update(particles, log_likelihood, motion, settings, rng)
    weights = posterior.weights
    mean = weights @ posterior.states[:, :2]
    deviation = np.sqrt(weights @ (posterior.states[:, :2] - mean) ** 2)
    assert used <= layers
    # Each still knows the prior sample that it came from, however often it was drawn again.
    near = np.linalg.norm(posterior.states - particles.states[posterior.ancestors], axis=1)
    assert np.median(near) < (1e-12 if layers == 1 else 1.0)
    if layers == 1:
        assert (deviation > 0.3).all()  # it stops at what the samples can stand
    else:
        np.testing.assert_allclose(mean, peak / (1 + 0.1**2 / 2**2), atol=0.05)
        assert ((deviation > 0.07) & (deviation < 0.14)).all()


def test_a_mild_likelihood_takes_one_layer_and_leaves_the_states_alone():
    rng = np.random.default_rng(1)
    motion = PlanarMotion(MotionSettings(), Ground(np.eye(4)[None]))
    states = motion.sample(np.eye(4), 0.01 * np.eye(6), 500, rng)
    before = ParticleSet.uniform(states)
    after, used = update(
        before, lambda p: -10.0 * p.states[:, 0] ** 2, motion, FilterSettings(), rng
    )
    assert used == 1
    assert after.states is states
    np.testing.assert_allclose(after.log_weights, normalize(-10.0 * states[:, 0] ** 2))


def test_settings_out_of_range_are_refused():
    with pytest.raises(SettingsError, match="layers"):
        FilterSettings(layers=0)
