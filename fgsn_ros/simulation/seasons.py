"""Seasons: light, weather and state of the plants, with some variation from drive to drive."""

from enum import Enum
from typing import NamedTuple

import numpy as np

Triple = tuple[float, float, float]


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
    snow: float  # 0 none .. 1 everything
    wetness: float  # 0 dry .. 1 wet
    litter: float  # density of leaves on the ground, 0..1
    autumn: float  # 0 green .. 1 coloured leaves
    green: float  # 1 fresh summer green of grass .. 0 withered
    lamps: float  # light of a street lamp, 0 off
    headlights: float  # light of the own headlights, 0 off
    lit_windows: float  # share of lit windows
    exposure: float  # mean brightness aimed at, linear
    noise: float  # sensor noise's standard deviation at mid grey, 0..1
    seed: int  # of clouds, snow patches, litter, lit windows


def _direction(azimuth: float, elevation_deg: float) -> Triple:
    elevation = np.radians(elevation_deg)
    c = float(np.cos(elevation))
    return c * float(np.cos(azimuth)), c * float(np.sin(azimuth)), float(np.sin(elevation))


def conditions(season: Season, rng: np.random.Generator) -> Conditions:
    """Draw the conditions of one drive in a season."""
    azimuth = float(rng.uniform(0, 2 * np.pi))
    base = _SUMMER._replace(
        sun_direction=_direction(azimuth, rng.uniform(40, 62)),
        cloud_cover=float(rng.uniform(0.25, 0.55)),
        exposure=float(rng.uniform(0.30, 0.38)),
        seed=int(rng.integers(1 << 30)),
    )
    if season is Season.SUMMER:
        return base
    change = _CHANGES[season]
    low_sun = _direction(azimuth, rng.uniform(16, 30))
    result = base._replace(**change)  # type: ignore[arg-type]
    if season is Season.AUTUMN:
        return result._replace(
            sun_direction=low_sun,
            autumn=float(rng.uniform(0.75, 1.0)),
            litter=float(rng.uniform(0.5, 1.0)),
        )
    if season is Season.WINTER:
        return result._replace(snow=float(rng.uniform(0.75, 1.0)))
    if season is Season.NIGHT:
        return result._replace(lit_windows=float(rng.uniform(0.15, 0.35)))
    return result._replace(haze_m=float(rng.uniform(130, 260)))


_SUMMER = Conditions(
    sun_direction=(0.5, 0.0, 0.86),
    sun=(3.0, 2.75, 2.35),
    sky=(0.62, 0.74, 0.95),
    bounce=(0.30, 0.28, 0.24),
    zenith=(0.26, 0.58, 1.35),
    horizon=(1.15, 1.45, 1.75),
    clouds=(2.4, 2.4, 2.45),
    cloud_cover=0.4,
    haze_m=1500.0,
    snow=0.0,
    wetness=0.0,
    litter=0.0,
    autumn=0.0,
    green=1.0,
    lamps=0.0,
    headlights=0.0,
    lit_windows=0.0,
    exposure=0.2,
    noise=0.008,
    seed=0,
)

_CHANGES: dict[Season, dict[str, object]] = {
    Season.AUTUMN: {
        "sun": (2.5, 1.95, 1.25),
        "sky": (0.55, 0.62, 0.78),
        "zenith": (0.35, 0.52, 0.95),
        "horizon": (1.25, 1.15, 1.05),
        "clouds": (1.7, 1.6, 1.5),
        "haze_m": 900.0,
        "green": 0.35,
        "noise": 0.010,
    },
    Season.WINTER: {
        "sun": (0.0, 0.0, 0.0),
        "sky": (1.05, 1.10, 1.18),
        "bounce": (0.75, 0.78, 0.82),
        "zenith": (1.05, 1.10, 1.18),
        "horizon": (1.35, 1.38, 1.42),
        "clouds": (1.30, 1.33, 1.38),
        "cloud_cover": 0.95,
        "haze_m": 420.0,
        "green": 0.2,
        "exposure": 0.46,
        "noise": 0.010,
    },
    Season.NIGHT: {
        "sun": (0.0, 0.0, 0.0),
        "sky": (0.006, 0.007, 0.011),
        "bounce": (0.008, 0.007, 0.006),
        "zenith": (0.002, 0.0025, 0.005),
        "horizon": (0.020, 0.016, 0.014),
        "clouds": (0.012, 0.010, 0.009),
        "cloud_cover": 0.5,
        "haze_m": 1200.0,
        "lamps": 18.0,
        "headlights": 26.0,
        "exposure": 0.075,
        "noise": 0.022,
    },
    Season.RAIN: {
        "sun": (0.0, 0.0, 0.0),
        "sky": (0.72, 0.78, 0.86),
        "bounce": (0.20, 0.20, 0.20),
        "zenith": (0.62, 0.68, 0.76),
        "horizon": (0.92, 0.97, 1.02),
        "clouds": (0.80, 0.85, 0.90),
        "cloud_cover": 1.0,
        "haze_m": 190.0,
        "wetness": 1.0,
        "green": 0.9,
        "exposure": 0.30,
        "noise": 0.012,
    },
}
