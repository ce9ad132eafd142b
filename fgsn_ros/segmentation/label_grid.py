"""Labels and confidence of logits: interpolation, maximum and soft-max in one pass on the CPU.

PyTorch does the same on a GPU and in exported graphs (`LabelNetwork`, the plain reference): there,
each step over all logits at once is what it is good at; on a CPU, each is a pass over more memory
than the cache holds.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.kernel_cache import kernel
from fgsn_ros.segmentation.architectures import STRIDE, cells_of

Float32 = NDArray[np.float32]
Taps = tuple[NDArray[np.int32], Float32]
"""Cells (n, T) that each of n positions is made of, and their shares (n, T)."""

_LOWEST = np.finfo(np.float32).min
_NO_MORE = -20.0  # exp(-20) of a thousand labels changes no bit of a float32 sum that holds a 1


def grid_shares(first_cell_px: float, stride: int, size_px: int) -> Float32:
    """Share (n, cells) of each cell of features in each of n positions along an axis.

    Linear interpolation to positions (stride - 1) / 2 + stride i; beyond the last cell, that cell.
    Above the stride of the features, means of two of those. To the bit what `on_grid` computes.

    Args:
        first_cell_px: Cell i is centred on first_cell_px + 8 i.
        stride: 1 or 4, 8, or 16.
        size_px: Of the image along the axis.
    """
    fine, cells = min(stride, STRIDE), cells_of(size_px)
    centres = (fine - 1) / 2 + fine * np.arange(-(-size_px // fine), dtype=np.float32)
    positions = np.clip((centres - np.float32(first_cell_px)) / STRIDE, 0, cells - 1)
    distances = np.abs(positions[:, None] - np.arange(cells, dtype=np.float32))
    shares: Float32 = np.maximum(1 - distances, 0, dtype=np.float32)
    if stride == fine:
        return shares
    pairs = [shares[first : first + 2].mean(axis=0) for first in range(0, len(shares), 2)]
    return np.asarray(pairs, np.float32)


@lru_cache(maxsize=16)
def grid_taps(first_cell_px: float, stride: int, size_px: int) -> Taps:
    """What `grid_shares` are not zero."""
    return taps_of(grid_shares(first_cell_px, stride, size_px))


@lru_cache(maxsize=16)
def no_taps(cells: int) -> Taps:
    """Each cell as it is."""
    return taps_of(np.eye(cells, dtype=np.float32))


def taps_of(shares: Float32) -> Taps:
    """Of the shares (n, cells) of the cells in each position, those that are not zero."""
    count = int((shares != 0).sum(axis=1).max())
    order = np.argsort(shares == 0, axis=1, kind="stable")[:, :count]
    taken: Float32 = np.take_along_axis(shares, order, axis=1)
    return order.astype(np.int32), np.ascontiguousarray(taken, np.float32)


def soft_max_labels(
    logits: Float32, rows: Taps, columns: Taps
) -> tuple[NDArray[np.uint16], Float32]:
    """Label of the highest logit and its soft-max, (n_v, n_u) each.

    Args:
        logits: (h, w, K).
        rows: Of n_v positions along h.
        columns: Of n_u positions along w.
    """
    shape = len(rows[0]), len(columns[0])
    labels, confidence = np.empty(shape, np.uint16), np.empty(shape, np.float32)
    _label(np.ascontiguousarray(logits, np.float32), *rows, *columns, labels, confidence)
    return labels, confidence


# One thread: it takes a tenth of the network's time, and a second pool of threads would stand in
# the way of the network's own.
@kernel(fastmath=True, error_model="numpy", nogil=True)
def _label(
    logits: Float32,
    rows: NDArray[np.int32],
    row_shares: Float32,
    columns: NDArray[np.int32],
    column_shares: Float32,
    labels: NDArray[np.uint16],
    confidence: Float32,
) -> None:
    height, width, count = logits.shape
    lines = logits.reshape(height, width * count)
    line = np.empty((width, count), np.float32)
    cell = np.empty(count, np.float32)
    for v in range(labels.shape[0]):
        _mix(lines, rows[v], row_shares[v], line.reshape(width * count))
        for u in range(labels.shape[1]):
            _mix(line, columns[u], column_shares[u], cell)
            labels[v, u], confidence[v, u] = _highest(cell)


@kernel(fastmath=True, error_model="numpy", nogil=True)
def _mix(cells: Float32, chosen: NDArray[np.int32], shares: Float32, mixed: Float32) -> None:
    """Sum of the chosen rows of cells (n, K) by their shares, into mixed (K,)."""
    share, row = shares[0], cells[chosen[0]]
    for k in range(len(mixed)):
        mixed[k] = share * row[k]
    for tap in range(1, len(chosen)):
        share, row = shares[tap], cells[chosen[tap]]
        if share != 0:
            for k in range(len(mixed)):
                mixed[k] += share * row[k]


@kernel(fastmath=True, error_model="numpy", nogil=True)
def _highest(logits: Float32) -> tuple[int, np.float32]:
    """The first of the highest logits (K,), and its soft-max.

    exp(x) = exp(x / 64)^64, with Taylor's series for exp(x / 64) to the sixth power: 1e-6 of the
    value for x in [-20, 0], and nothing but additions and products, which make vector instructions.
    """
    highest = np.float32(_LOWEST)
    for k in range(len(logits)):
        highest = max(highest, logits[k])
    none = np.int32(len(logits) - 1)
    label = none
    for k in range(len(logits)):
        label = min(label, np.int32(k) if logits[k] == highest else none)
    total = np.float32(0)
    for k in range(len(logits)):
        x = max(logits[k] - highest, np.float32(_NO_MORE)) * np.float32(1 / 64)
        power = np.float32(1 / 120) + x * np.float32(1 / 720)
        power = np.float32(1 / 6) + x * (np.float32(1 / 24) + x * power)
        power = np.float32(1) + x * (np.float32(1) + x * (np.float32(1 / 2) + x * power))
        power *= power
        power *= power
        power *= power
        power *= power
        power *= power
        power *= power
        total += power
    return label, np.float32(1) / total
