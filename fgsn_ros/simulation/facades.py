"""Procedural façades: walls with windows, doors and shop fronts."""

import math

from fgsn_ros.simulation import materials as mat
from fgsn_ros.simulation.noise import Row, covered, fade, fractal, kernel, uniform
from fgsn_ros.simulation.textures import Texel, masonry, mix

GLASS_MARK = 2.0
"""Gloss at and above this marks window glass, which mirrors the sky."""


@kernel
def facade(
    u: float,
    v: float,
    seed: int,
    row: Row,
    fine: float,
    lit_share: float,
    night_seed: int,
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
        return _shop(x, y, u, bay, seed, row, fine, lit_share, night_seed, wall)
    if storey == 0 and bay == int(row[mat.DOOR_BAY]):
        return _door(x, v, seed, row, fine, wall)
    if (storey + 1) * storey_height > height + 0.3:
        return wall
    if uniform(bay, storey, seed + 61) < 0.10:  # a blind bay
        return wall
    return _window(x, y - 0.5 * (storey_height + 0.25), bay, storey, seed, row, fine, lit_share,
                   night_seed, wall)  # fmt: skip


@kernel
def _inside(x: float, y: float, half: float, tall: float, fine: float) -> float:
    return covered(x, -half, half, fine) * covered(y, -tall, tall, fine)


@kernel
def _window(
    x: float, y: float, bay: int, storey: int, seed: int, row: Row, fine: float,
    lit_share: float, night_seed: int, wall: Texel,
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
    r, g, b, light = _room(x / half, y / tall, bay, storey, seed, fine, lit_share, night_seed)
    r, g, b = r * (1 - 0.6 * shadow), g * (1 - 0.6 * shadow), b * (1 - 0.6 * shadow)
    red, green, blue = mix(red, r, glass), mix(green, g, glass), mix(blue, b, glass)
    kind = mat.WINDOW if whole > 0.5 else -1
    return red, green, blue, kind, GLASS_MARK + glass, light * glass


@kernel
def _room(
    x: float, y: float, bay: int, storey: int, seed: int, fine: float, lit_share: float,
    night_seed: int,
) -> tuple[float, float, float, float]:  # fmt: skip
    """What is seen through a window: curtains or a dark room; and its light at night."""
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
    if uniform(bay, storey, seed ^ night_seed) < lit_share:
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
    lit_share: float, night_seed: int, wall: Texel,
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
    goods = 0.04 + 0.22 * max(0.0, fractal(u, y, seed + 95, 0.5, 4, fine))
    goods *= 1.0 if y < middle else 0.5
    hue = uniform(math.floor(u / 0.4), math.floor(y / 0.35), seed + 96)
    red, green, blue = (
        mix(red, goods * (0.6 + hue), glass),
        mix(green, goods, glass),
        mix(blue, goods * (1.5 - hue), glass),
    )
    lit = 0.9 * (0.5 + 2.0 * goods) if uniform(0, 1, seed ^ night_seed) < 1.8 * lit_share else 0.0
    kind = mat.DOOR if is_door else mat.WINDOW
    return red, green, blue, kind if whole > 0.5 else -1, GLASS_MARK + glass, lit * glass
