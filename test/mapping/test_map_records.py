import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fgsn_ros.geometry import poses
from fgsn_ros.mapping.map_records import (
    POINT,
    MapPoints,
    decoded,
    decoded_poses,
    pack,
    tiled_records,
    tiles_of,
    unpack,
)

NO_SHARES = np.zeros((0, 3))


def random_points(rng, count, size_m):
    directions = rng.normal(size=(count, 3))
    near = rng.uniform(0.5, 50.0, count)
    return MapPoints(
        rng.uniform(-size_m, size_m, (count, 3)),
        rng.integers(0, 60000, count).astype(np.uint16),
        rng.random(count),
        directions / np.linalg.norm(directions, axis=1, keepdims=True),
        near,
        near * rng.uniform(1.0, 4.0, count),
    )


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 1000),
    count=st.integers(0, 300),
    size_m=st.floats(0.1, 1e4),
    tile_size_m=st.floats(0.5, 200.0),
)
def test_what_records_give_back_is_within_their_resolution(seed, count, size_m, tile_size_m):
    given_points = random_points(np.random.default_rng(seed), count, size_m)
    stored = tiled_records(given_points, np.zeros((0, 4, 4)), NO_SHARES, tile_size_m)
    back = decoded(stored.points, stored.keys, stored.table, tile_size_m)
    order = np.argsort(pack(tiles_of(given_points.points, tile_size_m)), kind="stable")
    expected = given_points[order]
    rounding = 2e-7 * size_m  # of the float32 that positions are given back in
    half_cells = np.full((count, 3), tile_size_m / 131072)
    half_cells[:, 2] = np.repeat(stored.table["height_m"], stored.table["points"]) / 131072
    assert (np.abs(back.points - expected.points) <= half_cells * 1.001 + rounding).all()
    np.testing.assert_array_equal(back.labels, expected.labels)
    np.testing.assert_allclose(back.confidence, expected.confidence, atol=0.5 / 255 + 1e-6)
    np.testing.assert_allclose(back.min_range, expected.min_range, rtol=0.0197)
    np.testing.assert_allclose(back.max_range, expected.max_range, rtol=0.0197)
    assert (back.min_range <= back.max_range).all()
    aligned = np.einsum("ij,ij->i", back.directions, expected.directions)
    assert aligned.min(initial=1.0) > np.cos(np.radians(1.0))
    np.testing.assert_allclose(np.linalg.norm(back.directions, axis=1), 1.0, atol=1e-6)


def test_a_point_takes_thirteen_bytes():
    assert POINT.itemsize == 13


def test_ranges_beyond_the_scale_are_the_scale_s_ends():
    rng = np.random.default_rng(0)
    points = random_points(rng, 2, 10.0)
    points.min_range[:] = 0.001
    points.max_range[:] = 1e6
    stored = tiled_records(points, np.zeros((0, 4, 4)), NO_SHARES, 10.0)
    back = decoded(stored.points, stored.keys, stored.table, 10.0)
    np.testing.assert_allclose(back.min_range, 0.1, rtol=1e-6)
    np.testing.assert_allclose(back.max_range, 2000.0, rtol=1e-5)


@given(st.lists(st.tuples(*[st.integers(-(1 << 31), (1 << 31) - 1)] * 2), min_size=2, max_size=9))
def test_keys_keep_columns_and_rows_and_their_order(tiles):
    tiles = np.array(sorted(tiles), np.int64)
    np.testing.assert_array_equal(unpack(pack(tiles)), tiles)
    assert (pack(tiles)[1:] >= pack(tiles)[:-1]).all()


def test_key_frames_keep_their_poses_and_shares_beside_their_tile():
    rng = np.random.default_rng(1)
    T = poses.exp(rng.normal(size=(20, 6)) * [30, 30, 1, 1, 1, 1])
    shares = rng.dirichlet(np.ones(3), 20)
    stored = tiled_records(random_points(rng, 0, 1.0), T, shares, 5.0)
    keys = pack(tiles_of(T[:, :3, 3], 5.0))
    order = np.argsort(keys, kind="stable")
    np.testing.assert_array_equal(stored.keys, np.unique(keys))
    np.testing.assert_array_equal(stored.table["keyframes"], np.unique(keys, return_counts=True)[1])
    np.testing.assert_allclose(decoded_poses(stored.keyframes), T[order], atol=2e-7)
    np.testing.assert_array_equal(stored.keyframes["position"], T[order][:, :3, 3])
    np.testing.assert_allclose(stored.keyframes["shares"], shares[order], rtol=1e-3)
