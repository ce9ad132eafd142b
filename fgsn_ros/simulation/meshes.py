"""Triangle meshes with surface coordinates, and the solids that the town is made of."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Triangles = NDArray[np.int64]


@dataclass(frozen=True)
class Mesh:
    """Triangles for ray casting and shading."""

    vertices: NDArray[np.float32]  # (V, 3) m
    triangles: NDArray[np.uint32]  # (T, 3)
    uv: NDArray[np.float32]  # (T, 3, 2) surface coordinates of the corners [m]
    normals: NDArray[np.float32]  # (T, 3) unit shading normals
    surfaces: NDArray[np.int32]  # (T,) surface ids

    @staticmethod
    def joined(meshes: "list[Mesh]") -> "Mesh":
        """One mesh of several."""
        starts = np.cumsum([0] + [len(mesh.vertices) for mesh in meshes])
        triangles = [m.triangles + np.uint32(s) for m, s in zip(meshes, starts, strict=False)]
        return Mesh(
            np.concatenate([mesh.vertices for mesh in meshes]),
            np.concatenate(triangles),
            np.concatenate([mesh.uv for mesh in meshes]),
            np.concatenate([mesh.normals for mesh in meshes]),
            np.concatenate([mesh.surfaces for mesh in meshes]),
        )

    def moved(self, T: Array) -> "Mesh":
        """The mesh moved by T (4, 4)."""
        R = T[:3, :3]
        vertices = (self.vertices @ R.T + T[:3, 3]).astype(np.float32)
        normals = (self.normals @ R.T).astype(np.float32)
        return Mesh(vertices, self.triangles, self.uv, normals, self.surfaces)


@dataclass
class MeshBuilder:
    """Collects triangles; every call adds some with one surface id."""

    corners: list[Array] = field(default_factory=list)
    uv: list[Array] = field(default_factory=list)
    normals: list[Array] = field(default_factory=list)
    surfaces: list[NDArray[np.int32]] = field(default_factory=list)

    def add(self, corners: Array, uv: Array, surface: int, normals: Array | None = None) -> None:
        """Add triangles: corners (T, 3, 3), uv (T, 3, 2), optional shading normals (T, 3)."""
        if normals is None:
            normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        length = np.linalg.norm(normals, axis=1, keepdims=True)
        self.corners.append(corners)
        self.uv.append(uv)
        self.normals.append(normals / np.maximum(length, 1e-12))
        self.surfaces.append(np.full(len(corners), surface, dtype=np.int32))

    def quads(self, corners: Array, uv: Array, surface: int) -> None:
        """Add quads, corners (Q, 4, 3) counter-clockwise seen from outside, uv (Q, 4, 2)."""
        split = [0, 1, 2, 0, 2, 3]
        self.add(corners[:, split].reshape(-1, 3, 3), uv[:, split].reshape(-1, 3, 2), surface)

    def quad(self, corners: Array, size: tuple[float, float], surface: int) -> None:
        """Add one quad (4, 3) whose uv run over [0, size] from its first corner."""
        uv = np.array([[0, 0], [size[0], 0], [size[0], size[1]], [0, size[1]]], dtype=float)
        self.quads(np.asarray(corners, dtype=float)[None], uv[None], surface)

    def strip(
        self, left: Array, right: Array, uv_left: Array, uv_right: Array, surface: int
    ) -> None:
        """Add a strip of quads between two polylines (N, 3), facing up where left is left."""
        corners = np.stack([right[:-1], right[1:], left[1:], left[:-1]], axis=1)
        uv = np.stack([uv_right[:-1], uv_right[1:], uv_left[1:], uv_left[:-1]], axis=1)
        self.quads(corners, uv, surface)

    def build(self) -> Mesh:
        """The mesh of everything that was added."""
        corners = np.concatenate(self.corners).astype(np.float32)
        count = len(corners)
        return Mesh(
            corners.reshape(-1, 3),
            np.arange(3 * count, dtype=np.uint32).reshape(-1, 3),
            np.concatenate(self.uv).astype(np.float32),
            np.concatenate(self.normals).astype(np.float32),
            np.concatenate(self.surfaces),
        )


def box(builder: MeshBuilder, centre: Array, axes: Array, size: Array, surface: int) -> None:
    """Add a box: centre of its base, unit axes as rows (3, 3), size along them [m]."""
    half = np.asarray(axes) * np.array([size[0] / 2, size[1] / 2, 0.0])[:, None]
    base = np.array([-half[0] - half[1], half[0] - half[1], half[0] + half[1], half[1] - half[0]])
    prism(builder, np.asarray(centre) + base, np.asarray(axes)[2] * size[2], surface)


def prism(builder: MeshBuilder, base: Array, up: Array, surface: int) -> None:
    """Add walls and lid of a prism: base (4, 3) counter-clockwise from above, up (3,)."""
    following = np.roll(base, -1, axis=0)
    height = float(np.linalg.norm(up))
    start = 0.0
    for a, b in zip(base, following, strict=True):
        width = float(np.linalg.norm(b - a))
        uv = np.array([[0, 0], [width, 0], [width, height], [0, height]]) + np.array([start, 0.0])
        builder.quads(np.array([a, b, b + up, a + up])[None], uv[None], surface)
        start += width
    width = float(np.linalg.norm(base[1] - base[0]))
    builder.quad(base + up, (width, float(np.linalg.norm(base[2] - base[1]))), surface)


def tapered(
    builder: MeshBuilder,
    start: Array,
    end: Array,
    radii: tuple[float, float],
    sides: int,
    surface: int,
) -> None:
    """Add the side of a tapered cylinder from start to end (3,)."""
    axis = end - start
    length = float(np.linalg.norm(axis))
    axis = axis / length
    across = np.cross(axis, [0.0, 0.0, 1.0] if abs(axis[2]) < 0.9 else [1.0, 0.0, 0.0])
    across /= np.linalg.norm(across)
    angles = np.linspace(0, 2 * np.pi, sides + 1)
    ring = np.cos(angles)[:, None] * across + np.sin(angles)[:, None] * np.cross(axis, across)
    around = angles * radii[0]
    low_uv = np.stack([around, np.zeros(sides + 1)], axis=1)
    high_uv = np.stack([around, np.full(sides + 1, length)], axis=1)
    low, high = start + radii[0] * ring, end + radii[1] * ring
    corners = np.stack([low[:-1], low[1:], high[1:], high[:-1]], axis=1)
    uv = np.stack([low_uv[:-1], low_uv[1:], high_uv[1:], high_uv[:-1]], axis=1)
    builder.quads(corners, uv, surface)


def sphere(subdivisions: int) -> tuple[Array, Triangles]:
    """Unit icosphere: vertices (V, 3) and triangles (T, 3)."""
    g = (1 + 5**0.5) / 2
    raw = [[-1, g, 0], [1, g, 0], [-1, -g, 0], [1, -g, 0], [0, -1, g], [0, 1, g]]
    raw += [[0, -1, -g], [0, 1, -g], [g, 0, -1], [g, 0, 1], [-g, 0, -1], [-g, 0, 1]]
    vertices = np.array(raw) / np.hypot(1, g)
    flat = [
        *(0, 11, 5, 0, 5, 1, 0, 1, 7, 0, 7, 10, 0, 10, 11, 1, 5, 9, 5, 11, 4, 11, 10, 2),
        *(10, 7, 6, 7, 1, 8, 3, 9, 4, 3, 4, 2, 3, 2, 6, 3, 6, 8, 3, 8, 9, 4, 9, 5),
        *(2, 4, 11, 6, 2, 10, 8, 6, 7, 9, 8, 1),
    ]
    triangles = np.array(flat).reshape(-1, 3)
    for _ in range(subdivisions):
        corners = vertices[triangles]
        middles = corners + np.roll(corners, -1, axis=1)
        middles /= np.linalg.norm(middles, axis=2, keepdims=True)
        a, b, c = np.moveaxis(corners, 1, 0)
        ab, bc, ca = np.moveaxis(middles, 1, 0)
        parts = [[a, ab, ca], [ab, b, bc], [ca, bc, c], [ab, bc, ca]]
        vertices = np.concatenate([np.stack(part, axis=1) for part in parts]).reshape(-1, 3)
        triangles = np.arange(len(vertices)).reshape(-1, 3)
    return vertices, triangles


def scattered_patches(
    centres: Array, facing: Array, sizes: Array, rng: np.random.Generator
) -> Array:
    """Corners (N, 3, 3) of randomly turned triangles about centres (N, 3), leaning to `facing`."""
    count = len(centres)
    normal = facing + rng.normal(0, 0.6, (count, 3))
    along = np.cross(normal, rng.normal(0, 1, (count, 3)))
    along /= np.linalg.norm(along, axis=1, keepdims=True) + 1e-9
    across = np.cross(normal, along)
    across /= np.linalg.norm(across, axis=1, keepdims=True) + 1e-9
    size = sizes[:, None]
    corners: Array = np.stack(
        [
            centres - size * (0.6 * along + 0.4 * across),
            centres + size * (0.6 * along - 0.4 * across),
            centres + size * 0.7 * across,
        ],
        axis=1,
    )
    return corners
