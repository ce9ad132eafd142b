"""Cars: one parametric shape, and where they are parked and drive."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.geometry import poses
from fgsn_ros.simulation import materials as mat
from fgsn_ros.simulation.materials import Surface, SurfaceTable, from_srgb
from fgsn_ros.simulation.meshes import Mesh, MeshBuilder, box, tapered
from fgsn_ros.simulation.streets import LANE_WIDTH, ROAD_HALF_WIDTH
from fgsn_ros.simulation.world import Town

Array = NDArray[np.float64]
_PLACE_M = 6.2  # length of a parking place
_PARKED_SHARE = 0.42

_PAINTS = (
    (30, 30, 34), (200, 202, 206), (232, 232, 230), (120, 124, 130), (150, 30, 28),
    (28, 54, 110), (44, 70, 56), (190, 170, 130), (70, 90, 120), (200, 110, 30),
)  # fmt: skip


@dataclass(frozen=True)
class _Shape:
    """Stations from rear to front: x, height of the belt line, and the roof's four x."""

    length: float
    width: float
    belt: float
    roof: float
    cabin: tuple[float, float, float, float]  # x of rear bottom, rear top, front top, front bottom


def _drawn_shape(rng: np.random.Generator) -> _Shape:
    length = float(rng.uniform(3.8, 4.7))
    half = length / 2
    kind = rng.integers(3)
    if kind == 0:  # saloon
        cabin = (-half + 0.7, -half + 1.3, 0.25, 1.0)
    elif kind == 1:  # hatchback
        cabin = (-half + 0.05, -half + 0.45, 0.3, 1.05)
    else:  # van
        cabin = (-half + 0.02, -half + 0.12, 0.9, 1.5)
    roof = float(rng.uniform(1.42, 1.52)) if kind != 2 else float(rng.uniform(1.75, 1.95))
    return _Shape(length, float(rng.uniform(1.68, 1.82)), 0.92 + 0.08 * (kind == 2), roof, cabin)


def build_car(table: SurfaceTable, rng: np.random.Generator) -> Mesh:
    """A car in its own frame: x forward, z up, the origin on the ground below its middle."""
    builder = MeshBuilder()
    shape = _drawn_shape(rng)
    seed = int(rng.integers(1 << 30))
    colour = from_srgb(*_PAINTS[rng.integers(len(_PAINTS))])
    paint = table.add(Surface(mat.PAINT, seed, colour))
    glass = table.add(Surface(mat.GLASS, seed, (0.02, 0.025, 0.03)))
    _body(builder, shape, paint)
    _cabin(builder, shape, paint, glass)
    _wheels(builder, shape, table.add(Surface(mat.TYRE, seed, (0.02, 0.02, 0.02))))
    _lights(builder, table, shape, seed)
    return builder.build()


def _loft(builder: MeshBuilder, sections: Array, surface: int) -> None:
    """Quads between consecutive rings (S, R, 3); the rings are open lines."""
    a, b = sections[:-1, :-1], sections[1:, :-1]
    c, d = sections[1:, 1:], sections[:-1, 1:]
    corners = np.stack([a, b, c, d], axis=2).reshape(-1, 4, 3)
    builder.quads(corners, corners[..., [0, 2]].copy(), surface)


def _body(builder: MeshBuilder, shape: _Shape, paint: int) -> None:
    half, w = shape.length / 2, shape.width / 2
    stations = [
        (-half, 0.45, 0.82, 0.86), (-half + 0.06, 0.25, shape.belt, 0.95),
        (-half + 0.5, 0.22, shape.belt + 0.03, 1.0), (half - 1.2, 0.22, shape.belt - 0.02, 1.0),
        (half - 0.35, 0.22, 0.76, 0.96), (half - 0.04, 0.25, 0.66, 0.9), (half, 0.4, 0.55, 0.84),
    ]  # fmt: skip
    rings = []
    for x, low, high, narrow in stations:
        y = w * narrow
        middle = (low + high) / 2
        ring = [(x, -y * 0.95, low), (x, -y, middle), (x, -y * 0.94, high), (x, 0.0, high + 0.03)]
        ring += [(x, y * 0.94, high), (x, y, middle), (x, y * 0.95, low)]
        rings.append(ring)
    sections = np.array(rings)
    _loft(builder, sections, paint)
    for end in (0, -1):
        ring = sections[end]
        corners = np.array([ring[0], ring[6], ring[4], ring[2]])
        builder.quads(corners[None], corners[None][..., [1, 2]].copy(), paint)


def _cabin(builder: MeshBuilder, shape: _Shape, paint: int, glass: int) -> None:
    w = shape.width / 2 * 0.93
    t = w * 0.82
    x0, x1, x2, x3 = shape.cabin
    z0, z1 = shape.belt, shape.roof
    low = {s: np.array([[x0, s * w, z0], [x3, s * w, z0 - 0.02]]) for s in (-1, 1)}
    top = {s: np.array([[x1, s * t, z1], [x2, s * t, z1]]) for s in (-1, 1)}
    faces = [
        np.array([low[-1][0], low[-1][1], top[-1][1], top[-1][0]]),
        np.array([low[1][1], low[1][0], top[1][0], top[1][1]]),
        np.array([low[1][0], low[-1][0], top[-1][0], top[1][0]]),
        np.array([low[-1][1], low[1][1], top[1][1], top[-1][1]]),
    ]
    for i, face in enumerate(faces):
        plane = [0, 2] if i < 2 else [1, 2]
        builder.quads(face[None], face[None][..., plane].copy(), glass)
        if i < 2:  # pillars
            for part in (0.0, 0.45, 0.93):
                _pillar(builder, face, part, paint)
    roof = np.array([top[-1][0], top[-1][1], top[1][1], top[1][0]])
    roof[:, 2] += 0.02
    builder.quads(roof[None], roof[None][..., :2].copy(), paint)


def _pillar(builder: MeshBuilder, face: Array, part: float, paint: int) -> None:
    bottom, top = face[1] - face[0], face[2] - face[3]
    outward = np.array([0.0, np.sign(face[0, 1]) * 0.012, 0.004])
    corners = [face[0] + part * bottom, face[0] + (part + 0.07) * bottom]
    corners += [face[3] + (part + 0.07) * top, face[3] + part * top]
    shifted = np.array(corners) + outward
    builder.quads(shifted[None], shifted[None][..., [0, 2]].copy(), paint)


def _wheels(builder: MeshBuilder, shape: _Shape, tyre: int) -> None:
    for x in (-shape.length / 2 + 0.8, shape.length / 2 - 0.85):
        for side in (-1.0, 1.0):
            inner = np.array([x, side * (shape.width / 2 - 0.2), 0.31])
            outer = np.array([x, side * (shape.width / 2 + 0.012), 0.31])
            tapered(builder, inner, outer, (0.31, 0.31), 14, tyre)
            angles = np.linspace(0, 2 * np.pi, 15)
            ring = outer + 0.31 * np.stack([np.cos(angles), np.zeros(15), np.sin(angles)], axis=1)
            corners = np.stack([np.broadcast_to(outer, (14, 3)), ring[:-1], ring[1:]], axis=1)
            builder.add(corners, corners[..., [0, 2]] - [x, 0.31 + 10.0], tyre)


def _lights(builder: MeshBuilder, table: SurfaceTable, shape: _Shape, seed: int) -> None:
    axes = np.eye(3)
    half, w = shape.length / 2, shape.width / 2
    front = table.add(Surface(mat.HEADLIGHT, seed, (0.7, 0.7, 0.68)))
    rear = table.add(Surface(mat.TAILLIGHT, seed, (0.35, 0.02, 0.02)))
    plate = table.add(Surface(mat.PANEL, seed, (0.8, 0.8, 0.76), style=3, kind=mat.VEHICLE))
    size = np.array([0.14, 0.32, 0.14])
    for side in (-1.0, 1.0):
        box(builder, np.array([half - 0.05, side * w * 0.66, 0.52]), axes, size, front)
        box(builder, np.array([-half + 0.06, side * w * 0.72, 0.66]), axes, size, rear)
    for x in (half, -half):
        box(builder, np.array([x, 0.0, 0.45]), axes, np.array([0.04, 0.5, 0.11]), plate)


def on_street(town: Town, station: float, lateral: float, backwards: bool) -> Array:
    """T_map_car (4, 4) of a car standing on the street."""
    (xy,) = town.street.at([station], [lateral])
    (tangent,) = town.street.axes([station])[1]
    heading = -tangent if backwards else tangent
    up = town.ground.normal(xy)
    left = np.cross(up, [*heading, 0.0])
    left /= np.linalg.norm(left)
    R = np.stack([np.cross(left, up), left, up], axis=1)
    return poses.from_rotation_translation(R, np.array([*xy, town.ground.height(xy)]))


def parked_cars(town: Town, table: SurfaceTable, rng: np.random.Generator) -> list[Mesh]:
    """Cars at the kerbs; which places are taken differs from drive to drive."""
    meshes = []
    for side in (1.0, -1.0):
        for station in np.arange(3.0, town.street.length - 6.0, _PLACE_M):
            taken = rng.random() < _PARKED_SHARE
            offset = rng.uniform(-0.6, 0.6)
            lateral = side * (ROAD_HALF_WIDTH - 1.05 + rng.uniform(-0.12, 0.12))
            free = town.street.is_open(station, side, 4.5) and not _at_crossing(town, station)
            if taken and free:
                T = on_street(town, station + offset, lateral, backwards=side > 0)
                meshes.append(build_car(table, rng).moved(T))
    return meshes


def _at_crossing(town: Town, station: float) -> bool:
    return bool(np.any(np.abs(town.street.crossings - station) < 6.0))


@dataclass(frozen=True)
class MovingCar:
    """A car in the oncoming lane, or far ahead in the own lane."""

    mesh: Mesh  # in its own frame
    start_m: float  # station at time 0
    speed: float  # m/s along the street, negative for oncoming
    lateral: float  # m

    def pose(self, town: Town, stamp: float) -> Array:
        """T_map_car (4, 4) at a time."""
        station = self.start_m + self.speed * stamp
        return on_street(town, station, self.lateral, self.speed < 0)


def moving_cars(
    town: Town, table: SurfaceTable, start_m: float, rng: np.random.Generator
) -> list[MovingCar]:
    """Oncoming cars, spread around the loop; all as fast, so that none drives through another."""
    places = np.arange(25.0, town.street.length - 12.0, 12.0)
    taken = rng.choice(len(places), size=int(rng.integers(5, 10)), replace=False)
    speed = -float(rng.uniform(6.0, 11.0))
    return [
        MovingCar(build_car(table, rng), start_m + float(place), speed, LANE_WIDTH / 2)
        for place in places[taken] + rng.uniform(-2.0, 2.0, len(taken))
    ]
