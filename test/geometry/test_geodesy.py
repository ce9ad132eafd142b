"""Positions on the earth in metres around a place, against published values and back."""

import numpy as np
import pytest

from fgsn_ros.geometry.geodesy import earth_centred, east_north_up, geodetic

ORIGIN = np.array([48.5, 9.0, 400.0])


def test_earth_centred_coordinates_are_those_that_are_published():
    # the example of method 9602 in the EPSG's Guidance Note 7-2: North Sea, WGS 84
    # 53d48'33.820"N 2d07'46.380"E 73.0 m -> X 3771793.968, Y 140253.342, Z 5124304.349
    place = [53.0 + 48.0 / 60 + 33.820 / 3600, 2.0 + 7.0 / 60 + 46.380 / 3600, 73.0]
    found = earth_centred(np.array([place]))
    np.testing.assert_allclose(found[0], [3771793.968, 140253.342, 5124304.349], atol=1e-3)


def test_the_poles_lie_at_the_half_axis():
    found = earth_centred(np.array([[90.0, 30.0, 10.0], [0.0, 0.0, 0.0]]))
    np.testing.assert_allclose(found, [[0, 0, 6356752.3142 + 10.0], [6378137.0, 0, 0]], atol=1e-4)


def test_a_degree_of_the_meridian_has_its_known_length_and_up_is_up():
    north = east_north_up(np.array([[0.5, 0.0, 0.0]]), np.array([-0.5, 0.0, 0.0]))
    # 110,574.27 m of arc; the chord's projection to the tangent at its end is that times sinc
    assert north[0, 1] == pytest.approx(110_574.27 * np.sinc(1.0 / 180.0), rel=1e-6)
    east = east_north_up(np.array([[0.0, 90.0, 0.0]]), np.zeros(3))
    np.testing.assert_allclose(east[0], [6378137.0, 0.0, -6378137.0], atol=1e-6)
    above = east_north_up(ORIGIN[None] + [[0.0, 0.0, 7.0]], ORIGIN)
    np.testing.assert_allclose(above, [[0.0, 0.0, 7.0]], atol=1e-8)


@pytest.mark.parametrize("latitude", [-89.9, -33.9, 0.0, 48.5, 78.2])
def test_positions_come_back_from_east_north_up(latitude):
    rng = np.random.default_rng(0)
    origin = np.array([latitude, 179.9999, 500.0])  # across the date line, too
    local = rng.normal(0.0, 1.0, (50, 3)) * (5000.0, 5000.0, 200.0)
    back = east_north_up(geodetic(local, origin), origin)
    np.testing.assert_allclose(back, local, atol=1e-6)
