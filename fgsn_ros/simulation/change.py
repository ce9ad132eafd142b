"""How far the world's looks change from drive to drive: weather's marks, wear, lens and sensor.

Geometry stays. `DriveSettings.change` scales it all from 0, a town whose surfaces keep their
texture for good, to 1. Each drive has marks of its own, the mapped one too.
"""

import math

import numpy as np

from fgsn_ros.simulation import materials as mat
from fgsn_ros.simulation.noise import Row, fractal, inlined, mix, smooth, uniform
from fgsn_ros.simulation.seasons import Conditions, Season, Triple

_AGED = {
    Season.SUMMER: 0.5, Season.AUTUMN: 0.65, Season.WINTER: 0.65, Season.NIGHT: 0.65,
    Season.RAIN: 0.65,
}  # fmt: skip
"""Share of the fine texture that dust, moisture and frost redraw."""
_NOISE = {
    Season.SUMMER: 0.2, Season.AUTUMN: 0.3, Season.WINTER: 0.5, Season.NIGHT: 1.5, Season.RAIN: 0.8
}  # fmt: skip
"""Growth of the sensor's noise with the gain that the light asks for."""
_SHUTTER_S = {
    Season.SUMMER: 0.002, Season.AUTUMN: 0.003, Season.WINTER: 0.006, Season.NIGHT: 0.05,
    Season.RAIN: 0.008,
}  # fmt: skip
_DARKER = dict.fromkeys(Season, 0.0) | {Season.NIGHT: -0.35}
"""Mean logarithm of the exposure that is reached, of the one aimed at."""
_DROPS = {Season.RAIN: 16.0, Season.WINTER: 4.0}
_VEIL = {Season.SUMMER: 0.3, Season.AUTUMN: 0.9, Season.NIGHT: 0.8, Season.RAIN: 0.2}


def changed(
    given: Conditions, season: Season, change: float, rng: np.random.Generator
) -> Conditions:
    """The conditions of a drive in a world that changes so far, 0 to 1; 0: as they are."""
    if change == 0.0:
        return given
    return given._replace(
        aged=change * _AGED[season],
        drift=0.7 * change * given.snow,
        snow=given.snow + change * max(0.0, 1.3 - given.snow) * (given.snow > 0.0),
        exposure=given.exposure * math.exp(change * float(rng.normal(_DARKER[season], 0.25))),
        noise=given.noise * (1.0 + change * _NOISE[season]),
        shutter_s=change * _SHUTTER_S[season],
        drops=int(rng.poisson(change * _DROPS.get(season, 0.0))),
        veil=change * _VEIL.get(season, 0.0),
    )


@inlined
def _redrawn(material: int, kind: int) -> float:
    """How much of a surface's texture weather can redraw."""
    if material == mat.ASPHALT:
        return 0.4 if kind == mat.MARKING else 0.9
    if material == mat.SLABS or material == mat.KERBSTONE:
        return 0.85
    if material == mat.FACADE:
        return 0.75 if kind < 0 else 0.15
    if material == mat.TILES:
        return 0.7
    if material == mat.BOARDS or material == mat.BARK or material == mat.PLAIN:
        return 0.6
    return 0.0


@inlined
def aged_albedo(
    material: int, kind: int, own_kind: int, u: float, v: float, seed: int, row: Row, fine: float,
    albedo: Triple, c: Conditions,
) -> Triple:  # fmt: skip
    """Albedo as a drive finds it: the surface's texture fades, stains of the drive cover it.

    Args:
        material: Of the surface.
        kind: Semantic class that the texture gives here, -1 for the surface's.
        own_kind: Semantic class of the surface.
        u: Coordinate on the surface [m].
        v: Coordinate on the surface [m].
        seed: Of the surface.
        row: Its parameters.
        fine: Size of a pixel on the surface [m].
        albedo: As built.
        c: Conditions of the drive.
    """
    red, green, blue = albedo
    if own_kind == mat.HEDGE:  # some hedges wither
        bare = c.aged if c.snow > 0.0 and uniform(1, 1, seed) < 0.6 else 0.0
        return mix(red, 0.16, bare), mix(green, 0.11, bare), mix(blue, 0.07, bare)
    share = c.aged * _redrawn(material, kind)
    marked = share if material != mat.GRASS else 0.8 * c.aged
    if marked <= 0.0:
        return red, green, blue
    own = seed ^ c.seed
    stain = fractal(u, v, own + 301, 2.7, 5, fine) + 0.5 * fractal(u, v, own + 302, 0.3, 4, fine)
    streak = fractal(4.0 * u, 0.35 * v, own + 303, 1.6, 4, fine) if material == mat.FACADE else 0.0
    tone = 1.0 + marked * (1.1 * stain + 0.5 * streak)
    tone = min(1.7, max(0.25, tone))
    return (
        tone * mix(red, float(row[0]), share),
        tone * mix(green, float(row[1]), share),
        tone * mix(blue, float(row[2]), share),
    )


@inlined
def drifted(
    material: int, u: float, v: float, up: float, seed: int, fine: float, c: Conditions
) -> float:
    """Share of wind-blown snow and frost on a wall, by its height v above the ground [m]."""
    if up >= 0.35 or material > mat.BARK or material == mat.ASPHALT:
        return 0.0
    own = seed ^ c.seed
    windward = 0.35 * uniform(2, 3, own)
    foot = 0.5 * math.exp(-max(0.0, v) / 0.35)
    patches = fractal(u, v, own + 311, 1.9, 5, fine) + 0.4 * fractal(u, v, own + 312, 0.2, 3, fine)
    return 0.9 * smooth(0.25, 0.75, c.drift * (0.22 + windward + foot) + 0.45 * c.drift * patches)
