"""Cars of a drive: parked ones and ones that move along the street."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.geometry import poses
from fgsn_ros.simulation.cars import build_car, placed
from fgsn_ros.simulation.materials import SurfaceTable
from fgsn_ros.simulation.meshes import Mesh
from fgsn_ros.simulation.streets import LANE_WIDTH, ROAD_HALF_WIDTH
from fgsn_ros.simulation.world import Town

Array = NDArray[np.float64]
_PLACE_M = 6.2  # length of a parking place
_PARKED_SHARE = 0.42


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
                meshes.append(placed(build_car(table, rng), T))
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
