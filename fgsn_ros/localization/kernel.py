"""The inner loop of the measurement: project map points for every particle, sum the label evidence.

Both versions compute, for particle p with projection matrix P_p (pixels of the label grid),

    score[p] = sum_i weight_i * size_pi * table[label seen at round(P_p X_i), map label_i]

where a point outside the grid, closer than NEAR_M or on an unlabelled cell adds 0 (semantic
particle filter of Stenborg et al., ICRA 2018, Sec. III), and

    size_pi = 1 - size_share + size_share * min(depth_i / depth of X_i for p, MAX_SIZE)

with depth_i the depth at the predicted pose. `score_particles_numpy` is the plain statement of it;
`Evidence.scores` is the compiled one. Its points are sorted by label, so that the
row of the table that they need is in the L1 cache, and the grid has as few bytes as its labels.
"""

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from fgsn_ros.kernel_cache import kernel
from fgsn_ros.localization.selection import SelectedPoints

Array = npt.NDArray[np.floating]
Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Int32 = npt.NDArray[np.int32]
Cells = npt.NDArray[np.uint32]
Grid = npt.NDArray[np.unsignedinteger[Any]]

# OpenMP is what would serve anyway; asked first, an old TBB beside it is no reason for a warning.
numba.config.THREADING_LAYER_PRIORITY = ["omp", "tbb", "workqueue"]  # type: ignore[attr-defined]

NEAR_M = 1e-3
"""Points with a smaller depth in front of the camera are not projected [m]."""

MAX_SIZE = 2.0
"""A pose that shows a point at more than this size of the predicted gains no more by it."""

BLOCK = 128
"""Particles that a thread works on at once: 12 x 128 floats stay in the L1 cache."""

_MOST_THREADS = int(numba.config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]

GROUP = 4
"""Points that are projected before their evidence is gathered."""


def score_particles_numpy(
    projections: Array, selected: SelectedPoints, size_share: float, table: Array, grid: Int32
) -> Array:
    """Score of each particle, in plain NumPy at the precision of its inputs.

    Args:
        projections: (N, 3, 4) point to homogeneous grid pixel (u z, v z, z).
        selected: Points, in the frame that `projections` are from.
        size_share: How much evidence grows with size, [0, 1].
        table: (K + 1, K) [observed, map] evidence [nat]; row K stands for unlabelled cells.
        grid: (H, W) observed labels, K where unlabelled.

    Returns:
        (N,) scores.
    """
    points = selected.points
    scores = np.empty(len(projections), points.dtype)
    homogeneous = np.concatenate([points, np.ones_like(points[:, :1])], axis=1).T
    for first in range(0, len(projections), 64):
        projected = projections[first : first + 64] @ homogeneous
        cells, inside = project_to_cells(projected, grid.shape)
        observed = grid.ravel()[np.where(inside, cells, 0)]
        sizes = np.minimum(selected.depths / np.maximum(projected[:, 2], NEAR_M), MAX_SIZE)
        grown = selected.weights * (1.0 - size_share + size_share * sizes)
        evidence = np.where(inside, table[observed, selected.labels], 0) * grown
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


@kernel(nogil=True)
def projections(T_map_base: Float64, base_to_grid: Float64, origin: Float64) -> Float64:
    """(N, 3, 4) from points relative to `origin` (3,) in the map to homogeneous grid pixels.

    Args:
        T_map_base: (N, 4, 4).
        base_to_grid: (3, 4) from the frame of these poses to homogeneous grid pixels.
        origin: (3,) in the map.
    """
    matrices = np.empty((len(T_map_base), 3, 4))
    for n in range(len(T_map_base)):
        T = T_map_base[n]
        offset = origin[0] - T[0, 3], origin[1] - T[1, 3], origin[2] - T[2, 3]
        for i in range(3):
            x, y, z = base_to_grid[i, 0], base_to_grid[i, 1], base_to_grid[i, 2]
            total = base_to_grid[i, 3]
            for j in range(3):
                matrices[n, i, j] = x * T[j, 0] + y * T[j, 1] + z * T[j, 2]
                total += matrices[n, i, j] * offset[j]
            matrices[n, i, 3] = total
    return matrices


class Evidence:
    """One frame's labels and chosen points, laid out for the compiled kernel."""

    def __init__(
        self,
        selected: SelectedPoints,
        size_share: float,
        table: Array,
        grid: Int32,
        threads: int = 0,
    ) -> None:
        """Arguments as in `score_particles_numpy`; `threads` as in `MeasurementSettings`."""
        self._threads = min(threads or _MOST_THREADS, _MOST_THREADS)
        order = np.argsort(selected.labels.astype(np.uint16), kind="stable")  # a radix sort
        selected = selected[order]
        # A border of unlabelled cells around the grid takes every point that is not in the image.
        unlabelled = table.shape[0] - 1
        bordered = np.pad(grid, 1, constant_values=unlabelled)
        self._shape = bordered.shape
        self._grid = bordered.ravel().astype(np.min_scalar_type(unlabelled))
        self._rows = np.ascontiguousarray(table.T, np.float32)
        self._points = _whole_groups(selected.points.astype(np.float32))
        parts = np.outer(selected.weights.astype(np.float32), [1.0 - size_share, size_share])
        self._weights = _whole_groups(parts.astype(np.float32))
        self._depths = _whole_groups(selected.depths.astype(np.float32))
        self._labels = _whole_groups(selected.labels.astype(np.int32))

    def scores(self, projections: Array) -> Float32:
        """Scores (N,) of projections (N, 3, 4), parallel over particles.

        A particle's sum is taken in a fixed order: the number of threads changes no bit of it.
        """
        lanes = _lanes(projections)
        scores: Float32 = np.empty((len(lanes), BLOCK), np.float32)
        height, width = self._shape
        numba.set_num_threads(self._threads)  # of the calling thread
        _score_blocks(
            lanes,
            self._points,
            self._depths,
            self._labels,
            self._weights,
            self._rows,
            self._grid,
            np.array([width, width - 1, height - 1], np.uint32),
            scores,
        )
        return scores.ravel()[: len(projections)]


def score_places(
    projections: Array,
    first: npt.NDArray[np.int64],
    last: npt.NDArray[np.int64],
    points: Float32,
    labels: Int32,
    weights: Float32,
    table: Float32,
    grid: Int32,
) -> Array:
    """Sum (N,) of the evidence of each projection's own points, of any size alike.

    Args:
        projections: (N, 3, 4) point to homogeneous grid pixel (u z, v z, z).
        first: (N,) first of the points of each.
        last: (N,) the one after its last.
        points: (M, 3).
        labels: (M,) map labels.
        weights: (M,) of the points.
        table: (K + 1, K) [observed, map] evidence [nat]; row K stands for unlabelled cells.
        grid: (H, W) observed labels, K where unlabelled.
    """
    sums: Float32 = np.empty(len(projections), np.float32)
    matrices = np.ascontiguousarray(projections, np.float32)
    first, last = (np.ascontiguousarray(ends, np.int64) for ends in (first, last))
    _score_places(matrices, first, last, points, labels, weights, table, grid, sums)
    return sums.astype(np.float64)


@kernel(fastmath=True, error_model="numpy")
def _score_places(
    matrices: Float32,
    first: npt.NDArray[np.int64],
    last: npt.NDArray[np.int64],
    points: Float32,
    labels: Int32,
    weights: Float32,
    table: Float32,
    grid: Int32,
    sums: Float32,
) -> None:
    height, width = grid.shape
    for n in range(matrices.shape[0]):
        m = matrices[n]
        total = np.float32(0)
        for i in range(first[n], last[n]):
            x, y, z = points[i, 0], points[i, 1], points[i, 2]
            depth = m[2, 0] * x + m[2, 1] * y + m[2, 2] * z + m[2, 3]
            if depth < np.float32(NEAR_M):
                continue
            u = (m[0, 0] * x + m[0, 1] * y + m[0, 2] * z + m[0, 3]) / depth + np.float32(0.5)
            v = (m[1, 0] * x + m[1, 1] * y + m[1, 2] * z + m[1, 3]) / depth + np.float32(0.5)
            if u >= 0 and v >= 0 and u < width and v < height:
                total += weights[i] * table[grid[int(v), int(u)], labels[i]]
        sums[n] = total


def _whole_groups(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The array with zeros (points of weight 0) appended up to whole groups."""
    missing = -len(values) % GROUP
    return np.concatenate([values, np.zeros((missing, *values.shape[1:]), values.dtype)])


@kernel(nogil=True)
def _lanes(projections: Array) -> Float32:
    """Projections (N, 3, 4) as whole blocks (B, 12, BLOCK), the particles of a block side by side.

    Truncating u + 1.5 is rounding u, one cell further for the border.
    """
    lanes = np.zeros((-(-len(projections) // BLOCK), 12, BLOCK), np.float32)
    for n in range(len(projections)):
        lane, p = lanes[n // BLOCK], n % BLOCK
        for i in range(2, -1, -1):
            for j in range(4):
                lane[4 * i + j, p] = projections[n, i, j]
                if i < 2:
                    lane[4 * i + j, p] += np.float32(1.5) * lane[8 + j, p]
    return lanes


@kernel(fastmath=True, error_model="numpy")
def _project(
    lanes: Float32,
    points: Float32,
    depth_before: Float32,
    i: int,
    size: Cells,
    cells: Cells,
    sizes: Float32,
    row_of_cells: int,
) -> None:
    """Cells and sizes (BLOCK,) of point i for a block of particles; a loop that vectorises.

    `size` is row length, last column and last row of the bordered grid. Truncated to integers and
    read as unsigned, coordinates before the first cell are huge: one `min` clamps both ends.
    """
    row_length, last_u, last_v = size[0], size[1], size[2]
    x, y, z = points[i, 0], points[i, 1], points[i, 2]
    before = depth_before[i]
    for p in range(BLOCK):
        depth = lanes[8, p] * x + lanes[9, p] * y + lanes[10, p] * z + lanes[11, p]
        # Behind the camera, numerators over a tiny depth land far outside, which is the border.
        inverse = np.float32(1) / max(depth, np.float32(NEAR_M))
        u = (lanes[0, p] * x + lanes[1, p] * y + lanes[2, p] * z + lanes[3, p]) * inverse
        v = (lanes[4, p] * x + lanes[5, p] * y + lanes[6, p] * z + lanes[7, p]) * inverse
        column = min(np.uint32(np.int32(u)), last_u)
        row = min(np.uint32(np.int32(v)), last_v)
        cells[row_of_cells, p] = row * row_length + column
        sizes[row_of_cells, p] = min(before * inverse, np.float32(MAX_SIZE))


@kernel(fastmath=True, error_model="numpy")
def _gather(
    rows: Float32,
    grid: Grid,
    labels: Int32,
    weights: Float32,
    i: int,
    cells: Cells,
    sizes: Float32,
    sums: Float32,
) -> None:
    """Add the evidence of points i to i + 3: the sums are loaded and stored once for four."""
    row_0, row_1, row_2, row_3 = labels[i], labels[i + 1], labels[i + 2], labels[i + 3]
    fixed_0, grown_0 = weights[i, 0], weights[i, 1]
    fixed_1, grown_1 = weights[i + 1, 0], weights[i + 1, 1]
    fixed_2, grown_2 = weights[i + 2, 0], weights[i + 2, 1]
    fixed_3, grown_3 = weights[i + 3, 0], weights[i + 3, 1]
    for p in range(BLOCK):
        first = (fixed_0 + grown_0 * sizes[0, p]) * rows[row_0, grid[cells[0, p]]]
        second = (fixed_1 + grown_1 * sizes[1, p]) * rows[row_1, grid[cells[1, p]]]
        third = (fixed_2 + grown_2 * sizes[2, p]) * rows[row_2, grid[cells[2, p]]]
        fourth = (fixed_3 + grown_3 * sizes[3, p]) * rows[row_3, grid[cells[3, p]]]
        sums[p] += (first + second) + (third + fourth)


@kernel(parallel=True, fastmath=True, error_model="numpy")
def _score_blocks(
    lanes: Float32,
    points: Float32,
    depths: Float32,
    labels: Int32,
    weights: Float32,
    rows: Float32,
    grid: Grid,
    size: Cells,
    scores: Float32,
) -> None:
    """Points, whole groups, sorted by label: one row is in use at a time."""
    for block in numba.prange(lanes.shape[0]):
        cells = np.zeros((GROUP, BLOCK), np.uint32)
        sizes = np.zeros((GROUP, BLOCK), np.float32)
        sums = np.zeros(BLOCK, np.float32)
        lane = lanes[block]
        for i in range(0, points.shape[0], GROUP):
            for j in range(GROUP):
                _project(lane, points, depths, i + j, size, cells, sizes, j)
            _gather(rows, grid, labels, weights, i, cells, sizes, sums)
        scores[block] = sums
