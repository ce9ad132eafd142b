"""Positions on the earth and in metres around a place: WGS 84, earth-centred and east-north-up.

The formulae are those of IOGP's Geomatics Guidance Note 7-2 (EPSG): methods 9602 and 9837.
"""

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

_EQUATOR_M, _FLATTENING = 6378137.0, 1.0 / 298.257223563
_SQUARE = _FLATTENING * (2.0 - _FLATTENING)
"""Of the eccentricity."""
_STEPS = 8


def earth_centred(fixes: FloatArray) -> FloatArray:
    """Earth-centred, earth-fixed coordinates (N, 3) [m] of positions (N, 3).

    Latitude, longitude [deg] and altitude [m] over the ellipsoid of WGS 84.
    """
    latitude, longitude = np.radians(fixes[:, 0]), np.radians(fixes[:, 1])
    normal = _normal(latitude)
    across = (normal + fixes[:, 2]) * np.cos(latitude)
    up = (normal * (1.0 - _SQUARE) + fixes[:, 2]) * np.sin(latitude)
    return np.stack([across * np.cos(longitude), across * np.sin(longitude), up], axis=1)


def east_north_up(fixes: FloatArray, origin: FloatArray) -> FloatArray:
    """Positions (N, 3) [m] east, north and up of an origin (3,).

    Both are latitude, longitude [deg] and altitude [m] over the ellipsoid of WGS 84.
    """
    away = earth_centred(fixes) - earth_centred(origin[None])
    local: FloatArray = away @ _axes(origin).T
    return local


def geodetic(local: FloatArray, origin: FloatArray) -> FloatArray:
    """Latitude, longitude [deg] and altitude [m] (N, 3) of positions east, north, up of an origin.

    The latitude B is the fixed point of tan B = (z + e^2 N sin B) / p, to which each step adds two
    digits near the ground.
    """
    x, y, z = (local @ _axes(origin) + earth_centred(origin[None])).T
    across = np.hypot(x, y)
    latitude = np.arctan2(z, across * (1.0 - _SQUARE))
    for _ in range(_STEPS):
        latitude = np.arctan2(z + _SQUARE * _normal(latitude) * np.sin(latitude), across)
    sine, cosine = np.sin(latitude), np.cos(latitude)
    altitude = across * cosine + z * sine - _EQUATOR_M * np.sqrt(1.0 - _SQUARE * sine**2)
    return np.stack([np.degrees(latitude), np.degrees(np.arctan2(y, x)), altitude], axis=1)


def _normal(latitude: FloatArray) -> FloatArray:
    """Radius of curvature in the prime vertical [m] at latitudes [rad]."""
    return np.asarray(_EQUATOR_M / np.sqrt(1.0 - _SQUARE * np.sin(latitude) ** 2))


def _axes(origin: FloatArray) -> FloatArray:
    """East, north and up (3, 3), a row each, in earth-centred coordinates."""
    latitude, longitude = np.radians(origin[:2])
    sin_lat, cos_lat = np.sin(latitude), np.cos(latitude)
    sin_lon, cos_lon = np.sin(longitude), np.cos(longitude)
    return np.array(
        [
            [-sin_lon, cos_lon, 0.0],
            [-sin_lat * cos_lon, -sin_lat * sin_lon, cos_lat],
            [cos_lat * cos_lon, cos_lat * sin_lon, sin_lat],
        ]
    )
