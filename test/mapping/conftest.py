import numpy as np
import pytest
from corridor import Corridor, TintSegmenter, surface_distances

from fgsn_ros.geometry import poses
from fgsn_ros.mapping.builder import build_map
from fgsn_ros.mapping.semantic_map import SemanticMap


def random_arrays(seed=0, count=500, label_count=7, keyframes=4, size_m=80.0, tile_size_m=10.0):
    rng = np.random.default_rng(seed)
    directions = rng.normal(size=(count, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    near = rng.uniform(1.0, 20.0, count)
    histograms = rng.random((keyframes, label_count))
    return dict(
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
def arrays():
    """Makes the arguments of `SemanticMap.from_points`."""
    return random_arrays


@pytest.fixture
def make_map():
    def made(**values):
        return SemanticMap.from_points(**random_arrays(**values))

    return made


@pytest.fixture(scope="session")
def make_corridor():
    return Corridor


@pytest.fixture
def tint_segmenter():
    return TintSegmenter


@pytest.fixture
def distances_to_surfaces():
    return surface_distances


@pytest.fixture(scope="session")
def built():
    """A corridor and its map, shared by tests that only look."""
    recording = Corridor()
    return recording, build_map(recording, TintSegmenter())
