"""Procedural albedo of every material, fixed to its surface by integer hashes."""

import math

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.simulation import materials as mat
from fgsn_ros.simulation.noise import (
    Row,
    covered,
    fade,
    fractal,
    hash_integers,
    kernel,
    uniform,
    value_noise,
)

Triple = tuple[float, float, float]
Texel = tuple[float, float, float, int, float, float]
"""Red, green, blue (linear albedo), semantic class (-1: the surface's), gloss, emission."""

_BRICK, _PLASTER, _STONE, _TIMBER = range(4)
_LANE = 3.2


@kernel
def mix(a: float, b: float, share: float) -> float:
    """Blend of a and b."""
    return a + (b - a) * share


@kernel
def asphalt(u: float, v: float, seed: int, row: Row, along: float, across: float) -> Texel:
    """Road with patches, cracks and lane markings; u along the street, v to the left [m]."""
    style = int(row[mat.STYLE])
    fine = math.sqrt(along * across)
    grey = 1.0 + 0.7 * fractal(u, v, seed, 0.07, 3, 0.7 * fine)
    grey += 0.30 * fractal(u, v, seed + 9, 4.0, 5, fine)
    grey = max(0.35, grey)
    # Repairs: rectangles of other asphalt
    cu, cv = math.floor(u / 7.0), math.floor(v / 2.4)
    if uniform(cu, cv, seed + 31) < 0.22:
        low, wide = uniform(cu, cv, seed + 32) * 3.0, 1.0 + 2.5 * uniform(cu, cv, seed + 33)
        inside = covered(u - 7.0 * cu, low, low + wide, along) * covered(
            v - 2.4 * cv, 0.2, 2.1, across
        )
        grey *= mix(1.0, 0.62 + 0.6 * uniform(cu, cv, seed + 34), inside)
    crack = abs(
        value_noise(u * 0.35, v * 0.35, seed + 5) + 0.35 * value_noise(u * 3, v * 3, seed + 6)
    )
    grey *= 1.0 - 0.5 * max(0.0, 1.0 - crack / 0.018) * fade(fine, 0.10)
    red, green, blue = grey * row[0], grey * row[1], grey * row[2]
    paint = _road_paint(u, v, style, along, across)
    kind = mat.ROAD
    if paint > 0.0:
        if paint > 0.5:
            kind = mat.MARKING
        worn = 0.75 + 0.5 * fractal(u, v, seed + 12, 0.5, 4, fine)
        paint *= min(1.0, max(0.3, worn))
        red, green, blue = mix(red, 0.62, paint), mix(green, 0.62, paint), mix(blue, 0.60, paint)
    # Manholes and drains
    mu, mv = math.floor(u / 23.0), 1 if v > 0 else 0
    du = u - 23.0 * mu - 4.0 - 14.0 * uniform(mu, mv, seed + 41)
    dv = v - (1.0 + 1.2 * uniform(mu, mv, seed + 42)) * (1.0 if v > 0 else -1.0)
    if style != 3 and du * du + dv * dv < 0.10:
        ring = math.sqrt(du * du + dv * dv)
        dark = 0.45 + 0.5 * (math.sin(du * 60) * math.sin(dv * 60) > 0.0) * fade(fine, 0.1)
        dark = mix(dark, 0.3, covered(ring, 0.26, 0.32, fine))
        red, green, blue = red * dark, green * dark, blue * dark
    return red, green, blue, kind, 0.15, 0.0


@kernel
def _road_paint(u: float, v: float, style: int, along: float, across: float) -> float:
    a = abs(v)
    if style == 0:
        period = u - 9.0 * math.floor(u / 9.0)
        paint = covered(v, -0.07, 0.07, across) * covered(period, 0.0, 4.0, along)
        short = u - 2.0 * math.floor(u / 2.0)
        edge = covered(a, _LANE, _LANE + 0.1, across) * covered(short, 0.0, 1.0, along)
        return min(1.0, paint + edge)
    if style == 1:  # zebra crossing, bars along the street
        bar = v - math.floor(v)
        inside = covered(u, 0.3, 3.7, along) * covered(a, 0.0, 5.0, across)
        return inside * covered(bar, 0.25, 0.75, across)
    return 0.0


@kernel
def slabs(u: float, v: float, seed: int, row: Row, fine: float) -> Texel:
    """Pavement of slabs of 0.6 x 0.4 m."""
    cv = math.floor(v / 0.4)
    shifted = u + 0.3 * (cv & 1)
    cu = math.floor(shifted / 0.6)
    shade = 1.0 + 0.30 * (uniform(cu, cv, seed) - 0.5) * fade(fine, 0.5)
    shade += 0.22 * fractal(u, v, seed + 3, 0.25, 3, fine) + 0.2 * fractal(
        u, v, seed + 4, 4.0, 3, fine
    )
    joint = min(shifted - 0.6 * cu, v - 0.4 * cv)
    shade *= 1.0 - 0.5 * covered(joint, 0.0, 0.012, fine)
    if uniform(cu, cv, seed + 8) < 0.04:
        shade *= 0.7
    return shade * row[0], shade * row[1], shade * row[2], -1, 0.08, 0.0


@kernel
def grass(u: float, v: float, seed: int, row: Row, fine: float, green: float) -> Texel:
    """Lawn with bare and dry patches; u and v are the map's x and y."""
    shade = (
        1.0 + 0.8 * fractal(u, v, seed, 0.14, 3, fine) + 0.4 * fractal(u, v, seed + 1, 1.7, 4, fine)
    )
    dry = 0.5 + 0.9 * fractal(u, v, seed + 2, 9.0, 4, fine)
    dry = min(1.0, max(0.0, dry * 0.7 + 0.45 * (1.0 - green)))
    earth = min(1.0, max(0.0, 4.0 * (fractal(u, v, seed + 3, 3.0, 4, fine) - 0.27)))
    red = mix(mix(row[0], 0.24, dry), 0.16, earth)
    shade = max(0.25, shade)
    grn = mix(mix(row[1], 0.20, dry), 0.11, earth)
    return shade * red, shade * grn, shade * mix(mix(row[2], 0.07, dry), 0.07, earth), -1, 0.02, 0.0


@kernel
def masonry(u: float, v: float, style: int, seed: int, row: Row, fine: float) -> Triple:
    """Brick, plaster, stone blocks or boards."""
    stain = 1.0 + 0.28 * fractal(u, v, seed + 21, 2.5, 5, fine)
    stain += 0.10 * fractal(u * 3.0, v * 0.4, seed + 22, 1.2, 3, fine)
    if style == _PLASTER:
        stain += 0.13 * fractal(u, v, seed + 23, 0.12, 2, fine)
        flaw = fractal(u, v, seed + 24, 1.3, 4, fine)
        if flaw > 0.42:
            stain *= 0.72
        return stain * row[0], stain * row[1], stain * row[2]
    tall, wide = 0.085, 0.26
    if style == _STONE:
        tall, wide = 0.32, 0.62
    elif style == _TIMBER:
        tall, wide = 0.16, 3.1
    cv = math.floor(v / tall)
    shifted = u + wide * (0.5 * (cv & 1) + (0.3 * uniform(cv, 3, seed) if style != _BRICK else 0.0))
    cu = math.floor(shifted / wide)
    seen = fade(fine, tall * 1.2)
    varied = 1.0 + seen * 0.75 * (uniform(cu, cv, seed) - 0.5)
    hue = seen * 0.3 * (uniform(cu, cv, seed + 1) - 0.5)
    block = 1.0 + 0.9 * (fade(fine, 1.0) - seen) * 0.25 * value_noise(u * 1.6, v * 3.0, seed + 2)
    varied *= block * stain + 0.15 * fractal(u, v, seed + 25, 0.06, 2, fine)
    red, green, blue = varied * (1 + hue) * row[0], varied * row[1], varied * (1 - hue) * row[2]
    mortar = 0.012 if style != _STONE else 0.02
    joint = covered(v - tall * cv, 0.0, mortar, fine)
    upright = covered(shifted - wide * cu, 0.0, mortar, fine)
    share = joint + upright - joint * upright
    tone = 0.35 if style != _TIMBER else 0.3 * row[0]
    return mix(red, tone, share), mix(green, tone * 0.96, share), mix(blue, tone * 0.9, share)


@kernel
def tiles(u: float, v: float, seed: int, row: Row, fine: float) -> Texel:
    """Roof tiles in rows of 0.3 m."""
    cv = math.floor(v / 0.3)
    shifted = u + 0.11 * (cv & 1)
    cu = math.floor(shifted / 0.22)
    seen = fade(fine, 0.3)
    shade = 1.0 + 0.55 * seen * (uniform(cu, cv, seed) - 0.5)
    shade += 0.5 * fractal(u, v, seed + 1, 3.0, 4, fine)
    shade *= 1.0 - 0.55 * covered(v - 0.3 * cv, 0.0, 0.05, fine)
    shade *= 1.0 - 0.35 * covered(shifted - 0.22 * cu, 0.0, 0.03, fine)
    moss = max(0.0, fractal(u, v, seed + 2, 2.0, 5, fine) - 0.25) * 2.0
    return (
        shade * mix(row[0], 0.09, moss), shade * mix(row[1], 0.11, moss),
        shade * mix(row[2], 0.04, moss), -1, 0.05, 0.0,
    )  # fmt: skip


@kernel
def panel(u: float, v: float, seed: int, row: Row, fine: float) -> Texel:
    """Traffic signs (u, v about the centre) and number plates."""
    style = int(row[mat.STYLE])
    radius = math.sqrt(u * u + v * v)
    white = (0.75, 0.75, 0.75)
    colour = white
    glyph = uniform(math.floor(u / 0.07), math.floor(v / 0.09), seed) < 0.5
    if style == 0:  # round with a red ring
        if radius > 0.27:
            colour = (0.55, 0.02, 0.03)
        elif abs(u) < 0.16 and abs(v) < 0.13 and glyph:
            colour = (0.02, 0.02, 0.02)
    elif style == 1:  # triangle with a red rim: distance to the nearest side
        rim = min(v + 0.23, 0.23 - 0.5 * v - 0.866 * u, 0.23 - 0.5 * v + 0.866 * u)
        if rim < 0.07:
            colour = (0.55, 0.02, 0.03)
        elif abs(u) < 0.05 and v > -0.12 and v < 0.13:
            colour = (0.02, 0.02, 0.02)
    elif style == 2:
        colour = (0.02, 0.10, 0.45)
        if abs(u) < 0.25 and abs(v) < 0.22 and glyph:
            colour = white
    else:
        bar = uniform(math.floor(u / 0.06), 0, seed)
        if bar < 0.6:
            colour = (0.05, 0.05, 0.06)
    plain = 1.0 - fade(fine, 0.25)
    return (
        mix(colour[0], 0.4, plain * 0.5), mix(colour[1], 0.2, plain * 0.5),
        mix(colour[2], 0.2, plain * 0.5), -1, 0.1, 0.0,
    )  # fmt: skip


@kernel
def leaf(
    depth: float,
    lot: float,
    seed: int,
    row: Row,
    autumn: float,
    material: int,
) -> Texel:
    """A leaf patch; depth in the crown 0 (inside) to 1, and a random number of the patch."""
    tint = 0.65 + 0.7 * lot
    red, green, blue = tint * row[0], tint * row[1], tint * row[2]
    if material == mat.LEAF and autumn > 0.0:
        other = hash_integers(int(lot * 4096.0), 7, seed) % 1000 / 1000.0
        turned = autumn * (0.4 + 0.6 * other)
        red, green, blue = (
            mix(red, tint * row[3], turned), mix(green, tint * row[4], turned),
            mix(blue, tint * row[5], turned),
        )  # fmt: skip
    shade = 0.35 + 0.65 * depth * depth
    return red * shade, green * shade, blue * shade, -1, 0.04, 0.0


@kernel
def bark(u: float, v: float, seed: int, row: Row, fine: float) -> Texel:
    """Furrows along the trunk."""
    shade = 0.9 + 0.8 * fractal(u * 3.0, v * 0.6, seed, 0.12, 3, 2.0 * fine)
    shade += 0.4 * fractal(u, v, seed + 1, 0.6, 3, fine)
    shade = max(0.15, shade)
    return shade * row[0], shade * row[1], shade * row[2], -1, 0.02, 0.0


@kernel
def boards(u: float, v: float, seed: int, row: Row, fine: float) -> Texel:
    """Fence boards with grain."""
    board = math.floor(u / 0.16)
    shade = (
        0.85 + 0.3 * uniform(board, 0, seed) + 0.4 * fractal(u * 4, v * 0.5, seed, 0.2, 3, 2 * fine)
    )
    return shade * row[0], shade * row[1], shade * row[2], -1, 0.05, 0.0


@kernel
def plain(u: float, v: float, seed: int, row: Row, fine: float) -> Texel:
    """Painted metal or concrete with stickers and dirt on cabinets."""
    shade = 0.9 + 0.35 * fractal(u, v, seed, 0.8, 4, fine)
    if row[mat.STYLE] > 0.5:
        cu, cv = math.floor(u / 0.3), math.floor(v / 0.25)
        if uniform(cu, cv, seed) < 0.3:
            shade *= 0.4 + 1.6 * uniform(cu, cv, seed + 1)
    return shade * row[0], shade * row[1], shade * row[2], -1, 0.2, 0.0


@kernel
def twigs(u: float, v: float, seed: int, row: Row, fine: float) -> Texel:
    """The inside of a hedge between its leaves."""
    shade = max(0.15, 0.6 + 1.1 * fractal(u, v, seed, 0.18, 3, fine))
    return shade * row[0], shade * row[1], shade * row[2], -1, 0.02, 0.0


@kernel
def tyre(u: float, v: float, row: Row) -> Texel:
    """Rubber with a spoked rim; rims have v about -10 (see cars.py)."""
    if v > -5.0:
        return row[0], row[1], row[2], -1, 0.05, 0.0
    radius = math.hypot(u, v + 10.0)
    if radius > 0.21:
        return 0.02, 0.02, 0.02, -1, 0.05, 0.0
    spoke = math.cos(5.0 * math.atan2(v + 10.0, u))
    tone = 0.35 if spoke > 0.1 or radius < 0.06 or radius > 0.18 else 0.05
    return tone, tone, tone, -1, 0.4, 0.0


def surface_rows(table: mat.SurfaceTable) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The shader's tables: rows (S, 16) and material, seed, class (S, 3)."""
    rows = np.array([surface.row() for surface in table.surfaces])
    keys = [(surface.material, surface.seed, surface.kind) for surface in table.surfaces]
    return rows, np.array(keys, dtype=np.int64)
