import numpy as np
import pytest

from fgsn_ros.errors import SettingsError
from fgsn_ros.geometry import poses
from fgsn_ros.simulation.drive import DriveSettings, SimulatedDrive


def drive(town, **changes):
    return SimulatedDrive(DriveSettings(town_seed=5, **changes), town)


def test_ground_truth_stands_on_the_road_with_x_along_it(town):
    truth = drive(town, duration_s=20.0).ground_truth
    height = truth.poses[:, 2, 3] - town.ground.height(truth.poses[:, :2, 3])
    assert np.abs(height).max() < 0.05
    step = np.diff(truth.poses[:, :3, 3], axis=0)
    length = np.linalg.norm(step, axis=1)
    forward = np.einsum("ij,ij->i", step, truth.poses[:-1, :3, 0])
    moving = length > 0.05
    assert (forward[moving] / length[moving]).min() > 0.99


def test_speed_stays_within_the_limits_between_stops(town):
    truth = drive(town, duration_s=30.0, stops=False).ground_truth
    speed = np.linalg.norm(np.diff(truth.poses[:, :3, 3], axis=0), axis=1) * 50.0
    assert speed.min() > 4.5
    assert speed.max() < 10.8


def test_stops_bring_the_vehicle_to_rest(town):
    truth = drive(town, duration_s=60.0).ground_truth
    speed = np.linalg.norm(np.diff(truth.poses[:, :3, 3], axis=0), axis=1) * 50.0
    assert np.count_nonzero(speed < 0.05) > 50


def test_wander_differs_from_drive_to_drive_and_keeps_its_limit(town):
    first, second = (drive(town, drive_seed=seed).route for seed in (1, 2))
    middle = -1.6
    assert np.abs(first.lateral - middle).max() <= 0.3 + 1e-9
    assert np.abs(first.lateral - second.lateral).max() > 0.1


@pytest.mark.parametrize("seed", range(6))
def test_wheel_odometry_drifts_by_two_per_cent_or_more(town, seed):
    simulated = drive(town, drive_seed=seed, duration_s=40.0)
    truth, odometry = simulated.ground_truth, simulated.odometry
    assert len(odometry) == len(truth) == 40 * 50 + 1
    np.testing.assert_array_equal(odometry.poses[0], np.eye(4))
    reckoned = poses.compose(truth.poses[0], odometry.poses)
    error = np.linalg.norm(reckoned[-1, :2, 3] - truth.poses[-1, :2, 3])
    assert 0.02 < error / truth.length_m() < 0.15


def test_standing_wheels_do_not_move(town):
    simulated = drive(town, duration_s=60.0)
    still = np.diff(simulated.route.station) < 1e-9
    step = np.linalg.norm(np.diff(simulated.odometry.poses[:, :2, 3], axis=0), axis=1)
    assert step[still].max() < 0.002


@pytest.mark.parametrize(
    "change", [{"duration_s": 0.0}, {"min_speed": 11.0}, {"rate_hz": 7.0}, {"wander_m": 2.0}]
)
def test_settings_out_of_range_are_refused(change):
    with pytest.raises(SettingsError):
        DriveSettings(**change)
