"""Houses, and what stands in front of them: lamp posts, signs, fences, garden walls, cabinets."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.simulation import materials as mat
from fgsn_ros.simulation.materials import Surface, SurfaceTable, from_srgb
from fgsn_ros.simulation.meshes import MeshBuilder, box, prism, tapered

Array = NDArray[np.float64]

BRICK, PLASTER, STONE, TIMBER = range(4)
GABLE_ALONG, GABLE_ACROSS, HIP, FLAT = range(4)
SIDE_SEED = 7
"""Seed of a house's sides, less that of its front."""
_FOUNDATION = 2.5  # m of wall below the floor, for sloping ground
_OVERHANG = 0.4  # m
_UP = np.array([0.0, 0.0, 1.0])

WALL_COLOURS = (
    (BRICK, (150, 82, 62)),
    (BRICK, (172, 118, 84)),
    (BRICK, (118, 64, 56)),
    (BRICK, (196, 176, 140)),
    (PLASTER, (226, 214, 186)),
    (PLASTER, (214, 176, 120)),
    (PLASTER, (236, 232, 224)),
    (PLASTER, (176, 196, 190)),
    (PLASTER, (222, 170, 148)),
    (STONE, (158, 150, 138)),
    (STONE, (186, 176, 158)),
    (TIMBER, (140, 42, 34)),
    (TIMBER, (210, 206, 190)),
    (TIMBER, (92, 110, 92)),
)
_ROOFS = ((150, 74, 52), (120, 58, 46), (84, 82, 86), (104, 92, 84), (168, 96, 66))
_FRAMES = ((236, 236, 232), (236, 236, 232), (110, 72, 50), (56, 70, 62))


@dataclass(frozen=True)
class Plot:
    """Where a house stands: its front's middle on the ground and its size."""

    front: Array  # (3,) m, middle of the front wall at the floor
    along: Array  # (3,) unit vector along the front, to the right seen from behind
    outward: Array  # (3,) unit vector away from the street
    width: float  # m
    depth: float  # m
    storeys: int

    def corner(self, x: float, y: float, z: float) -> Array:
        """Point x along, y behind the front, z above the floor."""
        up = np.array([0.0, 0.0, z])
        result: Array = self.front + x * self.along + y * self.outward + up
        return result


@dataclass(frozen=True)
class _Walls:
    front: int
    side: int
    height: float


def build_house(
    builder: MeshBuilder,
    table: SurfaceTable,
    plot: Plot,
    rng: np.random.Generator,
    town_house: bool,
) -> None:
    """Add a house whose looks are drawn from rng."""
    walls = _wall_surfaces(table, plot, rng, town_house)
    w, d = plot.width / 2, plot.depth
    corners = [(-w, 0.0), (w, 0.0), (w, d), (-w, d)]
    for i, (a, b) in enumerate(zip(corners, corners[1:] + corners[:1], strict=True)):
        _wall(builder, plot, (a, b), walls.height, walls.front if i % 2 == 0 else walls.side)
    tiles = table.add(
        Surface(
            mat.TILES, int(rng.integers(1 << 30)), from_srgb(*_ROOFS[rng.integers(len(_ROOFS))])
        )
    )
    shape = int(rng.choice([GABLE_ALONG, GABLE_ALONG, GABLE_ACROSS, HIP, FLAT]))
    rise = float(rng.uniform(0.6, 0.95))
    _roof(builder, table, plot, walls, shape, rise, tiles)
    if shape != FLAT and rng.random() < 0.8:
        _chimney(builder, table, plot, walls.height, rng)


def _wall_surfaces(
    table: SurfaceTable, plot: Plot, rng: np.random.Generator, town_house: bool
) -> _Walls:
    style, colour = WALL_COLOURS[rng.integers(len(WALL_COLOURS))]
    storey = float(rng.uniform(2.7, 3.3))
    height = storey * plot.storeys + float(rng.uniform(0.2, 0.7))
    window = (float(rng.uniform(0.9, 1.5)), float(rng.uniform(1.2, 1.7)))
    tint = rng.uniform(0.85, 1.12, 3)
    linear = np.array(from_srgb(*colour)) * tint
    frame = from_srgb(*_FRAMES[rng.integers(len(_FRAMES))])
    bay = float(rng.uniform(2.5, 3.6))
    seed = int(rng.integers(1 << 30))
    shop = int(town_house and rng.random() < 0.45)

    def surface(width: float, door: bool, is_shop: int, offset: int) -> int:
        bays = max(1, round(width / bay))
        door_bay = int(rng.integers(bays)) if door else -1
        base = (float(linear[0]), float(linear[1]), float(linear[2]))
        return table.add(
            Surface(
                mat.FACADE, seed + offset, base, frame, width, height, storey, width / bays,
                window, style, door_bay, is_shop,
            )
        )  # fmt: skip

    return _Walls(
        surface(plot.width, True, shop, 0), surface(plot.depth, False, 0, SIDE_SEED), height
    )


def _wall(
    builder: MeshBuilder,
    plot: Plot,
    ends: tuple[tuple[float, float], tuple[float, float]],
    height: float,
    surface: int,
) -> None:
    (ax, ay), (bx, by) = ends
    width = float(np.hypot(bx - ax, by - ay))
    corners = [plot.corner(ax, ay, -_FOUNDATION), plot.corner(bx, by, -_FOUNDATION)]
    corners += [plot.corner(bx, by, height), plot.corner(ax, ay, height)]
    uv = np.array([[0, -_FOUNDATION], [width, -_FOUNDATION], [width, height], [0, height]])
    builder.quads(np.array(corners)[None], uv[None], surface)


def _roof(
    builder: MeshBuilder,
    table: SurfaceTable,
    plot: Plot,
    walls: _Walls,
    shape: int,
    rise: float,
    tiles: int,
) -> None:
    w, d, h = plot.width / 2, plot.depth, walls.height
    if shape == FLAT:
        base = [plot.corner(x, y, h) for x, y in ((-w, 0), (w, 0), (w, d), (-w, d))]
        colour = table.surfaces[walls.front].second
        rim = table.add(Surface(mat.PLAIN, 5, colour, kind=mat.ROOF))
        centre = np.array(base).mean(axis=0)
        outer = centre + (np.array(base) - centre) * 1.03
        prism(builder, outer, np.array([0.0, 0.0, 0.35]), rim)
        return
    turned = shape == GABLE_ACROSS
    half, length = (w, d) if turned else (d / 2, 2 * w)
    # Roof frame: r runs along the ridge from 0 to length, q across it from -half to half
    inset = min(half, length / 2 - 0.3) if shape == HIP else 0.0
    o, drop = _OVERHANG, rise * _OVERHANG

    def at(r: float, q: float, z: float) -> Array:
        return plot.corner(q, r, h + z) if turned else plot.corner(r - w, q + d / 2, h + z)

    top = rise * half
    start, end = (-o, length + o)
    ridge = (inset if inset else start, length - inset if inset else end)
    for sign in (-1.0, 1.0):
        eaves = [at(start, sign * (half + o), -drop), at(end, sign * (half + o), -drop)]
        corners = np.array([*eaves, at(ridge[1], 0, top), at(ridge[0], 0, top)])
        slope = float(np.hypot(half + o, top + drop))
        left, right = ridge[0] - start, ridge[1] - start
        uv = np.array([[0, 0], [length + 2 * o, 0], [right, slope], [left, slope]])
        builder.quads(corners[None], uv[None], tiles)
    for r, ridge_end in ((0.0, ridge[0]), (length, ridge[1])):
        if inset:
            outer = r - o if r == 0 else r + o
            face = [at(outer, -half - o, -drop), at(outer, half + o, -drop), at(ridge_end, 0, top)]
            slope = float(np.hypot(inset + o, top + drop))
            uv = np.array([[0, 0], [2 * (half + o), 0], [half + o, slope]])
            builder.add(np.array(face)[None], uv[None], tiles)
        else:
            face = [at(r, -half, 0), at(r, half, 0), at(r, 0, top)]
            uv = np.array([[0, h], [2 * half, h], [half, h + top]])
            gable = walls.front if turned else walls.side
            builder.add(np.array(face)[None], uv[None], gable)


def _chimney(
    builder: MeshBuilder, table: SurfaceTable, plot: Plot, height: float, rng: np.random.Generator
) -> None:
    brick = table.add(
        Surface(
            mat.FACADE, int(rng.integers(1 << 30)), from_srgb(140, 84, 66), width=-1.0,
            height=99.0, style=BRICK, kind=mat.ROOF,
        )
    )  # fmt: skip
    x = float(rng.uniform(-0.35, 0.35)) * plot.width
    y = float(rng.uniform(0.35, 0.65)) * plot.depth
    axes = np.array([plot.along, plot.outward, [0.0, 0.0, 1.0]])
    top = 0.5 * min(plot.width, plot.depth) * 0.9 + 1.0
    box(builder, plot.corner(x, y, height), axes, np.array([0.7, 0.7, top]), brick)


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
