import numba
import numpy as np
import pytest

from fgsn_ros.geometry import poses
from fgsn_ros.localization.kernel import Evidence, projections, score_particles_numpy
from fgsn_ros.localization.selection import SelectedPoints


def random_problem(label_count, height, width, particles, points, seed):
    """Cameras looking every way from the middle of a cloud: many points miss the image."""
    rng = np.random.default_rng(seed)
    rotations, _ = np.linalg.qr(rng.standard_normal((particles, 3, 3)))
    fx, fy = rng.uniform(0.5, 1.5, 2) * width
    matrix = np.array([[fx, 0.0, width / 2.2], [0.0, fy, height / 1.9], [0.0, 0.0, 1.0]])
    translations = rng.uniform(-2.0, 2.0, (particles, 3, 1))
    projections = matrix @ np.concatenate([rotations, translations], axis=2)
    cloud = SelectedPoints(
        rng.uniform(-30.0, 30.0, (points, 3)),
        rng.integers(0, label_count, points).astype(np.int32),
        rng.uniform(0.1, 1.0, points),
        rng.uniform(0.5, 30.0, points),
    )
    table = np.vstack([rng.normal(size=(label_count, label_count)), np.zeros(label_count)])
    grid = rng.integers(0, label_count + 1, (height, width)).astype(np.int32)
    return projections, cloud, 0.4, table, grid


def one_point(position, depth):
    return SelectedPoints(
        np.array([position]), np.zeros(1, np.int32), np.ones(1), np.array([depth])
    )


def near_a_cell_border(projections, points):
    """Points (M,) that any camera projects so close to a border that float32 may round over it."""
    homogeneous = projections[:, :, :3] @ points.T + projections[:, :, 3:]
    uv = homogeneous[:, :2] / homogeneous[:, 2:]
    off = np.abs(uv - np.floor(uv + 0.5))
    near_plane = np.abs(homogeneous[:, 2]) < 0.1
    return ((off > 0.5 - 2e-3) & (np.abs(uv) < 300.0)).any(axis=(0, 1)) | near_plane.any(axis=0)


@pytest.mark.parametrize(
    ("label_count", "height", "width", "particles", "points"),
    [(8, 30, 40, 7, 3000), (100, 47, 156, 5, 2001), (1000, 60, 33, 3, 5000), (20, 5, 9, 130, 600)],
)
def test_compiled_and_numpy_scores_agree(label_count, height, width, particles, points):
    problem = random_problem(label_count, height, width, particles, points, seed=label_count)
    projections, cloud, *rest = problem
    keep = ~near_a_cell_border(projections, cloud.points)
    assert keep.sum() > 0.1 * points
    arguments = cloud[keep], *rest
    plain = score_particles_numpy(projections, *arguments)
    compiled = Evidence(*arguments).scores(projections)
    assert compiled.dtype == np.float32
    assert np.abs(plain).max() > 1.0
    np.testing.assert_allclose(compiled, plain, rtol=1e-5, atol=1e-4)


def test_projections_take_points_near_an_origin_to_the_grid_of_each_pose():
    rng = np.random.default_rng(6)
    T_map_base = poses.exp(rng.normal(0.0, 1.0, (20, 6)))
    T_map_base[:, :3, 3] += 1000.0
    origin, points = np.full(3, 1010.0), rng.normal(0.0, 5.0, (7, 3))
    base_to_grid = rng.normal(size=(3, 4))
    found = projections(T_map_base, base_to_grid, origin)
    for matrix, T in zip(found, T_map_base, strict=True):
        in_base = poses.transform(poses.invert(T), origin + points)
        expected = in_base @ base_to_grid[:, :3].T + base_to_grid[:, 3]
        np.testing.assert_allclose(points @ matrix[:, :3].T + matrix[:, 3], expected, atol=1e-9)


def test_a_point_on_each_side_of_each_image_border_counts_as_its_cell_or_not_at_all():
    height, width = 3, 5
    projection = np.array([[[1.0, 0, 0, 0], [0, 1.0, 0, 0], [0, 0, 1.0, 0]]])
    grid = np.arange(15, dtype=np.int32).reshape(height, width)
    table = np.vstack([np.arange(1.0, 16.0)[:, None].repeat(15, 1), np.zeros((1, 15))])
    inside = {(-0.49, 0.0): 1.0, (4.49, 0.0): 5.0, (0.0, -0.49): 1.0, (4.0, 2.49): 15.0}
    outside = {(-0.51, 0.0): 0.0, (4.51, 0.0): 0.0, (0.0, -0.51): 0.0, (0.0, 2.51): 0.0}
    for (u, v), expected in (inside | outside).items():
        arguments = one_point(np.array([u, v, 1.0]) * 7.0, depth=3.0), 0.0, table, grid
        assert score_particles_numpy(projection, *arguments) == pytest.approx(expected)
        assert Evidence(*arguments).scores(projection) == pytest.approx(expected)


def test_points_behind_the_camera_and_unlabelled_cells_say_nothing():
    problem = random_problem(8, 30, 40, 4, 501, seed=1)
    projections, cloud, share, table, grid = problem
    depth = projections[0, 2, :3] @ cloud.points.T + projections[0, 2, 3]
    behind = cloud[depth < -1.0]
    assert Evidence(behind, share, table, grid).scores(projections[:1]) == 0.0
    unlabelled = np.full_like(grid, 8)
    assert not Evidence(cloud, share, table, unlabelled).scores(projections).any()


@pytest.mark.parametrize(("share", "expected"), [(0.0, [1, 1, 1]), (0.4, [0.8, 1.2, 1.4])])
def test_evidence_grows_with_the_size_at_which_a_pose_shows_a_point(share, expected):
    """Poses 5 m further back than 5 m, a third nearer, and so near that the size is cut off."""
    projections = np.tile(np.diag([100.0, 100.0, 1.0]), (3, 1, 1))
    projections = np.concatenate([projections, np.zeros((3, 3, 1))], axis=2)
    projections[:, 2, 3] = [5.0, 5.0 / 1.5 - 5.0, -4.9]
    arguments = (
        one_point([0.0, 0.0, 5.0], depth=5.0),
        share,
        np.array([[1.0], [0.0]]),
        np.zeros((3, 5), np.int32),
    )
    np.testing.assert_allclose(score_particles_numpy(projections, *arguments), expected, rtol=1e-6)
    np.testing.assert_allclose(Evidence(*arguments).scores(projections), expected, rtol=1e-5)


def test_scores_do_not_depend_on_the_number_of_threads():
    projections, *rest = random_problem(50, 30, 40, 1000, 777, seed=2)
    all_threads = numba.config.NUMBA_NUM_THREADS
    used, results = [], []
    for threads in (1, all_threads + 1, 0):
        results.append(Evidence(*rest, threads=threads).scores(projections))
        used.append(numba.get_num_threads())
    assert used == [1, all_threads, all_threads]
    assert all(np.array_equal(results[0], other) for other in results)
    # A particle's score does not depend on its place among the others either.
    reversed_scores = Evidence(*rest).scores(projections[::-1])
    np.testing.assert_array_equal(reversed_scores, results[0][::-1])


def test_no_points_give_zero_scores():
    projections, cloud, *rest = random_problem(8, 30, 40, 5, 10, seed=3)
    empty = Evidence(cloud[np.zeros(10, bool)], *rest)
    assert not empty.scores(projections).any()
