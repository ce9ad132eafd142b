"""What a bag of any kind holds beside images: topics, odometry, calibrations, static transforms.

Damages are named in one line.
"""

import logging
from collections import Counter
from collections.abc import Collection, Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from fgsn_ros.errors import RecordingError
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.trajectory import Trajectory, recorded_trajectory
from fgsn_ros.left_out import MAX_SHARE, LeftOut
from fgsn_ros.messages.definitions import is_of_ros
from fgsn_ros.messages.images import is_calibrated
from fgsn_ros.messages.poses import pose_row, valid_rows
from fgsn_ros.messages.types import TYPESTORE, Message, frame_name, ros1_typestore, stamp_of
from fgsn_ros.recordings.bag_paths import bag_files, message_count, open_storage, way_out
from fgsn_ros.recordings.bag_storage import MAX_MESSAGE_BYTES, ZSTD_START, Record, expanded

IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
ODOMETRY = "nav_msgs/msg/Odometry"
TRANSFORMS = ("tf2_msgs/msg/TFMessage", "tf/msg/tfMessage")

_ENCODINGS = ("cdr", "ros1")
_SAME_M = 1e-4
_SAME_RAD = 1e-4
_IMAGES = (IMAGE, COMPRESSED)
_MAX_OTHER_BYTES = 4 * 2**20  # of a message without pixels: thousands of transforms
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Topic:
    """A topic of a bag."""

    name: str
    msgtype: str
    count: int
    """number of messages"""


def read_topics(path: Path) -> dict[str, Topic]:
    """Topics of a bag by name; of a topic with several types, the one with most messages.

    Raises:
        RecordingError: the bag is damaged, or holds no messages.
    """
    counts: Counter[tuple[str, str]] = Counter()
    cut_off = ""
    for file in bag_files(path):
        with _errors_named(path), open_storage(file) as storage:
            for channel in storage.channels:
                counts[channel.topic, channel.msgtype] += channel.count
            cut_off = cut_off or storage.cut_off
    _check_whole(path, counts.total(), cut_off)
    by_count = sorted(counts.items(), key=lambda item: item[1])
    return {name: Topic(name, msgtype, count) for (name, msgtype), count in by_count}


def _check_whole(path: Path, count: int, cut_off: str) -> None:
    """Say what a file lacks at its end; more than a tenth of a bag cannot be left out."""
    if not count and not cut_off:
        raise RecordingError(f"{path} is an empty bag: it holds no messages")
    named = max(message_count(path), 1)
    if cut_off and count < (1.0 - MAX_SHARE) * named:
        raise RecordingError(
            f"cannot read the bag {path}, it is empty, truncated or damaged: {cut_off}; {count} "
            f"messages can be read; {way_out(path)}"
        )
    if cut_off:
        _log.warning("%s: %s; its %d whole messages are read", path, cut_off, count)


def read_messages(
    path: Path, topics: Collection[Topic]
) -> Generator[tuple[str, float, Message | None], None, None]:
    """Messages of topics in the order of recording, one by one: topic, time of recording [s].

    Nothing is read of other topics, and nothing but fields is taken from the bag: the types are
    those of ROS, whatever the bag says of them. None stands for a message whose bytes make none.

    Raises:
        RecordingError: the bag is damaged, or its definition of a type is not that of ROS.
    """
    for file in bag_files(path):
        # Only the work on the file is guarded, not what the caller does between two messages.
        with closing(_records(path, file, topics)) as records:
            while True:
                with _errors_named(path):
                    record = next(records, None)
                if record is None:
                    break
                yield record.channel.topic, 1e-9 * record.time_ns, _message(record)


def _records(path: Path, file: Path, topics: Collection[Topic]) -> Generator[Record, None, None]:
    types = {topic.name: topic.msgtype for topic in topics}
    with open_storage(file) as storage:
        wanted = [c for c in storage.channels if types.get(c.topic) == c.msgtype]
        for channel in wanted:
            if channel.encoding not in _ENCODINGS:
                raise RecordingError(
                    f"{path}: the messages of {channel.topic} are encoded as "
                    f"{channel.encoding[:20]!r}; record the topic in ROS"
                )
            if not is_of_ros(channel.msgtype, channel.definition, channel.encoding):
                raise RecordingError(
                    f"{path} defines {channel.msgtype} of {channel.topic} otherwise than ROS does; "
                    "record the topic under ROS's own type"
                )
        if wanted:
            yield from storage.records(wanted)


def _message(record: Record) -> Message | None:
    channel, data = record.channel, record.data
    if data is None or (len(data) > _MAX_OTHER_BYTES and channel.msgtype not in _IMAGES):
        return None
    try:
        if bytes(data[:4]) == ZSTD_START:  # rosbag2 compressed the message alone
            data = expanded(data, "zstd", MAX_MESSAGE_BYTES)
        if channel.encoding == "ros1":
            return ros1_typestore().deserialize_ros1(data, channel.msgtype)
        return TYPESTORE.deserialize_cdr(data, channel.msgtype)
    except Exception:  # damaged bytes make rosbags raise almost anything
        return None


@contextmanager
def _errors_named(path: Path) -> Iterator[None]:
    try:
        yield
    except RecordingError:
        raise
    except Exception as error:  # a damaged bag makes its readers raise almost anything
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise RecordingError(
            f"cannot read the bag {path}, it is empty, truncated or damaged: {reason}; "
            f"{way_out(path)}"
        ) from error


class StaticTransforms:
    """A tree of frames whose edges do not move."""

    def __init__(self) -> None:
        self._edges: dict[tuple[str, str], NDArray[np.float64]] = {}
        self._latched: set[tuple[str, str]] = set()
        self._moving: set[tuple[str, str]] = set()
        self._invalid: Counter[tuple[str, str]] = Counter()

    @property
    def frames(self) -> list[str]:
        """Names of all frames with a static transform."""
        edges = set(self._edges) - self._moving
        return sorted({frame for edge in edges for frame in edge})

    def add(self, message: Message, latched: bool) -> None:
        """Add a TFMessage of /tf_static (`latched`: the last one counts) or of /tf.

        A transform that is not finite or has no rotation is left out, as tf2 does.
        """
        for transform in message.transforms:
            parent = frame_name(transform.header.frame_id)
            edge = parent, frame_name(transform.child_frame_id)
            if not latched and (edge in self._latched or edge in self._moving):
                continue
            row = np.array(pose_row(transform.transform), np.float64)
            if not valid_rows(row):
                self._invalid[edge] += 1
                continue
            T = poses.from_quaternion(row[:3], row[3:])
            if latched:
                self._edges[edge] = T
                self._latched.add(edge)
                self._moving.discard(edge)
            elif self._moves(edge, T):
                self._moving.add(edge)

    def say_invalid(self, source: str) -> None:
        """Say in one line which transforms were left out."""
        if self._invalid:
            named = [f"{parent} -> {child}" for parent, child in self._invalid]
            _log.warning(
                "%s: %d transforms are not valid (NaN, no rotation) and left out: %s",
                source,
                self._invalid.total(),
                ", ".join(named[:5]) + ", ..." * (len(named) > 5),
            )

    def _moves(self, edge: tuple[str, str], T: NDArray[np.float64]) -> bool:
        """Whether T differs from the edge's first transform."""
        difference = poses.log(poses.compose(poses.invert(self._edges.setdefault(edge, T)), T))
        length, angle = np.linalg.norm(difference[:3]), np.linalg.norm(difference[3:])
        return bool(length > _SAME_M or angle > _SAME_RAD)

    def lookup(self, parent: str, child: str) -> NDArray[np.float64] | None:
        """T_parent_child (4, 4) over any chain of static transforms; None without a chain."""
        found: dict[str, NDArray[np.float64]] = {parent: poses.identity()}
        queue = [parent]
        for frame in queue:
            for neighbour, T in self._neighbours(frame):
                if neighbour not in found:
                    found[neighbour] = poses.compose(found[frame], T)
                    queue.append(neighbour)
        return found.get(child)

    def _neighbours(self, frame: str) -> list[tuple[str, NDArray[np.float64]]]:
        edges = [(edge, T) for edge, T in self._edges.items() if edge not in self._moving]
        down = [(child, T) for (parent, child), T in edges if parent == frame]
        up = [(parent, poses.invert(T)) for (parent, child), T in edges if child == frame]
        return down + up


@dataclass
class OdometryTopic:
    """Poses of a nav_msgs/Odometry topic."""

    name: str
    frame: str
    """frame that the poses are in"""
    child_frame: str
    """frame that the poses are of; empty where the messages do not say"""
    stamps: list[float] = field(default_factory=list)
    rows: list[list[float]] = field(default_factory=list)
    """x y z qx qy qz qw"""
    messages: LeftOut | None = None
    """what of the topic could not be read"""

    def trajectory(self, path: Path, max_gap_s: float | None = None) -> Trajectory:
        """The poses in order; for what is left out, and `max_gap_s`, see `recorded_trajectory`.

        Raises:
            RecordingError: too many poses cannot be used.
        """
        if self.messages is not None:
            self.messages.close()
        source = f"{path}: {self.name}"
        return recorded_trajectory(self.stamps, np.array(self.rows), source, max_gap_s)


@dataclass
class BagScan:
    """What a bag holds beside images."""

    odometry: dict[str, OdometryTopic] = field(default_factory=dict)
    """by topic"""
    camera_infos: dict[str, Message] = field(default_factory=dict)
    """first CameraInfo by topic that is calibrated, or else the last"""
    transforms: StaticTransforms = field(default_factory=StaticTransforms)


def scan_bag(
    path: Path,
    topics: Mapping[str, Topic],
    camera_infos: Collection[str],
    odometry: Collection[str] | None = None,
) -> BagScan:
    """Read odometry, the named camera_info topics and transforms in one pass.

    Args:
        path: The bag.
        topics: Its topics.
        camera_infos: Topics of CameraInfo to read.
        odometry: Topics of odometry to read; None reads all.

    Raises:
        RecordingError: the bag is damaged.
    """
    scan = BagScan()
    wanted = {
        topic.name: topic
        for topic in topics.values()
        if topic.msgtype in TRANSFORMS
        or (topic.msgtype == ODOMETRY and (odometry is None or topic.name in odometry))
        or topic.name in camera_infos
    }
    total = sum(topic.count for topic in wanted.values())
    left_out = {name: LeftOut(str(path), f"messages of {name}") for name in wanted}
    messages = read_messages(path, wanted.values())
    bar = tqdm(messages, f"reading {path.name}", total, delay=2, unit="message")
    for name, time_s, message in bar:
        if message is None:
            left_out[name].drop("damaged", f"recorded at {time_s:.6f} s")
            continue
        left_out[name].keep()
        if wanted[name].msgtype == ODOMETRY:
            _add_odometry(scan.odometry, name, message)
        elif wanted[name].msgtype in TRANSFORMS:
            latched = name.endswith("tf_static")
            scan.transforms.add(message, latched)
        else:
            if not is_calibrated(scan.camera_infos.setdefault(name, message)):
                scan.camera_infos[name] = message
    for name, of_topic in left_out.items():
        if name in scan.odometry:  # counts where the topic is used
            scan.odometry[name].messages = of_topic
        else:
            of_topic.say()
    scan.transforms.say_invalid(str(path))
    return scan


def _add_odometry(odometry: dict[str, OdometryTopic], name: str, message: Message) -> None:
    if name not in odometry:
        frame, child = frame_name(message.header.frame_id), frame_name(message.child_frame_id)
        odometry[name] = OdometryTopic(name, frame, child)
    odometry[name].stamps.append(stamp_of(message))
    odometry[name].rows.append(pose_row(message.pose.pose))
