"""Seasons: the light and weather of a drive; sky, snow, leaves, water and lamps as it has them."""

import math
from enum import Enum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.simulation import materials as mat
from fgsn_ros.simulation.noise import fade, fractal, inlined, kernel, mix, smooth, uniform

Triple = tuple[float, float, float]
_TRACKS = (0.85, 2.35)  # wheel tracks: distance from the centre line [m]


class Season(str, Enum):
    """Season or weather of a drive."""

    SUMMER = "summer"
    AUTUMN = "autumn"
    WINTER = "winter"
    NIGHT = "night"
    RAIN = "rain"


class Conditions(NamedTuple):
    """What the shader needs to know of light and weather; colours linear, sun at noon = 3."""

    sun_direction: Triple  # unit vector towards the sun
    sun: Triple  # light of the sun; zero where no shadows are cast
    sky: Triple  # light from the sky
    bounce: Triple  # light from the ground
    zenith: Triple  # colour of the sky above
    horizon: Triple  # colour of the sky at the horizon, and of haze
    clouds: Triple  # colour of clouds
    cloud_cover: float  # 0 clear .. 1 overcast
    haze_m: float  # distance at which haze hides 63 % [m]
    exposure: float  # mean brightness aimed at, linear
    green: float  # 1 fresh summer green of grass .. 0 withered
    noise: float  # sensor noise's standard deviation at mid grey, 0..1
    seed: int  # of clouds, snow patches, litter, lit windows
    autumn: float = 0.0  # 0 green .. 1 coloured leaves
    litter: float = 0.0  # density of leaves on the ground, 0..1
    snow: float = 0.0  # 0 none .. 1 everything
    wetness: float = 0.0  # 0 dry .. 1 wet
    lamps: float = 0.0  # light of a street lamp, 0 off
    headlights: float = 0.0  # light of the own headlights, 0 off
    lit_windows: float = 0.0  # share of lit windows
    aged: float = 0.0  # 0 as built .. 1 fine texture is this drive's own, see change.py
    drift: float = 0.0  # wind-blown snow and frost on walls, 0..1
    shutter_s: float = 0.0  # exposure time, in which the image moves [s]
    drops: int = 0  # drops on the lens
    veil: float = 0.0  # light that the lens scatters about the sun and lamps, 0..1


_LIGHT: dict[Season, tuple[Triple, Triple, Triple]] = {  # sun, sky, bounce
    Season.SUMMER: ((3.0, 2.75, 2.35), (0.62, 0.74, 0.95), (0.30, 0.28, 0.24)),
    Season.AUTUMN: ((2.5, 1.95, 1.25), (0.55, 0.62, 0.78), (0.30, 0.28, 0.24)),
    Season.WINTER: ((0.0, 0.0, 0.0), (1.05, 1.10, 1.18), (0.75, 0.78, 0.82)),
    Season.NIGHT: ((0.0, 0.0, 0.0), (0.006, 0.007, 0.011), (0.008, 0.007, 0.006)),
    Season.RAIN: ((0.0, 0.0, 0.0), (0.72, 0.78, 0.86), (0.20, 0.20, 0.20)),
}
_AIR: dict[Season, tuple[Triple, Triple, Triple]] = {  # zenith, horizon, clouds
    Season.SUMMER: ((0.26, 0.58, 1.35), (1.15, 1.45, 1.75), (2.4, 2.4, 2.45)),
    Season.AUTUMN: ((0.35, 0.52, 0.95), (1.25, 1.15, 1.05), (1.7, 1.6, 1.5)),
    Season.WINTER: ((1.05, 1.10, 1.18), (1.35, 1.38, 1.42), (1.30, 1.33, 1.38)),
    Season.NIGHT: ((0.002, 0.0025, 0.005), (0.020, 0.016, 0.014), (0.012, 0.010, 0.009)),
    Season.RAIN: ((0.62, 0.68, 0.76), (0.92, 0.97, 1.02), (0.80, 0.85, 0.90)),
}
_WEATHER: dict[Season, tuple[float | None, ...]] = {
    # cloud_cover, haze_m, exposure, green, noise; None is drawn for each drive
    Season.SUMMER: (None, 1500.0, None, 1.0, 0.008),
    Season.AUTUMN: (None, 900.0, None, 0.35, 0.010),
    Season.WINTER: (0.95, 420.0, 0.46, 0.2, 0.010),
    Season.NIGHT: (0.5, 1200.0, 0.075, 1.0, 0.022),
    Season.RAIN: (1.0, None, 0.30, 0.9, 0.012),
}
_COLUMNS = Conditions._fields[1:12]
"""Of the tables in turn: from sun to noise."""


def conditions(season: Season, rng: np.random.Generator) -> Conditions:
    """Draw the conditions of one drive in a season."""
    azimuth = float(rng.uniform(0, 2 * np.pi))
    values: dict[str, Any] = {
        "sun_direction": _direction(azimuth, rng.uniform(40, 62)),
        "cloud_cover": float(rng.uniform(0.25, 0.55)),
        "exposure": float(rng.uniform(0.30, 0.38)),
        "seed": int(rng.integers(1 << 30)),
    }
    row = (*_LIGHT[season], *_AIR[season], *_WEATHER[season])
    for name, value in zip(_COLUMNS, row, strict=True):
        values[name] = values.get(name) if value is None else value
    return Conditions(**(values | _only_in(season, azimuth, rng)))


def _only_in(season: Season, azimuth: float, rng: np.random.Generator) -> dict[str, Any]:
    """What the other seasons do not have, of one drive."""
    if season is Season.SUMMER:
        return {}
    low_sun = _direction(azimuth, rng.uniform(16, 30))
    if season is Season.AUTUMN:
        coloured, litter = float(rng.uniform(0.75, 1.0)), float(rng.uniform(0.5, 1.0))
        return {"sun_direction": low_sun, "autumn": coloured, "litter": litter}
    if season is Season.WINTER:
        return {"snow": float(rng.uniform(0.75, 1.0))}
    if season is Season.NIGHT:
        lit_windows = float(rng.uniform(0.15, 0.35))
        return {"lamps": 18.0, "headlights": 26.0, "lit_windows": lit_windows}
    return {"wetness": 1.0, "haze_m": float(rng.uniform(130, 260))}


def _direction(azimuth: float, elevation_deg: float) -> Triple:
    elevation = np.radians(elevation_deg)
    c = float(np.cos(elevation))
    return c * float(np.cos(azimuth)), c * float(np.sin(azimuth)), float(np.sin(elevation))


@kernel
def sky_colour(dx: float, dy: float, dz: float, c: Conditions) -> Triple:
    """Colour of the sky in a unit direction of the map frame."""
    height = max(dz, 0.0)
    share = 1.0 - (1.0 - min(1.0, height)) ** 3
    red = mix(c.horizon[0], c.zenith[0], share)
    green = mix(c.horizon[1], c.zenith[1], share)
    blue = mix(c.horizon[2], c.zenith[2], share)
    if dz > 0.01:
        scale = 1.0 / (dz + 0.12)
        x, y = dx * scale, dy * scale
        cloud = fractal(x, y, c.seed, 1.6, 5, 0.004 * scale) * 1.25 + c.cloud_cover * 1.7 - 0.85
        cloud = min(1.0, max(0.0, cloud * 1.8)) * min(1.0, dz * 9.0)
        shade = 1.0 + 0.45 * fractal(x, y, c.seed + 77, 0.9, 4, 0.004 * scale)
        red = mix(red, c.clouds[0] * shade, cloud)
        green = mix(green, c.clouds[1] * shade, cloud)
        blue = mix(blue, c.clouds[2] * shade, cloud)
    if c.sun[0] > 0.0:
        near = dx * c.sun_direction[0] + dy * c.sun_direction[1] + dz * c.sun_direction[2]
        if near > 0.0:
            glow = 0.35 * near**12 + (6.0 if near > 0.9994 else 0.0)
            red, green, blue = (
                red + glow * c.sun[0],
                green + glow * c.sun[1],
                blue + glow * c.sun[2],
            )
    return red, green, blue


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
