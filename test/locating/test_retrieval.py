import numpy as np
import pytest
from corridor import TintSegmenter

from fgsn_ros.errors import SettingsError
from fgsn_ros.locating.retrieval import Retrieval, RetrievalSettings


def view(corridor, number):
    """The labels of an image of the drive, and where it was taken."""
    recording = corridor[0]
    T_map_base = recording.ground_truth.poses[number]
    image, _ = recording.render(T_map_base)
    return TintSegmenter().segment(image), T_map_base @ recording.cameras["camera"].T_base_camera


def test_the_first_place_is_the_nearest_and_the_others_follow_by_likeness(corridor):
    retrieval = Retrieval(corridor[2], RetrievalSettings(apart_m=0.0))
    for number in (1, 7, 13):
        labels, T_map_camera = view(corridor, number)
        places = retrieval.places(labels)
        assert len(places) == len(corridor[2].codes)
        assert np.linalg.norm(places[0].T_map_camera[:3, 3] - T_map_camera[:3, 3]) < 2.1
        likeness = [place.likeness for place in places]
        assert likeness == sorted(likeness, reverse=True)


def test_places_lie_apart(corridor):
    retrieval = Retrieval(corridor[2], RetrievalSettings(apart_m=3.0))
    places = retrieval.places(view(corridor, 5)[0])
    positions = np.stack([place.T_map_camera[:3, 3] for place in places])
    distances = np.linalg.norm(positions[:, None] - positions, axis=2)
    assert 1 < len(places) < len(corridor[2].codes)
    assert distances[~np.eye(len(places), dtype=bool)].min() >= 3.0


def test_no_more_places_than_asked_for(corridor):
    retrieval = Retrieval(corridor[2], RetrievalSettings(places=2, apart_m=0.0))
    assert len(retrieval.places(view(corridor, 5)[0])) == 2


@pytest.mark.parametrize("values", [{"places": 0}, {"apart_m": -1.0}, {"apart_deg": 0.0}], ids=str)
def test_settings_are_checked(values):
    with pytest.raises(SettingsError):
        RetrievalSettings(**values)
