import numpy as np
import pytest

from fgsn_ros.geometry import poses
from fgsn_ros.mapping.sfm.adjustment import Observations
from fgsn_ros.mapping.sfm.appearance import alike
from fgsn_ros.mapping.sfm.feature_graph import (
    FeatureTable,
    Structure,
    corrected,
    feature_tracks,
    going_on,
    nearest_views,
)
from fgsn_ros.mapping.sfm.resection import resect

TABLE = FeatureTable(
    image=np.repeat(np.arange(3), 4),
    starts=np.array([0, 4, 8, 12]),
    rays=np.zeros((12, 2)),
    focal_px=np.ones((12, 2)),
    T_camera_base=np.tile(np.eye(4), (3, 1, 1)),
    camera=np.zeros(3, int),
)


def test_matches_are_connected_to_tracks():
    tracks = feature_tracks(TABLE, np.array([[0, 4], [4, 8], [1, 5]]), min_views=2)
    assert tracks.feature.tolist() == [0, 4, 8, 1, 5]
    assert tracks.track.tolist() == [0, 0, 0, 1, 1]


def test_short_tracks_and_those_that_an_image_shows_twice_are_left_out():
    matches = np.array([[0, 4], [4, 8], [1, 5], [2, 6], [6, 10], [10, 3]])
    tracks = feature_tracks(TABLE, matches, min_views=3)
    assert tracks.feature.tolist() == [0, 4, 8]


def test_corrected_rays_are_those_that_the_wrong_calibration_bent():
    true = np.array([[0.6, -0.3], [0.0, 0.0], [-0.5, 0.4]])
    bent = np.exp(0.02) * (1.0 - 0.03 * (true**2).sum(axis=1, keepdims=True)) * true
    assert corrected(bent, np.tile([0.02, -0.03], (3, 1))) == pytest.approx(true, abs=1e-6)


def test_the_most_similar_that_are_allowed_are_chosen_apart_from_one_another():
    similarity = np.array([[0.1, 0.9, 0.8, 0.2, 0.7]])
    allowed = np.array([[True, True, True, True, True]])
    assert alike(similarity, allowed, 2, 2).tolist() == [[0, 1], [0, 4]]
    allowed[0, 1] = False
    assert alike(similarity, allowed, 1, 2).tolist() == [[0, 2]]
    assert alike(similarity, ~np.ones((1, 5), bool), 2, 2).shape == (0, 2)


def test_points_that_go_on_are_counted_at_each_gap():
    point, image = np.array([7, 7, 9, 9, 9]), np.array([0, 1, 1, 2, 3])
    assert going_on(point, image, 5).tolist() == [1, 1, 1, 0]


def test_an_image_is_placed_among_points_in_spite_of_wrong_matches():
    rng = np.random.default_rng(6)
    origin = np.array([1e3, 2e3, 0.0])
    points = origin + rng.uniform((-4.0, -3.0, 5.0), (4.0, 3.0, 20.0), (40, 3))
    T = np.eye(4)
    T[:3, 3] = 1e3 + 0.3, 2e3 - 0.1, 0.5
    inside = points - T[:3, 3]
    rays = inside[:, :2] / inside[:, 2:]
    rays[:10] = rng.uniform(-0.5, 0.5, (10, 2))
    found = resect(points, rays, 400.0, 2.0, 12)
    assert found is not None
    assert found.T_map_camera == pytest.approx(T, abs=1e-3)
    assert set(range(10, 40)) <= set(found.inliers.tolist())


def test_an_image_with_too_few_points_is_not_placed():
    assert resect(np.ones((5, 3)), np.ones((5, 2)), 400.0, 2.0, 12) is None


def test_a_point_is_adjusted_by_the_images_that_are_nearest_to_it():
    ones = np.ones((6, 2))
    seen = Observations(
        np.array([0, 1, 2, 0, 1, 2]),
        np.array([0, 0, 0, 1, 1, 1]),
        0.0 * ones,
        ones,
        np.zeros(6, int),
        np.tile(np.eye(4), (6, 1, 1)),
    )
    found = Structure(np.array([[0.0, 0, 5], [9.0, 0, 5]]), seen, np.array([0, 4, 8, 1, 5, 9]))
    T = poses.from_xyz_rpy(np.array([[0.0, 0, 0], [4, 0, 0], [8, 0, 0]]), np.zeros((3, 3)))
    near = nearest_views(found, TABLE, T, 2)
    assert near.points == pytest.approx(found.points)
    assert near.seen.pose.tolist() == [0, 1, 1, 2]
    assert near.feature.tolist() == [0, 4, 5, 9]
