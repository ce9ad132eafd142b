"""Houses: walls with procedural windows and doors, roofs, chimneys."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.simulation import materials as mat
from fgsn_ros.simulation.materials import Surface, SurfaceTable, from_srgb
from fgsn_ros.simulation.meshes import MeshBuilder, box, prism

Array = NDArray[np.float64]

BRICK, PLASTER, STONE, TIMBER = range(4)
GABLE_ALONG, GABLE_ACROSS, HIP, FLAT = range(4)
_FOUNDATION = 2.5  # m of wall below the floor, for sloping ground
_OVERHANG = 0.4  # m

_WALLS = (
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
    style, colour = _WALLS[rng.integers(len(_WALLS))]
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

    return _Walls(surface(plot.width, True, shop, 0), surface(plot.depth, False, 0, 7), height)


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
