import numpy as np
import pytest
import torch
from torch import nn

from fgsn_ros.errors import TrainingError
from fgsn_ros.training.clustering import cluster, whitening


@pytest.fixture(scope="module")
def blobs() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(2)
    labels = np.repeat(np.arange(8), 100)
    centres = np.zeros((8, 16))
    centres[np.arange(8), np.arange(8)] = 20.0
    features = centres[labels] + rng.normal(size=(800, 16)) + 5.0
    return features.astype(np.float32), labels


def test_separable_blobs_become_the_clusters(blobs):
    features, truth = blobs
    clusters = cluster(features, 8, 8, seed=0)
    assigned = clusters.assign(torch.from_numpy(features)).numpy()
    assert len({(a, b) for a, b in zip(assigned, truth, strict=True)}) == 8


def test_clusters_are_the_same_with_the_same_seed(blobs):
    first, second = (cluster(blobs[0], 8, 8, seed=3).centres for _ in range(2))
    assert torch.equal(first, second)


def test_classifier_set_from_clusters_agrees_with_the_assignment(blobs):
    features = torch.from_numpy(blobs[0])
    clusters = cluster(blobs[0], 8, 8, seed=0)
    classifier = nn.Conv2d(16, 8, 1)
    clusters.initialise(classifier, features)
    logits = classifier(features.T[None, :, :, None])[0, :, :, 0]
    assert (logits.argmax(dim=0) == clusters.assign(features)).float().mean() > 0.99


def test_whitening_gives_unit_covariance_and_leaves_out_dead_dimensions():
    rng = np.random.default_rng(0)
    features = (rng.normal(size=(500, 4)) @ rng.normal(size=(4, 10)) + 3).astype(np.float32)
    mean, projection = whitening(features, 8)
    assert projection.shape == (10, 4)
    np.testing.assert_allclose(
        np.cov(((features - mean) @ projection).T, ddof=0), np.eye(4), atol=1e-3
    )


def test_more_clusters_than_distinct_features_still_assigns_every_feature():
    features = np.repeat(np.random.default_rng(0).normal(size=(5, 6)), 20, axis=0)
    clusters = cluster(features.astype(np.float32), 12, 4, seed=0)
    assigned = clusters.assign(torch.from_numpy(features).float())
    assert torch.isfinite(clusters.centres).all()
    assert len(assigned.unique()) == 5


def test_too_few_constant_or_nan_features_are_refused():
    features = np.random.default_rng(0).normal(size=(10, 6)).astype(np.float32)
    with pytest.raises(TrainingError, match="features"):
        cluster(features, 11, 4, seed=0)
    with pytest.raises(TrainingError, match="vary"):
        cluster(np.ones((20, 6), np.float32), 8, 4, seed=0)
    with pytest.raises(TrainingError, match="finite"):
        cluster(np.full((20, 6), np.nan, np.float32), 8, 4, seed=0)
