import dataclasses

import pytest

from fgsn_ros.config import leaves, override
from fgsn_ros.errors import SettingsError
from fgsn_ros.nodes import settings


def test_every_setting_of_a_node_is_described() -> None:
    kinds = [
        value
        for value in vars(settings).values()
        if dataclasses.is_dataclass(value) and value.__module__ == settings.__name__
    ]
    assert settings.SegmentationNodeSettings in kinds
    assert [leaf.name for kind in kinds for leaf in leaves(kind()) if not leaf.description] == []


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"stale_after_s": 0.0}, "stale_after_s must be above 0"),
        ({"image_transport": "theora"}, "'theora' is not"),
        ({"segmenter": {"device": "tpu"}}, "device must be auto, cpu or cuda"),
    ],
)
def test_segmentation_settings_are_checked(values: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        override(settings.SegmentationNodeSettings(), values, "test")
