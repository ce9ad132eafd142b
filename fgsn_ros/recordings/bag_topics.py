"""Which topics of a bag are the cameras and their calibrations."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fgsn_ros.errors import RecordingError
from fgsn_ros.recordings.bag_files import Topic
from fgsn_ros.recordings.settings import RecordingSettings

IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
ODOMETRY = "nav_msgs/msg/Odometry"
TRANSFORMS = ("tf2_msgs/msg/TFMessage", "tf/msg/tfMessage")


@dataclass(frozen=True)
class CameraTopics:
    """Topics of one camera."""

    name: str
    image: str
    camera_info: str
    rectified: bool
    """whether the images are undistorted already (image_rect...), so that P holds and not K, D"""


def camera_topics(
    path: Path, topics: Mapping[str, Topic], settings: RecordingSettings
) -> list[CameraTopics]:
    """The cameras asked for, or the only one.

    A camera is an image topic. The same images raw and compressed are one camera, read raw. Where
    there are several, those count whose last name begins with `image`, as image_transport's do.

    Raises:
        RecordingError: there is none, there are several to choose from, or camera_info is missing.
    """
    chosen = _asked(path, topics, settings) or _only(path, topics)
    infos = settings.camera_info_topics or tuple(_info_topic(path, topics, b) for b in chosen)
    missing = [info for info in infos if info not in _names(topics, CAMERA_INFO)]
    if missing:
        raise RecordingError(
            f"{path} has no camera_info topic {missing[0]}; it has "
            f"{_listed(_names(topics, CAMERA_INFO))}; set camera_info_topics"
        )
    names = [_namespace(base).strip("/") or "camera" for base in chosen]
    if len(set(names)) < len(names):
        names = [base.strip("/") for base in chosen]
    return [
        CameraTopics(name, image, info, base.rsplit("/", 1)[-1].startswith("image_rect"))
        for name, (base, image), info in zip(names, chosen.items(), infos, strict=True)
    ]


def _asked(path: Path, topics: Mapping[str, Topic], settings: RecordingSettings) -> dict[str, str]:
    """Base name to topic of the image topics named by the setting."""
    found = _image_topics(topics)
    chosen = {}
    for name in settings.image_topics:
        topic = name if name in found.values() or _base(name) not in found else found[_base(name)]
        if topic not in _names(topics, IMAGE, COMPRESSED):
            raise RecordingError(
                f"{path} has no image topic {name}; it has {_listed(list(found.values()))}"
            )
        chosen[_base(topic)] = topic
    return chosen


def _only(path: Path, topics: Mapping[str, Topic]) -> dict[str, str]:
    found = _image_topics(topics)
    if not found:
        raise RecordingError(f"{path} has no images ({IMAGE} or CompressedImage)")
    if len(found) > 1:
        named = {b: topic for b, topic in found.items() if b.rsplit("/", 1)[-1].startswith("image")}
        found = named or found
    if len(found) > 1:
        raise RecordingError(
            f"{path} has several image topics: {_listed(list(found.values()))}; "
            "choose by the setting image_topics"
        )
    return found


def _image_topics(topics: Mapping[str, Topic]) -> dict[str, str]:
    """Base name to topic, raw before compressed."""
    raw = {name: name for name in _names(topics, IMAGE)}
    compressed = {
        _base(name): name
        for name in _names(topics, COMPRESSED)
        if not name.endswith("/compressedDepth")
    }
    return {**compressed, **raw}


def _info_topic(path: Path, topics: Mapping[str, Topic], base: str) -> str:
    beside = f"{_namespace(base)}/camera_info"
    infos = _names(topics, CAMERA_INFO)
    if not infos:
        raise RecordingError(f"{path} has no camera_info; record {beside} with the images")
    return infos[0] if beside not in infos and len(infos) == 1 else beside


def _names(topics: Mapping[str, Topic], *msgtypes: str) -> list[str]:
    return sorted(t.name for t in topics.values() if t.msgtype in msgtypes and t.count)


def _base(topic: str) -> str:
    return topic.removesuffix("/compressed")


def _namespace(base: str) -> str:
    return base.rpartition("/")[0]


def _listed(names: list[str]) -> str:
    return ", ".join(names) or "none"
