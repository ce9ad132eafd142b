import numpy as np
import pytest
import torch

from fgsn_ros.training.grid import IGNORED, cell_centres, labels_at, nearest_cells, sample_cells

LABELS = np.arange(6, dtype=np.uint16).reshape(2, 3)


def test_labels_at_reads_the_cell_that_covers_a_pixel():
    labels = LABELS.copy()
    labels[1, 2] = 65535
    points = np.array(
        [[-0.5, -0.5], [7.49, 7.49], [7.5, 0], [0, 7.5], [23.4, 0], [23.5, 0], [-0.6, 0], [17, 9]]
    )
    expected = [0, 0, 1, 3, 2, IGNORED, IGNORED, IGNORED]
    np.testing.assert_array_equal(labels_at(labels, points), expected)


def test_labels_at_reads_the_nearest_cell_where_the_first_is_centred_on_the_first_pixel():
    points = np.array([[-0.5, -0.5], [3.9, 3.9], [4, 0], [0, 4], [11.9, 0], [12, 0], [20, 0]])
    np.testing.assert_array_equal(labels_at(LABELS, points, 0.0), [0, 0, 1, 3, 1, 2, 2])
    # the last cell takes what is left of the image: 21 pixels have three cells, 24 too
    outside = np.array([[23.49, 0], [23.5, 0], [-0.6, 0], [0, 15.6]])
    np.testing.assert_array_equal(labels_at(LABELS, outside, 0.0), [2, *[IGNORED] * 3])


@pytest.mark.parametrize("first", [0.0, 3.5, 1.25])
@pytest.mark.parametrize("size", [(713, 713), (90, 720), (24, 17)])
def test_each_pixel_s_cell_is_the_nearest_by_search(first, size):
    grid = (-(-size[0] // 8), -(-size[1] // 8))
    points = np.random.default_rng(0).uniform(-0.5, np.array(size[::-1]) - 0.5, (50, 2))
    rows, columns, inside = nearest_cells(points, grid, first)
    centres = cell_centres(grid, first)
    distance = np.abs(points[:, None] - centres[None]).max(axis=2)
    found = np.abs(points - centres[rows * grid[1] + columns]).max(axis=1)
    np.testing.assert_allclose(found, distance.min(axis=1))
    assert inside.all()


def test_centres_are_row_by_row():
    expected = [[3.5, 3.5], [11.5, 3.5], [19.5, 3.5], [3.5, 11.5], [11.5, 11.5], [19.5, 11.5]]
    np.testing.assert_array_equal(cell_centres((2, 3)), expected)
    np.testing.assert_array_equal(labels_at(LABELS, cell_centres((2, 3))), np.arange(6))
    np.testing.assert_array_equal(labels_at(LABELS, cell_centres((2, 3), 0.0), 0.0), np.arange(6))


@pytest.mark.parametrize("first", [3.5, 0.0])
def test_sampled_cells_equal_a_loop_over_points_inside_and_at_borders(first):
    rng = np.random.default_rng(0)
    grid = torch.from_numpy(rng.normal(size=(2, 3, 4, 7)))
    corners = [[-0.5, -0.5], [55.4, -0.5], [-0.5, 31.4], [55.49, 31.49], [3.5, 3.5], [11.5, 19.5]]
    points = np.vstack([rng.uniform((-0.5, -0.5), (55.5, 31.5), (50, 2)), corners])
    image = rng.integers(0, 2, len(points))
    sampled = sample_cells(grid, torch.from_numpy(image), torch.from_numpy(points), first)
    for index, (u, v) in enumerate(points):
        x, y = min(max((u - first) / 8, 0), 6), min(max((v - first) / 8, 0), 3)
        expected = np.zeros(3)
        for row in range(4):
            for column in range(7):
                weight = max(0, 1 - abs(x - column)) * max(0, 1 - abs(y - row))
                expected += weight * grid[image[index], :, row, column].numpy()
        np.testing.assert_allclose(sampled[index], expected, atol=1e-12)
