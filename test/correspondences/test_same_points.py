import numpy as np
import pytest

from fgsn_ros.correspondences.same_points import (
    SeenSurface,
    TrackedPoints,
    aligning_offset,
    matched_points,
)
from fgsn_ros.geometry.cameras import Camera, CameraMount
from fgsn_ros.mapping.structure import Structure
from fgsn_ros.mapping.tracks import Tracks

MOUNTS = {"camera": CameraMount(Camera(320, 200, 200.0, 200.0, 160.0, 100.0), np.eye(4), "optical")}
VIEWS = 5
ANGLE = np.radians(30.0)


def tracked(points, baseline_m=2.0, directions=None):
    """Points that five cameras along x see, looking along z."""
    T = np.tile(np.eye(4), (VIEWS, 1, 1))
    T[:, 0, 3] = np.linspace(-baseline_m / 2.0, baseline_m / 2.0, VIEWS)
    count = len(points)
    ahead = np.tile([0.0, 0.0, 1.0], (count, 1)) if directions is None else directions
    observations = Tracks(
        np.repeat(np.arange(count), VIEWS),
        np.tile(np.arange(VIEWS), count),
        np.zeros((count * VIEWS, 2), np.float32),
    )
    near = np.full(count, 1.0)
    structure = Structure(points, ahead, near, 50.0 * near, near, observations, T, ("camera",) * 5)
    return TrackedPoints(structure, MOUNTS)


def cloud(count=300, seed=0):
    """Points on two walls and a floor."""
    rng = np.random.default_rng(seed)
    points = rng.uniform([-6.0, -3.0, 6.0], [6.0, 3.0, 12.0], (count, 3))
    points[::3, 2] = 12.0
    points[1::3, 1] = -3.0
    points[2::3, 0] = 6.0
    return points


def test_covariance_is_that_of_the_inverted_normal_equations():
    points = cloud(6)
    T = tracked(points).structure.T_map_camera
    for point, covariance in zip(points, tracked(points).covariances, strict=True):
        normal = np.zeros((3, 3))
        for view in T:
            sight = point - view[:3, 3]
            jacobian = (
                200.0
                / np.linalg.norm(sight)
                * (np.eye(3) - np.outer(sight, sight) / (sight @ sight))
            )
            normal += jacobian.T @ jacobian
        np.testing.assert_allclose(covariance, np.linalg.inv(normal), rtol=1e-3, atol=1e-9)


def test_the_same_points_match_at_distance_0():
    points = cloud()
    matches = matched_points(
        tracked(points), tracked(points[::-1]), np.arange(300), np.zeros(3), 0.1, ANGLE
    )
    np.testing.assert_array_equal(matches.reference, 299 - matches.target)
    assert len(matches.distance) == 300
    assert matches.distance.max() < 1e-9


def test_only_mutual_neighbours_match():
    reference = tracked(np.array([[0.0, 0.0, 8.0]]))
    target = tracked(np.array([[0.05, 0.0, 8.0], [0.02, 0.0, 8.0]]))
    matches = matched_points(reference, target, np.arange(2), np.zeros(3), 0.2, ANGLE)
    assert matches.target.tolist() == [1]
    assert (
        matched_points(reference, target, np.array([0]), np.zeros(3), 0.2, ANGLE).target.size == 0
    )


def test_the_distance_allowed_grows_with_the_points_uncertainty_along_the_line():
    def distance(step, baseline_m):
        reference = tracked(np.array([[0.0, 0.0, 10.0]]), baseline_m)
        target = tracked(np.array([[0.0, 0.0, 10.0]]) + step, baseline_m)
        return matched_points(reference, target, np.array([0]), np.zeros(3), 0.1, ANGLE).distance

    assert distance([0.0, 0.0, 0.3], 20.0).size == 0
    assert distance([0.0, 0.0, 0.3], 0.2).size == 1
    assert distance([0.0, 0.3, 0.0], 0.2).size == 0
    assert distance([0.0, 0.05, 0.0], 20.0) == pytest.approx(0.5, rel=0.1)


def test_points_seen_from_opposite_sides_do_not_match():
    points = cloud(20)
    ahead = np.tile([0.0, 0.0, 1.0], (20, 1))
    target = tracked(points, directions=-ahead)
    found = matched_points(tracked(points), target, np.arange(20), np.zeros(3), 0.1, ANGLE)
    assert found.distance.size == 0


def test_an_offset_of_the_poses_is_found():
    offset = np.array([0.15, -0.1, 0.2])
    reference, target = tracked(cloud()), tracked(cloud() - offset)
    found = aligning_offset(reference, target, np.arange(300), (0.6, 0.3), ANGLE)
    np.testing.assert_allclose(found, offset, atol=0.02)


def test_an_offset_is_found_between_other_points_of_the_same_surfaces():
    offset = np.array([0.15, -0.1, 0.2])
    reference, target = tracked(cloud(6000)), tracked(cloud(3000, seed=1) - offset)
    found = aligning_offset(reference, target, np.arange(3000), (0.6, 0.3), ANGLE)
    np.testing.assert_allclose(found, offset, atol=0.06)


def test_too_few_points_say_nothing_of_the_offset():
    reference, target = tracked(cloud(15)), tracked(cloud(15) + 0.1)
    found = aligning_offset(reference, target, np.arange(15), (0.6, 0.3), ANGLE)
    np.testing.assert_array_equal(found, np.zeros(3))


def grid(step=8, width=160, height=96):
    v, u = np.mgrid[0 : height : float(step), 0 : width : float(step)]
    return np.stack([u.ravel(), v.ravel()], axis=-1) + 0.01 * np.arange(u.size)[:, None] % 0.37


def test_a_plane_is_interpolated_exactly():
    def depth(pixels):
        return 1.0 / (0.02 + pixels @ [2e-4, 1.5e-3])

    surface = SeenSurface(grid(), depth(grid()))
    asked = np.random.default_rng(0).uniform((5.0, 5.0), (145.0, 80.0), (200, 2))
    assert surface.holds(asked, depth(asked), 3.0, 1e-6).all()
    assert surface.holds(asked, 1.09 * depth(asked), 3.0, 0.1).all()
    assert not surface.holds(asked, 1.11 * depth(asked), 3.0, 0.1).any()
    assert not surface.holds(asked, 0.89 * depth(asked), 3.0, 0.1).any()


def test_what_lies_behind_is_left_out_up_to_the_border_of_what_is_nearer():
    pixels = grid()
    surface = SeenSurface(pixels, np.where(pixels[:, 0] < 80.0, 5.0, 20.0))
    asked = np.stack([np.linspace(5.0, 145.0, 141), np.full(141, 40.0)], axis=-1)
    behind = surface.holds(asked, np.full(141, 20.0), 3.0, 0.05)
    assert not behind[asked[:, 0] < 79.0].any()
    assert behind[asked[:, 0] > 90.0].all()


def test_a_pixel_far_from_the_points_is_not_on_the_surface():
    pixels = grid()
    kept = (np.abs(pixels - (80.0, 48.0)) > 20.0).any(axis=1)
    surface = SeenSurface(pixels[kept], np.full(kept.sum(), 9.0))
    asked = np.array([[80.0, 48.0], [30.0, 48.0], [500.0, 48.0]])
    np.testing.assert_array_equal(
        surface.holds(asked, np.full(3, 9.0), 3.0, 0.05), [False, True, False]
    )


def test_points_that_span_no_triangle_are_no_surface():
    asked, depth = np.array([[4.0, 4.0]]), np.array([5.0])
    for pixels in (
        np.zeros((0, 2)),
        np.array([[4.0, 4.0]]),
        np.arange(10.0).repeat(2).reshape(-1, 2),
    ):
        assert (
            not SeenSurface(pixels, np.full(len(pixels), 5.0)).holds(asked, depth, 3.0, 0.5).any()
        )
