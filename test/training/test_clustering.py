from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from torch import nn

from fgsn_ros.errors import TrainingError
from fgsn_ros.training.clustering import (
    Clusters,
    FeatureStore,
    cluster,
    match,
    set_classifier,
    whitening,
    without_tiny,
)


@pytest.fixture
def store() -> Iterator[FeatureStore]:
    with FeatureStore() as made:
        yield made


@pytest.fixture(scope="module")
def blobs() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(2)
    labels = np.repeat(np.arange(8), 100)
    centres = np.zeros((8, 16))
    centres[np.arange(8), np.arange(8)] = 20.0
    features = centres[labels] + rng.normal(size=(800, 16)) + 5.0
    return features.astype(np.float32), labels


def clustered(features: np.ndarray, count: int, dimensions: int, **options: float) -> Clusters:
    with FeatureStore() as store:
        store.add(features.astype(np.float32))
        return cluster(store, count, dimensions, **{"seed": 0, **options})


def test_rows_come_back_as_they_were_added(store):
    rows = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    for part in (rows[:20], rows[20:20], rows[20:]):
        store.add(part)
    assert (len(store), store.dimension) == (50, 3)
    np.testing.assert_array_equal(store.rows(), rows)
    np.testing.assert_array_equal(np.concatenate(list(store.chunks())), rows)


def test_separable_blobs_become_the_clusters(blobs):
    features, truth = blobs
    assigned = clustered(features, 8, 8).assign(torch.from_numpy(features)).numpy()
    assert len({(a, b) for a, b in zip(assigned, truth, strict=True)}) == 8


def test_clusters_are_the_same_with_the_same_seed(blobs):
    first, second = (clustered(blobs[0], 8, 8, seed=3).centres for _ in range(2))
    assert torch.equal(first, second)


def test_classifier_set_from_clusters_agrees_with_the_assignment(blobs):
    features = torch.from_numpy(blobs[0])
    clusters = clustered(blobs[0], 8, 8)
    assigned = clusters.assign(features)
    for inputs in (features, torch.relu(features)):
        classifier = nn.Conv2d(16, 8, 1)
        set_classifier(classifier, clusters, features, inputs)
        logits = classifier(inputs[:, :, None, None])[:, :, 0, 0]
        assert (logits.argmax(dim=1) == assigned).float().mean() > 0.99
        assert logits.softmax(dim=1).amax(dim=1).mean() > 0.4


def test_whitening_gives_unit_covariance_and_leaves_out_dead_dimensions(store):
    rng = np.random.default_rng(0)
    features = (rng.normal(size=(500, 4)) @ rng.normal(size=(4, 10)) + 3).astype(np.float32)
    store.add(features)
    mean, projection = whitening(store, 8)
    assert projection.shape == (10, 4)
    np.testing.assert_allclose(
        np.cov(((features - mean) @ projection).T, ddof=0), np.eye(4), atol=1e-3
    )


def test_tiny_clusters_are_made_anew_from_large_ones():
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(1000, 5))
    rows[:3] = (30.0, 0.0, 0.0, 0.0, 0.0)
    centres = np.array([rows[0], rows[3:].mean(axis=0), rows[500]])

    def sizes(centres: np.ndarray) -> np.ndarray:
        distances = np.linalg.norm(rows[:, None] - centres, axis=2)
        return np.bincount(distances.argmin(axis=1), minlength=3)

    arrays = centres.astype(np.float32), rows.astype(np.float32)
    assert sizes(without_tiny(*arrays, 0.0)).min() == 3
    assert sizes(without_tiny(*arrays, 0.1)).min() >= 0.1 * 1000 / 3


def test_more_clusters_than_distinct_features_still_assigns_every_feature():
    features = np.repeat(np.random.default_rng(0).normal(size=(5, 6)), 20, axis=0)
    clusters = clustered(features, 12, 4, smallest=0.5)
    assigned = clusters.assign(torch.from_numpy(features).float())
    assert torch.isfinite(clusters.centres).all()
    assert len(assigned.unique()) == 5


def test_matched_clusters_keep_the_numbers_of_most_of_their_features():
    rng = np.random.default_rng(5)
    new = rng.integers(0, 30, 5000)
    permutation = rng.permutation(30)
    old = np.where(rng.random(5000) < 0.8, permutation[new], rng.integers(0, 30, 5000))
    order = match(old, new, 30)
    np.testing.assert_array_equal(permutation[order], np.arange(30))


def test_reordered_clusters_give_the_new_numbers(blobs):
    clusters = clustered(blobs[0], 8, 8)
    order = np.random.default_rng(0).permutation(8)
    features = torch.from_numpy(blobs[0])
    again = torch.from_numpy(order)[clusters.reordered(order).assign(features)]
    assert torch.equal(again, clusters.assign(features))


def test_saved_clusters_hold_centres_and_whitening(blobs, tmp_path: Path):
    clusters = clustered(blobs[0], 8, 4)
    clusters.save(tmp_path / "clusters.safetensors")
    arrays = load_file(tmp_path / "clusters.safetensors")
    for name in ("mean", "projection", "centres"):
        np.testing.assert_array_equal(arrays[name], getattr(clusters, name).numpy())


def test_too_few_constant_or_nan_features_are_refused():
    features = np.random.default_rng(0).normal(size=(10, 6))
    with pytest.raises(TrainingError, match="features"):
        clustered(features, 11, 4)
    with pytest.raises(TrainingError, match="vary"):
        clustered(np.ones((20, 6)), 8, 4)
    with pytest.raises(TrainingError, match="finite"):
        clustered(np.full((20, 6), np.nan), 8, 4)
