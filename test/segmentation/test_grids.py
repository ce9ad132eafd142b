import numpy as np
import pytest
import torch

from fgsn_ros.geometry.cameras import Camera
from fgsn_ros.segmentation.grids import on_grid

HEIGHT, WIDTH = 45, 83


@pytest.mark.parametrize("first_cell_px", [0.0, 3.5])
@pytest.mark.parametrize("stride", [4, 8, 16])
def test_features_linear_in_the_pixel_are_right_at_the_cells_of_the_camera(first_cell_px, stride):
    u = first_cell_px + 8.0 * torch.arange(-(-WIDTH // 8))
    v = first_cell_px + 8.0 * torch.arange(-(-HEIGHT // 8))
    features = torch.stack([u.expand(len(v), -1), v[:, None].expand(-1, len(u))])[None]
    grid = on_grid(features, first_cell_px, stride, HEIGHT, WIDTH)[0].numpy()
    camera = Camera(WIDTH, HEIGHT, 1.0, 1.0, 0.0, 0.0).at_stride(stride)
    assert grid.shape == (2, camera.height, camera.width)
    column, row = np.arange(camera.width), np.arange(camera.height)
    inside = slice(1, -2 if stride < 16 else -1)  # at the edge the last cell is repeated
    expected_u, expected_v = (column - camera.cx) / camera.fx, (row - camera.cy) / camera.fy
    np.testing.assert_allclose(grid[0, 0, inside], expected_u[inside], atol=1e-4)
    np.testing.assert_allclose(grid[1, inside, 0], expected_v[inside], atol=1e-4)


def test_the_own_grid_of_the_small_network_is_left_as_it_is():
    features = torch.rand(1, 4, 6, 11)
    assert on_grid(features, 3.5, 8, HEIGHT, WIDTH) is features
