"""Local features of images between the nodes: as a cloud, and kept until their labels come."""

from collections import OrderedDict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.errors import RecordingError
from fgsn_ros.mapping.descriptors import KINDS, SIZES, TYPES, ImageFeatures, Kind
from fgsn_ros.messages.clouds import fields_of, make_cloud
from fgsn_ros.messages.types import Message, MessageTypes

_KEPT = 8
"""Images whose features are kept, of all cameras: labels come right after them."""


def make_feature_cloud(
    types: MessageTypes, header: Message, kind: Kind, features: ImageFeatures
) -> Message:
    """sensor_msgs/PointCloud2 of an image's local features: u, v [px] and a descriptor of a kind.

    The descriptor's field is named by the kind, and has as many bytes as its descriptors.
    """
    cloud = np.zeros(len(features), _record(kind))
    cloud["u"], cloud["v"] = features.pixels.T
    cloud[kind] = features.descriptors
    return make_cloud(types, header, cloud)


def features_of(message: Message) -> tuple[Kind, ImageFeatures]:
    """Kind and local features of a cloud made by `make_feature_cloud`.

    Raises:
        RecordingError: the cloud is none, or damaged.
    """
    names = [field.name for field in message.fields]
    kind = next((kind for kind in KINDS if names == ["u", "v", kind]), None)
    if kind is None:
        raise RecordingError(
            f"a cloud of the fields {', '.join(names) or 'none'} is none of local features: "
            f"they are u, v and one of {', '.join(KINDS)}"
        )
    record = _record(kind)
    told = [(field.name, field.offset, field.datatype, field.count) for field in message.fields]
    data = np.frombuffer(message.data, np.uint8)
    size = int(message.width) * int(message.height) * record.itemsize
    whole = (message.point_step, len(data)) == (record.itemsize, size)
    if told != fields_of(record) or message.is_bigendian or not whole:
        raise RecordingError(f"a cloud of {kind} features is damaged, or laid out in another way")
    cloud: NDArray[Any] = data.view(record)
    pixels = np.stack([cloud["u"], cloud["v"]], axis=1)
    if not np.isfinite(pixels).all():
        raise RecordingError(f"a cloud of {kind} features has pixels that are not finite")
    return kind, ImageFeatures(pixels, cloud[kind].copy())


def _record(kind: Kind) -> np.dtype[Any]:
    return np.dtype([("u", "<f4"), ("v", "<f4"), (kind, TYPES[kind], (SIZES[kind],))])


class FeaturesInWait:
    """The newest images' local features, until their labels come."""

    def __init__(self, kind: Kind) -> None:
        """For a map whose features are of a kind."""
        self._kind = kind
        self._features: OrderedDict[tuple[str, float], ImageFeatures] = OrderedDict()

    def add(self, name: str, stamp: float, message: Message) -> None:
        """Keep those of a camera's image.

        Raises:
            RecordingError: they are damaged, or of another kind than the map's.
        """
        kind, features = features_of(message)
        if kind != self._kind:
            raise RecordingError(
                f"{name} sends {kind} features, the map has {self._kind}: they are not used; "
                f"set its segmentation node's local_features to {self._kind}"
            )
        self._features[name, stamp] = features
        while len(self._features) > _KEPT:
            self._features.popitem(last=False)

    def of(self, name: str, stamp: float) -> ImageFeatures | None:
        """Those of the image that a label map is of, once; None where there are none."""
        return self._features.pop((name, stamp), None)
