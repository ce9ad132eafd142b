import numpy as np

from fgsn_ros.geometry import poses
from fgsn_ros.geometry.cameras import Camera
from fgsn_ros.mapping import labelling
from fgsn_ros.mapping.labelling import LabelVotes, Visibility, in_camera, vote
from fgsn_ros.mapping.structure import StructurePoints
from fgsn_ros.mapping.tracks import Tracks
from fgsn_ros.segmentation.labels import UNLABELLED, LabelMap


def structure_of(points, tracked):
    """Seen from the origin along z, each from its range +- 1 m."""
    points = np.asarray(points, np.float64)
    ranges = np.linalg.norm(points, axis=1)
    track = np.asarray(tracked, np.int64)
    return StructurePoints(
        points=points,
        directions=points / ranges[:, None],
        min_range=ranges - 1.0,
        max_range=ranges + 1.0,
        error_px=np.zeros(len(points)),
        observations=Tracks(track, np.zeros_like(track), np.zeros((len(track), 2), np.float32)),
    )


FRAMES = np.array([np.eye(4), poses.exp([0, 0, -20.0, 0, 0, 0])])
CAMERA = Camera(300, 200, 200.0, 200.0, 149.5, 99.5)


def test_a_point_behind_another_is_hidden_unless_its_own_track_shows_it():
    points = [(0.0, 0.0, 10.0), (0.01, 0.01, 20.0), (2.0, 0.0, 20.0), (0.0, 0.0, 18.0)]
    visibility = Visibility.of(structure_of(points, [0, 3]), 1.5, np.radians(40))
    seen, pixels, tracked = visibility.visible(0, FRAMES[0], CAMERA)
    np.testing.assert_array_equal(seen, [0, 2, 3])
    np.testing.assert_array_equal(tracked, [True, False, True])
    np.testing.assert_allclose(pixels[1], [169.5, 99.5])


def test_points_seen_from_far_outside_their_range_or_direction_are_left_out():
    points = [(0.0, 0.0, 10.0), (-5.0, 0.0, 50.0), (8.0, 0.0, 25.0)]
    structure = structure_of(points, [0])
    visibility = Visibility.of(structure, 1.5, np.radians(10))
    np.testing.assert_array_equal(visibility.visible(0, FRAMES[0], CAMERA)[0], [0, 1, 2])
    # from 20 m back: three times the range; within 1.5; 10 deg off and more
    seen = visibility.visible(1, FRAMES[1], CAMERA)[0]
    expected_turn = np.degrees(np.arctan(8 / 25) - np.arctan(8 / 45))
    assert expected_turn < 10
    np.testing.assert_array_equal(seen, [1])


def test_depth_is_along_the_optical_axis():
    np.testing.assert_allclose(in_camera(FRAMES[1], np.array([[3.0, 1.0, 10.0]]))[:, 2], [30.0])


def test_winners_equal_a_dense_histogram_however_often_it_is_compacted(monkeypatch):
    monkeypatch.setattr(labelling, "_COMPACT_AT", 100)
    rng = np.random.default_rng(0)
    votes = LabelVotes(label_count=9)
    dense = np.zeros((50, 9))
    for _ in range(20):
        points, labels = rng.integers(0, 45, 30), rng.integers(0, 9, 30)
        weights = rng.random(30)
        votes.add(points, labels, weights)
        np.add.at(dense, (points, labels), weights)
    labels, share = votes.winners(50)
    np.testing.assert_array_equal(labels, dense.argmax(axis=1))
    totals = dense.sum(axis=1)
    expected = np.divide(dense.max(axis=1), totals, out=np.zeros(50), where=totals > 0)
    np.testing.assert_allclose(share, expected)
    assert (share[45:] == 0).all()


def test_equal_votes_go_to_the_lower_label():
    votes = LabelVotes(label_count=5)
    votes.add(np.array([0, 0]), np.array([3, 1]), np.array([0.5, 0.5]))
    labels, share = votes.winners(1)
    assert (labels[0], share[0]) == (1, 0.5)


def test_votes_of_no_weight_are_no_votes():
    votes = LabelVotes(label_count=5)
    votes.add(np.array([0]), np.array([3]), np.array([0.0]))
    assert votes.winners(1)[1][0] == 0.0


def test_a_pixel_votes_for_the_label_of_its_cell_and_unlabelled_cells_do_not():
    labels = np.array([[0, 1, 2], [3, UNLABELLED, 5]], np.uint16)
    confidence = np.full((2, 3), 0.5, np.float32)
    votes = LabelVotes(label_count=6)
    pixels = np.array([[-0.4, -0.4], [7.4, 7.4], [7.6, 0.0], [8.0, 8.0], [23.4, 15.4]])
    vote(votes, np.arange(5), pixels, np.ones(5), LabelMap(labels, confidence, 8, 6))
    winners, share = votes.winners(5)
    np.testing.assert_array_equal(winners[[0, 1, 2, 4]], [0, 0, 1, 5])
    np.testing.assert_array_equal(share, [1, 1, 1, 0, 1])
