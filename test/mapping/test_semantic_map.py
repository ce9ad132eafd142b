import dataclasses

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fgsn_ros.errors import MapError
from fgsn_ros.geometry import poses
from fgsn_ros.mapping import semantic_map
from fgsn_ros.mapping.semantic_map import SemanticMap, ShownPoints

FIXTURE = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
FIELDS = ("points", "labels", "confidence", "directions", "min_range", "max_range")


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
    every = m.all_points()
    offsets = every.points.astype(np.float64) - position
    expected = every[np.einsum("ij,ij->i", offsets, offsets) <= radius_m**2]
    near = m.points_near(np.array(position), radius_m)
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(near, name), getattr(expected, name))


def test_points_near_survives_a_radius_larger_than_any_index(make_map):
    m = make_map()
    assert len(m.points_near(np.zeros(3), 1e15)) == len(m)
    assert len(m.points_near(np.array([1e14, 0.0, 0.0]), 5.0)) == 0


def test_points_near_refuses_a_position_that_is_not_finite(make_map):
    with pytest.raises(MapError, match="finite"):
        make_map().points_near(np.array([0.0, np.nan, 0.0]), 5.0)


def test_every_field_follows_its_point_into_tile_order(arrays):
    given_arrays = arrays(count=200)
    every = SemanticMap.from_points(**given_arrays).all_points()
    a, b = (np.argsort(points[:, 0]) for points in (given_arrays["points"], every.points))
    tolerances = {"points": 2e-3, "confidence": 2e-3, "directions": 2e-2}
    for name in FIELDS:
        expected, got = given_arrays[name][a], getattr(every, name)[b]
        np.testing.assert_allclose(got, expected, rtol=0.02, atol=tolerances.get(name, 0))


def test_parts_are_all_points_in_turn(make_map, monkeypatch):
    monkeypatch.setattr("fgsn_ros.mapping.semantic_map._PART_POINTS", 30)
    m = make_map()
    parts = list(m.parts())
    assert len(parts) > 10
    np.testing.assert_array_equal(
        np.concatenate([part.points for part in parts]), m.all_points().points
    )


@FIXTURE
@given(
    seed=st.integers(0, 1000),
    count=st.integers(1, 60),
    corner=st.tuples(*[st.floats(-60, 60)] * 2),
    size=st.tuples(*[st.floats(0, 60)] * 2),
)
def test_keyframes_within_are_those_of_the_tiles_that_the_box_touches(
    arrays, seed, count, corner, size
):
    xy = np.random.default_rng(seed).uniform(-50, 50, (count, 2))
    T = poses.from_planar(xy[:, 0], xy[:, 1], 0.3)
    m = SemanticMap.from_points(**{**arrays(count=5, keyframes=count), "keyframe_poses": T})
    low, high = np.array(corner), np.array(corner) + size
    tiles, (first, last) = np.floor(xy / 10.0), np.floor([low / 10.0, high / 10.0])
    expected = T[((tiles >= first) & (tiles <= last)).all(axis=1)]
    got = m.keyframes_within(low, high)
    assert len(got) == len(expected)
    by_x = (np.argsort(T[:, 0, 3]) for T in (got, expected))
    np.testing.assert_allclose(got[next(by_x)], expected[next(by_x)], atol=1e-6)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("points", lambda a: a.__setitem__((3, 1), np.nan), "not finite"),
        ("labels", lambda a: a.__setitem__(0, 7), "label count"),
        ("labels", lambda a: a.__setitem__(0, -1), "label count"),
        ("confidence", lambda a: a.__setitem__(0, 1.5), "outside"),
        ("confidence", lambda a: a.__setitem__(0, np.inf), "not finite"),
        ("directions", lambda a: a.__setitem__(0, 0.0), "length 1"),
        ("min_range", lambda a: a.__setitem__(0, 0.0), "ranges"),
        ("max_range", lambda a: a.__setitem__(0, 0.5), "ranges"),
        ("keyframe_poses", lambda a: a.__setitem__((0, 0, 3), np.nan), "not finite"),
        ("keyframe_poses", lambda a: a.__imul__(2.0), "rigid"),
        ("keyframe_histograms", lambda a: a.__setitem__((0, 0), -1.0), "histogram"),
    ],
)
def test_invalid_values_are_refused(arrays, name, change, message):
    values = arrays()
    change(values[name])
    with pytest.raises(MapError, match=message):
        SemanticMap.from_points(**values)


@pytest.mark.parametrize(
    "name", ["labels", "confidence", "directions", "max_range", "keyframe_poses"]
)
def test_arrays_of_another_length_are_refused(arrays, name):
    values = arrays()
    with pytest.raises(MapError, match=name):
        SemanticMap.from_points(**{**values, name: values[name][:-1]})


def test_coordinates_too_large_for_float32_are_refused(make_map):
    with pytest.raises(MapError, match="subtract an origin"):
        make_map(size_m=1e7)


def changed(records, change):
    records = records.copy()
    change(records)
    return records


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("points", lambda a: a["label"].__setitem__(3, 9), "label"),
        ("points", lambda a: a["range"].__setitem__(3, (9, 8)), "range"),
        ("tiles", lambda a: a["first_point"].__setitem__(3, -1), "outside"),
        ("tiles", lambda a: a["first_point"].__setitem__(3, 1 << 62), "outside"),
        ("tiles", lambda a: a["points"].__setitem__(3, 1 << 30), "outside"),
        ("tiles", lambda a: a["points"].__setitem__(slice(None), 400), "outside"),
        ("tiles", lambda a: a["first_keyframe"].__setitem__(3, 99), "outside"),
        ("tiles", lambda a: a["height_m"].__setitem__(3, np.nan), "height"),
        ("tile_keys", lambda a: a.__setitem__(3, a[4]), "ordered"),
    ],
)
def test_stored_values_are_checked_when_they_are_read(make_map, name, change, message):
    m = make_map()
    damaged = dataclasses.replace(m, **{name: changed(getattr(m, name), change)})
    with pytest.raises(MapError, match=message):
        damaged.points_near(np.zeros(3), 1e3)


@pytest.mark.parametrize(
    ("name", "value"), [("position", np.nan), ("q_xyzw", 0.0), ("q_xyzw", np.nan), ("shares", -1)]
)
def test_stored_key_frames_are_checked_when_they_are_read(make_map, name, value):
    m = make_map()
    keyframes = changed(m.keyframes, lambda a: a[name].__setitem__(1, value))
    with pytest.raises(MapError, match="key frame"):
        dataclasses.replace(m, keyframes=keyframes).keyframes_within(
            np.full(2, -99), np.full(2, 99)
        )


def test_another_map_has_another_identity(make_map):
    m = make_map()
    assert make_map().identity == m.identity
    assert len({m.identity, make_map(seed=1).identity, make_map(keyframes=5).identity}) == 3


@pytest.fixture
def large(monkeypatch):
    monkeypatch.setattr(semantic_map, "MAP_POINTS_SHOWN", 400)


def test_a_small_map_is_shown_whole_and_once(make_map):
    shown = ShownPoints(make_map())
    assert len(shown.at_once()) == 500
    assert shown.around(np.array([70.0, 0.0, 0.0])) is None
    shown.restart()
    assert len(shown.around(np.zeros(3))) == 500


@pytest.mark.usefixtures("large")
def test_a_large_map_is_shown_around_the_robot_and_anew_when_it_has_moved(make_map):
    m = make_map(count=2000, size_m=1000.0)
    shown = ShownPoints(m)
    assert shown.at_once() is None
    here = np.array([200.0, 100.0, 0.0])
    first = shown.around(here)
    assert 0 < len(first) == len(m.points_near(here, 150.0))
    assert shown.around(np.array([240.0, 100.0, 0.0])) is None
    moved = shown.around(np.array([251.0, 100.0, 0.0]))
    assert moved is not None
    assert set(moved.points[:, 0].tolist()) != set(first.points[:, 0].tolist())


@pytest.mark.usefixtures("large")
def test_a_dense_neighbourhood_is_thinned(make_map):
    shown = ShownPoints(make_map(count=2000, size_m=50.0))
    assert 200 < len(shown.around(np.zeros(3))) <= 400
