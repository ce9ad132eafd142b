"""A town from a seed: everything that stands still in every season and drive."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.simulation.buildings import Plot, Workshop, build_house
from fgsn_ros.simulation.materials import SurfaceTable
from fgsn_ros.simulation.meshes import Mesh, MeshBuilder
from fgsn_ros.simulation.plants import Prototype, bush, conifer, deciduous, hedge, plant
from fgsn_ros.simulation.streets import (
    KERB_HEIGHT,
    PAVEMENT_END,
    ROAD_HALF_WIDTH,
    SIDE_HALF_WIDTH,
    SIDE_LENGTH,
    Ground,
    Street,
    build_ground,
)

Array = NDArray[np.float64]
_CAMERA_CLEARANCE = 7.6  # m from a centre line to the nearest wall


@dataclass(frozen=True)
class Town:
    """A town: geometry with surfaces, and where its street runs."""

    seed: int
    ground: Ground
    street: Street
    solid: Mesh  # all but deciduous leaves
    leaves: Mesh  # deciduous leaves, which fall for the winter
    surfaces: SurfaceTable
    lamps: Array  # (L, 3) m, map frame

    @staticmethod
    def from_seed(seed: int) -> "Town":
        """Build the town of a seed; the same seed gives the same town to the bit."""
        return _TownBuilder(seed).build()


class _TownBuilder:
    """State of building one town: what is drawn so far and where houses stand."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.rng = np.random.default_rng([seed, 0x70])
        self.ground = Ground.drawn(self.rng)
        self.street = Street.drawn(self.rng)
        self.table = SurfaceTable()
        self.solid = MeshBuilder()
        self.leaves = MeshBuilder()
        self.workshop = Workshop(self.solid, self.table)
        self.broad = [deciduous(self.rng) for _ in range(5)]
        self.spruces = [conifer(self.rng) for _ in range(3)]
        self.distant = (
            [deciduous(self.rng, distant=True) for _ in range(2)],
            [conifer(self.rng, distant=True) for _ in range(2)],
        )
        self.houses: list[Array] = []  # rectangles (4, 2)
        self.lamps: list[Array] = []

    def build(self) -> Town:
        build_ground(self.solid, self.table, self.ground, self.street, self.seed * 7919 + 11)
        for side in (1.0, -1.0):
            self._lots(side)
        for station, side in self.street.junctions:
            self._side_street_houses(station, side)
        for side in (1.0, -1.0):
            self._street_trees(side)
            self._furniture(side)
        self._countryside()
        lamps = np.array(self.lamps).reshape(-1, 3)
        return Town(
            self.seed, self.ground, self.street, self.solid.build(), self.leaves.build(),
            self.table, lamps,
        )  # fmt: skip

    # Houses and gardens along the main street

    def _lots(self, side: float) -> None:
        station = float(self.rng.uniform(0, 6))
        end = self.street.length - 4.0
        while station < end:
            width = float(self.rng.uniform(8.0, 17.0))
            if self.street.is_open(station + width / 2, side, width / 2 + 2.2):
                kind = self.rng.choice(["town house", "house", "garden"], p=[0.42, 0.40, 0.18])
                self._lot(station + width / 2, side, width, str(kind))
                station += width + float(self.rng.choice([0.4, 2.5, 4.5]))
            else:
                station += 2.0

    def _lot(self, station: float, side: float, width: float, kind: str) -> None:
        front = 8.0 if kind == "town house" else float(self.rng.uniform(11.5, 15.5))
        storeys = (
            int(self.rng.integers(2, 5)) if kind == "town house" else int(self.rng.integers(1, 3))
        )
        town_house = kind == "town house"
        built = kind != "garden" and self._house(station, side, front, width, storeys, town_house)
        if not (built and town_house):
            self._garden(station, side, width, max(front, 11.5), not built)

    def _house(
        self, station: float, side: float, lateral: float, width: float, storeys: int, town: bool
    ) -> bool:
        (tangent,) = self.street.axes([station])[1]
        along = side * tangent
        outward = side * np.array([-tangent[1], tangent[0]])
        front = self.street.at([station], [side * lateral])[0]
        width = width if town else max(7.0, width - 3.0)
        return self._place_house(front, along, outward, width, storeys, town)

    def _place_house(
        self, front: Array, along: Array, outward: Array, width: float, storeys: int, town: bool
    ) -> bool:
        depth = float(self.rng.uniform(8.0, 11.0))
        width = width * 0.97
        half = width / 2
        corners = [front + x * along + y * outward for x, y in
                   ((-half, 0), (half, 0), (half, depth), (-half, depth))]  # fmt: skip
        rectangle = np.array(corners)
        samples = np.concatenate([rectangle, (rectangle + np.roll(rectangle, 1, axis=0)) / 2])
        if self.street.distance(samples).min() < _CAMERA_CLEARANCE:
            return False
        if any(_overlap(rectangle, other) for other in self.houses):
            return False
        self.houses.append(rectangle)
        floor = float(self.ground.height(samples).max()) + 0.15
        plot = Plot(
            np.array([*front, floor]), np.array([*along, 0.0]), np.array([*outward, 0.0]),
            width, depth, storeys,
        )  # fmt: skip
        build_house(self.solid, self.table, plot, self.rng, town)
        return True

    def _garden(self, station: float, side: float, width: float, front: float, empty: bool) -> None:
        line = self._line(station - width / 2, station + width / 2, side * (PAVEMENT_END + 0.75))
        kind = self.rng.choice(["hedge", "fence", "wall", "open"], p=[0.38, 0.26, 0.2, 0.16])
        gate = len(line) // 2
        parts = [line] if empty else [line[: gate - 1], line[gate + 2 :]]
        for part in parts:
            if len(part) < 3:
                continue
            if kind == "hedge":
                hedge(self.solid, self.table, part, float(self.rng.uniform(0.8, 1.6)), self.rng)
            elif kind == "fence":
                self.workshop.picket_fence(part, self.rng)
            elif kind == "wall":
                self.workshop.garden_wall(part[::2], self.rng)
        for _ in range(int(self.rng.integers(1, 4)) + 3 * empty):
            s = station + float(self.rng.uniform(-0.45, 0.45)) * width
            lateral = side * float(self.rng.uniform(PAVEMENT_END + 2.2, front + 8.0 * empty - 1.2))
            self._plant_somewhere(self.street.at([s], [lateral])[0])

    def _line(self, first: float, last: float, lateral: float) -> Array:
        station = np.arange(first, last, 0.5)
        return self._on_ground(self.street.at(station, np.full(len(station), lateral)))

    def _on_ground(self, xy: Array, above: float = 0.05) -> Array:
        return np.concatenate([xy, self.ground.height(xy)[..., None] + above], axis=-1)

    def _plant_somewhere(self, xy: Array) -> None:
        foot = self._on_ground(xy, 0.0)
        kind = self.rng.choice(["bush", "broad", "spruce"], p=[0.5, 0.3, 0.2])
        if self._in_house(xy, 1.8 if kind != "bush" else 0.8):
            return
        if kind == "bush":
            bush(self.solid, self.table, foot, float(self.rng.uniform(0.5, 1.0)), self.rng)
        else:
            trees = self.broad if kind == "broad" else self.spruces
            self._tree(trees, foot, float(self.rng.uniform(0.6, 0.85)))

    def _tree(self, trees: list[Prototype], foot: Array, scale: float) -> None:
        tree = trees[int(self.rng.integers(len(trees)))]
        foliage = self.solid if tree.evergreen else self.leaves
        plant(self.solid, foliage, self.table, tree, foot, scale, self.rng)

    def _in_house(self, xy: Array, margin: float) -> bool:
        square = xy + margin * np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
        return any(_overlap(square, house) for house in self.houses)

    # Side streets, trees and furniture

    def _side_street_houses(self, station: float, side: float) -> None:
        (centre,), (tangent,) = self.street.axes([station])
        outward = side * np.array([-tangent[1], tangent[0]])
        for sign in (-1.0, 1.0):
            away = sign * tangent
            # Right-handed frame of a front that looks at the side street
            along = np.array([away[1], -away[0]])
            for distance in (24.0, 39.0):
                front = centre + distance * outward + (SIDE_HALF_WIDTH + 5.5) * away
                width = float(self.rng.uniform(9.0, 13.0))
                self._place_house(front, along, away, width, int(self.rng.integers(1, 4)), False)
        end = centre + (SIDE_LENGTH + 3.0) * outward
        along = np.array([outward[1], -outward[0]])
        self._place_house(end, along, outward, 13.0, 2, False)

    def _street_trees(self, side: float) -> None:
        station = float(self.rng.uniform(0, 10))
        while station < self.street.length - 3.0:
            xy = self.street.at([station], [side * 6.9])[0]
            if self.rng.random() < 0.6 and self.street.is_open(station, side, 4.0):
                foot = self._on_ground(xy, KERB_HEIGHT)
                self._tree(self.broad, foot, float(self.rng.uniform(0.62, 0.9)))
            station += float(self.rng.uniform(13.0, 24.0))

    def _furniture(self, side: float) -> None:
        colour = (0.10, 0.12, 0.11) if self.seed % 2 else (0.36, 0.37, 0.38)
        start = 5.0 if side > 0 else 19.0
        for station in np.arange(start, self.street.length - 6.0, 28.0):
            if self.street.is_open(station, side, 1.5):
                foot, to_road, _ = self._kerbside(station, side, ROAD_HALF_WIDTH + 0.55)
                self.lamps.append(self.workshop.lamp_post(foot, to_road, 6.2, colour))
        station = float(self.rng.uniform(5.0, 30.0))
        while station < self.street.length - 6.0:
            if self.street.is_open(station, side, 1.0):
                foot, to_road, tangent = self._kerbside(station, side, ROAD_HALF_WIDTH + 0.5)
                if self.rng.random() < 0.6:
                    self.workshop.sign(foot, side * tangent, self.rng)
                else:
                    foot = self._kerbside(station, side, PAVEMENT_END - 0.3)[0]
                    self.workshop.cabinet(foot, to_road, self.rng)
            station += float(self.rng.uniform(9.0, 26.0))

    def _kerbside(self, station: float, side: float, lateral: float) -> tuple[Array, Array, Array]:
        """Foot, direction to the road and direction of the street, each (3,)."""
        (tangent,) = self.street.axes([station])[1]
        foot = self._on_ground(self.street.at([station], [side * lateral])[0], KERB_HEIGHT)
        to_road = -side * np.array([-tangent[1], tangent[0], 0.0])
        return foot, to_road, np.array([*tangent, 0.0])

    def _countryside(self) -> None:
        points = self.rng.uniform(-300.0, 300.0, (260, 2))
        distance = self.street.distance(points)
        for xy in points[distance > 27.0]:
            if not self._in_house(xy, 3.0):
                trees = self.distant[int(self.rng.random() < 0.4)]
                self._tree(trees, self._on_ground(xy, -0.4), float(self.rng.uniform(0.9, 1.4)))


def _overlap(first: Array, second: Array) -> bool:
    """Whether two rectangles (4, 2) overlap (separating axes)."""
    for rectangle in (first, second):
        for axis in (rectangle[1] - rectangle[0], rectangle[3] - rectangle[0]):
            a, b = first @ axis, second @ axis
            if a.max() < b.min() or b.max() < a.min():
                return False
    return True
