import numpy as np
import pytest

from fgsn_ros.geometry import poses
from fgsn_ros.mapping.blocks import Blocks
from fgsn_ros.mapping.map_records import decoded_poses
from fgsn_ros.mapping.structure import StructurePoints
from fgsn_ros.mapping.tracks import Tracks


def points_of(rng, count, first_frame):
    """Random points in a street of 400 m, each seen by two frames."""
    tracks = np.repeat(np.arange(count), 2)
    frames = first_frame + rng.integers(0, 9, 2 * count)
    ahead = np.tile([1.0, 0.0, 0.0], (count, 1))
    near = rng.uniform(2.0, 9.0, count)
    return StructurePoints(
        rng.uniform((0, -20, 0), (400, 20, 5), (count, 3)),
        ahead,
        near,
        near + rng.uniform(0.0, 30.0, count),
        np.zeros(count),
        Tracks(tracks, frames, np.zeros((2 * count, 2), np.float32)),
    )


@pytest.fixture
def filled(tmp_path):
    rng = np.random.default_rng(0)
    parts = [points_of(rng, 150, 10 * i) for i in range(4)]
    blocks = Blocks(tmp_path, 10.0, 3)
    for part in parts:
        blocks.add(part)
    yield blocks, parts
    blocks.close()


def test_points_come_back_with_the_frames_that_saw_them(filled):
    blocks, parts = filled
    assert blocks.point_count == 600
    expected, got = [], []
    for part in parts:
        seen = part.observations
        expected += list(zip(part.points[seen.track, 0].tolist(), seen.frame, strict=True))
    for key in blocks.keys:
        points, sightings = blocks.points(key), blocks.sightings(key)
        assert np.ptp(points["position"], axis=0)[:2].max() < 50.0
        got += list(
            zip(points["position"][sightings[:, 0], 0].tolist(), sightings[:, 1], strict=True)
        )
    assert sorted(got) == sorted(expected)


@pytest.mark.parametrize("x", [-300.0, -40.0, 0.0, 210.0, 440.0, 900.0])
def test_a_point_that_may_be_seen_from_near_a_place_is_in_a_block_that_is_near(filled, x):
    blocks, parts = filled
    centre = np.array([x, 3.0, 1.5])
    near = blocks.near(centre, 1.5, 5.0)
    held = {position for key in near for position in blocks.points(key)["position"][:, 0]}
    for part in parts:
        distance = np.linalg.norm(part.points - centre, axis=1)
        assert held.issuperset(part.points[distance <= 1.5 * part.max_range + 5.0, 0])
    assert len(near) < len(blocks.keys)


def test_votes_and_key_frames_come_back_in_order(filled):
    blocks, _ = filled
    key = blocks.keys[3]
    for i in range(3):
        blocks.add_votes(key, np.array([i, i + 1]), np.array([0.5, 1.0 + i]))
        blocks.add_keyframe(poses.from_planar(1.0 + i, 999.0, 0.1), np.eye(3)[i])
    keys, weights = blocks.votes(key)
    np.testing.assert_array_equal(keys, [0, 1, 1, 2, 2, 3])
    np.testing.assert_array_equal(weights, [0.5, 1.0, 0.5, 2.0, 0.5, 3.0])
    assert len(blocks.votes(blocks.keys[0])[0]) == 0
    far = [key for key in blocks.keys if len(blocks.keyframes(key))]
    np.testing.assert_allclose(decoded_poses(blocks.keyframes(far[0]))[:, 0, 3], [1.0, 2.0, 3.0])
