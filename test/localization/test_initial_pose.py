import json

import numpy as np
import pytest

from fgsn_ros.errors import LocalizationError
from fgsn_ros.geometry import poses
from fgsn_ros.localization.initial_pose import InitialPose, SavedPose, load_pose, save_pose
from fgsn_ros.localization.motion import MotionSettings


@pytest.mark.parametrize(
    ("pose", "covariance", "stamp"),
    [
        (np.full((4, 4), np.nan), np.eye(6), None),
        (np.eye(4), -np.eye(6), None),
        (np.eye(4), np.tri(6), None),
        (np.eye(4), np.ones(6), None),
        (np.eye(3), np.eye(6), None),
        (np.eye(4), np.eye(6), np.nan),
    ],
)
def test_an_unusable_initial_pose_is_refused(pose, covariance, stamp):
    with pytest.raises(LocalizationError, match="initial pose"):
        InitialPose(pose, covariance, stamp)


def test_a_planar_pose_is_upright_and_as_uncertain_as_it_says():
    pose = InitialPose.planar(1.0, 2.0, 3.0, 0.4, std_m=0.5, std_yaw=0.06)
    np.testing.assert_allclose(pose.T_map_base[:3, 3], [1.0, 2.0, 3.0])
    np.testing.assert_allclose(poses.to_rpy(pose.T_map_base), [0.0, 0.0, 0.4], atol=1e-12)
    std = np.sqrt(np.diag(pose.covariance))
    np.testing.assert_allclose(std[[0, 1, 5]], [0.5, 0.5, 0.06])
    assert (std > 0.0).all()
    assert pose.stamp is None


def test_a_pose_is_read_back_with_its_covariance(tmp_path):
    root = np.random.default_rng(0).normal(size=(6, 6))
    pose = InitialPose(poses.exp([1.0, 2.0, 3.0, 0.1, 0.2, 0.3]), root @ root.T, 7.0)
    save_pose(tmp_path / "deep" / "pose.json", SavedPose(pose), "m" * 64)
    back = load_pose(tmp_path / "deep" / "pose.json", "m" * 64).pose
    np.testing.assert_allclose(back.T_map_base, pose.T_map_base, atol=1e-12)
    np.testing.assert_allclose(back.covariance, pose.covariance)
    assert back.stamp is None
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["pose.json"]


def test_a_pose_on_another_map_is_refused(tmp_path):
    save_pose(tmp_path / "pose.json", SavedPose(InitialPose(np.eye(4), np.eye(6))), "m")
    with pytest.raises(LocalizationError, match="of another map"):
        load_pose(tmp_path / "pose.json", "n")


def test_a_missing_file_is_no_pose(tmp_path):
    assert load_pose(tmp_path / "none.json", "m") is None


@pytest.mark.parametrize(
    "change",
    [
        {"translation": [1.0, 2.0]},
        {"q_xyzw": [0.0, 0.0, 0.0, 0.0]},
        {"covariance": (-np.eye(6)).tolist()},
        {"covariance": [["nan"] * 6] * 6},
        {"translation": None},
    ],
)
def test_a_damaged_file_is_refused(tmp_path, change):
    path = tmp_path / "pose.json"
    save_pose(path, SavedPose(InitialPose(np.eye(4), np.eye(6))), "m")
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(LocalizationError, match="saved pose"):
        load_pose(path, "m")
    path.write_text("{")
    with pytest.raises(LocalizationError, match="remove it"):
        load_pose(path, "m")


def saved(x=50.0, stamp=100.0, speed=3.0):
    """A pose at the map's origin, heading along y; odometry has come to (x, 0)."""
    pose = InitialPose(poses.from_planar(0.0, 0.0, np.pi / 2), np.eye(6) * 0.01, stamp)
    return SavedPose(pose, poses.from_planar(x, 0.0, 0.0), 5000.0, speed, 0.5)


def carried(pose, stamp, x, now=5010.0):
    T = poses.from_planar(x, 0.0, 0.0)
    return pose.carried_on(stamp, T, now, MotionSettings(), reach_m=150.0)


def test_a_saved_pose_and_its_odometry_are_read_back(tmp_path):
    save_pose(tmp_path / "pose.json", saved(), "m")
    back = load_pose(tmp_path / "pose.json", "m")
    assert (back.pose.stamp, back.saved_at, back.top_speed_m_s, back.top_turn_rad_s) == (
        100.0, 5000.0, 3.0, 0.5,
    )  # fmt: skip
    np.testing.assert_allclose(back.T_odom_base, saved().T_odom_base, atol=1e-12)


def test_odometry_that_ran_on_carries_a_saved_pose_and_its_way_counts():
    known = carried(saved(), 110.0, 80.0)
    np.testing.assert_allclose(known.T_map_base[:2, 3], [0.0, 30.0], atol=1e-9)
    assert (known.stamp, known.doubt) == (110.0, None)
    # 0.1 m and 0.1 rad before; 30 m at 3 % and 0.05 sqrt(30) m, and 0.1 rad over 30 m across.
    assert 1.0 < np.sqrt(known.covariance[1, 1]) < 1.5
    assert 3.0 < np.sqrt(known.covariance[0, 0]) < 3.6


@pytest.mark.parametrize(
    ("stamp", "x", "seconds"),
    [
        (110.0, 0.2, 10.0),  # odometry is at its origin again
        (110.0, 150.0, 10.0),  # no robot drove so far
        (7.0, 80.0, 10.0),  # another clock: the time of day counts
    ],
)
def test_a_saved_pose_is_in_doubt_where_odometry_does_not_tell_the_way(stamp, x, seconds):
    known = carried(saved(), stamp, x)
    np.testing.assert_allclose(known.T_map_base, saved().pose.T_map_base)
    assert known.doubt.reach_m == pytest.approx(3.0 * seconds)
    assert known.stamp == stamp
    assert carried(saved(), 9000.0, 0.2).doubt.reach_m == 150.0


def test_a_file_that_does_not_say_how_old_it_is_is_read_as_before(tmp_path):
    save_pose(tmp_path / "pose.json", SavedPose(saved().pose), "m")
    assert "since" not in json.loads((tmp_path / "pose.json").read_text())
    known = carried(load_pose(tmp_path / "pose.json", "m"), 110.0, 80.0)
    np.testing.assert_allclose(known.T_map_base, saved().pose.T_map_base, atol=1e-12)
    assert (known.stamp, known.doubt) == (110.0, None)
