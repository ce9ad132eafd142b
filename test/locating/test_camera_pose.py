import numpy as np
import pytest

from fgsn_ros.errors import SettingsError
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.cameras import T_BASE_OPTICAL, Camera, CameraMount
from fgsn_ros.locating.camera_pose import CameraPose, PoseSettings, Sightings, camera_pose, refined

CAMERA = Camera(640, 480, 400.0, 410.0, 319.5, 239.5)


def scene(rng, count, noise_px=0.0, wrong=0.0):
    """T_map_camera, sightings, and which of them are right; of a camera far from the origin."""
    T_map_camera = poses.compose(
        poses.from_xyz_rpy([*rng.normal(size=2) * 500.0, 2.0], rng.normal(size=3) * 0.3),
        T_BASE_OPTICAL,
    )
    rays = rng.uniform([-0.8, -0.6], [0.8, 0.6], (count, 2))
    seen = np.column_stack([rays, np.ones(count)]) * rng.uniform(4.0, 50.0, (count, 1))
    right = rng.random(count) >= wrong
    rays = rays + rng.normal(size=(count, 2)) * noise_px / [CAMERA.fx, CAMERA.fy]
    rays[~right] = rng.uniform([-0.8, -0.6], [0.8, 0.6], (int((~right).sum()), 2))
    points = poses.transform(T_map_camera, seen)
    return T_map_camera, Sightings.of(points, rays, CAMERA), right


def difference(found, T_map_camera):
    """Motion [m] and rotation about the map's axes [rad] from the truth to a pose (6,)."""
    turn = poses.from_rotation_translation(found[:3, :3] @ T_map_camera[:3, :3].T, np.zeros(3))
    return np.concatenate([found[:3, 3] - T_map_camera[:3, 3], poses.rotation_vector(turn)])


def test_the_pose_is_exact_among_four_fifths_of_wrong_matches():
    rng = np.random.default_rng(0)
    T_map_camera, sightings, right = scene(rng, 200, wrong=0.8)
    found = camera_pose(sightings, np.ones(200), PoseSettings(), rng)
    np.testing.assert_allclose(found.T_map_camera, T_map_camera, atol=1e-6)
    assert found.inliers[right].all()
    assert found.std_px == PoseSettings().least_std_px


def test_weights_lead_to_the_pose_with_fewer_samples():
    rng = np.random.default_rng(1)
    few = PoseSettings(samples=60)
    hits = {"even": 0, "weighted": 0}
    for _ in range(20):
        T_map_camera, sightings, right = scene(rng, 300, wrong=0.9)
        for name, weights in (("even", np.ones(300)), ("weighted", np.where(right, 1.0, 0.05))):
            found = camera_pose(sightings, weights, few, rng)
            near = found is not None and np.abs(found.T_map_camera - T_map_camera).max() < 1e-3
            hits[name] += near
    # Of three draws all are right in 0.1 % and in 33 % of the samples: 6 % and 100 % in 60.
    assert hits["even"] <= 6
    assert hits["weighted"] >= 19


def test_matches_of_weight_zero_are_not_drawn_but_count_as_inliers():
    rng = np.random.default_rng(2)
    _, sightings, _ = scene(rng, 100)
    weights = (np.arange(100) < 20).astype(np.float64)
    found = camera_pose(sightings, weights, PoseSettings(), rng)
    assert found.inliers.all()


def test_random_matches_have_no_pose():
    rng = np.random.default_rng(3)
    _, sightings, _ = scene(rng, 300, wrong=1.0)
    assert camera_pose(sightings, np.ones(300), PoseSettings(samples=500), rng) is None


def test_too_few_matches_have_no_pose():
    rng = np.random.default_rng(4)
    _, sightings, _ = scene(rng, 11)
    assert camera_pose(sightings, np.ones(11), PoseSettings(), rng) is None


def test_points_on_a_line_have_no_pose():
    rng = np.random.default_rng(5)
    seen = np.column_stack([np.linspace(-1.0, 1.0, 40), np.zeros(40), np.full(40, 6.0)])
    sightings = Sightings.of(seen, seen[:, :2] / 6.0, CAMERA)
    assert camera_pose(sightings, np.ones(40), PoseSettings(), rng) is None
    assert refined(sightings, np.eye(4), PoseSettings()) is None


def test_the_covariance_is_that_of_the_errors():
    rng = np.random.default_rng(6)
    trials, nees = 200, []
    for _ in range(trials):
        T_map_camera, sightings, _ = scene(rng, 120, noise_px=1.0, wrong=0.3)
        found = camera_pose(sightings, np.ones(120), PoseSettings(), rng)
        error = difference(found.T_map_camera, T_map_camera)
        nees.append(error @ np.linalg.solve(found.covariance, error))
    # Chi-square of 6 degrees: mean 6, of 200 trials with a standard deviation of 0.25. A few
    # wrong matches pass as inliers, and the errors' variance is estimated: 10 % for both.
    assert np.mean(nees) == pytest.approx(6.0, abs=0.6 + 3 * 0.25)


def test_the_covariance_of_the_robot_turns_with_the_lever_to_its_camera():
    rng = np.random.default_rng(7)
    mount = CameraMount(
        CAMERA,
        poses.compose(poses.from_xyz_rpy([1.5, 0.2, 1.2], [0.0, 0.1, 0.5]), T_BASE_OPTICAL),
        "camera",
    )
    T_map_camera = scene(rng, 1)[0]
    root = rng.normal(size=(6, 6)) * 1e-4
    found = CameraPose(T_map_camera, root @ root.T, np.ones(1, bool), 1.0)
    T_map_base, covariance = found.of_base(mount)
    np.testing.assert_allclose(poses.compose(T_map_base, mount.T_base_camera), T_map_camera)
    columns = []
    for column in root.T:  # the same motions, of the robot
        turn = poses.exp(np.concatenate([np.zeros(3), column[3:]]))[:3, :3]
        moved = poses.from_rotation_translation(
            turn @ T_map_camera[:3, :3], T_map_camera[:3, 3] + column[:3]
        )
        base = poses.compose(moved, poses.invert(mount.T_base_camera))
        columns.append(difference(base, T_map_base))
    moved_root = np.stack(columns, axis=1)
    np.testing.assert_allclose(covariance, moved_root @ moved_root.T, rtol=0.01, atol=1e-11)


@pytest.mark.parametrize(
    "values",
    [{"samples": 0}, {"confidence": 1.0}, {"inlier_px": 0.0}, {"min_inliers": 3}],
    ids=str,
)
def test_settings_are_checked(values):
    with pytest.raises(SettingsError):
        PoseSettings(**values)
