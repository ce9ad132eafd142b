"""The inner loop of the measurement on a GPU: `score_particles_numpy` as one Triton kernel.

A program takes a block of particles. It makes their projections from their poses, then goes through
the points one by one: what a point needs is read once for the block, and each particle projects it,
looks its cell's label up and adds the evidence. Nothing but poses and scores passes through the
device's memory; labels and evidence stay in the caches. A particle's sum has one order, and does
not depend on the others.

Not yet measured on a GPU. What is known: in Triton's interpreter its scores are those of NumPy, and
it compiles for one (test_gpu_kernel.py).
"""

from typing import Any

import numpy as np
import torch
import triton
import triton.language as tl

from fgsn_ros.caches import provide
from fgsn_ros.geometry.arrays import Array
from fgsn_ros.localization.kernel import MAX_SIZE, NEAR_M
from fgsn_ros.localization.measurement import EvidenceTable, Grid
from fgsn_ros.localization.selection import SelectedPoints

provide("TRITON_CACHE_DIR")

WARPS = 4
BLOCK, SMALL_BLOCK = 512, 128
"""Particles of a program: four a thread share what is read of a point, one where they are few."""
MANY = 1 << 17
"""From so many particles on, the large blocks are enough to keep a GPU busy."""


class DeviceEvidence:
    """As `kernel.Evidence`, for poses (N, 4, 4) that are tensors on a GPU."""

    def __init__(
        self,
        selected: SelectedPoints,
        origin: Array,
        size_share: float,
        table: EvidenceTable,
        grid: Grid,
        base_to_grid: Array,
        device: Any,
    ) -> None:
        """Send one frame to a device.

        Args:
            selected: Points, in the map.
            origin: (3,) in the map; points are sent relative to it.
            size_share: How much evidence grows with size, [0, 1].
            table: What the labels say.
            grid: (H, W) observed labels, K where unlabelled.
            base_to_grid: (3, 4) from the robot's base to homogeneous grid pixels (u z, v z, z).
            device: The tensors' device.
        """
        # By label, as then a row of the table serves many points.
        selected = selected[np.argsort(selected.labels, kind="stable")]
        origin = origin.astype(np.float32)  # as it is sent: nothing is lost between them
        points = np.empty((len(selected), 6), np.float32)
        points[:, :3] = selected.points - origin
        points[:, 3] = selected.depths
        points[:, 4:] = np.outer(selected.weights, [1.0 - size_share, size_share])
        label_count = table.label_count
        rows = selected.labels.astype(np.int32) * np.int32(label_count + 1)
        rounding = base_to_grid.copy()
        rounding[:2] += 1.5 * base_to_grid[2]  # truncating rounds, one cell further for the border
        camera = np.append(rounding.ravel(), origin).astype(np.float32)
        cells = np.pad(grid, 1, constant_values=label_count)
        cells = cells.astype(np.uint8 if label_count < 256 else np.int32)
        sent = (camera, points, rows, cells)
        self._camera, self._points, self._rows, self._grid = (
            torch.from_numpy(values).to(device) for values in sent
        )
        self._table = table.on(device)

    def scores(self, T_map_base: Any, block: int | None = None) -> Any:
        """Scores (N,), float32, of poses (N, 4, 4) on the device; `block` as in `scores`."""
        return scores(
            T_map_base, self._camera, self._points, self._rows, self._table, self._grid, block
        )


def scores(
    T_map_base: torch.Tensor,
    camera: torch.Tensor,
    points: torch.Tensor,
    rows: torch.Tensor,
    table: torch.Tensor,
    grid: torch.Tensor,
    block: int | None = None,
) -> torch.Tensor:
    """Score (N,) float32 of each pose, all arguments being on the device.

    Args:
        T_map_base: (N, 4, 4) float32.
        camera: (15,) float32: three rows of four from the base to (u + 3/2) z, (v + 3/2) z, z in
            grid pixels, then the point (3,) in the map that `points` are relative to.
        points: (M, 6) float32: x y z [m], depth at the predicted pose [m], weight at any size,
            weight for each time that size.
        rows: (M,) int32: first entry in `table` of each point's map label.
        table: (K, K + 1) float32 [map, observed], 0 for unlabelled cells.
        grid: (H + 2, W + 2) observed labels, K where unlabelled and on a border around the image,
            of any integer type.
        block: Particles of a program, a power of 2; default: by the number of particles.
    """
    poses = T_map_base.contiguous()
    sums = torch.empty(len(poses), dtype=torch.float32, device=poses.device)
    block = block or (BLOCK if len(poses) >= MANY else SMALL_BLOCK)
    height, width = grid.shape
    score_block[(triton.cdiv(len(poses), block),)](
        poses,
        camera,
        points,
        rows,
        table,
        grid,
        sums,
        len(poses),
        len(points),
        width,
        width - 1.0,
        height - 1.0,
        NEAR_M,
        MAX_SIZE,
        block,
        num_warps=WARPS,
        enable_fp_fusion=True,
    )
    return sums


@triton.jit
def score_block(
    poses: tl.tensor,
    camera: tl.tensor,
    points: tl.tensor,
    rows: tl.tensor,
    table: tl.tensor,
    grid: tl.tensor,
    sums: tl.tensor,
    count: tl.tensor,
    point_count: tl.tensor,
    width: tl.tensor,
    last_u: tl.tensor,
    last_v: tl.tensor,
    near: tl.constexpr,
    max_size: tl.constexpr,
    block: tl.constexpr,
) -> None:
    """Sums of one block of particles."""
    particle = tl.program_id(0) * block + tl.arange(0, block)
    live = particle < count
    T = poses + particle.to(tl.int64) * 16
    ux, uy, uz, u1 = _row_of_projection(camera, 0, T, live)
    vx, vy, vz, v1 = _row_of_projection(camera, 4, T, live)
    zx, zy, zz, z1 = _row_of_projection(camera, 8, T, live)
    total = tl.zeros([block], tl.float32)
    for i in range(point_count):
        x = tl.load(points + 6 * i)
        y = tl.load(points + 6 * i + 1)
        z = tl.load(points + 6 * i + 2)
        # Behind the camera, numerators over a tiny depth land far outside, which is the border.
        inverse = 1.0 / tl.maximum(z1 + zx * x + zy * y + zz * z, near)
        u = (u1 + ux * x + uy * y + uz * z) * inverse
        v = (v1 + vx * x + vy * y + vz * z) * inverse
        column = tl.minimum(tl.maximum(u, 0.0), last_u).to(tl.int32)
        row = tl.minimum(tl.maximum(v, 0.0), last_v).to(tl.int32)
        observed = tl.load(grid + (row * width + column)).to(tl.int32)
        evidence = tl.load(table + tl.load(rows + i) + observed)
        size = tl.minimum(tl.load(points + 6 * i + 3) * inverse, max_size)
        total += (tl.load(points + 6 * i + 4) + tl.load(points + 6 * i + 5) * size) * evidence
    tl.store(sums + particle, total, live)


@triton.jit
def _row_of_projection(
    camera: tl.tensor, row: tl.constexpr, T: tl.tensor, live: tl.tensor
) -> tl.tensor:
    """A row of each particle's projection (3, 4): camera row, times the inverse of its pose."""
    m0, m1 = tl.load(camera + row), tl.load(camera + row + 1)
    m2, m3 = tl.load(camera + row + 2), tl.load(camera + row + 3)
    x = m0 * tl.load(T, live, 0.0) + m1 * tl.load(T + 1, live, 0.0) + m2 * tl.load(T + 2, live, 0.0)
    y = m0 * tl.load(T + 4, live, 0.0) + m1 * tl.load(T + 5, live, 0.0)
    y += m2 * tl.load(T + 6, live, 0.0)
    z = m0 * tl.load(T + 8, live, 0.0) + m1 * tl.load(T + 9, live, 0.0)
    z += m2 * tl.load(T + 10, live, 0.0)
    offset = x * (tl.load(T + 3, live, 0.0) - tl.load(camera + 12))
    offset += y * (tl.load(T + 7, live, 0.0) - tl.load(camera + 13))
    offset += z * (tl.load(T + 11, live, 0.0) - tl.load(camera + 14))
    return x, y, z, m3 - offset
