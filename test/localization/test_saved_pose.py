import json

import numpy as np
import pytest

from fgsn_ros.errors import LocalizationError
from fgsn_ros.geometry import poses
from fgsn_ros.localization.saved_pose import SavedPose, load_pose, save_pose


def test_a_pose_is_read_back_with_its_covariance_and_map(tmp_path):
    root = np.random.default_rng(0).normal(size=(6, 6))
    pose = SavedPose(poses.exp([1.0, 2.0, 3.0, 0.1, 0.2, 0.3]), root @ root.T, "m" * 64)
    save_pose(tmp_path / "deep" / "pose.json", pose)
    back = load_pose(tmp_path / "deep" / "pose.json")
    np.testing.assert_allclose(back.T_map_base, pose.T_map_base, atol=1e-12)
    np.testing.assert_allclose(back.covariance, pose.covariance)
    assert back.map_identity == pose.map_identity
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["pose.json"]


def test_a_missing_file_is_no_pose(tmp_path):
    assert load_pose(tmp_path / "none.json") is None


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
    save_pose(path, SavedPose(np.eye(4), np.eye(6), "m"))
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(LocalizationError, match="saved pose"):
        load_pose(path)
    path.write_text("{")
    with pytest.raises(LocalizationError, match="remove it"):
        load_pose(path)
