import numpy as np
import pytest
import torch

from fgsn_ros.geometry.cameras import Camera
from fgsn_ros.segmentation.label_grid import (
    grid_shares,
    grid_taps,
    no_taps,
    soft_max_labels,
    taps_of,
)
from fgsn_ros.segmentation.label_network import on_grid

HEIGHT, WIDTH = 53, 90
ODD_HEIGHT, ODD_WIDTH = 45, 83


@pytest.fixture(scope="module")
def logits() -> np.ndarray:
    return np.random.default_rng(0).normal(0, 6, (7, 12, 37)).astype(np.float32)


@pytest.mark.parametrize("first_cell_px", [0.0, 3.5])
@pytest.mark.parametrize("stride", [4, 8, 16])
def test_labels_are_those_of_the_interpolated_soft_max(logits, first_cell_px, stride):
    cells = torch.from_numpy(logits).permute(2, 0, 1)[None]
    expected = on_grid(cells, first_cell_px, stride, HEIGHT, WIDTH)[0].softmax(dim=0).max(dim=0)
    rows, columns = (grid_taps(first_cell_px, stride, size) for size in (HEIGHT, WIDTH))
    labels, confidence = soft_max_labels(logits, rows, columns)
    np.testing.assert_array_equal(labels, expected.indices)
    np.testing.assert_allclose(confidence, expected.values, rtol=1e-5)


def test_the_first_of_equal_logits_is_the_label():
    logits = np.zeros((2, 3, 9), np.float32)
    logits[..., 4:7] = 1.0
    labels, confidence = soft_max_labels(logits, no_taps(2), no_taps(3))
    assert (labels == 4).all()
    np.testing.assert_allclose(confidence, np.e / (3 * np.e + 6), rtol=1e-5)


@pytest.mark.parametrize("count", [1, 1000])
def test_few_and_many_labels_far_apart(count):
    logits = np.full((1, 2, count), -1e4, np.float32)
    logits[0, 1, -1] = 1e4
    labels, confidence = soft_max_labels(logits, no_taps(1), no_taps(2))
    np.testing.assert_array_equal(labels, [[0, count - 1]])
    np.testing.assert_allclose(confidence, [[1 / count, 1.0]], rtol=1e-5)


@pytest.mark.parametrize("first_cell_px", [0.0, 3.5])
@pytest.mark.parametrize("stride", [4, 8, 16])
def test_features_linear_in_the_pixel_are_right_at_the_cells_of_the_camera(first_cell_px, stride):
    u = first_cell_px + 8.0 * torch.arange(-(-ODD_WIDTH // 8))
    v = first_cell_px + 8.0 * torch.arange(-(-ODD_HEIGHT // 8))
    features = torch.stack([u.expand(len(v), -1), v[:, None].expand(-1, len(u))])[None]
    grid = on_grid(features, first_cell_px, stride, ODD_HEIGHT, ODD_WIDTH)[0].numpy()
    camera = Camera(ODD_WIDTH, ODD_HEIGHT, 1.0, 1.0, 0.0, 0.0).at_stride(stride)
    assert grid.shape == (2, camera.height, camera.width)
    column, row = np.arange(camera.width), np.arange(camera.height)
    inside = slice(1, -2 if stride < 16 else -1)  # at the edge the last cell is repeated
    expected_u, expected_v = (column - camera.cx) / camera.fx, (row - camera.cy) / camera.fy
    np.testing.assert_allclose(grid[0, 0, inside], expected_u[inside], atol=1e-4)
    np.testing.assert_allclose(grid[1, inside, 0], expected_v[inside], atol=1e-4)


def test_the_own_grid_of_the_small_network_is_left_as_it_is():
    features = torch.rand(1, 4, 6, 11)
    assert on_grid(features, 3.5, 8, ODD_HEIGHT, ODD_WIDTH) is features


@pytest.mark.parametrize("first_cell_px", [0.0, 3.5])
@pytest.mark.parametrize("stride", [1, 4, 8, 16])
def test_shares_of_cells_are_to_the_bit_those_of_pytorch(first_cell_px, stride):
    for size in (*range(1, 70), 480, 640, 713, 1200, 1919):
        cells = -(-size // 8)
        basis = torch.eye(cells).view(1, cells, cells, 1)
        expected = on_grid(basis, first_cell_px, stride, size, 1)[0, :, :, 0].T.numpy()
        shares = grid_shares(first_cell_px, stride, size)
        assert shares.dtype == np.float32
        np.testing.assert_array_equal(shares, expected)


def test_taps_are_the_shares_that_are_not_zero():
    shares = np.array([[0.0, 0.25, 0.75], [1.0, 0.0, 0.0]], np.float32)
    cells, taken = taps_of(shares)
    assert cells[0].tolist() == [1, 2]
    assert (cells[1, 0], taken[1].tolist()) == (0, [1.0, 0.0])
    assert taken[0].tolist() == [0.25, 0.75]
