import numpy as np
import pytest

from fgsn_ros.errors import SettingsError
from fgsn_ros.geometry import poses
from fgsn_ros.mapping.triangulation import TriangulationSettings, Views, triangulate

FOCAL = np.array([500.0, 480.0])


def views_of(points, T_map_camera, noise_px=0.0, rng=None):
    """Every camera sees every point."""
    T_camera_map = poses.invert(T_map_camera)
    track = np.repeat(np.arange(len(points)), len(T_camera_map))
    T = np.tile(T_camera_map, (len(points), 1, 1))
    seen = poses.transform(T, points[track])
    rays = seen[:, :2] / seen[:, 2:]
    if rng is not None:
        rays = rays + rng.normal(0.0, noise_px, rays.shape) / FOCAL
    return Views(track, T, rays, np.broadcast_to(FOCAL, rays.shape))


def forward_drive(count=8, step=1.0, origin=(0.0, 0.0, 0.0)):
    xi = np.zeros((count, 6))
    xi[:, 2] = np.arange(count) * step
    xi[:, 4] = 0.01 * np.arange(count)
    T = poses.exp(xi)
    T[:, :3, 3] += origin
    return T


def test_noise_free_tracks_give_the_points_exactly():
    rng = np.random.default_rng(0)
    points = rng.uniform((-10, -3, 14), (10, 3, 30), (50, 3))
    settings = TriangulationSettings(min_parallax_deg=0.0)
    result = triangulate(views_of(points, forward_drive()), settings)
    np.testing.assert_allclose(result.points, points, atol=1e-8)
    assert result.accepted.all()
    assert result.error_px.max() < 1e-6


def test_coordinates_far_from_the_origin_cost_no_accuracy():
    origin = np.array([7e4, -3e4, 100.0])
    points = np.array([[3.0, 1.0, 15.0], [-4.0, -1.0, 18.0]]) + origin
    result = triangulate(views_of(points, forward_drive(origin=origin)), TriangulationSettings())
    np.testing.assert_allclose(result.points, points, atol=1e-6)


def test_noise_leaves_an_error_within_three_sigma_of_the_normal_equations():
    rng = np.random.default_rng(1)
    point = np.array([[3.0, -1.0, 14.0]])
    views = views_of(np.repeat(point, 400, axis=0), forward_drive(), 0.5, rng)
    result = triangulate(views, TriangulationSettings(max_error_px=10.0))
    one = views_of(point, forward_drive())
    R = one.T_camera_map[:, :3, :3]
    depth = poses.transform(one.T_camera_map, point[0])[:, 2]
    J = FOCAL[:, None] / depth[:, None, None] * (R[:, :2] - one.rays[:, :, None] * R[:, 2:3])
    covariance = 0.25 * np.linalg.inv(np.einsum("mki,mkj->ij", J, J))
    spread = np.cov((result.points - point).T)
    # the estimator is efficient: a sample variance of 400 has a relative sigma of 7 %
    np.testing.assert_allclose(np.diag(spread), np.diag(covariance), rtol=0.3)
    bias = np.abs(result.points.mean(axis=0) - point[0])
    assert (bias < 4.0 * np.sqrt(np.diag(covariance) / 400) + 0.02).all()


def test_one_wrong_view_of_many_hardly_moves_a_point():
    point = np.array([[3.0, -1.0, 14.0]])
    views = views_of(point, forward_drive(10))
    views.rays[5] += 40.0 / FOCAL
    result = triangulate(views, TriangulationSettings(iterations=20))
    assert np.linalg.norm(result.points - point) < 0.3
    assert result.accepted.all()
    assert not result.agreeing[5]
    assert result.agreeing.sum() >= 8


def test_too_little_parallax_is_rejected():
    points = np.array([[0.01, 0.0, 40.0], [5.0, 0.0, 12.0]])
    result = triangulate(views_of(points, forward_drive(4)), TriangulationSettings())
    assert result.accepted.tolist() == [False, True]
    directions = points[1] - forward_drive(4)[:, :3, 3]
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    assert result.parallax[1] == pytest.approx(np.arccos(directions[0] @ directions[-1]))


def test_identical_camera_centres_give_no_point():
    T = np.tile(np.eye(4), (4, 1, 1))
    result = triangulate(views_of(np.array([[1.0, 2.0, 9.0]]), T), TriangulationSettings())
    assert np.isnan(result.points).all()
    assert not result.accepted.any()


def test_points_behind_the_cameras_are_rejected():
    # the rays of a point in front, mirrored: they meet behind the cameras
    points = np.array([[2.0, 1.0, -6.0], [1.5, -1.0, -9.0]])
    result = triangulate(views_of(points, forward_drive()), TriangulationSettings())
    assert not result.accepted.any()
    assert np.isinf(result.median_error_px).all()


def test_points_out_of_range_are_rejected():
    settings = TriangulationSettings(min_range_m=3.0, max_range_m=20.0, min_parallax_deg=0.1)
    points = np.array([[0.5, 0.5, 9.0], [2.0, 0.0, 15.0], [9.0, 0.0, 60.0]])
    result = triangulate(views_of(points, forward_drive()), settings)
    assert result.accepted.tolist() == [False, True, False]


def test_tracks_with_a_large_median_error_are_rejected():
    rng = np.random.default_rng(2)
    points = rng.uniform((-5, -2, 14), (5, 2, 20), (100, 3))
    result = triangulate(views_of(points, forward_drive(), 5.0, rng), TriangulationSettings())
    assert result.accepted.mean() < 0.05


def test_settings_out_of_range_are_refused():
    with pytest.raises(SettingsError, match="max_error_px"):
        TriangulationSettings(max_error_px=0.0)
    with pytest.raises(SettingsError, match="min < max"):
        TriangulationSettings(min_range_m=5.0, max_range_m=4.0)
