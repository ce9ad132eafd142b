"""The network's grid: which cell shows a pixel, and what its cells say of one."""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from fgsn_ros.segmentation.labels import UNLABELLED
from fgsn_ros.segmentation.networks import STRIDE

Labels = NDArray[np.uint16]
IGNORED = -1
"""Label of a cell or point that is in no loss."""
CENTRED = (STRIDE - 1) / 2
"""Centre of the first cell [px] where cells are the image's blocks of STRIDE pixels."""


def nearest_cells(
    points: NDArray[np.float64], grid: tuple[int, int], first_cell_px: float = CENTRED
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Row (N,), column (N,) of the cell nearest to each pixel, and whether (N,) it is in the grid.

    Cell (i, j) is centred on pixel first_cell_px + STRIDE * (j, i). A grid covers STRIDE pixels a
    cell from the image's edge at -0.5 on, wherever in them its cells are centred.

    Args:
        points: (N, 2) pixels (u, v).
        grid: Rows and columns.
        first_cell_px: Centre of the first cell in u and in v [px].
    """
    size = np.array(grid[::-1])
    inside = ((points >= -0.5) & (points < STRIDE * size - 0.5)).all(axis=1)
    cells = np.floor((points + (STRIDE / 2 - first_cell_px)) / STRIDE)
    cells = np.clip(cells, 0, size - 1).astype(np.int64)
    return cells[:, 1], cells[:, 0], np.asarray(inside)


def cell_centres(grid: tuple[int, int], first_cell_px: float = CENTRED) -> NDArray[np.float64]:
    """Pixels (rows * columns, 2) (u, v) that cells are centred on, row by row."""
    rows, columns = np.indices(grid)
    cells = np.stack([columns.ravel(), rows.ravel()], axis=1)
    return np.asarray(cells * STRIDE + first_cell_px, np.float64)


def labels_at(
    labels: Labels, points: NDArray[np.float64], first_cell_px: float = CENTRED
) -> NDArray[np.int64]:
    """Labels (N,) of the cells nearest to pixels (N, 2) (u, v); IGNORED outside and unlabelled."""
    rows, columns, inside = nearest_cells(points, (labels.shape[0], labels.shape[1]), first_cell_px)
    found = labels[rows, columns].astype(np.int64)
    found[~inside | (found == UNLABELLED)] = IGNORED
    return found


def sample_cells(grid: Tensor, image: Tensor, points: Tensor, first_cell_px: float) -> Tensor:
    """Bilinear values (N, C) of a grid (B, C, h, w) at image points; borders repeat.

    Args:
        grid: (B, C, h, w); cell (i, j) is centred on pixel first_cell_px + STRIDE * (j, i).
        image: (N,) index of the image of each point.
        points: (N, 2) pixels (u, v).
        first_cell_px: Pixel that the first cell is centred on.
    """
    height, width = grid.shape[-2:]
    x = ((points[:, 0] - first_cell_px) / STRIDE).clamp(0, width - 1)
    y = ((points[:, 1] - first_cell_px) / STRIDE).clamp(0, height - 1)
    x0, y0 = x.floor().long().clamp(max=width - 1), y.floor().long().clamp(max=height - 1)
    x1, y1 = (x0 + 1).clamp(max=width - 1), (y0 + 1).clamp(max=height - 1)
    fx, fy = (x - x0)[:, None].to(grid.dtype), (y - y0)[:, None].to(grid.dtype)
    flat = grid.permute(0, 2, 3, 1).reshape(-1, grid.shape[1])
    base = image * (height * width)

    def at(row: Tensor, column: Tensor) -> Tensor:
        return flat.index_select(0, base + row * width + column)

    top = at(y0, x0) * (1 - fx) + at(y0, x1) * fx
    bottom = at(y1, x0) * (1 - fx) + at(y1, x1) * fx
    return top * (1 - fy) + bottom * fy
