"""Semantic classes, materials and the table of surfaces that the shader reads."""

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

CLASS_NAMES = (
    "sky",
    "road",
    "marking",
    "pavement",
    "terrain",
    "building",
    "window",
    "door",
    "roof",
    "pole",
    "sign",
    "fence",
    "hedge",
    "trunk",
    "foliage",
    "vehicle",
)
"""Names of the semantic class ids of a class image."""

SKY, ROAD, MARKING, PAVEMENT, TERRAIN, BUILDING, WINDOW, DOOR = range(8)
ROOF, POLE, SIGN, FENCE, HEDGE, TRUNK, FOLIAGE, VEHICLE = range(8, 16)

ASPHALT, SLABS, KERBSTONE, GRASS, FACADE, TILES, PLAIN, PANEL, BOARDS = range(9)
TWIGS, BARK, LEAF, NEEDLE, PAINT, GLASS, TYRE, HEADLIGHT, TAILLIGHT, LAMP = range(9, 19)

CLASS_OF_MATERIAL = (
    *(ROAD, PAVEMENT, PAVEMENT, TERRAIN, BUILDING, ROOF, POLE, SIGN, FENCE, HEDGE, TRUNK),
    *(FOLIAGE, FOLIAGE, VEHICLE, VEHICLE, VEHICLE, VEHICLE, VEHICLE, POLE),
)

Colour = tuple[float, float, float]


def from_srgb(red: float, green: float, blue: float) -> Colour:
    """Linear colour of sRGB values in 0..255."""
    return (red / 255.0) ** 2.2, (green / 255.0) ** 2.2, (blue / 255.0) ** 2.2


@dataclass(frozen=True)
class Surface:
    """What the shader knows of one object's surface; lengths in metres, colours linear."""

    material: int
    seed: int
    colour: Colour = (0.3, 0.3, 0.3)
    second: Colour = (0.6, 0.6, 0.6)  # window frames, lintels, the sign's emblem
    width: float = 1.0  # extent along u
    height: float = 1.0  # extent along v
    storey: float = 3.0  # height of a storey
    bay: float = 3.0  # distance of windows
    window: tuple[float, float] = (1.1, 1.5)  # width and height
    style: int = 0  # a variant of the material
    door: int = -1  # bay of the door, -1 for none
    shop: int = 0  # 1: the ground floor is a shop
    kind: int = -1  # semantic class, -1 for the material's own

    def row(self) -> NDArray[np.float32]:
        """The surface's parameters as a row of the shader's table."""
        numbers = [*self.colour, *self.second, self.width, self.height, self.storey, self.bay]
        numbers += [*self.window, self.style, self.door, self.shop, 0.0]
        return np.array(numbers, dtype=np.float32)


# Columns of Surface.row() after the two colours
WIDTH, HEIGHT, STOREY, BAY, WINDOW_WIDTH, WINDOW_HEIGHT, STYLE, DOOR_BAY, SHOP = range(6, 15)


@dataclass
class SurfaceTable:
    """A growing list of surfaces; an index into it is a surface id."""

    surfaces: list[Surface] = field(default_factory=list)

    def add(self, surface: Surface) -> int:
        """Append a surface and give its id."""
        if surface.kind < 0:
            surface = replace(surface, kind=CLASS_OF_MATERIAL[surface.material])
        self.surfaces.append(surface)
        return len(self.surfaces) - 1

    def copy(self) -> "SurfaceTable":
        """A table that can grow without changing this one."""
        return SurfaceTable(list(self.surfaces))


def surface_rows(table: SurfaceTable) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The shader's tables: rows (S, 16) and material, seed, class (S, 3)."""
    rows = np.array([surface.row() for surface in table.surfaces])
    keys = [(surface.material, surface.seed, surface.kind) for surface in table.surfaces]
    return rows, np.array(keys, dtype=np.int64)
