"""Ray hits and the scene's tables as the compiled kernels read them; rays that start at hits."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.simulation import materials as mat
from fgsn_ros.simulation.noise import kernel
from fgsn_ros.simulation.seasons import Conditions


class Tables(NamedTuple):
    """The scene as the kernel reads it."""

    uv: NDArray[np.float32]  # (T, 3, 2) surface coordinates of the triangles' corners [m]
    normals: NDArray[np.float32]  # (T, 3) shading normals
    surfaces: NDArray[np.int32]  # (T,) surface ids
    rows: NDArray[np.float32]  # (S, 16) parameters of the surfaces
    keys: NDArray[np.int64]  # (S, 3) material, seed, class of the surfaces
    lamps: NDArray[np.float64]  # (L, 3) lamps near the camera [m]
    vehicle: NDArray[np.float64]  # (4, 4) T_map_base


class Hits(NamedTuple):
    """Ray hits of one image, flattened to P pixels."""

    origin: NDArray[np.float64]  # (3,) camera centre [m]
    rays: NDArray[np.float32]  # (P, 3) directions in the map frame, 1 m deep along the optical axis
    depth: NDArray[np.float32]  # (P,) depth along the optical axis [m], inf for sky
    triangle: NDArray[np.int64]  # (P,)
    inside: NDArray[np.float32]  # (P, 2) barycentric coordinates
    blocked: NDArray[np.uint8]  # (P,) 1: no sun here; on wet ground: its mirror image is no sky


@kernel
def primary_rays(
    first: int, last: int, directions: NDArray[np.float32], T_map_camera: NDArray[np.float64],
    rays: NDArray[np.float32],
) -> None:  # fmt: skip
    """Rays (P, 6) in the map frame of a camera's pixels first..last, directions (P, 3)."""
    for i in range(first, last):
        for row in range(3):
            rays[i, row] = T_map_camera[row, 3]
            total = 0.0
            for column in range(3):
                total += T_map_camera[row, column] * directions[i, column]
            rays[i, 3 + row] = total


@kernel
def second_rays(
    first: int,
    last: int,
    hits: Hits,
    tables: Tables,
    c: Conditions,
    rays: NDArray[np.float32],
    wanted: NDArray[np.bool_],
) -> None:
    """Rays (P, 6) from the hits to the sun, or mirrored at wet ground; wanted (P,) marks them."""
    sun = c.sun[0] > 0.0
    for i in range(first, last):
        wanted[i] = False
        depth = float(hits.depth[i])
        if not depth < 300.0:
            continue
        triangle = hits.triangle[i]
        material = tables.keys[tables.surfaces[triangle], 0]
        dx, dy, dz = float(hits.rays[i, 0]), float(hits.rays[i, 1]), float(hits.rays[i, 2])
        nx, ny, nz = (
            tables.normals[triangle, 0],
            tables.normals[triangle, 1],
            tables.normals[triangle, 2],
        )
        leafy = material == mat.LEAF or material == mat.NEEDLE
        if dx * nx + dy * ny + dz * nz > 0.0 and not leafy:
            nx, ny, nz = -nx, -ny, -nz
        if sun:
            sx, sy, sz = c.sun_direction
            wanted[i] = nx * sx + ny * sy + nz * sz > (-0.4 if leafy else 0.0)
        else:
            wanted[i] = material == mat.ASPHALT or material == mat.SLABS
            turn = 2.0 * (dx * nx + dy * ny + dz * nz)
            sx, sy, sz = dx - turn * nx, dy - turn * ny, dz - turn * nz
        off, ahead = (0.0, 0.22) if leafy else (0.02, 0.01)
        rays[i, 0] = hits.origin[0] + depth * dx + off * nx + ahead * sx
        rays[i, 1] = hits.origin[1] + depth * dy + off * ny + ahead * sy
        rays[i, 2] = hits.origin[2] + depth * dz + off * nz + ahead * sz
        rays[i, 3], rays[i, 4], rays[i, 5] = sx, sy, sz
