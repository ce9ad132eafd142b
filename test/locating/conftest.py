import numpy as np
import pytest
from corridor import Corridor, TintSegmenter

from fgsn_ros.mapping.builder import write_map
from fgsn_ros.mapping.local_features import load_local_features

LOG_RATIO = np.where(np.eye(4) > 0, 1.2, -2.0).astype(np.float32)


@pytest.fixture(scope="session")
def corridor(tmp_path_factory):
    """A corridor, its map, and the map's local features."""
    folder = tmp_path_factory.mktemp("locating") / "map"
    recording = Corridor()
    semantic_map = write_map(folder, recording, TintSegmenter())
    return recording, semantic_map, load_local_features(folder, semantic_map)


@pytest.fixture(scope="session")
def log_ratio():
    """Label statistics of the corridor's four labels."""
    return LOG_RATIO
