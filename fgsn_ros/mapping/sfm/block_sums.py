"""Sparse matrices gathered block by block."""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import bsr_matrix

FloatArray = NDArray[np.float64]
Indices = NDArray[np.int64]


class Blocks:
    """A sparse matrix, gathered block by block, and the gradient of its rows.

    Blocks of one place are summed as they come: observations are many, the images that they are of
    few.
    """

    def __init__(self, rows: int, columns: int | None = None) -> None:
        self.shape = rows, rows if columns is None else columns
        self.gradient = np.zeros((rows, 6))
        self._keys: list[Indices] = []
        self._blocks: list[FloatArray] = []

    def add(self, rows: Indices, columns: Indices, blocks: FloatArray) -> None:
        """Add blocks (B, a, b) at rows (B,) and columns (B,)."""
        keys, summed = _summed_by_key(rows * self.shape[1] + columns, blocks)
        self._keys.append(keys)
        self._blocks.append(summed)

    def descend(self, rows: Indices, gradient: FloatArray) -> None:
        """Add to the gradient (B, 6) of rows (B,)."""
        np.add.at(self.gradient, rows, gradient)

    def summed(self) -> tuple[Indices, Indices, FloatArray]:
        """Distinct rows and columns of blocks, by row, and their sums (B, ...)."""
        keys, summed = _summed_by_key(np.concatenate(self._keys), np.concatenate(self._blocks))
        return keys // self.shape[1], keys % self.shape[1], summed


def _summed_by_key(keys: Indices, blocks: FloatArray) -> tuple[Indices, FloatArray]:
    """Distinct keys, ascending, and the sums of their blocks."""
    distinct, number = np.unique(keys, return_inverse=True)
    return distinct, group_sums(blocks, number, len(distinct))


def bsr(rows: Indices, columns: Indices, blocks: FloatArray, shape: tuple[int, int]) -> bsr_matrix:
    """The sparse matrix of distinct blocks (B, a, b), of so many rows and columns of blocks."""
    order = np.lexsort((columns, rows))
    starts = np.searchsorted(rows[order], np.arange(shape[0] + 1))
    height, width = blocks.shape[1:]
    size = shape[0] * height, shape[1] * width
    return bsr_matrix((blocks[order], columns[order], starts), shape=size)


def group_sums(values: FloatArray, group: Indices, count: int) -> FloatArray:
    """Sums of values (M, ...) by group (M,) -> (count, ...)."""
    flat = values.reshape(len(values), math.prod(values.shape[1:]))
    sums = [np.bincount(group, column, minlength=count) for column in flat.T]
    stacked: FloatArray = np.stack(sums, axis=-1).astype(np.float64)
    return stacked.reshape(count, *values.shape[1:])
