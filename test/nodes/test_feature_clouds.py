"""An image's local features between the nodes."""

from types import SimpleNamespace

import numpy as np
import pytest

from fgsn_ros.errors import RecordingError
from fgsn_ros.mapping.descriptors import SIZES, TYPES, ImageFeatures, Kind
from fgsn_ros.messages.types import BAG_TYPES, TYPESTORE, make_header
from fgsn_ros.nodes.feature_clouds import FeaturesInWait, features_of, make_feature_cloud

HEADER = make_header(BAG_TYPES, 12.25, "camera")


def features(kind: Kind, count: int = 5) -> ImageFeatures:
    rng = np.random.default_rng(count)
    pixels = rng.uniform(0.0, 640.0, (count, 2)).astype(np.float32)
    limits = np.iinfo(TYPES[kind])
    shape = count, SIZES[kind]
    descriptors = rng.integers(limits.min, limits.max + 1, shape).astype(TYPES[kind])
    return ImageFeatures(pixels, descriptors)


def cloud(kind: Kind = "sift", count: int = 5) -> object:
    """As it comes out of the wire's bytes."""
    message = make_feature_cloud(BAG_TYPES, HEADER, kind, features(kind, count))
    name = "sensor_msgs/msg/PointCloud2"
    return TYPESTORE.deserialize_cdr(TYPESTORE.serialize_cdr(message, name), name)


@pytest.mark.parametrize("kind", ["sift", "xfeat"])
@pytest.mark.parametrize("count", [0, 1, 300])
def test_features_come_out_as_they_were_put_in(kind: Kind, count: int) -> None:
    sent = features(kind, count)
    told, found = features_of(cloud(kind, count))
    assert told == kind
    np.testing.assert_array_equal(found.pixels, sent.pixels)
    np.testing.assert_array_equal(found.descriptors, sent.descriptors)
    assert found.descriptors.dtype == sent.descriptors.dtype


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"fields": []}, "of the fields none"),
        ({"width": 6}, "damaged"),
        ({"height": 2}, "damaged"),
        ({"point_step": 137}, "damaged"),
        ({"is_bigendian": True}, "damaged"),
        ({"data": np.zeros(3, np.uint8)}, "damaged"),
    ],
)
def test_what_is_no_such_cloud_is_refused(change: dict[str, object], reason: str) -> None:
    message = SimpleNamespace(**{**vars(cloud()), **change})
    with pytest.raises(RecordingError, match=reason):
        features_of(message)


def test_other_fields_are_refused() -> None:
    message = cloud()
    message.fields[0].name = "x"
    with pytest.raises(RecordingError, match="fields x, v, sift is none of local features"):
        features_of(message)
    message = cloud()
    message.fields[2].count = 64
    with pytest.raises(RecordingError, match="laid out in another way"):
        features_of(message)


def test_pixels_that_are_not_finite_are_refused() -> None:
    message = cloud()
    message.data = message.data.copy()
    message.data[:4] = np.array([np.nan], np.float32).view(np.uint8)
    with pytest.raises(RecordingError, match="not finite"):
        features_of(message)


def test_features_wait_for_the_labels_of_their_image_and_not_for_ever() -> None:
    waiting = FeaturesInWait("sift")
    waiting.add("left", 1.0, cloud())
    assert waiting.of("right", 1.0) is None
    assert waiting.of("left", 2.0) is None
    found = waiting.of("left", 1.0)
    assert found is not None
    assert len(found) == 5
    assert waiting.of("left", 1.0) is None
    for stamp in range(20):
        waiting.add("left", float(stamp), cloud())
    assert waiting.of("left", 0.0) is None
    assert waiting.of("left", 19.0) is not None


def test_features_of_another_kind_than_the_maps_are_refused_with_what_to_do() -> None:
    waiting = FeaturesInWait("xfeat")
    with pytest.raises(RecordingError, match="set its segmentation node's local_features to xfeat"):
        waiting.add("left", 1.0, cloud("sift"))
    assert waiting.of("left", 1.0) is None
