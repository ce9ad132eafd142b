"""Procedural albedo of every material, façades included, fixed to its surface by integer hashes."""

import math

from fgsn_ros.simulation import materials as mat
from fgsn_ros.simulation.noise import (
    Row,
    covered,
    fade,
    fractal,
    hash_integers,
    kernel,
    mix,
    uniform,
    value_noise,
)
from fgsn_ros.simulation.seasons import Triple

Texel = tuple[float, float, float, int, float, float]
"""Red, green, blue (linear albedo), semantic class (-1: the surface's), gloss, emission."""

GLASS_MARK = 2.0
"""Gloss at and above this marks window glass, which mirrors the sky."""
_BRICK, _PLASTER, _STONE, _TIMBER = range(4)
_LANE = 3.2


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


@kernel
def facade(
    u: float,
    v: float,
    seed: int,
    row: Row,
    fine: float,
    lit_share: float,
    drive_seed: int,
    aged: float,
) -> Texel:
    """A wall at u along it and v above the floor [m]; see materials.Surface for the layout."""
    style = int(row[mat.STYLE])
    red, green, blue = masonry(u, v, style, seed, row, fine)
    width, height = row[mat.WIDTH], row[mat.HEIGHT]
    if width <= 0.0:  # a plain wall: chimneys, garden walls
        return red, green, blue, -1, 0.04, 0.0
    dirt = 1.0 - 0.3 * math.exp(-max(0.0, v) / 0.7) - 0.25 * math.exp(-max(0.0, height - v) / 0.3)
    red, green, blue = red * dirt, green * dirt, blue * dirt
    storey_height = row[mat.STOREY]
    if v < 0.45:
        plinth = covered(v, -9.0, 0.45, fine)
        tone = 0.20 * (1.0 + 0.5 * fractal(u, v, seed + 51, 0.4, 4, fine))
        red, green, blue = mix(red, tone, plinth), mix(green, tone, plinth), mix(blue, tone, plinth)
    if v > height:
        return red, green, blue, -1, 0.04, 0.0
    band = v - storey_height * math.floor(v / storey_height)
    if style == 1 or style == 2:  # string course between storeys
        share = 0.6 * covered(band, 0.0, 0.14, fine)
        red, green, blue = mix(red, 0.55, share), mix(green, 0.54, share), mix(blue, 0.5, share)
    if v < -0.5:
        return red, green, blue, -1, 0.04, 0.0
    storey = math.floor(max(v, 0.0) / storey_height)
    bay = math.floor(u / row[mat.BAY])
    x = u - (bay + 0.5) * row[mat.BAY]
    y = v - storey * storey_height
    wall = (red, green, blue, -1, 0.04, 0.0)
    if storey == 0 and row[mat.SHOP] > 0.5:
        return _shop(x, y, u, bay, seed, row, fine, lit_share, drive_seed, aged, wall)
    if storey == 0 and bay == int(row[mat.DOOR_BAY]):
        return _door(x, v, seed, row, fine, wall)
    if (storey + 1) * storey_height > height + 0.3:
        return wall
    if uniform(bay, storey, seed + 61) < 0.10:  # a blind bay
        return wall
    return _window(x, y - 0.5 * (storey_height + 0.25), bay, storey, seed, row, fine, lit_share,
                   drive_seed, aged, wall)  # fmt: skip


@kernel
def _inside(x: float, y: float, half: float, tall: float, fine: float) -> float:
    return covered(x, -half, half, fine) * covered(y, -tall, tall, fine)


@kernel
def _window(
    x: float, y: float, bay: int, storey: int, seed: int, row: Row, fine: float,
    lit_share: float, drive_seed: int, aged: float, wall: Texel,
) -> Texel:  # fmt: skip
    half, tall = 0.5 * row[mat.WINDOW_WIDTH], 0.5 * row[mat.WINDOW_HEIGHT]
    red, green, blue = wall[0], wall[1], wall[2]
    # Lintel, sill and surround
    trim = _inside(x, y - tall - 0.10, half + 0.14, 0.10, fine)
    sill = _inside(x, y + tall + 0.06, half + 0.12, 0.06, fine)
    trim = min(1.0, trim + sill)
    tone = 0.42 + 0.2 * (uniform(1, 2, seed) - 0.5)
    red, green, blue = mix(red, tone, trim), mix(green, tone, trim), mix(blue, 0.92 * tone, trim)
    shade = _inside(x, y + tall + 0.19, half + 0.12, 0.07, fine)  # shadow under the sill
    red, green, blue = red * (1 - 0.4 * shade), green * (1 - 0.4 * shade), blue * (1 - 0.4 * shade)
    if uniform(3, 4, seed) < 0.25:  # shutters on this house
        board = _inside(abs(x) - half - 0.27, y, 0.22, tall, fine)
        slat = 1.0 - 0.35 * fade(fine, 0.12) * (math.sin(y * 70.0) > 0.3)
        r, g, b = uniform(5, 1, seed) * 0.25, uniform(5, 2, seed) * 0.25, uniform(5, 3, seed) * 0.25
        red, green, blue = (
            mix(red, r * slat, board),
            mix(green, g * slat, board),
            mix(blue, b * slat, board),
        )
    whole = _inside(x, y, half, tall, fine)
    if whole <= 0.0:
        return red, green, blue, -1, wall[4], 0.0
    pane = _inside(x, y, half - 0.07, tall - 0.07, fine)
    bars = covered(x, -0.03, 0.03, fine)
    if uniform(7, 7, seed) < 0.7:
        cross = covered(y, 0.18 * tall, 0.18 * tall + 0.05, fine)
        bars = bars + cross - bars * cross
    glass = pane * (1.0 - bars)
    red, green, blue = mix(red, row[3], whole), mix(green, row[4], whole), mix(blue, row[5], whole)
    shadow = covered(y, tall - 0.2, tall, fine)
    r, g, b, light = _room(x / half, y / tall, bay, storey, seed, fine, lit_share, drive_seed, aged)
    r, g, b = r * (1 - 0.6 * shadow), g * (1 - 0.6 * shadow), b * (1 - 0.6 * shadow)
    red, green, blue = mix(red, r, glass), mix(green, g, glass), mix(blue, b, glass)
    kind = mat.WINDOW if whole > 0.5 else -1
    return red, green, blue, kind, GLASS_MARK + glass, light * glass


@kernel
def _tenant(bay: int, storey: int, seed: int, drive_seed: int, aged: float) -> int:
    """Seed of what a window shows: the house's, in some of them this drive's."""
    own = seed ^ drive_seed
    return own if uniform(bay, storey, own + 17) < aged else seed


@kernel
def _room(
    x: float, y: float, bay: int, storey: int, seed: int, fine: float, lit_share: float,
    drive_seed: int, aged: float,
) -> tuple[float, float, float, float]:  # fmt: skip
    """What is seen through a window: curtains or a dark room; and its light at night."""
    lamp = uniform(bay, storey, seed ^ drive_seed)
    seed = _tenant(bay, storey, seed, drive_seed, aged)
    drawn = 0.15 + 0.5 * uniform(bay, storey, seed + 71)
    tone = 0.025
    if uniform(bay, storey, seed + 72) < 0.65:
        edge = abs(x) + 0.05 * math.sin(9.0 * y + bay)
        if edge > 1.0 - drawn:
            fold = 0.75 + 0.25 * math.sin(x * 32.0) * fade(fine, 0.25)
            tone = (0.25 + 0.3 * uniform(bay, storey, seed + 73)) * fold
    elif y < -0.45 and uniform(bay, storey, seed + 74) < 0.6:  # plants on the sill
        tone = 0.10 * (1.0 + fractal(x, y, seed + bay, 0.3, 3, fine))
    lit = 0.0
    if lamp < lit_share:
        lit = 0.35 + 0.9 * uniform(bay, storey, seed + 75)
        lit *= (0.45 + tone * 1.2) * (1.0 + 0.35 * y)
    return tone, tone * 0.95, tone * 0.85, lit


@kernel
def _door(x: float, v: float, seed: int, row: Row, fine: float, wall: Texel) -> Texel:
    half, tall = 0.52, 2.15
    surround = covered(x, -half - 0.14, half + 0.14, fine) * covered(v, -3.0, tall + 0.18, fine)
    red, green, blue = (
        mix(wall[0], 0.45, surround),
        mix(wall[1], 0.44, surround),
        mix(wall[2], 0.4, surround),
    )
    leaf = covered(x, -half, half, fine) * covered(v, -0.02, tall, fine)
    r, g, b = (
        0.02 + 0.3 * uniform(9, 1, seed) ** 2,
        0.02 + 0.2 * uniform(9, 2, seed) ** 2,
        0.03 + 0.2 * uniform(9, 3, seed) ** 2,
    )
    groove = 0.0
    for column in range(2):
        centre = -0.25 + 0.5 * column
        for rank in range(3):
            level = 0.42 + 0.66 * rank
            box = covered(x, centre - 0.18, centre + 0.18, fine) * covered(
                v, level - 0.26, level + 0.26, fine
            )
            inner = covered(x, centre - 0.14, centre + 0.14, fine) * covered(
                v, level - 0.22, level + 0.22, fine
            )
            groove += box - inner
    shade = (1.0 - 0.45 * groove) * (1.0 + 0.2 * fractal(x * 4, v, seed + 81, 0.3, 3, fine))
    red, green, blue = (
        mix(red, r * shade, leaf),
        mix(green, g * shade, leaf),
        mix(blue, b * shade, leaf),
    )
    knob = covered(x, 0.38, 0.44, fine) * covered(v, 0.98, 1.1, fine)
    red, green, blue = mix(red, 0.6, knob), mix(green, 0.5, knob), mix(blue, 0.25, knob)
    return red, green, blue, mat.DOOR if leaf > 0.5 else -1, 0.1, 0.0


@kernel
def _shop(
    x: float, y: float, u: float, bay: int, seed: int, row: Row, fine: float,
    lit_share: float, drive_seed: int, aged: float, wall: Texel,
) -> Texel:  # fmt: skip
    """A ground floor of shop windows under a sign board with lettering."""
    red, green, blue = wall[0], wall[1], wall[2]
    top = row[mat.STOREY] - 0.25
    r, g, b = 0.5 * uniform(11, 1, seed), 0.4 * uniform(11, 2, seed), 0.5 * uniform(11, 3, seed)
    board = covered(y, top - 0.55, top, fine) * covered(u, 0.2, row[mat.WIDTH] - 0.2, fine)
    letter = uniform(math.floor(u / 0.14), math.floor((y - top) / 0.11), seed + 91)
    lettering = 0.0
    if 0.2 * row[mat.WIDTH] < u < 0.7 * row[mat.WIDTH] and letter < 0.55:
        lettering = covered(y, top - 0.44, top - 0.11, fine)
    light = 0.75 * fade(fine, 0.2) + 0.25
    r, g, b = (
        mix(r, 0.7, lettering * light),
        mix(g, 0.68, lettering * light),
        mix(b, 0.55, lettering * light),
    )
    red, green, blue = mix(red, r, board), mix(green, g, board), mix(blue, b, board)
    half = 0.5 * row[mat.BAY] - 0.16
    is_door = bay == int(row[mat.DOOR_BAY])
    low = 0.05 if is_door else 0.55
    half = 0.6 if is_door else half
    middle, tall = 0.5 * (low + top - 0.7), 0.5 * (top - 0.7 - low)
    whole = _inside(x, y - middle, half, tall, fine)
    if whole <= 0.0:
        return red, green, blue, -1, wall[4], 0.0
    glass = _inside(x, y - middle, half - 0.08, tall - 0.08, fine)
    red, green, blue = mix(red, r, whole), mix(green, g, whole), mix(blue, b, whole)
    lamp = uniform(0, 1, seed ^ drive_seed)
    seed = _tenant(bay, 0, seed, drive_seed, aged)
    goods = 0.04 + 0.22 * max(0.0, fractal(u, y, seed + 95, 0.5, 4, fine))
    goods *= 1.0 if y < middle else 0.5
    hue = uniform(math.floor(u / 0.4), math.floor(y / 0.35), seed + 96)
    red, green, blue = (
        mix(red, goods * (0.6 + hue), glass),
        mix(green, goods, glass),
        mix(blue, goods * (1.5 - hue), glass),
    )
    lit = 0.9 * (0.5 + 2.0 * goods) if lamp < 1.8 * lit_share else 0.0
    kind = mat.DOOR if is_door else mat.WINDOW
    return red, green, blue, kind if whole > 0.5 else -1, GLASS_MARK + glass, lit * glass
