import numpy as np
import pytest

from fgsn_ros.mapping import shown_points
from fgsn_ros.mapping.shown_points import ShownPoints


@pytest.fixture
def large(monkeypatch):
    monkeypatch.setattr(shown_points, "MAP_POINTS_SHOWN", 400)


def test_a_small_map_is_shown_whole_and_once(make_map):
    shown = ShownPoints(make_map())
    assert len(shown.at_once()) == 500
    assert shown.around(np.array([70.0, 0.0, 0.0])) is None
    shown.restart()
    assert len(shown.around(np.zeros(3))) == 500


@pytest.mark.usefixtures("large")
def test_a_large_map_is_shown_around_the_robot_and_anew_when_it_has_moved(make_map):
    m = make_map(count=2000, size_m=1000.0)
    shown = ShownPoints(m)
    assert shown.at_once() is None
    here = np.array([200.0, 100.0, 0.0])
    first = shown.around(here)
    assert 0 < len(first) == len(m.points_near(here, 150.0))
    assert shown.around(np.array([240.0, 100.0, 0.0])) is None
    moved = shown.around(np.array([251.0, 100.0, 0.0]))
    assert moved is not None
    assert set(moved.points[:, 0].tolist()) != set(first.points[:, 0].tolist())


@pytest.mark.usefixtures("large")
def test_a_dense_neighbourhood_is_thinned(make_map):
    shown = ShownPoints(make_map(count=2000, size_m=50.0))
    assert 200 < len(shown.around(np.zeros(3))) <= 400
