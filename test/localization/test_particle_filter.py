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
    History,
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


@pytest.mark.parametrize("count", [0, 1, 400, 1000])
def test_some_particles_are_put_elsewhere_and_the_rest_drawn_by_weight(count):
    weights = np.array([0.2, 0.0, 0.5, 0.3])
    states = np.repeat(np.arange(4.0), 250)[:, None]
    particles = ParticleSet.uniform(states).weighed(np.log(np.repeat(weights, 250) + 1e-300))
    shared = particles.shared_with(np.full((count, 1), 9.0), np.random.default_rng(0))
    values = shared.states[:, 0]
    assert (values == 9.0).sum() == count
    drawn = np.array([(values == k).sum() for k in range(4)])
    np.testing.assert_allclose(drawn, weights * (1000 - count), atol=2.0)
    np.testing.assert_allclose(shared.weights, 1e-3)
    kept = values != 9.0
    np.testing.assert_array_equal(particles.states[shared.ancestors[kept], 0], values[kept])


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


@given(st.integers(0, 2**32 - 1), st.floats(1.5, 90.0), st.floats(0.1, 1e4))
def test_no_larger_share_leaves_as_many_samples(seed, least, sharpness):
    rng = np.random.default_rng(seed)
    log_weights = normalize(rng.normal(0.0, 0.1, 100))
    log_likelihood = sharpness * rng.normal(size=100)
    share = tempered_share(log_weights, log_likelihood, least)
    left = effective_sample_size(log_weights + share * log_likelihood)
    assert left >= least - 1e-6 or share == 1e-6
    if share < 1.0:
        more = share + 2.0**-19
        assert effective_sample_size(log_weights + more * log_likelihood) <= least + 1e-6


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


TWIST = np.array([2.0, 0.1, 0.0, 0.0, 0.0, 0.3])


def odometry(start, end):
    return poses.exp((end - start) * TWIST)


def noisy_motions(rng, count):
    noise = poses.exp(0.05 * rng.standard_normal((count, 6)))
    return poses.compose(odometry(0.0, 1.0), noise)


def test_a_particle_finds_where_its_own_ancestor_was_through_every_resampling():
    """Each particle's line of descent is followed by hand beside the chained motions."""
    rng = np.random.default_rng(0)
    history = History()
    history.start(0.0, poses.identity((50,)))
    lines = [poses.exp(rng.standard_normal((50, 6)))]  # poses of each one's line, by stamp
    for stamp in range(1, 6):
        motion = noisy_motions(rng, 50)
        history.add(float(stamp), motion)
        lines.append(poses.compose(lines[-1], motion))
        for _ in range(2):  # a late label map resamples again at the same stamp
            drawn = rng.integers(50, size=50)
            history.descend(drawn)
            lines = [line[drawn] for line in lines]
    for stamp in range(6):
        T_now_then = history.back_to(float(stamp), odometry)
        np.testing.assert_allclose(lines[5] @ T_now_then, lines[stamp], atol=1e-9)
    between = lines[5] @ history.back_to(2.5, odometry)
    half = poses.rotation_angle(poses.invert(lines[2]) @ between)
    assert (half < poses.rotation_angle(poses.invert(lines[2]) @ lines[3]) + 0.2).all()
    for stamp, line in ((2, 2), (3, 3)):  # the noise of the step comes in little by little
        near = lines[5] @ history.back_to(stamp + (1e-6 if stamp == 2 else -1e-6), odometry)
        np.testing.assert_allclose(near, lines[line], atol=1e-5)


def test_within_a_step_without_noise_the_past_is_that_of_odometry():
    history = History()
    history.start(0.0, poses.identity((3,)))
    history.add(1.0, np.repeat(odometry(0.0, 1.0)[None], 3, axis=0))
    expected = poses.invert(odometry(0.3, 1.0))
    np.testing.assert_allclose(history.back_to(0.3, odometry)[1], expected, atol=1e-9)
    np.testing.assert_allclose(history.back_to(1.0, odometry)[1], np.eye(4))


def test_fewer_particles_still_find_their_ancestors():
    rng = np.random.default_rng(1)
    history = History()
    history.start(0.0, poses.identity((10,)))
    motion = noisy_motions(rng, 10)
    history.add(1.0, motion)
    history.descend(np.array([7, 7, 3]))
    expected = poses.invert(motion[[7, 7, 3]])
    np.testing.assert_allclose(history.back_to(0.0, odometry), expected)


@pytest.mark.parametrize("stamp", [-0.1, 1.9])
def test_what_is_forgotten_or_was_never_known_is_out_of_reach(stamp):
    history = History()
    assert not history.reaches(stamp)
    history.start(0.0, poses.identity((3,)))
    for known in range(1, 5):
        history.add(float(known), poses.identity((3,)))
    history.forget(2.0)
    assert not history.reaches(stamp)
    assert history.reaches(2.0)
    assert history.back_to(2.0, odometry).shape == (3, 4, 4)
