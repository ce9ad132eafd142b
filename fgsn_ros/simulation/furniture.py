"""Lamp posts, signs, fences, garden walls, cabinets and bins."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.simulation import materials as mat
from fgsn_ros.simulation.materials import Surface, SurfaceTable, from_srgb
from fgsn_ros.simulation.meshes import MeshBuilder, box, prism, tapered

Array = NDArray[np.float64]
_UP = np.array([0.0, 0.0, 1.0])


@dataclass(frozen=True)
class Workshop:
    """Adds street furniture to a mesh; one seed of looks for a town."""

    builder: MeshBuilder
    table: SurfaceTable

    def lamp_post(self, foot: Array, to_road: Array, height: float, colour: mat.Colour) -> Array:
        """Add a lamp post with an arm towards the road; gives the lamp's position (3,)."""
        metal = self.table.add(Surface(mat.PLAIN, 3, colour))
        top = foot + height * _UP
        tapered(self.builder, foot - 0.2 * _UP, foot + 1.1 * _UP, (0.11, 0.1), 8, metal)
        tapered(self.builder, foot + 1.1 * _UP, top, (0.065, 0.045), 8, metal)
        tip = top + 1.5 * to_road + 0.25 * _UP
        tapered(self.builder, top - 0.03 * _UP, tip, (0.04, 0.035), 6, metal)
        lamp = self.table.add(Surface(mat.LAMP, 4, (0.5, 0.5, 0.48)))
        across = np.cross(_UP, to_road)
        centre = tip + 0.15 * to_road - 0.1 * _UP
        box(
            self.builder,
            centre,
            np.array([to_road, across, _UP]),
            np.array([0.7, 0.24, 0.05]),
            lamp,
        )
        cap = np.array([0.74, 0.28, 0.07])
        axes = np.array([to_road, across, _UP])
        box(self.builder, centre + 0.05 * _UP, axes, cap, metal)
        return np.asarray(centre - 0.15 * _UP)

    def sign(self, foot: Array, facing: Array, rng: np.random.Generator) -> None:
        """Add a post with a traffic sign whose front looks along `facing`."""
        grey = self.table.add(Surface(mat.PLAIN, 5, (0.32, 0.33, 0.34)))
        height = float(rng.uniform(2.3, 2.9))
        tapered(self.builder, foot - 0.2 * _UP, foot + height * _UP, (0.035, 0.035), 7, grey)
        style = int(rng.integers(3))  # 0 round, 1 warning triangle, 2 blue rectangle
        seed = int(rng.integers(1 << 30))
        panel = self.table.add(Surface(mat.PANEL, seed, (0.8, 0.8, 0.8), width=0.7, style=style))
        centre = foot + (height - 0.25) * _UP + 0.06 * facing
        across = np.cross(_UP, facing)
        count, radius, turn = ((20, 0.36, 0.0), (3, 0.46, np.pi / 2), (4, 0.46, np.pi / 4))[style]
        angles = turn + 2 * np.pi * np.arange(count) / count
        local = radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        ring = centre + local[:, :1] * across + local[:, 1:] * _UP
        following = np.roll(ring, -1, axis=0)
        corners = np.stack([np.broadcast_to(centre, ring.shape), ring, following], axis=1)
        uv = np.stack([np.zeros_like(local), local, np.roll(local, -1, axis=0)], axis=1)
        self.builder.add(corners, uv, panel)
        back = corners[:, ::-1] - 0.02 * facing
        self.builder.add(back, uv[:, ::-1], grey)

    def picket_fence(self, line: Array, rng: np.random.Generator) -> None:
        """Add a picket fence along a polyline (N, 3) of feet."""
        wood = from_srgb(*((228, 226, 218) if rng.random() < 0.5 else (126, 98, 74)))
        boards = self.table.add(Surface(mat.BOARDS, int(rng.integers(1 << 30)), wood))
        step = np.linalg.norm(np.diff(line, axis=0), axis=1)
        station = np.concatenate([[0.0], np.cumsum(step)])
        places = np.arange(0.1, station[-1] - 0.1, 0.16)
        feet = np.stack([np.interp(places, station, column) for column in line.T], axis=1)
        along = np.gradient(feet, axis=0)
        along /= np.linalg.norm(along, axis=1, keepdims=True)
        tops = 0.95 + 0.04 * np.sin(places * 1.3) + rng.normal(0, 0.008, len(places))
        half = 0.05 * along
        corners = np.stack([feet - half, feet + half, feet + half, feet - half], axis=1)
        corners[:, 2:, 2] += tops[:, None]
        uv = np.zeros((len(places), 4, 2))
        uv[..., 0] = places[:, None] + np.array([-0.05, 0.05, 0.05, -0.05])
        uv[:, 2:, 1] = tops[:, None]
        self.builder.quads(corners, uv, boards)
        for height in (0.28, 0.72):
            low, high = line + height * _UP, line + (height + 0.08) * _UP
            flat = np.stack([station, np.full(len(line), height)], axis=1)
            self.builder.strip(high, low, flat + np.array([0, 0.08]), flat, boards)

    def garden_wall(self, line: Array, rng: np.random.Generator) -> None:
        """Add a low wall along a polyline (N, 3) of feet."""
        style = int(rng.choice([0, 1, 2]))
        colour = ((150, 88, 68), (208, 200, 184), (160, 152, 140))[style]
        surface = Surface(
            mat.FACADE, int(rng.integers(1 << 30)), from_srgb(*colour), width=-1.0, height=99.0,
            style=style, kind=mat.FENCE,
        )  # fmt: skip
        wall = self.table.add(surface)
        height = float(rng.uniform(0.6, 1.1))
        step = np.diff(line, axis=0, append=line[-1:] * 2 - line[-2:-1])
        across = np.stack([-step[:, 1], step[:, 0], np.zeros(len(line))], axis=1)
        across *= 0.13 / np.linalg.norm(across, axis=1, keepdims=True)
        for i in range(len(line) - 1):
            a, b, q, p = line[i], line[i + 1], across[i + 1], across[i]
            base = np.array([a - p, b - q, b + q, a + p]) - 0.3 * _UP
            prism(self.builder, base, (height + 0.3) * _UP, wall)

    def cabinet(self, foot: Array, to_road: Array, rng: np.random.Generator) -> None:
        """Add a switch cabinet, a bin or a bollard."""
        colour = ((96, 112, 98), (120, 122, 120), (54, 78, 60))[int(rng.integers(3))]
        surface = self.table.add(
            Surface(mat.PLAIN, int(rng.integers(1 << 30)), from_srgb(*colour), style=1)
        )
        axes = np.array([np.cross(to_road, _UP), -to_road, _UP])
        size = np.array(((0.9, 0.4, 1.15), (0.45, 0.45, 0.95), (0.18, 0.18, 0.9))[rng.integers(3)])
        box(self.builder, foot - 0.05 * _UP, axes, size, surface)
