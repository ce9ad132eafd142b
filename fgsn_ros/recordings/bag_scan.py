"""One pass over all of a bag but its images: odometry, calibrations, static transforms."""

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from fgsn_ros.errors import RecordingError
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.trajectory import Trajectory
from fgsn_ros.messages.bag_messages import Message, frame_name, pose_row, stamp_of, valid_rows
from fgsn_ros.recordings.bag_files import Topic, read_messages
from fgsn_ros.recordings.bag_topics import ODOMETRY, TRANSFORMS
from fgsn_ros.recordings.static_transforms import StaticTransforms

_log = logging.getLogger(__name__)


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

    def trajectory(self, path: Path) -> Trajectory:
        """The poses in order; a message that repeats the stamp before it is dropped.

        Raises:
            RecordingError: a pose is not finite, or time goes backwards.
        """
        stamps = np.array(self.stamps)
        rows = np.array(self.rows, np.float64)
        invalid = np.flatnonzero(~valid_rows(rows))
        if len(invalid):
            raise RecordingError(
                f"{path}: {self.name} holds a pose at {stamps[invalid[0]]:.6f} s that is not "
                "finite (NaN) or has no rotation; repair or cut the recording"
            )
        steps = np.diff(stamps, prepend=-np.inf)
        if (steps < 0.0).any():
            i = int(np.flatnonzero(steps < 0.0)[0])
            raise RecordingError(
                f"{path}: time goes backwards on {self.name}, from {stamps[i - 1]:.6f} to "
                f"{stamps[i]:.6f} s; cut the recording there"
            )
        kept = steps > 0.0
        if not kept.all():
            _log.warning("%s: %d messages of %s repeat a stamp", path, (~kept).sum(), self.name)
        return Trajectory(stamps[kept], poses.from_quaternion(rows[:, :3], rows[:, 3:])[kept])


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
