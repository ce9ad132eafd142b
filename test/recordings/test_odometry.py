import numpy as np
import pytest

from fgsn_ros.errors import FgsnError, RecordingError
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.trajectory import Trajectory
from fgsn_ros.recordings.odometry import OdometryNoise, derive_odometry, derived_from

SILENT = {"scale_error": 0.0, "yaw_drift_per_m": 0.0}
NO_WALK = {"translation_noise_per_m": 0.0, "yaw_noise_per_m": 0.0, "yaw_noise_per_rad": 0.0}


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def slalom(count: int = 200) -> Trajectory:
    t = 0.1 * np.arange(count)
    yaw = 0.4 * np.sin(t)
    steps = np.column_stack([np.cos(yaw), np.sin(yaw)])[:-1]
    xy = np.array([3.0, -1.0]) + np.cumsum(np.vstack([[0.0, 0.0], steps]), axis=0)
    return Trajectory(t, poses.from_planar(xy[:, 0], xy[:, 1], yaw))


def straight(length_m: float, count: int) -> Trajectory:
    x = np.linspace(0.0, length_m, count)
    return Trajectory(np.arange(count) * 0.1, poses.from_planar(x, 0 * x, 0 * x))


def test_without_noise_planar_ground_truth_comes_back_from_its_start() -> None:
    truth = slalom()
    odometry = derive_odometry(truth, OdometryNoise(**SILENT, **NO_WALK), rng())
    np.testing.assert_array_equal(odometry.stamps, truth.stamps)
    np.testing.assert_allclose(truth.poses[0] @ odometry.poses, truth.poses, atol=1e-9)


def test_odometry_of_a_slope_stays_planar_and_keeps_the_length() -> None:
    T = poses.from_xyz_rpy([4.0, 2.0, 1.0], [0.05, -0.2, 1.0])
    truth = Trajectory(slalom().stamps, T @ slalom().poses)
    odometry = derive_odometry(truth, OdometryNoise(**SILENT, **NO_WALK), rng())
    np.testing.assert_array_equal(odometry.poses[:, 2, 3], 0.0)
    assert odometry.length_m() == pytest.approx(truth.length_m())


def test_scale_and_drift_are_systematic() -> None:
    noise = OdometryNoise(scale_error=0.03, yaw_drift_per_m=0.002, **NO_WALK)
    odometry = derive_odometry(straight(50.0, 501), noise, rng())
    assert odometry.length_m() == pytest.approx(51.5)
    assert poses.to_rpy(odometry.poses[-1])[2] == pytest.approx(0.1)


@pytest.mark.parametrize("count", [11, 1001])
def test_the_walks_have_the_stated_spread_at_any_frame_rate(count: int) -> None:
    noise = OdometryNoise(
        **SILENT, translation_noise_per_m=0.02, yaw_noise_per_m=0.01, yaw_noise_per_rad=0.0
    )
    runs = [derive_odometry(straight(25.0, count), noise, rng(seed)) for seed in range(300)]
    length = np.array([run.length_m() for run in runs])
    yaw = np.array([poses.to_rpy(run.poses[-1])[2] for run in runs])
    # Standard deviations of sqrt(25 m) times the noise per sqrt(m); 300 runs know them to 4 %.
    assert length.std() == pytest.approx(5 * 0.02, rel=0.16)
    assert yaw.std() == pytest.approx(5 * 0.01, rel=0.16)
    assert abs(yaw.mean()) < 4 * 0.05 / np.sqrt(300)


def test_turning_adds_its_own_heading_noise() -> None:
    turn = np.linspace(0.0, 4.0, 41)
    on_the_spot = Trajectory(np.arange(41.0), poses.from_planar(0 * turn, 0 * turn, turn))
    noise = OdometryNoise(yaw_noise_per_rad=0.05)
    yaw = [
        poses.wrap_angle(poses.to_rpy(derive_odometry(on_the_spot, noise, rng(seed)).poses[-1])[2])
        for seed in range(300)
    ]
    error = poses.wrap_angle(np.array(yaw) - 4.0)
    assert error.std() == pytest.approx(2 * 0.05, rel=0.16)


def test_standing_still_adds_nothing() -> None:
    still = Trajectory(np.arange(5.0), np.repeat(poses.from_planar(1, 2, 3)[None], 5, axis=0))
    odometry = derive_odometry(still, OdometryNoise(), rng())
    np.testing.assert_allclose(odometry.poses, np.eye(4)[None].repeat(5, 0), atol=1e-7)


def test_a_seed_repeats_to_the_bit_and_another_differs() -> None:
    first, again, other = (
        derived_from(slalom(), OdometryNoise(), seed, None, "drive")[0].poses for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_odometry_is_derived_where_poses_cover_the_frames() -> None:
    stamps = np.array([-1.0, 0.05, 1.0, 2.0, 99.0])
    odometry, origin = derived_from(slalom(), OdometryNoise(), 3, stamps, "drive")
    np.testing.assert_array_equal(odometry.stamps, [0.05, 1.0, 2.0])
    assert "seed 3" in origin
    for missing in (None, Trajectory(np.array([50.0]), np.eye(4)[None])):
        with pytest.raises(RecordingError, match="poses"):
            derived_from(missing, OdometryNoise(), 3, stamps, "drive")


@pytest.mark.parametrize(
    "wrong", [{"scale_error": 0.5}, {"yaw_drift_per_m": np.nan}, {"yaw_noise_per_m": -0.1}]
)
def test_noise_out_of_range_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(FgsnError):
        OdometryNoise(**wrong)


def test_no_odometry_is_derived_in_a_hole_of_the_poses(caplog) -> None:
    truth = slalom()
    known = (truth.stamps < 3.0) | (truth.stamps > 7.0)
    truth = Trajectory(truth.stamps[known], truth.poses[known])
    stamps = np.array([1.0, 2.0, 5.0, 6.0, 8.0])
    noise = OdometryNoise(**SILENT, **NO_WALK)
    odometry, _ = derived_from(truth, noise, 0, stamps, "drive")
    np.testing.assert_array_equal(odometry.stamps, [1.0, 2.0, 8.0])
    way = poses.compose(poses.invert(truth.at(1.0)), truth.at(8.0))
    np.testing.assert_allclose(odometry.poses[-1], way, atol=1e-9)
    assert "drive: no odometry is derived at 2 of 5 frames" in caplog.text


def test_poses_of_another_clock_than_the_frames_are_named() -> None:
    stamps = 1.7e9 + np.arange(5.0)
    with pytest.raises(RecordingError, match="drive: the images .* and the poses .* from 1970"):
        derived_from(slalom(), OdometryNoise(), 0, stamps, "drive")
