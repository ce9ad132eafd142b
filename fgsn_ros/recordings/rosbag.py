"""Rosbags as recordings: rosbag2 (sqlite3, MCAP) and ROS 1, without ROS."""

import heapq
import logging
import math
from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fgsn_ros.errors import RecordingError
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.cameras import CameraMount
from fgsn_ros.geometry.trajectory import Trajectory, read_tum
from fgsn_ros.left_out import LeftOut
from fgsn_ros.messages.images import camera_frame, camera_of, check_size, image_of
from fgsn_ros.messages.types import Message, stamp_of
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
from fgsn_ros.recordings.bag_paths import bag_name
from fgsn_ros.recordings.image_order import in_stamp_order
from fgsn_ros.recordings.odometry import derived_from
from fgsn_ros.recordings.recording import RECORDED_ODOMETRY, Frame, RecordingSettings
from fgsn_ros.recordings.sensors import BagSensors, Sensors

_log = logging.getLogger(__name__)

_MAP_FRAME = "map"
_DEFAULT_BASE_FRAME = "base_link"
_PACKETS = (
    "ffmpeg_image_transport_msgs/msg/FFMPEGPacket",
    "foxglove_msgs/msg/CompressedImage",
    "foxglove_msgs/msg/CompressedVideo",
    "foxglove_msgs/msg/RawImage",
    "theora_image_transport/msg/Packet",
)
"""Types that hold images, too."""


@dataclass(frozen=True)
class CameraTopic:
    """The images of one camera."""

    name: str
    """of the camera"""
    topic: Topic

    @property
    def base(self) -> str:
        """The topic without the transport's name."""
        return _base(self.topic.name)

    @property
    def rectified(self) -> bool:
        """Whether the images are undistorted already, so that P holds and not K, D."""
        return self.base.rsplit("/", 1)[-1].startswith("image_rect")


@dataclass(frozen=True)
class BagImages:
    """The images of a bag (see `RecordedImages`), read as they are asked for."""

    path: Path
    cameras: tuple[CameraTopic, ...]

    @property
    def camera_names(self) -> tuple[str, ...]:
        """Names of the cameras."""
        return tuple(camera.name for camera in self.cameras)

    @property
    def frame_count(self) -> int:
        """Number of frames, with those that are left out."""
        return sum(camera.topic.count for camera in self.cameras)

    def frames(self, cameras: Mapping[str, CameraMount] | None = None) -> Iterator[Frame]:
        """Frames of all cameras ordered by stamp.

        Args:
            cameras: Whose images must have the size of theirs; else they may have any.

        Raises:
            RecordingError: the bag is damaged, or too many images are.
        """
        with ExitStack() as stack:
            streams = [
                stack.enter_context(closing(self._frames(camera, (cameras or {}).get(camera.name))))
                for camera in self.cameras
            ]
            yield from heapq.merge(*streams, key=lambda frame: frame.stamp)

    def _frames(
        self, camera: CameraTopic, mount: CameraMount | None
    ) -> Generator[Frame, None, None]:
        topic = camera.topic
        left_out = LeftOut(str(self.path), f"images of {topic.name}", topic.count)
        with left_out:
            for stamp, message in in_stamp_order(self._messages(topic, left_out), left_out):
                at = f"at {stamp:.6f} s"
                source = f"{self.path}: the image of {topic.name} {at}"
                try:
                    image = image_of(message, source)
                    if mount is not None:
                        check_size(image, mount.camera, source)
                except RecordingError as error:
                    left_out.drop(getattr(error, "reason", "damaged"), at)
                    continue
                left_out.keep()
                yield Frame(stamp, camera.name, image)

    def _messages(self, topic: Topic, left_out: LeftOut) -> Iterator[tuple[float, int, Message]]:
        last, twice = None, 0
        for _, time_s, message in read_messages(self.path, [topic]):
            if message is None:
                left_out.drop("damaged", f"recorded at {time_s:.6f} s")
            elif last is not None and _is_same(message, last):
                twice += 1
            else:
                last = message
                yield stamp_of(message), len(message.data), message
        if twice:
            _log.warning("%s: %d images of %s were recorded twice", self.path, twice, topic.name)


@dataclass(frozen=True)
class BagRecording:
    """A recorded drive (see `Recording`) in a bag; images are read as they are asked for."""

    images: BagImages
    cameras: Mapping[str, CameraMount]
    odometry: Trajectory | None
    """T_odom_base"""
    odometry_origin: str
    ground_truth: Trajectory | None
    """T_map_base"""
    instruments: BagSensors
    """where its GPS fixes and inertial measurements are"""

    @property
    def name(self) -> str:
        """The bag's file name."""
        return bag_name(self.images.path)

    @property
    def frame_count(self) -> int:
        """Number of frames, with those that are left out."""
        return self.images.frame_count

    def frames(self) -> Iterator[Frame]:
        """Frames of all cameras ordered by stamp (see `Recording`)."""
        return self.images.frames(self.cameras)

    def sensors(self) -> Sensors:
        """GPS fixes and inertial measurements (see `SensedRecording`)."""
        return self.instruments.read()


def _is_same(message: Message, other: Message) -> bool:
    """Whether two images are one that was recorded twice: nothing is lost of it."""
    return stamp_of(message) == stamp_of(other) and np.array_equal(message.data, other.data)


def open_bag_images(path: Path, settings: RecordingSettings) -> BagImages:
    """The images of a bag alone: calibration, mounting and poses may be missing.

    Raises:
        RecordingError: the bag is damaged, holds no images, or several topics could be meant.
    """
    return _images(path, read_topics(path), settings)


def _images(path: Path, topics: Mapping[str, Topic], settings: RecordingSettings) -> BagImages:
    if settings.first is not None or settings.last is not None:
        raise RecordingError(f"{path} is a bag; first and last choose frames of folders only")
    return BagImages(path, tuple(camera_topics(path, topics, settings)))


def open_rosbag(path: Path, settings: RecordingSettings) -> BagRecording:
    """Open a rosbag2 folder, an .mcap or .db3 file, or a ROS 1 .bag.

    Stamps are those of the headers. The base frame is odometry's child frame (without odometry:
    the ground truth's, else base_link); cameras are mounted by static transforms from there. Ground
    truth is the nav_msgs/Odometry in the frame `map`, or the TUM file `settings.poses`.

    Raises:
        RecordingError: the bag is damaged or lacks camera_info or the cameras' mounting, odometry
            is not finite or goes back in time, or several topics could be meant (names them).
    """
    topics = read_topics(path)
    images = _images(path, topics, settings)
    infos = _camera_infos(path, topics, images, settings)
    scan = scan_bag(path, topics, list(infos.values()), _named_odometry(settings))
    odometry = _odometry_topic(path, scan, settings)
    truth = _ground_truth_topic(path, scan, settings)
    base = (odometry or truth or _NO_ODOMETRY).child_frame or _DEFAULT_BASE_FRAME
    ground_truth = _ground_truth(path, truth, scan, base, settings)
    trajectory, origin = _odometry(path, odometry, ground_truth, settings)
    mounts = {
        camera.name: _mount(path, camera, infos[camera.name], scan, base)
        for camera in images.cameras
    }
    chosen = settings.gps_topic, settings.imu_topic
    instruments = BagSensors(path, topics, scan.transforms, base, *chosen)
    return BagRecording(images, mounts, trajectory, origin, ground_truth, instruments)


_NO_ODOMETRY = OdometryTopic("", "", "")


def _named_odometry(settings: RecordingSettings) -> list[str] | None:
    """The topics of odometry to read, where none is left to be found by its type."""
    truth_is_named = settings.ground_truth_topic or settings.poses is not None
    if not (settings.odometry_topic and truth_is_named):
        return None
    return [settings.odometry_topic, settings.ground_truth_topic]


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


def _mount(
    path: Path, camera_topic: CameraTopic, info_topic: str, scan: BagScan, base: str
) -> CameraMount:
    info = scan.camera_infos.get(info_topic)
    if info is None:
        raise RecordingError(f"{path} has no message on {info_topic}")
    camera = camera_of(info, camera_topic.rectified, f"{path}: {info_topic}")
    with closing(read_messages(path, [camera_topic.topic])) as messages:
        image = next((message for _, _, message in messages if message is not None), info)
    frame = camera_frame(info, image)
    T_base_camera = scan.transforms.lookup(base, frame)
    if T_base_camera is None:
        raise RecordingError(
            f"{path} has no static transform from {base} to the camera's frame '{frame}'; record "
            f"/tf_static (it has frames: {', '.join(scan.transforms.frames) or 'none'})"
        )
    return CameraMount(camera, T_base_camera, frame)


def camera_topics(
    path: Path, topics: Mapping[str, Topic], settings: RecordingSettings
) -> list[CameraTopic]:
    """The cameras asked for, or the only one.

    A camera is an image topic. The same images raw and compressed are one camera, read raw. Where
    there are several, those count whose last name begins with `image`, as image_transport's do.

    Raises:
        RecordingError: there is none, or there are several to choose from.
    """
    chosen = _asked(path, topics, settings) or _only_camera(path, topics)
    names = [_namespace(base).strip("/") or "camera" for base in chosen]
    if len(set(names)) < len(names):
        names = [base.strip("/") for base in chosen]
    pairs = zip(names, chosen.values(), strict=True)
    return [CameraTopic(name, topics[topic]) for name, topic in pairs]


def _camera_infos(
    path: Path, topics: Mapping[str, Topic], images: BagImages, settings: RecordingSettings
) -> dict[str, str]:
    """The camera_info topic of each camera.

    Raises:
        RecordingError: one is missing.
    """
    infos = settings.camera_info_topics or tuple(
        _info_topic(path, topics, camera.base) for camera in images.cameras
    )
    missing = [info for info in infos if info not in _names(topics, CAMERA_INFO)]
    if missing:
        raise RecordingError(
            f"{path} has no camera_info topic {missing[0]}; it has "
            f"{_listed(_names(topics, CAMERA_INFO))}; set camera_info_topics"
        )
    return dict(zip(images.camera_names, infos, strict=True))


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
        raise RecordingError(f"{path} has no images ({IMAGE} or CompressedImage){_video(topics)}")
    if len(found) > 1:
        named = {b: topic for b, topic in found.items() if b.rsplit("/", 1)[-1].startswith("image")}
        found = named or found
    if len(found) > 1:
        raise RecordingError(
            f"{path} has several image topics: {_listed(list(found.values()))}; "
            "choose by the setting image_topics"
        )
    return found


def _video(topics: Mapping[str, Topic]) -> str:
    """What to do with images of other kinds than ROS's two."""
    packets = {t.name: t.msgtype for t in topics.values() if t.msgtype in _PACKETS and t.count}
    if not packets:
        return ""
    name, msgtype = min(packets.items())
    return (
        f"; {name} holds {msgtype}, which is not read: convert it to images (video: "
        "'ros2 run image_transport republish')"
    )


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
