import numpy as np
import pytest

from fgsn_ros.geometry import poses
from fgsn_ros.locating.three_points import search, three_point_poses


def triangle(rng):
    """T_camera_map (4, 4), unit rays (3, 3), points (3, 3)."""
    T_camera_map = poses.exp(rng.normal(size=6) * [5.0, 5.0, 5.0, 1.0, 1.0, 1.0])
    rays = np.column_stack([rng.uniform(-1.0, 1.0, (3, 2)), np.ones(3)])
    seen = rays * rng.uniform(2.0, 60.0, (3, 1))
    units = rays / np.linalg.norm(rays, axis=1, keepdims=True)
    return T_camera_map, units, poses.transform(poses.invert(T_camera_map), seen)


def test_the_true_pose_is_among_those_of_three_points():
    rng = np.random.default_rng(0)
    found = np.empty((4, 3, 4))
    for _ in range(300):
        T_camera_map, units, points = triangle(rng)
        count = three_point_poses(units, points, found)
        errors = np.abs(found[:count] - T_camera_map[:3]).max(axis=(1, 2))
        assert errors.min() < 1e-4


def test_every_pose_of_three_points_is_rigid_and_sees_them_along_their_rays():
    rng = np.random.default_rng(1)
    found = np.empty((4, 3, 4))
    counts = []
    for _ in range(300):
        _, units, points = triangle(rng)
        counts.append(three_point_poses(units, points, found))
        for T in found[: counts[-1]]:
            seen = points @ T[:, :3].T + T[:, 3]
            along = seen / np.linalg.norm(seen, axis=1, keepdims=True)
            np.testing.assert_allclose(along, units, atol=1e-6)
            np.testing.assert_allclose(T[:, :3] @ T[:, :3].T, np.eye(3), atol=1e-5)
    assert min(counts) >= 1
    assert max(counts) > 1


@pytest.mark.parametrize(
    "points",
    [
        np.array([[0.0, 0.0, 5.0], [1.0, 0.0, 5.0], [2.0, 0.0, 5.0]]),
        np.array([[0.0, 0.0, 5.0], [0.0, 0.0, 5.0], [2.0, 1.0, 5.0]]),
    ],
    ids=["on a line", "twice the same"],
)
def test_points_that_span_no_triangle_give_no_pose(points):
    units = points / np.linalg.norm(points, axis=1, keepdims=True)
    assert three_point_poses(units, points, np.empty((4, 3, 4))) == 0


def test_the_search_passes_over_samples_that_repeat_a_match():
    rng = np.random.default_rng(2)
    _, units, points = triangle(rng)
    rays = units[:, :2] / units[:, 2:]
    samples = np.array([[0, 0, 1], [1, 2, 2]])
    weights, focal_px = np.full(3, 1.0 / 3.0), np.array([400.0, 400.0])
    used, cost = search(points, rays, focal_px, weights, samples, 4.0, 0.99, np.empty((3, 4)))
    assert used == 2
    assert cost == np.inf
