import numpy as np
import pytest

from fgsn_ros.evaluation.segmentation_metrics import (
    confusion_matrix,
    label_consistency,
    normalized_mutual_information,
    segmentation_score,
)
from fgsn_ros.segmentation.labels import UNLABELLED


def test_the_confusion_matrix_counts_truth_by_label_and_skips_what_is_unlabelled():
    truth = np.array([[0, 0, 1], [2, UNLABELLED, 1]], np.uint16)
    labels = np.array([[0, 1, 1], [2, 1, UNLABELLED]], np.uint16)
    confusion = confusion_matrix(labels, truth, 3)
    assert confusion.tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 1]]


def test_scores_match_those_worked_out_by_hand():
    score = segmentation_score(np.array([[6, 2, 0], [1, 3, 0], [0, 0, 0]]))
    assert score.pixel_accuracy == pytest.approx(9 / 12)
    assert score.class_accuracy == pytest.approx((6 / 8 + 3 / 4) / 2)
    assert score.mean_iou == pytest.approx((6 / 9 + 3 / 6) / 2)
    assert score.frequency_weighted_iou == pytest.approx((8 * 6 / 9 + 4 * 3 / 6) / 12)


def test_a_class_that_is_only_predicted_lowers_the_mean_iou():
    score = segmentation_score(np.array([[3, 1], [0, 0]]))
    assert score.mean_iou == pytest.approx((3 / 4 + 0) / 2)
    assert score.class_accuracy == pytest.approx(3 / 4)


def test_nothing_labelled_gives_no_score():
    score = segmentation_score(np.zeros((4, 4), np.int64))
    assert np.isnan([score.pixel_accuracy, score.class_accuracy, score.mean_iou]).all()


@pytest.mark.parametrize(("labels", "truth"), [([3], [0]), ([0], [3]), ([-1], [0])])
def test_labels_beyond_the_classes_are_refused(labels, truth):
    with pytest.raises(ValueError, match="exceed 3 classes"):
        confusion_matrix(np.array(labels), np.array(truth), 3)


def test_shapes_that_differ_are_refused():
    with pytest.raises(ValueError, match="shapes"):
        confusion_matrix(np.zeros((2, 3), np.uint16), np.zeros((3, 2), np.uint16), 3)
    with pytest.raises(ValueError, match="shapes"):
        label_consistency(np.zeros(2, np.uint16), np.zeros(3, np.uint16))


def test_label_consistency_is_the_share_of_equal_labels():
    first = np.array([1, 2, 3, 4, UNLABELLED, UNLABELLED], np.uint16)
    second = np.array([1, 2, 3, 9, UNLABELLED, 5], np.uint16)
    assert label_consistency(first, second) == pytest.approx(0.75)
    assert np.isnan(label_consistency(first[4:], second[4:]))


def test_mutual_information_ignores_the_names_of_labels():
    labels = np.random.default_rng(0).integers(0, 7, (30, 50)).astype(np.uint16)
    renamed = np.array([5, 3, 6, 0, 2, 1, 4], np.uint16)[labels]
    assert normalized_mutual_information(labels, renamed) == pytest.approx(1.0)


def test_mutual_information_of_independent_labels_is_nearly_nothing():
    rng = np.random.default_rng(1)
    a, b = rng.integers(0, 5, 40_000), rng.integers(0, 8, 40_000)
    # Bias of the plug-in estimate: (5 - 1)(8 - 1) / (2 N) nats, over sqrt(ln 5 ln 8) = 1.83.
    assert normalized_mutual_information(a, b) < 4 * 28 / (2 * 40_000) / 1.83


def test_mutual_information_of_a_refinement_is_that_on_paper():
    fine = np.repeat(np.arange(4), 10)
    # I = H(coarse) = ln 2, H(fine) = ln 4
    assert normalized_mutual_information(fine, fine // 2) == pytest.approx(np.sqrt(0.5))
    assert normalized_mutual_information(fine // 2, fine) == pytest.approx(np.sqrt(0.5))


def test_mutual_information_with_a_single_label_is_zero():
    assert normalized_mutual_information(np.zeros(9, np.uint16), np.arange(9)) == 0.0
    nothing = np.full(9, UNLABELLED, np.uint16)
    assert np.isnan(normalized_mutual_information(nothing, np.arange(9)))
