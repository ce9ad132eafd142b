"""Labels of pixels from logits of cells."""

import numba
import numpy as np
import numpy.typing as npt
from torch import Tensor

Float32 = npt.NDArray[np.float32]
Int64 = npt.NDArray[np.int64]


def pixel_labels(logits: Tensor, rows: Tensor, columns: Tensor) -> npt.NDArray[np.uint16]:
    """Arg-max (H, W) of logits (h, w, K) spread by bases (H, h) and (W, w), nearly all of them 0.

    Rows are made one at a time, so that there are never K channels of all pixels.
    """
    labels = np.empty((len(rows), len(columns)), np.uint16)
    _label(logits.numpy(), *_nonzero(rows), *_nonzero(columns), labels)
    return labels


def _nonzero(basis: Tensor) -> tuple[Float32, Int64]:
    """Largest values (N, n) and their columns; n is the largest number in a row that are not 0."""
    values, columns = basis.topk(int((basis != 0.0).sum(dim=1).max()), dim=1)
    return values.numpy(), columns.numpy()


@numba.njit(error_model="numpy", cache=True)
def _label(
    logits: Float32,
    row_shares: Float32,
    row_cells: Int64,
    column_shares: Float32,
    column_cells: Int64,
    labels: npt.NDArray[np.uint16],
) -> None:
    line, sums = np.empty_like(logits[0]), np.empty(logits.shape[2], np.float32)
    for y in range(labels.shape[0]):
        line[:] = 0.0
        for i in range(row_cells.shape[1]):
            share, cells = row_shares[y, i], logits[row_cells[y, i]]
            for j in range(line.shape[0]):
                for k in range(line.shape[1]):
                    line[j, k] += share * cells[j, k]
        for x in range(labels.shape[1]):
            sums[:] = 0.0
            for i in range(column_cells.shape[1]):
                share, cell = column_shares[x, i], line[column_cells[x, i]]
                for k in range(len(sums)):
                    sums[k] += share * cell[k]
            labels[y, x] = np.argmax(sums)
