import numpy as np
import pytest

from fgsn_ros.geometry import poses
from fgsn_ros.mapping.semantic_map import SemanticMap


def random_map(seed=0, count=500, label_count=7, keyframes=4, size_m=80.0, tile_size_m=10.0):
    rng = np.random.default_rng(seed)
    directions = rng.normal(size=(count, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    near = rng.uniform(1.0, 20.0, count)
    histograms = rng.random((keyframes, label_count))
    return SemanticMap.from_points(
        points=rng.uniform(-size_m, size_m, (count, 3)),
        labels=rng.integers(0, label_count, count),
        confidence=rng.random(count),
        directions=directions,
        min_range=near,
        max_range=near + rng.uniform(0.0, 30.0, count),
        keyframe_poses=poses.exp(rng.normal(size=(keyframes, 6))),
        keyframe_histograms=histograms / histograms.sum(axis=1, keepdims=True),
        fingerprint="ab" * 32,
        tile_size_m=tile_size_m,
    )


@pytest.fixture
def make_map():
    return random_map
