import numpy as np
import pytest

from fgsn_ros.geometry import poses
from fgsn_ros.localization.shared_error import SHIFTS, SharedError, left_open

KIND = np.zeros(1)
STD = np.array([0.5, 0.2, 0.02])


def gaussian(T_map_base, std=STD, offset=(0.0, 0.0, 0.0)):
    """Log-likelihood of poses (N, 4, 4) around one."""

    def log_likelihood(T):
        apart = poses.compose(poses.invert(T_map_base), T)
        planar = np.stack([apart[:, 0, 3], apart[:, 1, 3], poses.to_rpy(apart)[:, 2]], axis=1)
        return -0.5 * np.square((planar - offset) / std).sum(axis=1) - 700.0

    return log_likelihood


def test_a_sharp_likelihood_leaves_its_variance_open():
    moments = left_open(gaussian(np.eye(4))(SHIFTS))
    np.testing.assert_allclose(moments, STD**2, rtol=0.02)


def test_a_likelihood_that_is_flat_along_the_road_leaves_all_of_it_open():
    moments = left_open(gaussian(np.eye(4), np.array([1e9, 0.2, 0.02]))(SHIFTS))
    assert moments[0] == pytest.approx(np.square(np.linspace(-2.0, 2.0, 17)).mean())
    np.testing.assert_allclose(moments[1:], STD[1:] ** 2, rtol=0.02)


def test_a_frame_that_speaks_for_another_place_leaves_the_way_there_open():
    moments = left_open(gaussian(np.eye(4), offset=(0.75, 0.0, 0.0))(SHIFTS))
    assert moments[0] == pytest.approx(0.5**2 + 0.75**2, rel=0.05)


def test_the_share_is_in_the_covariance_along_the_robots_axes():
    T = poses.from_planar(10.0, 5.0, np.pi / 2)
    shared = SharedError()
    assert not shared.covariance(T, 1.0).any()
    shared.add(gaussian(T), T, np.eye(4), KIND)
    across, along, about = STD[1] ** 2, STD[0] ** 2, STD[2] ** 2
    expected = 0.5 * np.diag([across, along, 0.0, 0.0, 0.0, about])
    np.testing.assert_allclose(shared.covariance(T, 0.5), expected, rtol=0.02, atol=1e-12)
    assert not shared.covariance(T, 0.0).any()


def test_frames_are_averaged_over_some_metres_and_one_that_stands_says_nothing_new():
    shared, T = SharedError(), np.eye(4)
    shared.add(gaussian(T), T, T, KIND)
    first = shared.covariance(T, 1.0)[0, 0]
    wide = gaussian(T, 1.5 * STD)
    shared.add(wide, T, T, KIND)
    assert shared.covariance(T, 1.0)[0, 0] == pytest.approx(first)
    between = []
    for metres in (2.0, 100.0):
        shared.add(wide, T, poses.from_planar(metres, 0.0, 0.0), KIND)
        between.append(shared.covariance(T, 1.0)[0, 0])
    assert first < between[0] < between[1]
    assert between[1] == pytest.approx(left_open(wide(SHIFTS))[0], rel=1e-3)
