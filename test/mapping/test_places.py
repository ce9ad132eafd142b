import numpy as np

from fgsn_ros.mapping.places import CODE_SIZE, PlaceCodes, pooled_labels, pooled_size
from fgsn_ros.segmentation.labels import UNLABELLED, LabelMap


def label_map(labels, label_count=9):
    labels = np.asarray(labels, np.uint16)
    return LabelMap(labels, np.ones(labels.shape, np.float32), 4, label_count)


def random_walk(rng, count):
    """Label maps of a drive: each is the one before, scrolled by two columns."""
    street = rng.integers(0, 9, (12, 16 + 2 * count)).repeat(2, axis=0)
    return [label_map(street[:, 2 * i : 2 * i + 32]) for i in range(count)]


def test_labels_are_pooled_by_region():
    labels = np.zeros((30, 40), np.uint16)
    labels[20:, 35:] = 4
    pooled = pooled_labels(label_map(labels)).reshape(24, 9)
    assert pooled_size(9) == 24 * 9
    assert (pooled[:-1].argmax(axis=1) == 0).all()
    assert pooled[-1].argmax() == 4
    np.testing.assert_allclose(np.linalg.norm(pooled, axis=1), 1.0 / np.sqrt(24.0), rtol=1e-6)


def test_unlabelled_cells_do_not_count():
    labels = np.full((30, 40), UNLABELLED, np.uint16)
    assert not pooled_labels(label_map(labels)).any()
    labels[0, 0] = 3
    assert pooled_labels(label_map(labels)).argmax() == 3


def test_a_code_is_most_like_that_of_the_same_place():
    rng = np.random.default_rng(0)
    drive = random_walk(rng, 200)
    pooled = np.stack([pooled_labels(each) for each in drive])
    codes = PlaceCodes.fitted(pooled[::2])
    stored = codes.of(pooled)
    assert stored.shape == (200, 99)
    assert (stored @ stored.T).argmax(axis=1).tolist() == list(range(200))
    noisy = []
    for each in drive:
        wrong = rng.random(each.labels.shape) < 0.3
        noisy.append(np.where(wrong, rng.integers(0, 9, wrong.shape), each.labels))
    seen = codes.of(np.stack([pooled_labels(label_map(each)) for each in noisy]))
    found = (seen @ stored.T).argmax(axis=1)
    assert np.mean(np.abs(found - np.arange(200)) <= 1) > 0.9


def test_a_code_is_short_whatever_the_number_of_images():
    rng = np.random.default_rng(1)
    for count in (1, 2, CODE_SIZE + 40):
        pooled = np.stack([pooled_labels(each) for each in random_walk(rng, count)])
        codes = PlaceCodes.fitted(pooled)
        assert np.isfinite(codes.projection).all()
        assert codes.of(pooled).shape == (count, min(max(count - 1, 1), CODE_SIZE))
    np.testing.assert_array_equal(PlaceCodes.fitted(pooled[:1]).of(pooled[:1]), 0.0)
