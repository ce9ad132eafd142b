import numpy as np
import pytest

from fgsn_ros.errors import MapError
from fgsn_ros.geometry import poses
from fgsn_ros.mapping.ground import Ground


def drive_on_plane(normal, offset, count=30):
    """Key frames along a curve on the plane normal . p = offset."""
    s = np.linspace(0.0, 60.0, count)
    x, y, yaw = s, 8.0 * np.sin(s / 15.0), np.arctan(8.0 / 15.0 * np.cos(s / 15.0))
    z = (offset - normal[0] * x - normal[1] * y) / normal[2]
    return np.array([on_plane(normal, p, a) for p, a in zip(np.c_[x, y, z], yaw, strict=True)])


def on_plane(normal, position, yaw):
    forward = np.array([np.cos(yaw), np.sin(yaw), 0.0])
    forward[2] = -normal[:2] @ forward[:2] / normal[2]
    forward /= np.linalg.norm(forward)
    R = np.stack([forward, np.cross(normal, forward), normal], axis=-1)
    return poses.from_rotation_translation(R, position)


@pytest.mark.parametrize("tilt", [(0.0, 0.0), (0.12, -0.05)])
def test_poses_on_a_plane_are_exact(tilt):
    normal = np.array([*tilt, 1.0]) / np.linalg.norm([*tilt, 1.0])
    ground = Ground(drive_on_plane(normal, 3.0))
    rng = np.random.default_rng(0)
    planar = rng.uniform((-5, -15, -np.pi), (65, 15, np.pi), (200, 3))
    T = ground.poses(planar)
    heights = (3.0 - planar[:, :2] @ normal[:2]) / normal[2]
    expected = [
        on_plane(normal, (x, y, z), yaw) for (x, y, yaw), z in zip(planar, heights, strict=True)
    ]
    np.testing.assert_allclose(T, expected, atol=1e-9)
    np.testing.assert_allclose(poses.to_rpy(T)[:, 2], planar[:, 2], atol=1e-9)


def test_a_particle_on_a_key_frame_gets_its_pose():
    s = np.linspace(0.0, 50.0, 26)
    xyz = np.c_[s, np.zeros(26), 2.0 * np.sin(s / 8.0)]
    rpy = np.c_[0.02 * np.cos(s), -np.arctan(0.25 * np.cos(s / 8.0)), np.full(26, 0.3)]
    keyframes = poses.from_xyz_rpy(xyz, rpy)
    T = Ground(keyframes).poses(np.c_[xyz[:, :2], rpy[:, 2]])
    np.testing.assert_allclose(T, keyframes, atol=1e-6)


def test_height_and_tilt_are_continuous_between_key_frames():
    s = np.linspace(0.0, 50.0, 26)
    xyz = np.c_[s, np.sin(s), 2.0 * np.sin(s / 8.0)]
    rpy = np.c_[np.zeros(26), -np.arctan(0.25 * np.cos(s / 8.0)), np.zeros(26)]
    ground = Ground(poses.from_xyz_rpy(xyz, rpy))
    x = np.arange(5.0, 45.0, 0.001)
    T = ground.poses(np.c_[x, np.full_like(x, 1.7), np.zeros_like(x)])
    assert np.abs(np.diff(T[:, 2, 3])).max() < 0.003
    assert np.abs(np.diff(T[:, :3, 2], axis=0)).max() < 0.003
    np.testing.assert_allclose(T[:, 2, 3], 2.0 * np.sin(x / 8.0), atol=0.2)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_few_and_coinciding_key_frames_are_enough(count):
    T = poses.identity((count,))
    T[:, 2, 3] = 1.5
    poses_on = Ground(T).poses(np.array([[0.0, 0.0, 0.0], [4.0, -2.0, 1.0]]))
    np.testing.assert_allclose(poses_on[:, 2, 3], 1.5)
    np.testing.assert_allclose(poses_on[:, :3, 2], [[0, 0, 1]] * 2, atol=1e-12)


def test_key_frames_that_are_none_or_lie_on_their_side_are_refused():
    with pytest.raises(MapError, match="no key frames"):
        Ground(np.zeros((0, 4, 4)))
    with pytest.raises(MapError, match="z up"):
        Ground(poses.from_xyz_rpy(np.zeros((1, 3)), np.array([[np.pi / 2, 0.0, 0.0]])))
