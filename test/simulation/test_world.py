import numpy as np
from scipy.spatial import cKDTree

from fgsn_ros.simulation.materials import CLASS_NAMES
from fgsn_ros.simulation.world import Town


def test_same_seed_gives_the_same_town_to_the_bit(town):
    again = Town.from_seed(5)
    for mesh, other in ((town.solid, again.solid), (town.leaves, again.leaves)):
        np.testing.assert_array_equal(mesh.vertices, other.vertices)
        np.testing.assert_array_equal(mesh.uv, other.uv)
    assert town.surfaces.surfaces == again.surfaces.surfaces


def test_another_seed_gives_another_street(town):
    other = Town.from_seed(6)
    assert abs(other.street.length - town.street.length) > 0.1


def test_street_is_a_closed_loop_that_bends_and_slopes(town):
    street = town.street
    assert 600.0 <= street.length <= 800.0
    np.testing.assert_allclose(street.at(0.0), street.at(street.length), atol=1e-9)
    station = np.arange(0.0, street.length, 1.0)
    tangents = street.axes(station)[1]
    assert np.ptp(np.unwrap(np.arctan2(tangents[:, 1], tangents[:, 0]))) > 6.0
    slope = np.gradient(town.ground.height(street.at(station)))
    assert 0.01 < np.abs(slope).max() < 0.12


def test_lateral_offset_is_to_the_left(town):
    (point,), (tangent,) = town.street.axes([37.0])
    (left,) = town.street.at([37.0], [2.0])
    side = left - point
    assert tangent[0] * side[1] - tangent[1] * side[0] > 1.9


def test_nothing_stands_on_the_lanes(town):
    corners = town.solid.vertices[town.solid.triangles]
    centres = corners.mean(axis=1)
    height = centres[:, 2] - town.ground.height(centres[:, :2])
    standing = (height > 0.3) & (height < 2.5)
    station = np.arange(0.0, town.street.length, 0.5)
    distance, _ = cKDTree(town.street.at(station)).query(centres[standing, :2])
    assert distance.min() > 4.5


def test_every_surface_has_a_class(town):
    assert all(0 <= surface.kind < len(CLASS_NAMES) for surface in town.surfaces.surfaces)
