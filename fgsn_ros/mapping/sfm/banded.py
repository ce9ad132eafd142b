"""Positive definite systems whose unknowns are coupled along a road: a band, and a border."""

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_solve_banded, cholesky_banded
from scipy.sparse import bsr_matrix, csc_matrix, csr_matrix
from scipy.sparse.csgraph import reverse_cuthill_mckee
from scipy.sparse.linalg import splu

FloatArray = NDArray[np.float64]
Indices = NDArray[np.int64]
_MOST_NUMBERS = 2.5e8
"""Of a band; a wider one is left to a general solver."""


def solved(H: bsr_matrix, right: FloatArray, border: int) -> FloatArray:
    """Solution of H x = right, for a symmetric positive definite matrix of square blocks.

    All but the last blocks of rows are put in the order of Cuthill and McKee (1969), reversed,
    which brings what is coupled together; the last, which may be coupled with all, are eliminated.

    Args:
        H: (n, n).
        right: (n,).
        border: Blocks at the end that are coupled with many others.

    Returns:
        (n,).
    """
    size = H.blocksize[0]
    order = _order(H, len(right) // size - border)
    rows = (order[:, None] * size + np.arange(size)).ravel()
    inner = H.tocsr()[rows][:, rows].tocoo()
    below = inner.row >= inner.col
    down = (inner.row - inner.col)[below]
    width = int(down.max(initial=0)) + 1
    if width * len(rows) > _MOST_NUMBERS:
        return _general(H, right)
    band = np.zeros((width, len(rows)))
    band[down, inner.col[below]] = inner.data[below]
    try:
        factor = cholesky_banded(band, overwrite_ab=True, lower=True, check_finite=False)
    except LinAlgError:  # by rounding no more positive definite
        return _general(H, right)
    return _with_border(csr_matrix(H), rows, factor, right)


def _order(H: bsr_matrix, count: int) -> Indices:
    """The first blocks, so that those that are coupled are near each other."""
    blocks = csr_matrix((np.ones(len(H.indices), np.int8), H.indices, H.indptr))
    return np.asarray(reverse_cuthill_mckee(blocks[:count, :count], symmetric_mode=True), np.int64)


def _with_border(H: csr_matrix, rows: Indices, factor: FloatArray, right: FloatArray) -> FloatArray:
    """The solution, by the Schur complement of what is not among the rows."""
    rest = np.setdiff1d(np.arange(len(right)), rows)
    across = H[rows][:, rest].toarray()
    both = np.column_stack([right[rows], across])
    inner = cho_solve_banded((factor, True), both, overwrite_b=True, check_finite=False)
    x = np.empty_like(right)
    corner = H[rest][:, rest].toarray() - across.T @ inner[:, 1:]
    x[rest] = np.linalg.solve(corner, right[rest] - across.T @ inner[:, 0])
    x[rows] = inner[:, 0] - inner[:, 1:] @ x[rest]
    return x


def _general(H: bsr_matrix, right: FloatArray) -> FloatArray:
    factors = splu(csc_matrix(H), permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True})
    return np.asarray(factors.solve(right))
