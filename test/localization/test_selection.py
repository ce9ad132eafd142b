import numpy as np
import pytest

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


def plainly_visible(m, T_map_camera, covariance, camera, settings):
    """Map points (M,) by index and their pixels (M, 2): the definition, in NumPy."""
    points = m.all_points()
    rays = points.points - T_map_camera[:3, 3].astype(np.float32)
    distance = np.sqrt((rays**2).sum(axis=1))
    aligned = (rays * points.directions).sum(axis=1)
    slack, angle = settings.range_slack, np.deg2rad(settings.view_angle_deg)
    expected = (distance >= points.min_range / slack) & (distance <= points.max_range * slack)
    expected &= (aligned >= np.cos(angle) * distance) & (distance <= settings.radius_m)
    visible = np.flatnonzero(expected)
    in_camera = poses.transform(poses.invert(T_map_camera), points.points[visible])
    uv, valid = camera.project(in_camera)
    sigma = np.sqrt(np.trace(covariance[:3, :3]) / 2.0), np.sqrt(covariance[5, 5])
    cells = settings.spread_margin * camera.fx * (sigma[0] / distance[visible] + sigma[1])
    margin = np.minimum(cells, 0.1 * min(camera.width, camera.height))[:, None]
    size = np.array([camera.width, camera.height])
    with np.errstate(invalid="ignore"):
        inside = valid & ((uv > margin - 0.5) & (uv < size - 0.5 - margin)).all(axis=1)
    return points.points[visible[inside]], uv[inside]


@pytest.mark.parametrize("spread", [0.0, 0.2, 5.0])
def test_the_chosen_are_all_that_are_visible_by_definition(spread):
    rng = np.random.default_rng(4)
    directions = rng.normal(size=(4000, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    m = map_of(rng.uniform(-40.0, 40.0, (4000, 3)), directions)
    camera = Camera(40, 30, 20.0, 25.0, 18.0, 15.5, skew=1.5)
    covariance = np.diag(np.square([spread, spread, 0.0, 0.0, 0.0, 0.1 * spread]))
    settings = SelectionSettings(radius_m=35.0, view_angle_deg=70.0)
    selector = PointSelector(m, settings)
    seen = 0
    for x in (0.0, 4.0, 9.0, -20.0):
        T = poses.from_xyz_rpy([x, 1.0, -2.0], [0.1, -0.2, x]) @ T_BASE_OPTICAL
        chosen = selector.select(T, covariance, camera, 4000, rng)
        expected, _ = plainly_visible(m, T, covariance, camera, settings)
        np.testing.assert_array_equal(chosen.points, expected)
        seen += len(expected)
    assert seen > 50


@pytest.mark.parametrize("count", [1, 60, 299])
def test_buckets_are_drawn_from_in_turn(count):
    """Round by round: no bucket gives a second pixel while another has not given its first."""
    rng = np.random.default_rng(5)
    uv = rng.uniform(-0.5, [39.5, 19.5], (300, 2))
    chosen = spread_over_image(uv, np.array([40, 20]), 8, count, rng)
    bucket = np.floor((uv + 0.5) / [5.0, 2.5]).astype(int) @ [1, 8]
    given = np.bincount(bucket[chosen], minlength=64)
    left = np.bincount(bucket, minlength=64) - given
    assert len(chosen) == len(np.unique(chosen)) == count
    assert given[left > 0].min() >= given.max() - 1
