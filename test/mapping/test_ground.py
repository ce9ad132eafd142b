import numpy as np
import pytest

from fgsn_ros.errors import MapError
from fgsn_ros.geometry import poses
from fgsn_ros.mapping.ground import Ground, MapGround
from fgsn_ros.mapping.semantic_map import SemanticMap


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


def map_of(keyframes):
    none = np.zeros((0, 3))
    shares = np.ones((len(keyframes), 1))
    return SemanticMap.from_points(
        none, *[none[:, 0]] * 2, none, *[none[:, 0]] * 2, keyframes, shares, "f" * 64
    )


def long_drive():
    """5 km with gaps, ordered at random."""
    rng = np.random.default_rng(3)
    s = np.concatenate([rng.uniform(a, a + w, n) for a, w, n in ((0, 900, 700), (3000, 2000, 99))])
    xyz = np.c_[s, 40.0 * np.sin(s / 90.0), 2.0 * np.sin(s / 50.0)]
    return poses.from_xyz_rpy(xyz, rng.normal(0.0, 0.05, (len(s), 3)))


@pytest.mark.parametrize("spread_m", [0.5, 30.0, 2000.0])
@pytest.mark.parametrize("centre", [(0.0, 0.0), (890.0, 10.0), (1900.0, 0.0), (9000.0, 5000.0)])
def test_the_ground_around_the_robot_is_that_of_the_whole_map(centre, spread_m):
    m = map_of(long_drive())
    whole, near = Ground(m.keyframe_poses), MapGround(m)
    rng = np.random.default_rng(0)
    for step in np.linspace(0.0, 500.0, 9):
        planar = rng.normal(
            (centre[0] + step, *centre[1:], 0.0), (spread_m, spread_m, 1.0), (50, 3)
        )
        np.testing.assert_allclose(near.poses(planar), whole.poses(planar), atol=1e-9)


def test_key_frames_far_away_are_not_read(monkeypatch):
    read = []
    within = SemanticMap.keyframes_within
    monkeypatch.setattr(
        SemanticMap, "keyframes_within", lambda *given: read.append(within(*given)) or read[-1]
    )
    ground = MapGround(map_of(long_drive()))
    for x in np.linspace(100.0, 400.0, 60):
        ground.poses(np.array([[x, 0.0, 0.0]]))
    assert len(read) <= 5
    assert max(map(len, read)) < 300


def test_a_map_of_key_frames_on_their_side_is_refused_at_once():
    with pytest.raises(MapError, match="point up"):
        MapGround(map_of(poses.from_xyz_rpy(np.zeros((1, 3)), [[np.pi / 2, 0.0, 0.0]])))


@pytest.mark.parametrize("count", [1, 3, 4, 200])
@pytest.mark.parametrize("spread_m", [0.0, 0.5, 60.0])
def test_particles_stand_where_the_plain_formulas_put_them(count, spread_m):
    """One by one in NumPy; together and apart, on few key frames and on many."""
    keyframes = long_drive()[np.argsort(long_drive()[:, 0, 3])][:count]
    rng = np.random.default_rng(0)
    planar = rng.normal((*keyframes[count // 2, :2, 3], 0.3), (spread_m, spread_m, 1.0), (40, 3))
    for T, (x, y, yaw) in zip(Ground(keyframes).poses(planar), planar, strict=True):
        distances = np.hypot(*(keyframes[:, :2, 3] - (x, y)).T)
        nearest = np.argsort(distances)[:4]
        beyond = distances[nearest[3]] if count > 3 else np.inf
        weights = (1.0 / np.maximum(distances[nearest[:3]], 1e-6) - 1.0 / beyond) ** 2
        weights /= weights.sum()
        normals, positions = keyframes[nearest[:3], :3, 2], keyframes[nearest[:3], :3, 3]
        normal = weights @ normals
        normal /= np.linalg.norm(normal)
        rises = -np.sum(((x, y) - positions[:, :2]) * normals[:, :2], axis=1) / normals[:, 2]
        position = x, y, weights @ (positions[:, 2] + rises)
        np.testing.assert_allclose(T, on_plane(normal, position, yaw), atol=1e-9)
