import numpy as np
import pytest
from corridor import Corridor

from fgsn_ros.errors import SettingsError
from fgsn_ros.mapping.descriptors import (
    KINDS,
    SIZES,
    TYPES,
    FeatureSettings,
    feature_extractor,
    in_bytes,
    mutual_matches,
    unit,
)


def test_features_of_a_shifted_image_are_matched_where_they_moved():
    recording = Corridor()
    image, _ = recording.render(recording.ground_truth.poses[0])
    extract = feature_extractor("sift", FeatureSettings(features=300))
    first, second = extract(image[:, :-24]), extract(image[:, 24:])
    assert 50 < len(first) <= 300
    before, now = mutual_matches(first.descriptors, second.descriptors, 0.8)
    moved = first.pixels[before] - second.pixels[now]
    assert len(before) > 0.3 * len(first)
    assert np.mean(np.abs(moved - [24.0, 0.0]).max(axis=1) < 0.5) > 0.9


def test_the_strongest_features_are_kept():
    recording = Corridor()
    image, _ = recording.render(recording.ground_truth.poses[0])
    many, few = (feature_extractor("sift", FeatureSettings(features=n))(image) for n in (400, 50))
    assert {tuple(pixel) for pixel in few.pixels} <= {tuple(pixel) for pixel in many.pixels}


def test_a_black_image_has_no_features():
    features = feature_extractor("sift")(np.zeros((120, 160, 3), np.uint8))
    assert features.pixels.shape == (0, 2)
    assert features.descriptors.shape == (0, 128)


@pytest.mark.parametrize("kind", KINDS)
def test_a_descriptor_in_bytes_has_its_direction(kind):
    rng = np.random.default_rng(0)
    vectors = rng.random((50, SIZES[kind]))
    if kind == "xfeat":
        vectors = rng.normal(size=vectors.shape)
    stored = in_bytes(vectors, TYPES[kind])
    assert stored.dtype == np.dtype(TYPES[kind])
    cosines = np.einsum("ij,ij->i", unit(stored), unit(vectors))
    assert cosines.min() > 0.999


def test_a_match_must_be_mutual_and_clearer_than_the_second():
    axes = np.eye(4)
    ambiguous = np.array([[1.0, 0.05, 0.0, 0.0], [1.0, 0.0, 0.05, 0.0], [0.0, 0.0, 0.0, 1.0]])
    first, second = mutual_matches(axes, ambiguous, 0.8)
    assert (first.tolist(), second.tolist()) == ([3], [2])
    assert len(mutual_matches(axes[:1], ambiguous, 0.8)[0]) == 0


def test_excluded_pairs_neither_match_nor_rival_others():
    axes = np.eye(4)
    ambiguous = np.array([[1.0, 0.05, 0.0, 0.0], [1.0, 0.0, 0.05, 0.0], [0.0, 0.0, 0.0, 1.0]])
    excluded = np.zeros((4, 3), bool)
    excluded[0, 1] = excluded[3, 2] = True
    first, second = mutual_matches(axes, ambiguous, 0.8, excluded)
    assert (0, 0) in zip(first.tolist(), second.tolist(), strict=True)
    assert not excluded[first, second].any()


@pytest.mark.parametrize("values", [{"features": 15}, {"contrast": -0.1}], ids=str)
def test_settings_are_checked(values):
    with pytest.raises(SettingsError):
        FeatureSettings(**values)
