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


@pytest.mark.parametrize(
    ("seconds", "x", "reset", "reach", "odometry"),
    [
        (0.02, 0.0, True, 3.0 * 0.02, 0.06),  # at once: the robot drives on
        (0.02, 500.0, True, 3.0 * 0.02, 0.06),
        (3.0, 0.0, True, 3.0 * 3.0, 0.0),  # after a pause: nothing is known
        (14.0, 59.94 + 42.0, False, 0.0, 42.0),  # messages were lost, the wheels counted on
        (14.0, 59.94, False, 42.0, 0.0),
        (14.0, 59.94 + 30.0, False, 12.0, 30.0),
        (1000.0, 59.94, False, 150.0, 0.0),  # no further than it is looked for
        (14.0, 59.94 + 100.0, True, 42.0, 0.0),  # faster than it ever was
    ],
)
def test_a_gap_tells_what_the_robot_may_have_done(seconds, x, reset, reach, odometry):
    buffer = OdometryBuffer()
    for k in range(1000):
        buffer.add(0.02 * k, poses.from_planar(0.06 * k, 0.0, 0.0))
    last = buffer.last
    gap = buffer.add(last + seconds, poses.from_planar(x, 0.0, 0.0))
    assert (gap.start, gap.end, gap.reset) == (last, last + seconds, reset)
    assert gap.doubt.reach_m == pytest.approx(reach, abs=1e-6)
    moved = poses.invert(buffer.at(last)) @ buffer.at(last + seconds)
    assert moved[0, 3] == pytest.approx(odometry, abs=1e-6)
    assert buffer.gap_at(last + 0.01) is gap
    assert buffer.gap_at(last) is buffer.gap_at(last + seconds) is None


def test_a_turn_on_the_spot_that_is_reset_is_seen():
    buffer = OdometryBuffer()
    for k in range(100):
        buffer.add(0.02 * k, poses.from_planar(0.0, 0.0, 0.02 * k))
    assert buffer.add(2.0, np.eye(4)).reset


def test_slow_odometry_has_no_gaps_and_a_pause_in_it_is_one():
    buffer = OdometryBuffer()
    gaps = [buffer.add(2.0 * k, poses.from_planar(1.0 * k, 0.0, 0.0)) for k in range(20)]
    assert gaps[1:] == [None] * 19
    assert buffer.add(2.0 * 25, poses.from_planar(25.0, 0.0, 0.0)) is not None


def test_what_is_needed_is_kept_however_old_it_is():
    buffer = OdometryBuffer(length_s=10.0)
    buffer.needed_since = 3.0
    for k in range(5000):
        buffer.add(0.02 * k, poses.from_planar(0.06 * k, 0.0, 0.0))
    assert buffer.covers(3.0)
    buffer.needed_since = 90.0
    for k in range(5000, 5100):
        buffer.add(0.02 * k, poses.from_planar(0.06 * k, 0.0, 0.0))
    assert buffer.covers(90.0)
    assert buffer.first > 80.0
