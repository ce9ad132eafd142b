import json

import numpy as np
import pytest

from fgsn_ros.errors import LocalizationError
from fgsn_ros.geometry import poses
from fgsn_ros.localization.initial_pose import InitialPose, SavedPose, load_pose, save_pose


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
