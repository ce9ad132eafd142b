"""Rosbags as recordings: rosbag2 (sqlite3, MCAP) and ROS 1, without ROS."""

import heapq
import logging
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from fgsn_ros.errors import RecordingError
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.cameras import CameraMount
from fgsn_ros.geometry.trajectory import Trajectory, read_tum
from fgsn_ros.messages.images import camera_of, check_size, image_of
from fgsn_ros.messages.types import frame_name, stamp_of
from fgsn_ros.recordings.bag_files import (
    CAMERA_INFO,
    COMPRESSED,
    IMAGE,
    BagScan,
    OdometryTopic,
    Topic,
    read_messages,
    read_topics,
    scan_bag,
)
from fgsn_ros.recordings.odometry import derived_from
from fgsn_ros.recordings.recording import RECORDED_ODOMETRY, Frame, RecordingSettings

_log = logging.getLogger(__name__)

_MAP_FRAME = "map"
_DEFAULT_BASE_FRAME = "base_link"


@dataclass(frozen=True)
class CameraTopics:
    """Topics of one camera."""

    name: str
    image: str
    camera_info: str
    rectified: bool
    """whether the images are undistorted already (image_rect...), so that P holds and not K, D"""


@dataclass(frozen=True)
class BagRecording:
    """A recorded drive (see `Recording`) in a bag; images are read as they are asked for."""

    path: Path
    cameras: Mapping[str, CameraMount]
    topics: tuple[CameraTopics, ...]
    odometry: Trajectory | None
    """T_odom_base"""
    odometry_origin: str
    ground_truth: Trajectory | None
    """T_map_base"""
    frame_count: int

    @property
    def name(self) -> str:
        """The bag's file name."""
        return self.path.resolve().stem

    def frames(self) -> Iterator[Frame]:
        """Frames of all cameras ordered by stamp, read and decoded one by one.

        A message that repeats the stamp before it is dropped, with a warning.

        Raises:
            RecordingError: the bag or an image is damaged, an image is of another size than its
                CameraInfo, or time goes backwards.
        """
        streams = [self._frames(topics) for topics in self.topics]
        yield from heapq.merge(*streams, key=lambda frame: frame.stamp)

    def _frames(self, topics: CameraTopics) -> Iterator[Frame]:
        camera = self.cameras[topics.name].camera
        last = float("-inf")
        for _, message in read_messages(self.path, [topics.image]):
            stamp = stamp_of(message)
            source = f"{self.path}: the image of {topics.image} at {stamp:.6f} s"
            if stamp < last:
                raise RecordingError(f"{source} goes back in time, after {last:.6f} s")
            if stamp == last:
                _log.warning("%s repeats a stamp and is dropped", source)
                continue
            last = stamp
            image = image_of(message, source)
            check_size(image, camera, source)
            yield Frame(stamp, topics.name, image)


def open_rosbag(path: Path, settings: RecordingSettings) -> BagRecording:
    """Open a rosbag2 folder, an .mcap or .db3 file, or a ROS 1 .bag.

    Stamps are those of the headers. The base frame is odometry's child frame (without odometry:
    the ground truth's, else base_link); cameras are mounted by static transforms from there. Ground
    truth is the nav_msgs/Odometry in the frame `map`, or the TUM file `settings.poses`.

    Raises:
        RecordingError: the bag is damaged or lacks camera_info or the cameras' mounting, odometry
            is not finite or goes back in time, or several topics could be meant (names them).
    """
    if settings.first is not None or settings.last is not None:
        raise RecordingError(f"{path} is a bag; first and last choose frames of folders only")
    topics = read_topics(path)
    chosen = camera_topics(path, topics, settings)
    scan = scan_bag(path, topics, [camera.camera_info for camera in chosen])
    odometry = _odometry_topic(path, scan, settings)
    truth = _ground_truth_topic(path, scan, settings)
    base = (odometry or truth or _NO_ODOMETRY).child_frame or _DEFAULT_BASE_FRAME
    ground_truth = _ground_truth(path, truth, scan, base, settings)
    trajectory, origin = _odometry(path, odometry, ground_truth, settings)
    return BagRecording(
        path,
        {camera.name: _mount(path, camera, scan, base) for camera in chosen},
        tuple(chosen),
        trajectory,
        origin,
        ground_truth,
        sum(topics[camera.image].count for camera in chosen),
    )


_NO_ODOMETRY = OdometryTopic("", "", "")


def _odometry_topic(path: Path, scan: BagScan, settings: RecordingSettings) -> OdometryTopic | None:
    if settings.odometry_topic:
        return _named(path, scan, settings.odometry_topic, "odometry_topic")
    others = [
        topic
        for topic in scan.odometry.values()
        if topic.frame != _MAP_FRAME and topic.name != settings.ground_truth_topic
    ]
    return _only(path, others, "odometry", "odometry_topic")


def _ground_truth_topic(
    path: Path, scan: BagScan, settings: RecordingSettings
) -> OdometryTopic | None:
    if settings.poses is not None:
        return None
    if settings.ground_truth_topic:
        return _named(path, scan, settings.ground_truth_topic, "ground_truth_topic")
    in_map = [
        topic
        for topic in scan.odometry.values()
        if topic.frame == _MAP_FRAME and topic.name != settings.odometry_topic
    ]
    return _only(path, in_map, "ground-truth", "ground_truth_topic")


def _named(path: Path, scan: BagScan, name: str, setting: str) -> OdometryTopic:
    if name not in scan.odometry:
        raise RecordingError(
            f"{path} has no nav_msgs/Odometry on {name}, named by {setting}; it has "
            f"{', '.join(scan.odometry) or 'none'}"
        )
    return scan.odometry[name]


def _only(path: Path, topics: list[OdometryTopic], kind: str, setting: str) -> OdometryTopic | None:
    if len(topics) > 1:
        names = ", ".join(topic.name for topic in topics)
        raise RecordingError(
            f"{path} has several {kind} topics: {names}; choose by the setting {setting}"
        )
    return topics[0] if topics else None


def _ground_truth(
    path: Path,
    topic: OdometryTopic | None,
    scan: BagScan,
    base: str,
    settings: RecordingSettings,
) -> Trajectory | None:
    """T_map_base, carried over from the topic's own child frame where it is another."""
    if settings.poses is not None:
        return read_tum(settings.poses, settings.max_pose_gap_s)
    if topic is None:
        return None
    trajectory = topic.trajectory(path, settings.max_pose_gap_s)
    T_child_base = scan.transforms.lookup(topic.child_frame or base, base)
    if T_child_base is None:
        raise RecordingError(
            f"{path}: the poses of {topic.name} are of {topic.child_frame}, which has no static "
            f"transform to {base}; record /tf_static"
        )
    return trajectory.with_poses(poses.compose(trajectory.poses, T_child_base))


def _odometry(
    path: Path,
    topic: OdometryTopic | None,
    ground_truth: Trajectory | None,
    settings: RecordingSettings,
) -> tuple[Trajectory | None, str]:
    if not settings.derive_odometry:
        # The localizer has a policy of its own for the gaps of odometry.
        return None if topic is None else topic.trajectory(path, math.inf), RECORDED_ODOMETRY
    source = ground_truth
    if settings.odometry_poses is not None:
        source = read_tum(settings.odometry_poses, settings.max_pose_gap_s)
    return derived_from(source, settings.odometry_noise, settings.seed, None, str(path))


def _mount(path: Path, topics: CameraTopics, scan: BagScan, base: str) -> CameraMount:
    info = scan.camera_infos.get(topics.camera_info)
    if info is None:
        raise RecordingError(f"{path} has no message on {topics.camera_info}")
    camera = camera_of(info, topics.rectified, f"{path}: {topics.camera_info}")
    frame = frame_name(info.header.frame_id)
    T_base_camera = scan.transforms.lookup(base, frame)
    if T_base_camera is None:
        raise RecordingError(
            f"{path} has no static transform from {base} to the camera's frame '{frame}'; record "
            f"/tf_static (it has frames: {', '.join(scan.transforms.frames) or 'none'})"
        )
    return CameraMount(camera, T_base_camera, frame)


def camera_topics(
    path: Path, topics: Mapping[str, Topic], settings: RecordingSettings
) -> list[CameraTopics]:
    """The cameras asked for, or the only one.

    A camera is an image topic. The same images raw and compressed are one camera, read raw. Where
    there are several, those count whose last name begins with `image`, as image_transport's do.

    Raises:
        RecordingError: there is none, there are several to choose from, or camera_info is missing.
    """
    chosen = _asked(path, topics, settings) or _only_camera(path, topics)
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


def _only_camera(path: Path, topics: Mapping[str, Topic]) -> dict[str, str]:
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
    """Image topics that hold messages, without the transport's name: raw before compressed."""
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
