import numpy as np

from fgsn_ros.geometry import poses
from fgsn_ros.geometry.cameras import T_BASE_OPTICAL, Camera
from fgsn_ros.localization.selection import PointSelector, SelectionSettings, spread_over_image
from fgsn_ros.mapping.semantic_map import SemanticMap

CAMERA = Camera(40, 30, 30.0, 30.0, 19.5, 14.5)
CERTAIN = np.zeros((6, 6))


def map_of(points, directions, min_range=5.0, max_range=20.0):
    count = len(points)
    return SemanticMap.from_points(
        np.asarray(points, float),
        np.arange(count) % 3,
        np.full(count, 0.8),
        np.asarray(directions, float),
        np.full(count, min_range),
        np.full(count, max_range),
        np.eye(4)[None],
        np.full((1, 3), 1 / 3),
        "f" * 64,
    )


def selected_x(points, directions, covariance=CERTAIN, count=100):
    selector = PointSelector(map_of(points, directions), SelectionSettings())
    rng = np.random.default_rng(0)
    chosen = selector.select(T_BASE_OPTICAL, covariance, CAMERA, count, rng)
    return sorted(np.round(chosen.points[:, 0], 3).tolist())


def test_points_are_chosen_by_range_viewing_direction_and_image():
    ahead = [1.0, 0.0, 0.0]
    oblique = [np.cos(np.deg2rad(40)), np.sin(np.deg2rad(40)), 0.0]
    across = [np.cos(np.deg2rad(50)), np.sin(np.deg2rad(50)), 0.0]
    points = [[x, 0.0, 0.0] for x in (3.0, 4.0, 10.0, 11.0, 12.0, 29.0, 31.0, -10.0)]
    directions = [ahead, ahead, ahead, oblique, across, ahead, ahead, ahead]
    assert selected_x(points, directions) == [4.0, 10.0, 11.0, 29.0]
    assert selected_x([[10.0, 8.0, 0.0]], [ahead]) == []


def test_points_that_the_spread_may_carry_out_of_the_image_are_left_out():
    points = [[10.0, 6.0, 0.0], [10.0, 0.0, 0.0]]
    directions = [[1.0, 0.0, 0.0]] * 2
    assert len(selected_x(points, directions)) == 2
    spread = np.diag([1.0, 1.0, 0, 0, 0, 0.1**2])
    assert len(selected_x(points, directions, spread)) == 1


def test_points_far_from_the_camera_are_found_after_it_has_moved():
    points = [[x, 0.0, 0.0] for x in np.arange(5.0, 1000.0, 5.0)]
    m = map_of(points, [[1.0, 0.0, 0.0]] * len(points))
    selector = PointSelector(m, SelectionSettings())
    rng = np.random.default_rng(0)
    for x in (0.0, 3.0, 400.0, 404.0):
        T = poses.from_rotation_translation(np.eye(3), [x, 0.0, 0.0]) @ T_BASE_OPTICAL
        chosen = selector.select(T, CERTAIN, CAMERA, 100, rng)
        distance = chosen.points[:, 0] - x
        assert len(chosen) >= 5
        assert ((distance >= 5.0 / 1.5) & (distance <= 30.0)).all()


def test_chosen_pixels_are_spread_over_the_image():
    rng = np.random.default_rng(1)
    crowded = rng.uniform(0.0, 4.0, (5000, 2))
    sparse = rng.uniform(0.0, [79.0, 39.0], (100, 2))
    uv = np.concatenate([crowded, sparse])
    chosen = spread_over_image(uv, np.array([80, 40]), 10, 200, rng)
    assert len(chosen) == len(set(chosen.tolist())) == 200
    # All but the crowded bucket's share of the sparse ones are taken before its third.
    assert (chosen >= 5000).sum() >= 90
    everything = spread_over_image(uv, np.array([80, 40]), 10, 9999, rng)
    np.testing.assert_array_equal(everything, np.arange(5100))


def test_the_same_generator_state_gives_the_same_points():
    uv = np.random.default_rng(2).uniform(0.0, 30.0, (1000, 2))
    size = np.array([30, 30])
    first, second = (
        spread_over_image(uv, size, 5, 100, np.random.default_rng(3)) for _ in range(2)
    )
    np.testing.assert_array_equal(first, second)
