"""The network's grid: which cell of a label map shows a pixel."""

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.segmentation.labels import UNLABELLED
from fgsn_ros.segmentation.networks import STRIDE

Labels = NDArray[np.uint16]
IGNORED = -1
"""Label of a cell that is in no loss."""
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
