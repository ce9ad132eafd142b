"""What people and plants change in a town from drive to drive: paint, leaves, bins; not walls."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.simulation import materials as mat
from fgsn_ros.simulation.buildings import SIDE_SEED, WALL_COLOURS
from fgsn_ros.simulation.cars import on_street
from fgsn_ros.simulation.materials import Surface, SurfaceTable, from_srgb
from fgsn_ros.simulation.meshes import Mesh, MeshBuilder, box
from fgsn_ros.simulation.streets import KERB_HEIGHT, PAVEMENT_END
from fgsn_ros.simulation.world import Town

_REPAINTED, _REBUILT, _REPLACED_SIGN = 0.25, 0.1, 0.15
"""Shares of a wholly changed town's houses and signs."""
_GROWTH_M = 0.15
"""Standard deviation of where a leaf of another drive is."""
_BINS_EVERY_M = 8.0
_BINS = ((40, 62, 44), (34, 36, 40), (36, 58, 104), (190, 160, 40), (96, 62, 40))


def repaint(table: SurfaceTable, change: float, rng: np.random.Generator) -> None:
    """Give some houses another colour or front, and some signs another face.

    Args:
        table: Surfaces of the town, changed in place; ids, classes and sizes stay.
        change: 0 to 1.
        rng: Of the drive.
    """
    built = list(table.surfaces)
    look: dict[str, Any] = {}
    for index, (before, surface) in enumerate(pairwise([None, *built])):
        assert surface is not None
        if surface.material == mat.FACADE and surface.width > 0.0:
            if before is None or not _one_house(before, surface):
                look = _new_look(change, rng)
            seed = surface.seed ^ look.get("seed", 0)
            table.surfaces[index] = replace(surface, **{**look, "seed": seed})
        elif surface.material == mat.PANEL and rng.random() < change * _REPLACED_SIGN:
            table.surfaces[index] = replace(surface, seed=int(rng.integers(1 << 30)))


def _one_house(front: Surface, side: Surface) -> bool:
    """Whether two surfaces in a row are the two kinds of walls of a house, see build_house."""
    return front.material == mat.FACADE and front.seed + SIDE_SEED == side.seed


def _new_look(change: float, rng: np.random.Generator) -> dict[str, Any]:
    """What is new of a house's fronts: nothing, their colour, or all but their windows' places."""
    lot, new_seed = float(rng.random()), int(rng.integers(1 << 30))
    style, colour = WALL_COLOURS[int(rng.integers(len(WALL_COLOURS)))]
    if lot < change * _REBUILT:
        return {"colour": from_srgb(*colour), "style": style, "seed": new_seed}
    return {"colour": from_srgb(*colour)} if lot < change * (_REPAINTED + _REBUILT) else {}


def grown(mesh: Mesh, table: SurfaceTable, change: float, rng: np.random.Generator) -> Mesh:
    """The mesh with each leaf elsewhere in its crown or hedge, as another year's leaves are."""
    leafy = np.array([s.material in (mat.LEAF, mat.NEEDLE) for s in table.surfaces])
    leaves = np.flatnonzero(leafy[mesh.surfaces])
    shift = rng.normal(0.0, change * _GROWTH_M, (len(leaves), 1, 3)).astype(np.float32)
    vertices = mesh.vertices.copy()
    vertices[mesh.triangles[leaves]] += shift
    return replace(mesh, vertices=vertices)


def bins(town: Town, table: SurfaceTable, change: float, rng: np.random.Generator) -> list[Mesh]:
    """Bins and boxes on the pavements, where this drive finds them."""
    meshes: list[Mesh] = []
    for side in (1.0, -1.0):
        for station in np.arange(4.0, town.street.length - 4.0, _BINS_EVERY_M):
            lot, offset, size = rng.random(), rng.uniform(-2.0, 2.0), rng.uniform(0.8, 1.2, 3)
            painted = _BINS[int(rng.integers(len(_BINS)))]
            if lot > 0.4 * change or not town.street.is_open(station, side, 4.0):
                continue
            seed = int(rng.integers(1 << 30))
            colour = from_srgb(*painted)
            surface = table.add(Surface(mat.PLAIN, seed, colour, style=1, kind=mat.VEHICLE))
            builder = MeshBuilder()
            foot: NDArray[np.float64] = np.array([0.0, 0.0, KERB_HEIGHT])
            box(builder, foot, np.eye(3), size * [0.6, 0.55, 1.05], surface)
            lateral = side * (PAVEMENT_END - 0.5)
            meshes.append(builder.build().moved(on_street(town, station + offset, lateral, False)))
    return meshes
