import pytest

from fgsn_ros.simulation.world import Town


@pytest.fixture(scope="session")
def town():
    return Town.from_seed(5)
