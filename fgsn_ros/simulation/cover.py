"""What a season lays over the surfaces: snow, fallen leaves, water."""

import math

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.simulation import materials as mat
from fgsn_ros.simulation.noise import fade, fractal, inlined, uniform
from fgsn_ros.simulation.seasons import Conditions, Triple
from fgsn_ros.simulation.sky import smooth

_TRACKS = (0.85, 2.35)  # wheel tracks: distance from the centre line [m]


@inlined
def snow_share(
    material: int, style: int, u: float, v: float, x: float, y: float, up: float, fine: float,
    c: Conditions,
) -> float:  # fmt: skip
    """Share of snow on a surface whose normal has the vertical component `up`."""
    if up < 0.35:
        return 0.0
    patches = fractal(x, y, c.seed, 2.6, 3, fine) + 0.7 * fractal(x, y, c.seed + 3, 0.35, 4, fine)
    bare = 0.0
    if material == mat.ASPHALT:
        bare = 0.62
        if style != 3:
            for track in _TRACKS:
                bare += 0.45 * math.exp(-(((abs(v) - track) / 0.45) ** 2))
            bare -= 0.45 * smooth(2.9, 4.4, abs(v))
    elif material == mat.SLABS or material == mat.KERBSTONE:
        bare = 0.38
    elif material == mat.NEEDLE or material == mat.TWIGS or material == mat.BARK:
        bare = 0.30 + 1.2 * max(0.0, 0.8 - up)
    elif material == mat.GLASS:
        bare = 0.6
    elif material == mat.PAINT:
        bare = 0.25
    level = c.snow * 1.05 - bare + 0.75 * patches - max(0.0, 0.62 - up) * 2.0
    return smooth(0.22, 0.5, level)


@inlined
def litter_colour(
    material: int, v: float, x: float, y: float, fine: float, c: Conditions
) -> tuple[float, float, float, float]:
    """Fallen leaves: colour and share at a point of the ground."""
    density = 0.38 + 0.9 * fractal(x, y, c.seed + 5, 7.0, 4, fine)
    if material == mat.ASPHALT:
        density = density * 0.5 - 0.22 + 0.75 * smooth(4.2, 5.2, abs(v))
    density = min(0.85, max(0.0, density * c.litter))
    size = 0.13
    ix, iy = math.floor(x / size), math.floor(y / size)
    lot = uniform(ix, iy, c.seed + 6)
    dx = x / size - ix - 0.35 - 0.3 * uniform(ix, iy, c.seed + 7)
    dy = y / size - iy - 0.35 - 0.3 * uniform(ix, iy, c.seed + 8)
    sharp = fade(fine, 1.6 * size)
    one = 1.0 if lot < density and dx * dx + 1.8 * dy * dy < 0.13 else 0.0
    share = sharp * one + (1.0 - sharp) * 0.30 * density
    hue = uniform(ix, iy, c.seed + 9) * sharp + 0.5 * (1.0 - sharp)
    return 0.62 - 0.16 * hue, 0.42 - 0.32 * hue, 0.05 - 0.02 * hue, share


@inlined
def puddle(x: float, y: float, fine: float, c: Conditions) -> float:
    """Share of standing water on the ground."""
    return smooth(0.10, 0.32, fractal(x, y, c.seed + 15, 4.5, 4, fine)) * c.wetness


@inlined
def lamp_light(
    x: float,
    y: float,
    z: float,
    normal: Triple,
    lamps: NDArray[np.float64],
    c: Conditions,
) -> float:
    """Light of the street lamps at a point with the given normal."""
    total = 0.0
    for i in range(lamps.shape[0]):
        dx, dy, dz = lamps[i, 0] - x, lamps[i, 1] - y, lamps[i, 2] - z
        square = dx * dx + dy * dy + dz * dz
        if square > 1600.0 or dz < 0.0:
            continue
        distance = math.sqrt(square) + 1e-3
        facing = (dx * normal[0] + dy * normal[1] + dz * normal[2]) / distance
        down = dz / distance
        total += c.lamps * max(0.0, 0.85 * facing + 0.15) * math.sqrt(down) / (square + 2.0)
    return total


@inlined
def headlight(
    x: float,
    y: float,
    z: float,
    normal: Triple,
    vehicle: NDArray[np.float64],
    c: Conditions,
) -> float:
    """Light of the own headlights; vehicle is T_map_base (4, 4)."""
    fx, fy, fz = vehicle[0, 0], vehicle[1, 0], vehicle[2, 0]
    dx = x - vehicle[0, 3] - 1.9 * fx - 0.65 * vehicle[0, 2]
    dy = y - vehicle[1, 3] - 1.9 * fy - 0.65 * vehicle[1, 2]
    dz = z - vehicle[2, 3] - 1.9 * fz - 0.65 * vehicle[2, 2]
    ahead = dx * fx + dy * fy + dz * fz
    if ahead < 0.3:
        return 0.0
    aside = (dx * vehicle[0, 1] + dy * vehicle[1, 1] + dz * vehicle[2, 1]) / ahead
    above = (dx * vehicle[0, 2] + dy * vehicle[1, 2] + dz * vehicle[2, 2]) / ahead
    square = dx * dx + dy * dy + dz * dz
    beam = math.exp(-((aside / 0.42) ** 2)) * (
        0.10 + 0.9 * math.exp(-(((above + 0.06) / 0.10) ** 2))
    )
    facing = -(dx * normal[0] + dy * normal[1] + dz * normal[2]) / math.sqrt(square)
    light: float = c.headlights * beam * max(0.0, facing + 0.04) / (square + 6.0)
    return light
