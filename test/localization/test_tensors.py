"""The filter on tensors against the filter on arrays, both fed with the same random numbers."""

import dataclasses

import numpy as np
import pytest
import torch
from same_numbers import SameNumbers

from fgsn_ros.geometry import poses
from fgsn_ros.geometry.arrays import host
from fgsn_ros.localization import localizer
from fgsn_ros.localization.device import TensorRandom
from fgsn_ros.localization.initial_pose import InitialPose
from fgsn_ros.localization.localizer import LocalizerSettings
from fgsn_ros.localization.measurement import MeasurementSettings
from fgsn_ros.localization.motion import MotionSettings, PlanarMotion, SpatialMotion
from fgsn_ros.localization.particle_filter import (
    FilterSettings,
    History,
    ParticleSet,
    effective_sample_size,
    mean_and_covariance,
    systematic_resample,
    tempered_share,
    update,
)
from fgsn_ros.mapping.ground import Ground

STD = np.diag(np.square([0.3, 0.2, 0.1, 0.02, 0.01, 0.1]))
START = poses.from_xyz_rpy([30.0, 2.0, 1.0], [0.01, -0.02, 3.1])
models = pytest.mark.parametrize("model", ["planar", "spatial"])


def hilly_ground(count=40):
    stations = np.arange(count)
    rolling = 0.03 * np.stack([np.sin(stations), np.cos(1.7 * stations)], axis=1)
    rpy = np.concatenate([rolling, 0.05 * stations[:, None]], axis=1)
    xyz = np.stack([2.0 * stations, 0.1 * stations, 0.3 * np.sin(0.4 * stations)], axis=1)
    return Ground(poses.from_xyz_rpy(xyz, rpy))


def motion_of(model):
    if model == "spatial":
        return SpatialMotion(MotionSettings())
    return PlanarMotion(MotionSettings(), hilly_ground())


def on_both(steps, dtype=torch.float64):
    """What `steps` gives with random numbers as arrays and as tensors."""
    arrays = steps(np.random.default_rng(3))
    tensors = steps(SameNumbers(np.random.default_rng(3), dtype))
    return arrays, tensors


@models
@pytest.mark.parametrize(("dtype", "atol"), [(torch.float64, 1e-11), (torch.float32, 1e-4)])
def test_particles_move_as_arrays_do(model, dtype, atol):
    motion = motion_of(model)
    step = poses.from_xyz_rpy([0.8, 0.1, 0.02], [0.01, 0.0, 0.2])

    def steps(rng):
        states = motion.sample(START, STD, 200, rng)
        states = motion.propagate(states, step, rng)
        states = motion.displace(motion.jitter(states, 0.4, rng), step)
        return states, motion.poses(states)

    arrays, tensors = on_both(steps, dtype)
    for array, tensor in zip(arrays, tensors, strict=True):
        assert tensor.dtype == dtype
        np.testing.assert_allclose(host(tensor), array, atol=atol)


@pytest.mark.parametrize("count", [1, 3, 4, 40])
def test_tensors_stand_on_the_same_ground_few_key_frames_or_many(count):
    rng = np.random.default_rng(0)
    planar = rng.uniform([-30.0, -20.0, -3.0], [110.0, 20.0, 3.0], (300, 3))
    ground = hilly_ground(count)
    expected = ground.poses(planar)
    np.testing.assert_allclose(ground.poses(torch.from_numpy(planar)), expected, atol=1e-9)
    single = ground.poses(torch.from_numpy(planar).float())
    assert single.dtype == torch.float32
    np.testing.assert_allclose(single, expected, atol=2e-4)
    few = ground.poses(torch.from_numpy(planar[:1]))
    np.testing.assert_allclose(few, expected[:1], atol=1e-9)


def test_weights_are_doubles_and_drawn_from_alike():
    rng = np.random.default_rng(1)
    log_weights = rng.normal(0.0, 3.0, 500)
    set_of = [ParticleSet.uniform(states) for states in (np.zeros((500, 3)), torch.zeros(500, 3))]
    weighed = [
        particles.weighed(values)
        for particles, values in zip(
            set_of, (log_weights, torch.from_numpy(log_weights)), strict=True
        )
    ]
    assert weighed[1].log_weights.dtype == torch.float64
    np.testing.assert_allclose(weighed[1].log_weights, weighed[0].log_weights, rtol=1e-12)
    sizes = [effective_sample_size(particles.log_weights) for particles in weighed]
    assert sizes[0] == pytest.approx(sizes[1], rel=1e-12)
    shares = [tempered_share(p.log_weights, 2.0 * p.log_weights, 60.0) for p in weighed]
    assert 0.0 < shares[0] < 1.0
    assert shares[0] == pytest.approx(shares[1], rel=1e-12)
    drawn = [p.resampled(np.random.default_rng(2), 300).ancestors for p in weighed]
    np.testing.assert_array_equal(drawn[1], drawn[0])


def test_no_weight_of_nothing_is_drawn_at_either_end():
    weights = torch.tensor([0.0, 0.25, 0.0, 0.75, 0.0], dtype=torch.float64)
    for pointer in (0.0, 0.999999):
        rng = SameNumbers(np.random.default_rng(0))
        rng.random = lambda pointer=pointer: pointer
        counts = np.bincount(systematic_resample(weights, 8, rng), minlength=5)
        assert counts.tolist() == [0, 2, 0, 6, 0]


def test_mean_and_covariance_of_tensors_come_to_the_host_in_full_precision():
    rng = np.random.default_rng(4)
    T = poses.compose(START, poses.exp(rng.normal(0.0, 0.2, (400, 6))))
    T[:, :3, 3] += 1000.0
    weights = rng.dirichlet(np.ones(400))
    mean, covariance = mean_and_covariance(T, weights)
    for dtype, atol in ((torch.float64, 1e-11), (torch.float32, 2e-5)):
        found = mean_and_covariance(torch.from_numpy(T).to(dtype), torch.from_numpy(weights))
        assert [type(values) for values in found] == [np.ndarray, np.ndarray]
        assert found[0].dtype == found[1].dtype == np.float64
        np.testing.assert_allclose(found[0], mean, atol=atol)
        np.testing.assert_allclose(found[1], covariance, atol=atol)


def test_the_past_of_tensors_is_kept_as_twists_and_found_again():
    def odometry(start, end):
        return poses.exp((end - start) * np.array([2.0, 0.1, 0.0, 0.0, 0.0, 0.3]))

    def pasts(kind):
        rng, history = np.random.default_rng(5), History()
        history.start(0.0, kind(np.zeros((50, 3))))
        for stamp in range(1, 5):
            noise = poses.exp(0.05 * rng.standard_normal((50, 6)))
            history.add(float(stamp), kind(poses.compose(odometry(0.0, 1.0), noise)))
            history.descend(kind(rng.integers(50, size=50)))
        return [history.back_to(stamp, odometry) for stamp in (0.0, 1.0, 2.5, 3.999, 4.0)]

    for expected, found in zip(pasts(np.asarray), pasts(torch.from_numpy), strict=True):
        assert found.dtype == torch.float64
        np.testing.assert_allclose(found, expected, atol=1e-10)


@models
def test_a_sharp_likelihood_is_taken_in_the_same_layers(model):
    motion = motion_of(model)

    def steps(rng):
        particles = ParticleSet.uniform(motion.sample(START, 4.0 * STD, 500, rng))

        def log_likelihood(particles):
            offsets = motion.poses(particles.states)[:, :2, 3] - like_tensor(
                START[:2, 3], particles
            )
            return -50.0 * (offsets**2).sum(axis=1)

        return update(particles, log_likelihood, motion, FilterSettings(), rng)

    (arrays, layers), (tensors, tensor_layers) = on_both(steps)
    assert layers == tensor_layers > 1
    np.testing.assert_allclose(host(tensors.states), arrays.states, atol=1e-9)
    np.testing.assert_allclose(host(tensors.log_weights), arrays.log_weights, atol=1e-7)
    np.testing.assert_array_equal(tensors.ancestors, arrays.ancestors)


def like_tensor(values, particles):
    tensors = isinstance(particles.states, torch.Tensor)
    return torch.from_numpy(values.copy()) if tensors else values


def run(drive, order, model):
    settings = LocalizerSettings(
        model=model,
        min_particles=400,
        max_particles=800,
        measurement=MeasurementSettings(points=500),
    )
    started = localizer.Localizer(drive.semantic_map, drive.log_ratio, drive.mounts, settings)
    T = poses.compose(drive.truth.at(drive.stamps[0]), poses.from_planar(0.4, -0.2, 0.02))
    covariance = np.diag(np.square([0.4, 0.4, 0.05, 0.005, 0.005, 0.03]))
    started.initialize(InitialPose(T, covariance, drive.stamps[0]))
    for stamp, T in zip(drive.odometry.stamps, drive.odometry.poses, strict=True):
        started.add_odometry(stamp, T)
    return [started.add_labels(drive.stamps[i], "camera", drive.label_maps[i]) for i in order]


@models
def test_a_localizer_of_tensors_gives_the_same_estimates_also_of_late_labels(
    drive, model, monkeypatch
):
    order = [0, 1, 3, 2, 5, 4, 6, 7]
    expected = run(drive, order, model)
    monkeypatch.setattr(localizer, "random_numbers", lambda _, generator: SameNumbers(generator))
    for estimate, found in zip(expected, run(drive, order, model), strict=True):
        for field in dataclasses.fields(estimate):
            value = getattr(estimate, field.name)
            if isinstance(value, str):
                assert getattr(found, field.name) == value
            else:
                np.testing.assert_allclose(getattr(found, field.name), value, atol=1e-7, rtol=1e-6)


@models
def test_a_localizer_that_draws_tensors_of_single_precision_tracks(drive, model, monkeypatch):
    monkeypatch.setattr(
        localizer, "random_numbers", lambda _, generator: TensorRandom("cpu", seed=0)
    )
    estimates = run(drive, range(12), model)
    truth = drive.truth.at([estimate.stamp for estimate in estimates])
    found = np.stack([estimate.T_map_base for estimate in estimates])
    errors = np.linalg.norm((found - truth)[:, :2, 3], axis=1)
    assert np.median(errors[5:]) < 0.3  # six seeds: 0.08 to 0.20 m
    again = run(drive, range(2), model)
    np.testing.assert_array_equal(np.stack([e.T_map_base for e in again]), found[:2])


@models
def test_a_localizer_of_tensors_can_be_warmed_up(drive, model, monkeypatch):
    monkeypatch.setattr(localizer, "random_numbers", lambda *_: TensorRandom("cpu", seed=0))
    settings = LocalizerSettings(model=model)
    localizer.Localizer(drive.semantic_map, drive.log_ratio, drive.mounts, settings).warm_up()
