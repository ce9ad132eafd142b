from pathlib import Path

import pytest
from corridor import Corridor, TintSegmenter
from made_pairs import make_folder
from real_data import real_data

from fgsn_ros.correspondences.files import CorrespondenceFolder
from fgsn_ros.mapping.builder import build_map
from fgsn_ros.simulation.world import Town


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> CorrespondenceFolder:
    return make_folder(tmp_path_factory.mktemp("data") / "corr")


@pytest.fixture(scope="session")
def make_corridor():
    return Corridor


@pytest.fixture
def shared_data() -> Path:
    return real_data()


@pytest.fixture(scope="session")
def town():
    return Town.from_seed(5)


@pytest.fixture(scope="session")
def built():
    """A corridor and its map, shared by tests that only look."""
    recording = Corridor()
    return recording, build_map(recording, TintSegmenter())
