"""The inner loop of the measurement: project map points for every particle, sum the label evidence.

Both versions compute, for particle p with projection matrix P_p (pixels of the label grid),

    score[p] = sum_i weight_i * log_ratio[label seen at round(P_p X_i), map label_i]

where a point outside the grid, closer than NEAR_M or on an unlabelled cell adds 0 (semantic
particle filter of Stenborg et al., ICRA 2018, Sec. III). `score_particles_numpy` is the plain
statement of it; `Evidence.scores` is the compiled one. The latter looks up one table per projection
instead of two: the log-ratios of a map label against all cells of the frame are laid out once.
"""

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating]
Float32 = npt.NDArray[np.float32]
Int32 = npt.NDArray[np.int32]

NEAR_M = 1e-3
"""Points with a smaller depth in front of the camera are not projected [m]."""

BLOCK = 128
"""Particles that a thread works on at once: 12 x 128 floats stay in the L1 cache."""


def score_particles_numpy(
    projections: Array, points: Array, labels: Int32, weights: Array, log_ratio: Array, grid: Int32
) -> Array:
    """Score of each particle, in plain NumPy at the precision of its inputs.

    Args:
        projections: (N, 3, 4) point to homogeneous grid pixel (u z, v z, z).
        points: (M, 3) [m].
        labels: (M,) map labels.
        weights: (M,) weight of each point.
        log_ratio: (K + 1, K) [observed, map]; row K stands for unlabelled cells.
        grid: (H, W) observed labels, K where unlabelled.

    Returns:
        (N,) scores.
    """
    scores = np.empty(len(projections), points.dtype)
    homogeneous = np.concatenate([points, np.ones_like(points[:, :1])], axis=1).T
    for first in range(0, len(projections), 64):
        cells, inside = project_to_cells(projections[first : first + 64] @ homogeneous, grid.shape)
        observed = grid.ravel()[np.where(inside, cells, 0)]
        evidence = np.where(inside, log_ratio[observed, labels], 0) * weights
        scores[first : first + 64] = evidence.sum(axis=1)
    return scores


def project_to_cells(
    projected: Array, shape: tuple[int, ...]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Flat cell index of homogeneous grid pixels (..., 3, M), and which of them lie in the grid.

    Cell (i, j) is centred on pixel (u, v) = (j, i). Indices where `inside` is False mean nothing.
    """
    in_front = projected[..., 2, :] > NEAR_M
    depth = np.where(in_front, projected[..., 2, :], 1)
    u = np.floor(projected[..., 0, :] / depth + 0.5)
    v = np.floor(projected[..., 1, :] / depth + 0.5)
    inside = in_front & (u >= 0) & (v >= 0) & (u < shape[1]) & (v < shape[0])
    column = np.where(inside, u, 0).astype(np.int64)
    row = np.where(inside, v, 0).astype(np.int64)
    return row * shape[1] + column, inside


class Evidence:
    """One frame's labels and chosen points, laid out for the compiled kernel."""

    def __init__(
        self,
        points: Array,
        labels: Int32,
        weights: Array,
        log_ratio: Array,
        grid: Int32,
    ) -> None:
        """Arguments as in `score_particles_numpy`."""
        order = np.argsort(labels, kind="stable")
        map_labels, image_of_point = np.unique(labels[order], return_inverse=True)
        # A border of unlabelled cells around the grid takes every point that is not in the image.
        bordered = np.pad(grid, 1, constant_values=log_ratio.shape[0] - 1).astype(np.uint32)
        rows = np.ascontiguousarray(log_ratio.T[map_labels], np.float32)
        self._shape = bordered.shape
        self._points = _even(points[order].astype(np.float32))
        self._weights = _even(weights[order].astype(np.float32))
        self._image_of_point = _even(image_of_point.astype(np.int32))
        self._images = _evidence_images(rows, bordered.ravel())

    def scores(self, projections: Array) -> Float32:
        """Scores (N,) of projections (N, 3, 4), parallel over particles.

        A particle's sum is taken in a fixed order: the number of threads changes no bit of it.
        """
        count = len(projections)
        blocks = -(-count // BLOCK)
        matrices = np.zeros((blocks * BLOCK, 3, 4), np.float32)
        matrices[:count] = projections
        # Truncating u + 1.5 is rounding u, one cell further for the border.
        matrices[:count, :2] += np.float32(1.5) * matrices[:count, 2:]
        lanes = np.ascontiguousarray(matrices.reshape(blocks, BLOCK, 12).transpose(0, 2, 1))
        scores: Float32 = np.empty((blocks, BLOCK), np.float32)
        height, width = self._shape
        _score_blocks(
            lanes,
            self._points,
            self._image_of_point,
            self._weights,
            self._images,
            np.array([width, width - 1, height - 1], np.float32),
            scores,
        )
        return scores.ravel()[:count]


def _even(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The array with a zero (a point of weight 0) appended if its length is odd."""
    return np.concatenate([values, np.zeros((len(values) % 2, *values.shape[1:]), values.dtype)])


@numba.njit(parallel=True, cache=True)
def _evidence_images(rows: Float32, cells: npt.NDArray[np.uint32]) -> Float32:
    """Log-ratio of each map label in use at each cell: (U, K + 1), (C,) -> (U, C)."""
    images = np.empty((rows.shape[0], cells.shape[0]), np.float32)
    for row in numba.prange(rows.shape[0]):
        for cell in range(cells.shape[0]):
            images[row, cell] = rows[row, cells[cell]]
    return images


@numba.njit(fastmath=True, error_model="numpy", cache=True)
def _project_two(
    lanes: Float32, points: Float32, i: int, size: Float32, cells: npt.NDArray[np.uint32]
) -> None:
    """Cells (2, BLOCK) of points i and i + 1 for a block of particles.

    A loop of its own, so that it vectorises over particles; two points, so that the twelve numbers
    of a particle are loaded half as often.
    """
    row_length, last_u, last_v = size[0], size[1], size[2]
    zero, tiny, one = np.float32(0), np.float32(NEAR_M), np.float32(1)
    for p in range(BLOCK):
        a, b, c, d = lanes[0, p], lanes[1, p], lanes[2, p], lanes[3, p]
        e, f, g, h = lanes[4, p], lanes[5, p], lanes[6, p], lanes[7, p]
        k, l, m, n = lanes[8, p], lanes[9, p], lanes[10, p], lanes[11, p]  # noqa: E741
        for j in range(2):
            x, y, z = points[i + j, 0], points[i + j, 1], points[i + j, 2]
            # Behind the camera both numerators, divided by a tiny depth, end on the border.
            inverse = one / max(k * x + l * y + m * z + n, tiny)
            u = min(max((a * x + b * y + c * z + d) * inverse, zero), last_u)
            v = min(max((e * x + f * y + g * z + h) * inverse, zero), last_v)
            cells[j, p] = np.int32(np.floor(v) * row_length + u)


@numba.njit(fastmath=True, error_model="numpy", cache=True)
def _gather_two(
    images: Float32,
    image_of_point: Int32,
    weights: Float32,
    i: int,
    cells: npt.NDArray[np.uint32],
    sums: Float32,
) -> None:
    """Add the evidence of points i and i + 1. Unsigned cells spare the test for negative ones."""
    first, second = image_of_point[i], image_of_point[i + 1]
    first_weight, second_weight = weights[i], weights[i + 1]
    for p in range(BLOCK):
        near = first_weight * images[first, cells[0, p]]
        sums[p] += near + second_weight * images[second, cells[1, p]]


@numba.njit(parallel=True, fastmath=True, error_model="numpy", cache=True)
def _score_blocks(
    lanes: Float32,
    points: Float32,
    image_of_point: Int32,
    weights: Float32,
    images: Float32,
    size: Float32,
    scores: Float32,
) -> None:
    """Points sorted by image keep one image at a time in the L1 cache; their number is even."""
    for block in numba.prange(lanes.shape[0]):
        cells = np.zeros((2, BLOCK), np.uint32)
        sums = np.zeros(BLOCK, np.float32)
        lane = lanes[block]
        for i in range(0, points.shape[0], 2):
            _project_two(lane, points, i, size, cells)
            _gather_two(images, image_of_point, weights, i, cells, sums)
        scores[block] = sums
