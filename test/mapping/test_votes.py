import numpy as np

from fgsn_ros.mapping import votes as votes_module
from fgsn_ros.mapping.votes import LabelVotes, vote
from fgsn_ros.segmentation.labels import UNLABELLED, LabelMap


def test_winners_equal_a_dense_histogram_however_often_it_is_compacted(monkeypatch):
    monkeypatch.setattr(votes_module, "_COMPACT_AT", 100)
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
