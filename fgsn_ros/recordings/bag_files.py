"""What a bag of any kind holds beside images: topics, odometry, calibrations, static transforms.

Damages are named in one line.
"""

import logging
from collections.abc import Collection, Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rosbags.highlevel import AnyReader
from tqdm import tqdm

from fgsn_ros.errors import RecordingError
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.trajectory import Trajectory, recorded_trajectory
from fgsn_ros.messages.poses import pose_row, valid_rows
from fgsn_ros.messages.types import TYPESTORE, Message, frame_name, stamp_of

IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
ODOMETRY = "nav_msgs/msg/Odometry"
TRANSFORMS = ("tf2_msgs/msg/TFMessage", "tf/msg/tfMessage")

_STORAGE_SUFFIXES = (".mcap", ".db3")
_SAME_M = 1e-4
_SAME_RAD = 1e-4
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Topic:
    """A topic of a bag."""

    name: str
    msgtype: str
    count: int
    """number of messages"""


def is_bag(path: Path) -> bool:
    """Whether the path looks like a bag: a rosbag2 folder or file, or a ROS 1 file."""
    if path.is_dir():
        return (path / "metadata.yaml").exists() or bool(_storage_files(path))
    return path.suffix in (*_STORAGE_SUFFIXES, ".bag")


def read_topics(path: Path) -> dict[str, Topic]:
    """Topics of a bag by name.

    Raises:
        RecordingError: the bag is damaged, or holds no messages.
    """
    with _errors_named(path), _reader(path) as reader:
        counts: dict[tuple[str, str], int] = {}
        for connection in reader.connections:
            key = connection.topic, connection.msgtype
            counts[key] = counts.get(key, 0) + connection.msgcount
    topics = {name: Topic(name, msgtype, count) for (name, msgtype), count in counts.items()}
    if not sum(topic.count for topic in topics.values()):
        raise RecordingError(f"{path} is an empty bag: it holds no messages")
    return topics


def read_messages(path: Path, topics: Collection[str]) -> Iterator[tuple[str, Message]]:
    """Messages of the named topics with their topic, in the order of recording, one by one.

    Raises:
        RecordingError: the bag is damaged.
    """
    # Only rosbags' own work is guarded, not what the caller does between two messages.
    with closing(_messages(path, topics)) as messages:
        while True:
            with _errors_named(path):
                item = next(messages, None)
            if item is None:
                return
            yield item


def _messages(path: Path, topics: Collection[str]) -> Generator[tuple[str, Message], None, None]:
    with _reader(path) as reader:
        connections = [c for c in reader.connections if c.topic in topics]
        if connections:
            for connection, _, data in reader.messages(connections):
                yield connection.topic, reader.deserialize(data, connection.msgtype)


def _reader(path: Path) -> AnyReader:
    # A recorder that was killed leaves no metadata.yaml; the storage file alone can do.
    if path.is_dir() and not (path / "metadata.yaml").exists():
        files = _storage_files(path)
        if len(files) != 1:
            raise RecordingError(f"{path} has no metadata.yaml; run 'ros2 bag reindex {path}'")
        path = files[0]
    return AnyReader([path], default_typestore=TYPESTORE)


def _storage_files(path: Path) -> list[Path]:
    return sorted(file for file in path.iterdir() if file.suffix in _STORAGE_SUFFIXES)


@contextmanager
def _errors_named(path: Path) -> Iterator[None]:
    try:
        yield
    except RecordingError:
        raise
    except Exception as error:  # a damaged bag makes rosbags raise almost anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise RecordingError(
            f"cannot read the bag {path}, it is empty, truncated or damaged: {reason}"
        ) from error


class StaticTransforms:
    """A tree of frames whose edges do not move."""

    def __init__(self) -> None:
        self._edges: dict[tuple[str, str], NDArray[np.float64]] = {}
        self._latched: set[tuple[str, str]] = set()
        self._moving: set[tuple[str, str]] = set()

    @property
    def frames(self) -> list[str]:
        """Names of all frames with a static transform."""
        edges = set(self._edges) - self._moving
        return sorted({frame for edge in edges for frame in edge})

    def add(self, message: Message, latched: bool, source: str) -> None:
        """Add a TFMessage of /tf_static (`latched`: the last one counts) or of /tf.

        Raises:
            RecordingError: a transform is not finite.
        """
        for transform in message.transforms:
            parent = frame_name(transform.header.frame_id)
            edge = parent, frame_name(transform.child_frame_id)
            if not latched and (edge in self._latched or edge in self._moving):
                continue
            row = np.array(pose_row(transform.transform), np.float64)
            if not valid_rows(row):
                raise RecordingError(f"{source}: the transform {edge[0]} -> {edge[1]} is not valid")
            T = poses.from_quaternion(row[:3], row[3:])
            if latched:
                self._edges[edge] = T
                self._latched.add(edge)
                self._moving.discard(edge)
            elif self._moves(edge, T):
                self._moving.add(edge)

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

    def trajectory(self, path: Path, max_gap_s: float | None = None) -> Trajectory:
        """The poses in order; for what is left out, and `max_gap_s`, see `recorded_trajectory`.

        Raises:
            RecordingError: too many poses cannot be used.
        """
        source = f"{path}: {self.name}"
        return recorded_trajectory(self.stamps, np.array(self.rows), source, max_gap_s)


@dataclass
class BagScan:
    """What a bag holds beside images."""

    odometry: dict[str, OdometryTopic] = field(default_factory=dict)
    """by topic"""
    camera_infos: dict[str, Message] = field(default_factory=dict)
    """first CameraInfo by topic"""
    transforms: StaticTransforms = field(default_factory=StaticTransforms)


def scan_bag(path: Path, topics: Mapping[str, Topic], camera_infos: Collection[str]) -> BagScan:
    """Read odometry, the named camera_info topics and transforms in one pass.

    Raises:
        RecordingError: the bag is damaged.
    """
    scan = BagScan()
    wanted = {
        topic.name: topic
        for topic in topics.values()
        if topic.msgtype in (ODOMETRY, *TRANSFORMS) or topic.name in camera_infos
    }
    total = sum(topic.count for topic in wanted.values())
    messages = read_messages(path, wanted)
    for name, message in tqdm(messages, f"reading {path.name}", total, delay=2, unit="message"):
        if wanted[name].msgtype == ODOMETRY:
            _add_odometry(scan.odometry, name, message)
        elif wanted[name].msgtype in TRANSFORMS:
            latched = name.endswith("tf_static")
            scan.transforms.add(message, latched, f"{path}: {name}")
        else:
            scan.camera_infos.setdefault(name, message)
    return scan


def _add_odometry(odometry: dict[str, OdometryTopic], name: str, message: Message) -> None:
    if name not in odometry:
        frame, child = frame_name(message.header.frame_id), frame_name(message.child_frame_id)
        odometry[name] = OdometryTopic(name, frame, child)
    odometry[name].stamps.append(stamp_of(message))
    odometry[name].rows.append(pose_row(message.pose.pose))
