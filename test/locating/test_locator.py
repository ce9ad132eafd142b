from dataclasses import replace

import numpy as np
import pytest
from corridor import Corridor, TintSegmenter

from fgsn_ros.errors import LocalizationError, SettingsError
from fgsn_ros.geometry import poses
from fgsn_ros.locating.consistency import ConsistencySettings
from fgsn_ros.locating.locator import Locator, LocatorSettings
from fgsn_ros.locating.retrieval import Place
from fgsn_ros.segmentation.labels import UNLABELLED, LabelMap

BACK = np.diag([-1.0, 1.0, -1.0, 1.0])  # turned about the image's vertical axis
METHODS = ("none", "ssmc", "soft", "gsmc")


def locator_of(corridor, log_ratio, method="soft", **values):
    _, semantic_map, local = corridor
    settings = LocatorSettings(consistency=ConsistencySettings(method=method), **values)
    return Locator(semantic_map, local, log_ratio, settings)


def located(locator, recording, image, label_map=None):
    labels = label_map or TintSegmenter().segment(image)
    return locator.locate(locator.extract(image), labels, recording.cameras["camera"])


def beside(T_map_base):
    """A pose that the drive did not pass."""
    return T_map_base @ poses.from_xyz_rpy([0.25, 0.2, 0.0], [0.0, 0.0, 0.08])


@pytest.mark.parametrize("method", METHODS)
def test_an_image_from_beside_the_drive_is_located(corridor, log_ratio, method):
    recording, locator = corridor[0], locator_of(corridor, log_ratio, method)
    for T_map_base in map(beside, recording.ground_truth.poses[[2, 8]]):
        found = located(locator, recording, recording.render(T_map_base)[0])
        T, covariance = found.hypotheses[0].pose.of_base(recording.cameras["camera"])
        error = poses.log(poses.compose(poses.invert(T_map_base), T))
        assert np.linalg.norm(error[:3]) < 0.05
        assert np.degrees(np.linalg.norm(error[3:])) < 0.3
        assert found.hypotheses[0].inliers >= 30
        assert 1e-4 < np.sqrt(covariance[0, 0]) < 0.05


def test_the_pose_is_the_same_to_the_bit_again(corridor, log_ratio):
    recording = corridor[0]
    image, _ = recording.render(beside(recording.ground_truth.poses[5]))
    first, second = (
        located(locator_of(corridor, log_ratio), recording, image).hypotheses[0] for _ in range(2)
    )
    np.testing.assert_array_equal(first.pose.T_map_camera, second.pose.T_map_camera)


def test_given_places_are_tried_in_place_of_those_that_look_alike(corridor, log_ratio):
    recording, _, local = corridor
    locator, mount = locator_of(corridor, log_ratio), recording.cameras["camera"]
    image, _ = recording.render(recording.ground_truth.poses[5])
    features, labels = locator.extract(image), TintSegmenter().segment(image)
    near, behind = (Place(local.T_map_camera[0] @ turn, 1.0) for turn in (np.eye(4), BACK))
    found = locator.locate(features, labels, mount, [behind, near])
    assert found.places == [behind, near]
    assert [hypothesis.place for hypothesis in found.hypotheses] == [near]
    assert locator.locate(features, labels, mount, []).hypotheses == []


def test_further_places_are_tried_until_a_pose_has_enough_inliers(corridor, log_ratio):
    recording = corridor[0]
    image, _ = recording.render(recording.ground_truth.poses[5])
    near = replace(LocatorSettings().retrieval, apart_m=1.0)
    few, many = (
        located(
            locator_of(corridor, log_ratio, retrieval=near, enough_inliers=enough),
            recording,
            image,
        )
        for enough in (12, 10000)
    )
    assert len(few.hypotheses) == 1
    assert len(many.hypotheses) > 1
    inliers = [hypothesis.inliers for hypothesis in many.hypotheses]
    assert inliers == sorted(inliers, reverse=True)


def test_a_black_image_is_not_located(corridor, log_ratio):
    recording, locator = corridor[0], locator_of(corridor, log_ratio)
    found = located(locator, recording, np.zeros((200, 320, 3), np.uint8))
    assert found.hypotheses == []
    assert found.why_not == "no features"


def test_an_image_without_labels_is_not_located(corridor, log_ratio):
    recording, locator = corridor[0], locator_of(corridor, log_ratio)
    image, _ = recording.render(recording.ground_truth.poses[5])
    nothing = np.full((25, 40), UNLABELLED, np.uint16)
    labels = LabelMap(nothing, np.zeros(nothing.shape, np.float32), 8, 4)
    found = located(locator, recording, image, labels)
    assert found.hypotheses == []
    assert found.why_not == "no labels"


@pytest.mark.parametrize("method", METHODS)
def test_an_image_of_another_place_is_not_located(corridor, log_ratio, method):
    elsewhere = Corridor()
    rng = np.random.default_rng(99)
    elsewhere._texture = elsewhere._texture[rng.permutation(1024)][:, rng.permutation(1024)]
    image, _ = elsewhere.render(elsewhere.ground_truth.poses[5])
    found = located(locator_of(corridor, log_ratio, method), elsewhere, image)
    assert found.features > 100
    assert found.hypotheses == []
    assert found.why_not == "too few inliers"


def test_statistics_of_another_network_are_refused(corridor):
    with pytest.raises(LocalizationError, match="must be a finite"):
        locator_of(corridor, np.zeros((4, 3), np.float32))
    with pytest.raises(LocalizationError, match="3 labels do not fit a map of 4"):
        locator_of(corridor, np.zeros((3, 3), np.float32))


@pytest.mark.parametrize("values", [{"enough_inliers": 3}, {"random_seed": -1}], ids=str)
def test_settings_are_checked(values):
    with pytest.raises(SettingsError):
        LocatorSettings(**values)
