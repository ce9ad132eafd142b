import numpy as np
import pytest

from fgsn_ros.commands.start import Start
from fgsn_ros.errors import LocalizationError, SettingsError
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.trajectory import Trajectory


class Drive:
    """A recording as far as a start needs it: odometry from 10 to 20 s."""

    name = "drive"
    odometry = Trajectory(np.arange(10.0, 20.05, 0.1), poses.identity((101,)))


def reference(stamps):
    stamps = np.asarray(stamps, np.float64)
    return Trajectory(stamps, poses.from_planar(stamps, 0.0, 0.0))


def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize(
    ("stamps", "start"),
    [
        (np.arange(0.0, 30.0, 0.1), 10.0),
        (np.arange(12.0, 30.0, 0.1), 12.0),
        (np.r_[0.0:8.0:0.1, 13.0:30.0:0.1], 13.0),  # odometry begins in a hole
    ],
)
def test_a_run_starts_where_odometry_and_reference_are_both_known(stamps, start):
    initial = Start().initial(Drive(), reference(stamps), rng())
    assert initial.stamp == pytest.approx(start)
    assert initial.T_map_base[0, 3] == pytest.approx(start)


def test_a_reference_of_another_clock_is_named_with_both_times():
    with pytest.raises(LocalizationError) as error:
        Start().initial(Drive(), reference(1.7e9 + np.arange(5.0)), rng())
    said = str(error.value)
    assert "odometry's stamps (10.000 to 20.000 s)" in said
    assert "the reference's (1700000000.000 to 1700000004.000 s)" in said


@pytest.mark.parametrize("given", [{"pose": (0.0, 0.0, 0.0, 0.0)}, {"offset_m": 1.0}])
def test_an_unknown_start_goes_without_a_pose_or_an_offset(given):
    with pytest.raises(SettingsError, match=r"start\.unknown"):
        Start(unknown=True, **given)


def test_who_needs_a_pose_is_told_that_an_unknown_start_has_none():
    with pytest.raises(LocalizationError, match=r"start\.unknown"):
        Start(unknown=True).initial(Drive(), reference(np.arange(30.0)), rng())


def test_without_a_reference_a_pose_must_be_given():
    with pytest.raises(LocalizationError, match=r"--start\.pose"):
        Start().initial(Drive(), None, rng())
    assert Start(pose=(1.0, 2.0, 0.0, 90.0)).initial(Drive(), None, rng()).stamp is None
