import numpy as np
import pytest

from fgsn_ros.errors import RecordingError, TrajectoryError
from fgsn_ros.evaluation.consistency import (
    PlanarErrors,
    consistency,
    correlation_time,
    planar_errors,
    read_covariances,
    write_covariances,
)
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.trajectory import Trajectory

COVARIANCE = np.array([[0.04, 0.01, 0.0], [0.01, 0.09, 0.0], [0.0, 0.0, 1e-4]])


def drawn(count, rng, covariance=COVARIANCE, memory=0.0):
    """Errors of a covariance, each with a share `memory` of the one before."""
    noise = rng.standard_normal((count, 3)) @ np.linalg.cholesky(covariance).T
    errors = noise.copy()
    for k in range(1, count):
        errors[k] = memory * errors[k - 1] + np.sqrt(1.0 - memory**2) * noise[k]
    return PlanarErrors(np.arange(count) * 0.2, errors, np.tile(COVARIANCE, (count, 1, 1)))


def test_honest_errors_are_in_the_band_and_cover_what_they_should():
    found = consistency([drawn(4000, np.random.default_rng(0))])
    assert found.independent > 3500
    assert found.band[0] < found.nees < found.band[1]
    assert found.nees_of_axes == pytest.approx((1.0, 1.0, 1.0), abs=0.1)
    for axis in ("longitudinal", "lateral", "heading"):
        assert found.coverage_percent[axis] == pytest.approx((68.3, 95.4, 99.7), abs=2.5)
    assert found.sigma == pytest.approx((0.2, 0.3, np.degrees(0.01)))


def test_errors_twice_as_large_as_told_are_out_of_the_band():
    found = consistency([drawn(1000, np.random.default_rng(1), 4.0 * COVARIANCE)])
    assert found.nees == pytest.approx(12.0, rel=0.1)
    assert found.nees > found.band[1]


def test_the_correlation_time_is_that_of_an_autoregressive_process():
    runs = [drawn(20000, np.random.default_rng(seed), memory=0.8).normalised for seed in (2, 3)]
    expected = (1.0 + 0.8) / (1.0 - 0.8)
    assert correlation_time([run[:, 0] for run in runs]) == pytest.approx(expected, rel=0.15)


def test_an_error_that_stays_is_one_sample():
    assert correlation_time([np.ones(100)]) > 50.0
    assert correlation_time([np.zeros(10)]) == 1.0


def test_copies_of_a_run_are_no_more_independent_samples_than_one():
    run = drawn(2000, np.random.default_rng(4))
    once, thrice = consistency([run]), consistency([run] * 3, copies=3)
    assert thrice.independent == pytest.approx(once.independent)
    assert (thrice.nees, *thrice.band) == pytest.approx((once.nees, *once.band))


def test_without_a_frame_there_is_no_consistency():
    with pytest.raises(ValueError, match="at least one frame"):
        consistency([])


def test_errors_and_covariances_are_in_the_body_of_the_reference():
    stamps = np.arange(3.0)
    reference = Trajectory(stamps, np.tile(poses.from_planar(5.0, 1.0, np.pi / 2), (3, 1, 1)))
    estimate = Trajectory(
        np.append(stamps, 50.0), np.tile(poses.from_planar(4.7, 1.2, np.pi / 2 - 0.1), (4, 1, 1))
    )
    covariance = np.diag([0.01, 0.25, 1.0, 1.0, 1.0, 4e-4])
    found = planar_errors(estimate, np.tile(covariance, (4, 1, 1)), reference)
    np.testing.assert_allclose(found.errors, np.tile([0.2, 0.3, -0.1], (3, 1)), atol=1e-12)
    np.testing.assert_allclose(found.sigmas, np.tile([0.5, 0.1, 0.02], (3, 1)))


def test_covariances_come_back_for_the_poses_that_they_are_of(tmp_path):
    rng = np.random.default_rng(5)
    roots = rng.normal(size=(4, 6, 6))
    covariances = roots @ np.swapaxes(roots, 1, 2)
    stamps = 1.7e9 + np.arange(4) * 0.1
    write_covariances(tmp_path / "covariances.txt", stamps, covariances)
    found = read_covariances(tmp_path / "covariances.txt", stamps[1:])
    np.testing.assert_allclose(found, covariances[1:], rtol=1e-8)
    with pytest.raises(TrajectoryError, match="no covariance for the pose at"):
        read_covariances(tmp_path / "covariances.txt", stamps + 0.05)


def test_a_covariance_that_no_errors_have_is_refused(tmp_path):
    write_covariances(tmp_path / "c.txt", np.zeros(1), -np.eye(6)[None])
    with pytest.raises(TrajectoryError, match="not positive"):
        read_covariances(tmp_path / "c.txt", np.zeros(1))
    (tmp_path / "c.txt").write_text("0 1 2\n")
    with pytest.raises(RecordingError, match="timestamp c11"):
        read_covariances(tmp_path / "c.txt", np.zeros(1))
