"""The main street, a closed winding loop, its side streets, and the ground that they lie on."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from fgsn_ros.simulation import materials as mat
from fgsn_ros.simulation.materials import Surface, SurfaceTable
from fgsn_ros.simulation.meshes import MeshBuilder

Array = NDArray[np.float64]

LANE_WIDTH = 3.2  # m
ROAD_HALF_WIDTH = 5.3  # m, a lane and a parking strip
PAVEMENT_END = 7.5  # m from the centre line
VERGE_END = 9.0  # m from the centre line
KERB_HEIGHT = 0.12  # m
SIDE_HALF_WIDTH = 3.0  # m, road of a side street
SIDE_LENGTH = 55.0  # m
_STEP = 0.5  # m, of the centre line
_CROSSING_LENGTH = 4.0  # m along the street


@dataclass(frozen=True)
class Ground:
    """Height of the ground: a few long waves, rising to hills at the horizon."""

    waves: Array  # (W, 4): wave vector x, y [rad/m], phase [rad], amplitude [m]

    @staticmethod
    def drawn(rng: np.random.Generator) -> "Ground":
        """Draw waves whose slopes add up to some per cent."""
        length = np.array([260.0, 190.0, 140.0, 95.0])
        angle = rng.uniform(0, 2 * np.pi, 4)
        k = 2 * np.pi / length
        amplitude = 0.012 * length / (2 * np.pi) * rng.uniform(0.8, 1.7, 4)
        phase = rng.uniform(0, 2 * np.pi, 4)
        return Ground(np.stack([k * np.cos(angle), k * np.sin(angle), phase, amplitude], axis=1))

    def height(self, xy: ArrayLike) -> Array:
        """Height (...) [m] at points (..., 2)."""
        xy = np.asarray(xy, dtype=float)
        phase = xy @ self.waves[:, :2].T + self.waves[:, 2]
        outside = np.clip((np.linalg.norm(xy, axis=-1) - 230.0) / 150.0, 0.0, 1.0)
        hills = 26.0 * outside**2 * (1.0 + 0.4 * np.sin(5 * np.arctan2(xy[..., 1], xy[..., 0])))
        result: Array = np.sin(phase) @ self.waves[:, 3] + hills
        return result

    def normal(self, xy: ArrayLike) -> Array:
        """Unit normal (..., 3) at points (..., 2)."""
        xy = np.asarray(xy, dtype=float)
        d = 0.2
        along, across = np.array([d, 0.0]), np.array([0.0, d])
        dx = self.height(xy + along) - self.height(xy - along)
        dy = self.height(xy + across) - self.height(xy - across)
        normal = np.stack([-dx, -dy, np.full_like(dx, 2 * d)], axis=-1)
        result: Array = normal / np.linalg.norm(normal, axis=-1, keepdims=True)
        return result


@dataclass(frozen=True)
class Street:
    """The centre line of the main street, counter-clockwise, by arc length."""

    points: Array  # (N, 2) m, every `step` metres; the last is one step before the first
    length: float  # m
    junctions: Array  # (J, 2): station [m], side (+1 left, -1 right)
    crossings: Array  # (C,) stations of zebra crossings [m]

    @staticmethod
    def drawn(rng: np.random.Generator) -> "Street":
        """Draw a loop of 600 to 800 m whose bends are wider than 30 m."""
        target = rng.uniform(600.0, 800.0)
        points = _closed_curve(rng, target)
        length = float(np.linalg.norm(np.roll(points, -1, axis=0) - points, axis=1).sum())
        first = rng.uniform(20.0, 60.0)
        stations = np.arange(first, length - 40.0, rng.uniform(85.0, 110.0))
        stations = stations + rng.uniform(-8.0, 8.0, len(stations))
        sides = np.where(rng.random(len(stations)) < 0.6, -1.0, 1.0)  # right is outside the loop
        crossings = stations[::2] + 14.0
        return Street(points, length, np.stack([stations, sides], axis=1), crossings)

    def at(self, station: ArrayLike, lateral: ArrayLike = 0.0) -> Array:
        """Points (..., 2) at a station [m] and a lateral offset to the left [m]."""
        centre, tangent = self.axes(station)
        left = np.stack([-tangent[..., 1], tangent[..., 0]], axis=-1)
        result: Array = centre + np.asarray(lateral, dtype=float)[..., None] * left
        return result

    def axes(self, station: ArrayLike) -> tuple[Array, Array]:
        """Centre line points (..., 2) and unit tangents (..., 2)."""
        count = len(self.points)
        index = np.mod(np.asarray(station, dtype=float), self.length) / self.length * count
        low = np.floor(index).astype(int) % count
        part = (index - np.floor(index))[..., None]
        tangents = np.roll(self.points, -1, axis=0) - np.roll(self.points, 1, axis=0)
        points = self.points[low] * (1 - part) + self.points[(low + 1) % count] * part
        tangent = tangents[low] * (1 - part) + tangents[(low + 1) % count] * part
        return points, tangent / np.linalg.norm(tangent, axis=-1, keepdims=True)

    def distance(self, xy: ArrayLike) -> Array:
        """Distance (...) [m] of points (..., 2) from the centre lines of all streets."""
        lines = [self.points]
        for station, side in self.junctions:
            along = np.arange(0.0, SIDE_LENGTH + 1.0, 1.0)
            line = self.at(np.full(len(along), station), side * along)
            # A side street is narrower: shift its distances to those of the main street
            lines.append(line)
        main = cKDTree(lines[0]).query(xy)[0]
        for line in lines[1:]:
            side = cKDTree(line).query(xy)[0] + ROAD_HALF_WIDTH - SIDE_HALF_WIDTH
            main = np.minimum(main, side)
        return np.asarray(main)

    def is_open(self, station: float, side: float, margin: float = 0.0) -> bool:
        """Whether no side street leaves on that side within margin [m] of its kerbs."""
        same = self.junctions[self.junctions[:, 1] == np.sign(side)]
        gap = np.abs(np.mod(same[:, 0] - station + self.length / 2, self.length) - self.length / 2)
        return bool(np.all(gap > SIDE_HALF_WIDTH + margin))


def _closed_curve(rng: np.random.Generator, length: float) -> Array:
    angle = np.linspace(0, 2 * np.pi, 4096, endpoint=False)
    strength = 1.0
    orders = np.arange(2, 6)
    weights = rng.uniform(0.4, 1.0, 4) * np.array([0.20, 0.13, 0.08, 0.04])
    phases = rng.uniform(0, 2 * np.pi, 4)
    while True:
        radius = 1 + strength * (weights * np.cos(angle[:, None] * orders + phases)).sum(axis=1)
        curve = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        step = np.linalg.norm(np.roll(curve, -1, axis=0) - curve, axis=1)
        curve *= length / step.sum()
        if _smallest_radius(curve) > 30.0:
            break
        strength *= 0.9
    station = np.concatenate([[0.0], np.cumsum(step)[:-1]]) * length / step.sum()
    count = round(length / _STEP)
    wanted = np.arange(count) * length / count
    return np.stack([np.interp(wanted, station, c, period=length) for c in curve.T], axis=1)


def _smallest_radius(curve: Array) -> float:
    first = np.roll(curve, -8, axis=0) - curve
    heading = np.unwrap(np.arctan2(first[:, 1], first[:, 0]))
    turn = np.abs(np.roll(heading, -8) - heading)
    turn = np.minimum(turn, 2 * np.pi - turn)
    return float(np.min(np.linalg.norm(first, axis=1) / np.maximum(turn, 1e-9)))


def build_ground(
    builder: MeshBuilder, table: SurfaceTable, ground: Ground, street: Street, seed: int
) -> None:
    """Add roads, pavements, verges and the terrain around them."""
    _StreetBuilder(builder, table, ground, street, seed).build()


@dataclass(frozen=True)
class _StreetBuilder:
    builder: MeshBuilder
    table: SurfaceTable
    ground: Ground
    street: Street
    seed: int

    def build(self) -> None:
        self._terrain()
        self._main_road()
        grass = self._surface(mat.GRASS, (0.13, 0.21, 0.05))
        slabs = self._surface(mat.SLABS, (0.30, 0.29, 0.27))
        kerb = self._surface(mat.KERBSTONE, (0.38, 0.38, 0.37))
        for side in (1.0, -1.0):
            for first, last in self._kerb_runs(side):
                self._roadside(first, last, side, (grass, slabs, kerb))
        for station, side in self.street.junctions:
            self._side_street(station, side, (grass, slabs, kerb))

    def _surface(self, material: int, colour: mat.Colour, style: int = 0) -> int:
        return self.table.add(Surface(material, self.seed + 17 * material, colour, style=style))

    def _terrain(self) -> None:
        axis = np.arange(-400.0, 401.0, 5.0)
        grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1)
        distance = self.street.distance(grid.reshape(-1, 2)).reshape(grid.shape[:2])
        height = self.ground.height(grid) - np.where(distance < VERGE_END + 5.0, 0.35, 0.0)
        points = np.concatenate([grid, height[..., None]], axis=-1)
        corners = np.stack([points[:-1, :-1], points[1:, :-1], points[1:, 1:], points[:-1, 1:]], 2)
        corners = corners.reshape(-1, 4, 3)
        surface = self._surface(mat.GRASS, (0.12, 0.20, 0.05))
        self.builder.quads(corners, corners[..., :2], surface)

    def _main_road(self) -> None:
        colour = (0.085, 0.085, 0.09)
        kinds = [self._surface(mat.ASPHALT, colour, style) for style in range(3)]
        cuts = [0.0, self.street.length]
        spans = [(s, _CROSSING_LENGTH / 2, 1) for s in self.street.crossings]
        spans += [(s, SIDE_HALF_WIDTH + 0.5, 2) for s in self.street.junctions[:, 0]]
        for station, half, _ in spans:
            cuts += [station - half, station + half]
        cuts = sorted(cuts)
        for first, last in pairwise(cuts):
            middle = (first + last) / 2
            kind = next((k for s, half, k in spans if abs(s - middle) < half), 0)
            origin = first if kind == 1 else 0.0
            self._lengthwise(first, last, (ROAD_HALF_WIDTH, 0.0), kinds[kind], origin)
            self._lengthwise(first, last, (0.0, -ROAD_HALF_WIDTH), kinds[kind], origin)

    def _kerb_runs(self, side: float) -> list[tuple[float, float]]:
        """Stretches of the street's side between its side streets."""
        stations = sorted(s for s, z in self.street.junctions if z == side)
        if not stations:
            return [(0.0, self.street.length)]
        following = [*stations[1:], stations[0] + self.street.length]
        return [
            (a + SIDE_HALF_WIDTH, b - SIDE_HALF_WIDTH)
            for a, b in zip(stations, following, strict=True)
        ]

    def _roadside(
        self, first: float, last: float, side: float, surfaces: tuple[int, int, int]
    ) -> None:
        grass, slabs, kerb = surfaces
        edges = (ROAD_HALF_WIDTH, ROAD_HALF_WIDTH + 0.15, PAVEMENT_END, VERGE_END, 19.0)
        top = KERB_HEIGHT
        profile = [(0.0, top, kerb), (top, top, kerb), (top, top, slabs), (top, 0.05, grass)]
        profile += [(0.05, -0.05, grass)]
        inner = (edges[0], *edges[:-1])
        for low, high, (z0, z1, surface) in zip(inner, edges, profile, strict=True):
            lateral = (side * high, side * low) if side > 0 else (side * low, side * high)
            heights = (z1, z0) if side > 0 else (z0, z1)
            self._lengthwise(first, last, lateral, surface, 0.0, heights)

    def _lengthwise(
        self,
        first: float,
        last: float,
        lateral: tuple[float, float],
        surface: int,
        origin: float,
        heights: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        """A strip along the street between two lateral offsets (left, right)."""
        count = max(2, int(np.ceil((last - first) / 1.5)) + 1)
        station = np.linspace(first, last, count)
        rails, uv = [], []
        for offset, height in zip(lateral, heights, strict=True):
            xy = self.street.at(station, np.full(count, offset))
            z = self.ground.height(xy) + height
            rails.append(np.concatenate([xy, z[:, None]], axis=1))
            uv.append(np.stack([station - origin, np.full(count, offset + height)], axis=1))
        grass = self.table.surfaces[surface].material == mat.GRASS
        uv = [rail[:, :2] for rail in rails] if grass else uv
        self.builder.strip(rails[0], rails[1], uv[0], uv[1], surface)

    def _side_street(self, station: float, side: float, surfaces: tuple[int, int, int]) -> None:
        grass, slabs, kerb = surfaces
        road = self._surface(mat.ASPHALT, (0.095, 0.095, 0.095), 3)
        w = SIDE_HALF_WIDTH
        self._crosswise(station, side, (-w, w), (ROAD_HALF_WIDTH, SIDE_LENGTH), road)
        for sign in (-1.0, 1.0):
            start = (ROAD_HALF_WIDTH, SIDE_LENGTH)
            self._crosswise(station, side, (sign * w, sign * w), start, kerb, (0.0, KERB_HEIGHT))
            beyond = (VERGE_END, SIDE_LENGTH)
            up = (KERB_HEIGHT, KERB_HEIGHT + 0.004)
            self._crosswise(station, side, (sign * w, sign * (w + 1.8)), beyond, slabs, up)
            low = (KERB_HEIGHT, -0.06)
            self._crosswise(
                station, side, (sign * (w + 1.8), sign * (w + 8)), (18.0, SIDE_LENGTH), grass, low
            )

    def _crosswise(
        self,
        station: float,
        side: float,
        across: tuple[float, float],
        along: tuple[float, float],
        surface: int,
        heights: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        """A strip of a straight side street between two offsets across it."""
        (centre,), (tangent,) = self.street.axes([station])
        outward = side * np.array([-tangent[1], tangent[0]])
        lateral = np.linspace(*along, max(2, int((along[1] - along[0]) / 2)))
        rails, uv = [], []
        for offset, height in zip(across, heights, strict=True):
            xy = centre + lateral[:, None] * outward + offset * tangent
            z = self.ground.height(xy) + height
            rails.append(np.concatenate([xy, z[:, None]], axis=1))
            uv.append(np.stack([lateral, np.full(len(lateral), offset + height)], axis=1))
        if self.table.surfaces[surface].material == mat.GRASS:
            uv = [rail[:, :2] for rail in rails]
        self.builder.strip(rails[0], rails[1], uv[0], uv[1], surface)
