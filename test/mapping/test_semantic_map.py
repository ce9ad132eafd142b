import dataclasses

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fgsn_ros.errors import MapError

FIXTURE = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@FIXTURE
@given(
    seed=st.integers(0, 1000),
    count=st.integers(0, 300),
    tile_size_m=st.floats(0.5, 200.0),
    position=st.tuples(*[st.floats(-150, 150)] * 3),
    radius_m=st.floats(0.0, 300.0),
)
def test_points_near_equals_brute_force(make_map, seed, count, tile_size_m, position, radius_m):
    m = make_map(seed=seed, count=count, tile_size_m=tile_size_m)
    offsets = m.points.astype(np.float64) - position
    expected = np.flatnonzero(np.einsum("ij,ij->i", offsets, offsets) <= radius_m**2)
    np.testing.assert_array_equal(m.points_near(np.array(position), radius_m), expected)


def test_points_near_survives_a_radius_larger_than_any_index(make_map):
    m = make_map()
    assert len(m.points_near(np.zeros(3), 1e15)) == len(m)
    assert len(m.points_near(np.array([1e14, 0.0, 0.0]), 5.0)) == 0


def test_points_near_refuses_a_position_that_is_not_finite(make_map):
    with pytest.raises(MapError, match="finite"):
        make_map().points_near(np.array([0.0, np.nan, 0.0]), 5.0)


def test_every_field_follows_its_point_into_tile_order(make_map):
    m = make_map(count=200)
    other = type(m).from_points(
        points=m.points[::-1],
        labels=m.labels[::-1],
        confidence=m.confidence[::-1],
        directions=m.directions[::-1],
        min_range=m.min_range[::-1],
        max_range=m.max_range[::-1],
        keyframe_poses=m.keyframe_poses,
        keyframe_histograms=m.keyframe_histograms,
        fingerprint=m.fingerprint,
    )
    a, b = np.lexsort(m.points.T), np.lexsort(other.points.T)
    for name in ("points", "labels", "confidence", "directions", "min_range", "max_range"):
        np.testing.assert_array_equal(getattr(m, name)[a], getattr(other, name)[b])


def test_tiles_hold_consecutive_points(make_map):
    m = make_map()
    for key, first, last in zip(m.tile_keys, m.tile_starts, m.tile_starts[1:], strict=False):
        assert (np.floor(m.points[first:last, :2] / m.tile_size_m) == key).all()


def damaged(m, name, change):
    array = getattr(m, name).copy()
    change(array)
    return dataclasses.replace(m, **{name: array})


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("points", lambda a: a.__setitem__((3, 1), np.nan), "not finite"),
        ("points", lambda a: a.__setitem__(3, a[-1]), "outside its tile"),
        ("labels", lambda a: a.__setitem__(0, 7), "label count"),
        ("confidence", lambda a: a.__setitem__(0, 1.5), "outside"),
        ("confidence", lambda a: a.__setitem__(0, np.inf), "not finite"),
        ("directions", lambda a: a.__setitem__(0, 0.0), "length 1"),
        ("min_range", lambda a: a.__setitem__(0, 0.0), "ranges"),
        ("max_range", lambda a: a.__setitem__(0, 0.5), "ranges"),
        ("tile_starts", lambda a: a.__setitem__(1, 10_000), "tile index"),
        ("tile_keys", lambda a: a.__setitem__(0, a[-1]), "not ordered"),
        ("keyframe_poses", lambda a: a.__setitem__((0, 0, 3), np.nan), "not finite"),
        ("keyframe_poses", lambda a: a.__imul__(2.0), "rigid"),
        ("keyframe_histograms", lambda a: a.__setitem__((0, 0), -1.0), "histogram"),
    ],
)
def test_invalid_values_are_refused(make_map, name, change, message):
    with pytest.raises(MapError, match=message):
        damaged(make_map(), name, change)


@pytest.mark.parametrize("name", ["labels", "confidence", "directions", "max_range", "tile_starts"])
def test_arrays_of_another_length_or_type_are_refused(make_map, name):
    m = make_map()
    with pytest.raises(MapError, match=name):
        dataclasses.replace(m, **{name: getattr(m, name)[:-1]})
    with pytest.raises(MapError, match=name):
        dataclasses.replace(m, **{name: getattr(m, name).astype(np.float64)})


def test_coordinates_too_large_for_float32_are_refused(make_map):
    with pytest.raises(MapError, match="subtract an origin"):
        make_map(size_m=1e7)
