"""What recordings hold to make poses by, beside images and odometry: GPS fixes, an IMU.

They are read when poses are made, by no other command, and nothing hangs on them: what cannot be
used is left out and said, and where nothing is left, poses are made without.
"""

import logging
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from fgsn_ros.errors import RecordingError
from fgsn_ros.left_out import LeftOut
from fgsn_ros.messages.sensors import fix_fault, fix_row, imu_fault, imu_row
from fgsn_ros.messages.types import Message, frame_name, stamp_of
from fgsn_ros.recordings.bag_files import StaticTransforms, Topic, read_messages

FloatArray = NDArray[np.float64]
GPS, IMU = "sensor_msgs/msg/NavSatFix", "sensor_msgs/msg/Imu"
_KINDS = {GPS: ("fixes", fix_fault, fix_row), IMU: ("messages", imu_fault, imu_row)}
_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class GpsFixes:
    """Positions of an antenna, ordered by stamp."""

    stamps: FloatArray
    """(G,) [s]."""
    positions: FloatArray
    """(G, 3) latitude, longitude [deg], altitude [m] over the ellipsoid of WGS 84, or NaN."""
    covariance: FloatArray
    """(G, 3, 3) east, north, up [m^2]; NaN where it is not known."""
    antenna: FloatArray | None
    """(3,) in base_link [m]; None where its place is not known."""
    left_out: int = 0
    """Messages that hold no position."""


@dataclass(frozen=True, eq=False)
class InertialData:
    """What an IMU measured, ordered by stamp."""

    stamps: FloatArray
    """(M,) [s]."""
    q_xyzw: FloatArray
    """(M, 4) orientation of the IMU in a frame whose z points up; NaN where it gives none."""
    sigma_rad: FloatArray
    """(M,) standard deviation of its roll and pitch; NaN where it is not known."""
    force: FloatArray
    """(M, 3) specific force in the IMU's frame [m/s^2], (0, 0, 9.81) at rest; NaN where not given.
    """
    R_base_imu: FloatArray
    """(3, 3)."""


@dataclass(frozen=True)
class Sensors:
    """What a recording holds beside images and odometry."""

    gps: GpsFixes | None = None
    imu: InertialData | None = None


@runtime_checkable
class SensedRecording(Protocol):
    """A recording that may hold GPS fixes and inertial measurements."""

    def sensors(self) -> Sensors:
        """Read them.

        Raises:
            RecordingError: a topic that is named is not there.
        """


def sensors_of(recording: object) -> Sensors:
    """GPS fixes and inertial measurements of a recording (see `SensedRecording`), if it has any."""
    return recording.sensors() if isinstance(recording, SensedRecording) else Sensors()


@dataclass(frozen=True)
class BagSensors:
    """Where a bag's GPS fixes and inertial measurements are."""

    path: Path
    topics: Mapping[str, Topic]
    transforms: StaticTransforms
    base: str
    """name of base_link"""
    gps_topic: str
    """or empty: the only one"""
    imu_topic: str
    """or empty: the only one"""

    def read(self) -> Sensors:
        """Read them, in one pass; a bag without any is not read.

        Raises:
            RecordingError: the bag is damaged, or a topic that is named is not there.
        """
        gps = self._topic(GPS, self.gps_topic, "gps_topic")
        imu = self._topic(IMU, self.imu_topic, "imu_topic")
        rows = {topic.name: _Rows(str(self.path), topic) for topic in (gps, imu) if topic}
        if rows:
            wanted = [each.topic for each in rows.values()]
            bar = tqdm(
                read_messages(self.path, wanted),
                f"reading GPS and IMU of {self.path.name}",
                sum(topic.count for topic in wanted),
                delay=2,
                unit="message",
            )
            for name, time_s, message in bar:
                rows[name].add(time_s, message)
        return Sensors(
            self._gps(rows[gps.name]) if gps else None,
            self._imu(rows[imu.name]) if imu else None,
        )

    def _topic(self, msgtype: str, named: str, setting: str) -> Topic | None:
        found = {t.name: t for t in self.topics.values() if t.msgtype == msgtype and t.count}
        names, kind = ", ".join(sorted(found)), msgtype.replace("/msg/", "/")
        if named and named not in found:
            raise RecordingError(
                f"{self.path} has no {kind} on {named}, named by {setting}; it has "
                f"{names or 'none'}"
            )
        if len(found) > 1 and not named:
            text = (
                f"{self.path} has several {kind} topics: {names}; none is used: name one by the "
                f"setting {setting}"
            )
            _log.warning("%s", text)
            return None
        return found[named] if named else next(iter(found.values()), None)

    def _gps(self, rows: "_Rows") -> GpsFixes | None:
        stamps, values = rows.in_order()
        if len(stamps) == 0:
            return None
        T = self.transforms.lookup(self.base, rows.frame)
        if T is None:
            _log.warning(
                "%s: the antenna's frame '%s' has no static transform to %s: its positions are "
                "taken for those of %s, and count for less; record /tf_static",
                *(rows.source, rows.frame, self.base, self.base),
            )
        covariance = values[:, 3:].reshape(-1, 3, 3)
        antenna = None if T is None else T[:3, 3]
        left_out = rows.left_out.counts.total()
        return GpsFixes(stamps, values[:, :3], covariance, antenna, left_out)

    def _imu(self, rows: "_Rows") -> InertialData | None:
        stamps, values = rows.in_order()
        T = self.transforms.lookup(self.base, rows.frame)
        if len(stamps) == 0:
            return None
        if T is None:
            _log.warning(
                "%s is not used: its frame '%s' has no static transform to %s; record /tf_static",
                *(rows.source, rows.frame, self.base),
            )
            return None
        return InertialData(stamps, values[:, :4], values[:, 4], values[:, 5:], T[:3, :3])


@dataclass
class _Rows:
    """The usable messages of a topic as numbers."""

    path: str
    topic: Topic
    frame: str = ""
    numbers: "array[float]" = field(default_factory=lambda: array("d"))

    def __post_init__(self) -> None:
        items, self._fault, self._row = _KINDS[self.topic.msgtype]
        self.source = f"{self.path}: {self.topic.name}"
        self.left_out = LeftOut(self.path, f"{items} of {self.topic.name}")

    def add(self, time_s: float, message: Message | None) -> None:
        """Add a message, recorded at a time [s], or put down why it cannot be used."""
        fault = "damaged" if message is None else self._fault(message)
        if message is None or fault:
            self.left_out.drop(fault, f"recorded at {time_s:.6f} s")
            return
        self.left_out.keep()
        self.frame = self.frame or frame_name(message.header.frame_id)
        self.numbers.extend([stamp_of(message), *self._row(message)])

    def in_order(self) -> tuple[FloatArray, FloatArray]:
        """Distinct stamps (K,) [s], increasing, and numbers (K, ...); says what was left out."""
        self.left_out.say()
        width = 13 if self.topic.msgtype == GPS else 9
        table = np.array(self.numbers, np.float64).reshape(-1, width)
        stamps, first = np.unique(table[:, 0], return_index=True)
        return stamps, table[first, 1:]
