import numpy as np
import pytest

from fgsn_ros.errors import LocalizationError
from fgsn_ros.geometry import poses
from fgsn_ros.localization.odometry_buffer import OdometryBuffer


def filled(seconds=20.0, rate=50.0):
    buffer = OdometryBuffer(length_s=10.0, max_speed_m_s=50.0)
    for stamp in np.arange(0.0, seconds, 1.0 / rate):
        buffer.add(float(stamp), poses.from_planar(3.0 * stamp, 0.0, 0.1 * stamp))
    return buffer


def test_poses_between_samples_are_interpolated():
    buffer = filled()
    np.testing.assert_allclose(buffer.at(15.0), poses.from_planar(45.0, 0.0, 1.5), atol=1e-9)
    np.testing.assert_allclose(buffer.at(15.013), poses.from_planar(45.039, 0, 1.5013), atol=1e-4)


def test_old_samples_are_forgotten_but_the_asked_length_is_kept():
    buffer = filled(seconds=60.0)
    assert buffer.covers(buffer.last - 9.9)
    assert buffer.first > 30.0


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(value):
    buffer = filled()
    with pytest.raises(LocalizationError, match="NaN"):
        buffer.add(30.0, poses.from_planar(value, 0.0, 0.0))
    with pytest.raises(LocalizationError, match="NaN"):
        buffer.add(value, np.eye(4))


def test_time_going_backwards_is_refused_and_changes_nothing():
    buffer = filled()
    last = buffer.last
    with pytest.raises(LocalizationError, match="back in time"):
        buffer.add(last - 1.0, np.eye(4))
    assert buffer.last == last
    buffer.add(last, np.eye(4))
    np.testing.assert_allclose(buffer.at(last)[0, 3], 3.0 * last)


def test_a_jump_is_refused_and_starts_the_buffer_anew():
    buffer = filled()
    with pytest.raises(LocalizationError, match="jumped"):
        buffer.add(buffer.last + 0.02, np.eye(4))
    assert buffer.first == buffer.last
