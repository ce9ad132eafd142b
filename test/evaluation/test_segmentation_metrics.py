import numpy as np
import pytest

from fgsn_ros.evaluation.segmentation_metrics import (
    Contingency,
    class_scores,
    normalized_mutual_information,
    segmentation_score,
)
from fgsn_ros.segmentation.labels import UNLABELLED


def counted(labels, classes, **options):
    table = Contingency()
    table.add(labels, classes, **options)
    return table.counts


def test_a_table_counts_truth_by_label_and_skips_what_is_unlabelled():
    truth = np.array([[0, 0, 1], [2, UNLABELLED, 1]], np.uint16)
    labels = np.array([[0, 1, 1], [2, 1, UNLABELLED]], np.uint16)
    assert counted(labels, truth).tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 1]]


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


@pytest.mark.parametrize(("labels", "truth"), [([-1], [0]), ([0], [-1])])
def test_negative_labels_are_refused(labels, truth):
    with pytest.raises(ValueError, match="-1"):
        counted(np.array(labels), np.array(truth))


def test_shapes_that_differ_are_refused():
    with pytest.raises(ValueError, match="shapes"):
        counted(np.zeros((2, 3), np.uint16), np.zeros((3, 2), np.uint16))


def test_a_table_grows_with_the_images_added_to_it():
    table = Contingency()
    table.add(np.array([[0, 1, 1]]), np.array([[0, 0, 2]]))
    table.add(np.array([[4, 1]], np.uint16), np.array([[1, 2]], np.uint8))
    table.add(np.zeros((2, 0), np.uint8), np.zeros((2, 0), np.uint8))
    assert table.counts.tolist() == [[1, 1, 0, 0, 0], [0, 0, 0, 0, 1], [0, 2, 0, 0, 0]]


def test_a_table_leaves_out_what_is_unlabelled_or_ignored():
    labels, classes = np.array([0, 255, 1, 1], np.uint8), np.array([1, 1, 255, 0], np.uint8)
    assert counted(labels, classes, unlabelled=255).tolist() == [[0, 1], [1, 0]]
    assert counted(labels, classes, unlabelled=255, ignored=[1]).tolist() == [[0, 1]]
    assert counted(labels, classes, ignored=[1, 255]).tolist() == [[0, 1]]
    assert classes.tolist() == [1, 1, 255, 0]


def test_a_tables_confusion_leaves_out_further_classes_but_no_labels():
    table = Contingency()
    table.add(np.array([0, 1, 1, 2]), np.array([0, 0, 5, 2]))
    assert table.confusion(4).tolist() == [[1, 1, 0, 0], [0] * 4, [0, 0, 1, 0], [0] * 4]
    with pytest.raises(ValueError, match="up to 2 exceed 2 classes"):
        table.confusion(2)


def test_mutual_information_ignores_the_names_of_labels():
    labels = np.random.default_rng(0).integers(0, 7, (30, 50)).astype(np.uint16)
    renamed = np.array([5, 3, 6, 0, 2, 1, 4], np.uint16)[labels]
    assert normalized_mutual_information(counted(labels, renamed)) == pytest.approx(1.0)


def test_mutual_information_of_independent_labels_is_nearly_nothing():
    rng = np.random.default_rng(1)
    a, b = rng.integers(0, 5, 40_000), rng.integers(0, 8, 40_000)
    # Bias of the plug-in estimate: (5 - 1)(8 - 1) / (2 N) nats, over (ln 5 + ln 8) / 2 = 1.84.
    assert normalized_mutual_information(counted(a, b)) < 4 * 28 / (2 * 40_000) / 1.84


def test_mutual_information_of_a_refinement_is_that_on_paper():
    fine = np.repeat(np.arange(4), 10)
    # I = H(coarse) = ln 2, H(fine) = ln 4: 2 ln 2 / (ln 2 + ln 4)
    assert normalized_mutual_information(counted(fine, fine // 2)) == pytest.approx(2 / 3)
    assert normalized_mutual_information(counted(fine // 2, fine)) == pytest.approx(2 / 3)


def test_mutual_information_with_a_single_label():
    alone, different = np.zeros(9, np.uint16), np.arange(9)
    assert normalized_mutual_information(counted(alone, different)) == 0.0
    assert normalized_mutual_information(counted(alone, alone)) == 1.0
    nothing = np.full(9, UNLABELLED, np.uint16)
    assert np.isnan(normalized_mutual_information(counted(nothing, different)))


@pytest.fixture(params=range(6))
def random_labels(request):
    """Labels and classes of images of 9 classes, of which one to four occur in neither or in one.

    Class 255 of the truth is ignored.
    """
    rng = np.random.default_rng(request.param)
    of_truth, of_labels = (rng.permutation(9)[: rng.integers(5, 9)] for _ in range(2))
    shape = (4, 17, 23)
    truth = rng.choice(of_truth, shape)
    labels = np.where(rng.random(shape) < 0.5, truth, rng.choice(of_labels, shape))
    labels[~np.isin(labels, of_labels)] = of_labels[0]
    truth[rng.random(shape) < 0.1] = 255
    return labels.astype(np.uint8), truth.astype(np.uint8)


def streamed(labels, truth):
    table = Contingency()
    for label_image, class_image in zip(labels, truth, strict=True):
        table.add(label_image, class_image, unlabelled=255)
    return table


def test_scores_equal_obvious_loops(random_labels):
    hits, of_class, union = {}, {}, {}
    for label, true in zip(*(array.ravel().tolist() for array in random_labels), strict=True):
        if true == 255:
            continue
        for name in {label, true}:
            union[name] = union.get(name, 0) + 1
        of_class[true] = of_class.get(true, 0) + 1
        hits[true] = hits.get(true, 0) + (label == true)
    total = sum(of_class.values())

    score = segmentation_score(streamed(*random_labels).confusion(9))

    assert score.pixel_accuracy == pytest.approx(sum(hits.values()) / total)
    accuracies = [hits[name] / of_class[name] for name in of_class]
    assert score.class_accuracy == pytest.approx(sum(accuracies) / len(accuracies))
    ious = {name: hits.get(name, 0) / union[name] for name in union}
    assert score.mean_iou == pytest.approx(sum(ious.values()) / len(ious))
    weighted = sum(of_class[name] * ious[name] for name in of_class) / total
    assert score.frequency_weighted_iou == pytest.approx(weighted)


def test_scores_equal_those_of_scikit_learn(random_labels):
    sklearn = pytest.importorskip("sklearn.metrics")
    labels, truth = random_labels
    known = truth != 255
    pair = truth[known], labels[known]
    table = streamed(labels, truth)
    confusion = table.confusion(9)
    score = segmentation_score(confusion)

    np.testing.assert_array_equal(confusion, sklearn.confusion_matrix(*pair, labels=range(9)))
    assert score.pixel_accuracy == pytest.approx(sklearn.accuracy_score(*pair))
    recall = sklearn.recall_score(*pair, average="macro", labels=np.unique(pair[0]))
    assert score.class_accuracy == pytest.approx(recall)
    assert score.mean_iou == pytest.approx(sklearn.jaccard_score(*pair, average="macro"))
    weighted = sklearn.jaccard_score(*pair, average="weighted")
    assert score.frequency_weighted_iou == pytest.approx(weighted)
    of_class = sklearn.jaccard_score(*pair, average=None)
    np.testing.assert_allclose(class_scores(confusion).iou[np.unique(pair)], of_class)
    information = sklearn.normalized_mutual_info_score(*pair)
    assert normalized_mutual_information(table.counts) == pytest.approx(information)


@pytest.mark.parametrize(("classes", "labels"), [(1, 1), (1, 40), (19, 1), (19, 300)])
def test_mutual_information_equals_that_of_scikit_learn(classes, labels):
    sklearn = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(classes + labels)
    truth = rng.integers(0, classes, 5000)
    clusters = (truth * 31 + rng.integers(0, 40, 5000)) % labels
    expected = sklearn.normalized_mutual_info_score(truth, clusters)
    own = normalized_mutual_information(counted(clusters, truth))
    assert own == pytest.approx(expected, abs=1e-12)


def test_ids_that_would_make_a_huge_table_are_refused_also_over_several_images():
    table = Contingency()
    table.add(np.array([65_000]), np.array([0]))
    with pytest.raises(ValueError, match="1000 classes and 65001 labels"):
        table.add(np.array([0]), np.array([999]))
    assert table.counts.sum() == 1
