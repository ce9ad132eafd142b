import numpy as np
import pytest

from fgsn_ros.errors import RecordingError
from fgsn_ros.evaluation.located_images import ALL, image_errors, recall_by_group, recall_table
from fgsn_ros.geometry import poses
from fgsn_ros.recordings.benchmark_lists import KnownPose

T_WORLD_CAMERA = poses.from_xyz_rpy([100.0, -50.0, 3.0], [0.1, 0.2, 2.0])


def moved(metres, degrees):
    """T_camera_world of a camera that is off by so much."""
    off = poses.from_xyz_rpy([0.0, metres, 0.0], [np.radians(degrees), 0.0, 0.0])
    return poses.invert(T_WORLD_CAMERA @ off)


def known(name, *groups):
    return KnownPose(name, poses.invert(T_WORLD_CAMERA), groups)


def test_errors_are_the_distance_of_the_centres_and_the_angle():
    (error,) = image_errors({"a.jpg": moved(0.3, 4.0)}, [known("night/a.jpg")])
    assert error.metres == pytest.approx(0.3, abs=1e-9)
    assert error.degrees == pytest.approx(4.0, abs=1e-9)


def test_recall_is_by_condition_and_what_is_not_located_is_wrong():
    located = {
        "rear/1.jpg": moved(0.1, 1.0),
        "rear/2.jpg": moved(0.4, 1.0),
        "rear/3.jpg": moved(3.0, 30.0),
        "rear/9.jpg": moved(0.0, 0.0),
    }
    of = [
        known("night/rear/1.jpg", "night, all", "night"),
        known("night/rear/2.jpg", "night, all", "night"),
        known("snow/rear/3.jpg", "day, all", "snow"),
        known("snow/rear/4.jpg", "day, all", "snow"),
    ]
    recalls = recall_by_group(image_errors(located, of))
    assert list(recalls) == ["day, all", "night", "night, all", "snow", ALL]
    assert recalls["night"]["recall_percent"] == [50.0, 100.0, 100.0]
    assert recalls["snow"]["recall_percent"] == [0.0, 0.0, 0.0]
    assert (recalls["snow"]["images"], recalls["snow"]["located"]) == (2, 1)
    assert recalls[ALL]["recall_percent"] == [25.0, 50.0, 50.0]
    assert recalls["night"]["median_m"] == pytest.approx(0.25)
    assert "night, all" in recall_table(recalls)


def test_a_condition_without_any_located_image_has_no_median():
    recalls = recall_by_group(
        image_errors({"a.jpg": moved(0, 0)}, [known("a.jpg"), known("b.jpg", "x")])
    )
    assert recalls["x"]["median_m"] is None
    assert recalls["x"]["recall_percent"] == [0.0, 0.0, 0.0]


def test_images_of_another_data_set_are_refused():
    with pytest.raises(RecordingError, match=r"none of 1 located images, such as a\.jpg"):
        image_errors({"a.jpg": moved(0, 0)}, [known("b.jpg")])
    with pytest.raises(RecordingError, match="no known poses"):
        image_errors({"a.jpg": moved(0, 0)}, [])
