"""Write a drive as a rosbag2 (MCAP or sqlite3), without ROS."""

import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from rosbags.interfaces import (
    Connection,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import StoragePlugin, Writer, WriterError

from fgsn_ros.config import require
from fgsn_ros.errors import OutputError
from fgsn_ros.geometry.cameras import CameraMount
from fgsn_ros.messages.images import make_camera_info, make_image, make_jpeg
from fgsn_ros.messages.poses import make_odometry, make_transform, make_transforms
from fgsn_ros.messages.types import BAG_TYPES, TYPESTORE, Message, make_header, split_stamp
from fgsn_ros.outputs import Layout, whole_folder
from fgsn_ros.recordings.recording import Frame

Storage = Literal["mcap", "sqlite3"]

JPEG_QUALITY = 95
ODOMETRY_TOPIC = "/odom"
GROUND_TRUTH_TOPIC = "/ground_truth"
TF_TOPIC, TF_STATIC_TOPIC = "/tf", "/tf_static"
MAP_FRAME, ODOM_FRAME, BASE_FRAME = "map", "odom", "base_link"

BAG_FOLDER = Layout(
    "metadata.yaml",
    # the other text is of simulated drives from before there was a mark
    "made_by: fgsn_ros|ros_distro: rosbags.*name: /ground_truth.*version: 8",
    ("*.mcap", "*.db3"),
)
_PLUGINS = {"mcap": StoragePlugin.MCAP, "sqlite3": StoragePlugin.SQLITE3}
_METADATA_VERSION: Literal[8] = 8  # Humble reads 8, not yet Jazzy's 9
_FOREVER = QosTime(9223372036, 854775807)
_LATCHED = Qos(
    QosHistory.KEEP_LAST,
    1,
    QosReliability.RELIABLE,
    QosDurability.TRANSIENT_LOCAL,
    _FOREVER,
    _FOREVER,
    QosLiveliness.AUTOMATIC,
    _FOREVER,
    False,
)


class RecordingWriter:
    """Writes a rosbag2 folder; a context manager. The folder appears whole when it ends, or not.

    Topics: /<camera>/image/compressed (jpeg) or /<camera>/image (rgb8), /<camera>/camera_info,
    /odom (odom -> base_link), /ground_truth (map -> base_link), /tf_static (latched), on request
    /<camera>/class (mono8) and /<camera>/depth (32FC1, m). Each message is recorded at its stamp.

    Raises:
        OutputError: the folder exists (without `overwrite`) or cannot be written.
    """

    def __init__(self, path: Path, storage: Storage = "mcap", overwrite: bool = False) -> None:
        require(storage in _PLUGINS, f"storage must be one of {', '.join(_PLUGINS)}")
        self._context: AbstractContextManager[Writer] = _bag(path, storage, overwrite)
        self._writer: Writer
        self._connections: dict[str, Connection] = {}
        self._mounts: dict[str, CameraMount] = {}
        self._mounts_written = 0

    def __enter__(self) -> "RecordingWriter":
        self._writer = self._context.__enter__()
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        return self._context.__exit__(error_type, error, trace)

    def add_camera(self, name: str, mount: CameraMount) -> None:
        """Add a camera before its first image; its mounting goes to /tf_static."""
        self._mounts[name] = mount

    def write_image(self, frame: Frame, jpeg_quality: int | None = JPEG_QUALITY) -> None:
        """Write an image and its CameraInfo; a quality of None writes it raw, without loss."""
        mount = self._mounts[frame.camera]
        header = make_header(BAG_TYPES, frame.stamp, mount.frame_id)
        info = make_camera_info(BAG_TYPES, header, mount.camera)
        self.write(f"/{frame.camera}/camera_info", frame.stamp, info)
        topic = f"/{frame.camera}/image"
        if jpeg_quality is None:
            image = make_image(BAG_TYPES, header, "rgb8", frame.image)
            self.write(topic, frame.stamp, image)
        else:
            jpeg = make_jpeg(BAG_TYPES, header, frame.image, jpeg_quality)
            self.write(f"{topic}/compressed", frame.stamp, jpeg)

    def write_class(self, stamp: float, camera: str, classes: NDArray[np.uint8]) -> None:
        """Write semantic classes (H, W) of a camera's image."""
        self._write_layer(stamp, camera, "class", "mono8", classes.astype(np.uint8, copy=False))

    def write_depth(self, stamp: float, camera: str, depth: NDArray[np.float32]) -> None:
        """Write depths (H, W) along the optical axis [m] of a camera's image."""
        self._write_layer(stamp, camera, "depth", "32FC1", depth.astype("<f4", copy=False))

    def _write_layer(
        self,
        stamp: float,
        camera: str,
        layer: str,
        encoding: str,
        pixels: NDArray[np.uint8] | NDArray[np.float32],
    ) -> None:
        header = make_header(BAG_TYPES, stamp, self._mounts[camera].frame_id)
        self.write(f"/{camera}/{layer}", stamp, make_image(BAG_TYPES, header, encoding, pixels))

    def write_odometry(self, stamp: float, T_odom_base: NDArray[np.float64]) -> None:
        """Write an odometry pose (4, 4)."""
        message = make_odometry(BAG_TYPES, stamp, ODOM_FRAME, BASE_FRAME, T_odom_base)
        self.write(ODOMETRY_TOPIC, stamp, message)

    def write_ground_truth(self, stamp: float, T_map_base: NDArray[np.float64]) -> None:
        """Write a ground-truth pose (4, 4)."""
        message = make_odometry(BAG_TYPES, stamp, MAP_FRAME, BASE_FRAME, T_map_base)
        self.write(GROUND_TRUTH_TOPIC, stamp, message)

    def write_transforms(self, stamp: float, *transforms: Message) -> None:
        """Write TransformStamped messages to /tf."""
        self.write(TF_TOPIC, stamp, make_transforms(BAG_TYPES, list(transforms)))

    def write(self, topic: str, stamp: float, message: Message, latched: bool = False) -> None:
        """Write any message of `BAG_TYPES`, recorded at `stamp` [s]."""
        if self._mounts_written != len(self._mounts):
            self._mounts_written = len(self._mounts)
            self._write_mounts(stamp)
        if topic not in self._connections:
            self._connections[topic] = self._writer.add_connection(
                topic,
                message.__msgtype__,
                typestore=TYPESTORE,
                offered_qos_profiles=[_LATCHED] if latched else [],
            )
        seconds, nanoseconds = split_stamp(stamp)
        data = TYPESTORE.serialize_cdr(message, message.__msgtype__)
        self._writer.write(self._connections[topic], seconds * 10**9 + nanoseconds, data)

    def _write_mounts(self, stamp: float) -> None:
        """All mountings in one message, as a late subscriber gets the last one alone."""
        transforms = [
            make_transform(BAG_TYPES, stamp, BASE_FRAME, mount.frame_id, mount.T_base_camera)
            for mount in self._mounts.values()
        ]
        message = make_transforms(BAG_TYPES, transforms)
        self.write(TF_STATIC_TOPIC, stamp, message, latched=True)


@contextmanager
def _bag(path: Path, storage: Storage, overwrite: bool) -> Iterator[Writer]:
    with whole_folder(path, BAG_FOLDER, overwrite) as temporary:
        # rosbags names the files after their folder, and makes that folder itself.
        bag = temporary / path.name
        try:
            plugin = _PLUGINS[storage]
            with Writer(bag, version=_METADATA_VERSION, storage_plugin=plugin) as writer:
                writer.set_custom_data("made_by", "fgsn_ros")
                yield writer
        except (sqlite3.Error, WriterError) as error:
            raise OutputError(f"cannot write {path}: {error}; free space or rename") from error
        for file in bag.iterdir():
            file.rename(temporary / file.name)
        bag.rmdir()
