"""A localized run as a rosbag2 with the topics that the localization node publishes."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.geometry import poses
from fgsn_ros.geometry.cameras import CameraMount
from fgsn_ros.geometry.trajectory import Trajectory
from fgsn_ros.localization.estimate import Estimate
from fgsn_ros.localization.online import OnlineLocalizer
from fgsn_ros.mapping.semantic_map import SemanticMap, ShownPoints
from fgsn_ros.messages.clouds import make_particle_cloud, make_point_cloud
from fgsn_ros.messages.images import make_jpeg
from fgsn_ros.messages.poses import (
    drawn,
    make_estimate,
    make_particles,
    make_path,
    make_stamped_pose,
    make_transform,
)
from fgsn_ros.messages.types import BAG_TYPES, Message, make_header, stamp_of
from fgsn_ros.recordings.recording import Frame
from fgsn_ros.recordings.rosbag_writer import BASE_FRAME, MAP_FRAME, ODOM_FRAME, RecordingWriter
from fgsn_ros.segmentation.labels import LabelMap, overlay, palette

OVERLAY_PERIOD_S = 0.5
PATH_PERIOD_S = 1.0
JPEG_QUALITY = 85

FloatArray = NDArray[np.float64]


@contextmanager
def result_bag(
    path: Path,
    mounts: Mapping[str, CameraMount],
    odometry: Trajectory,
    semantic_map: SemanticMap,
) -> Iterator["ResultBag"]:
    """A bag to write a run to; it appears whole at the end, or not at all.

    Raises:
        OutputError: the folder exists or cannot be written.
    """
    with RecordingWriter(path, storage="mcap") as writer:
        for name, mount in mounts.items():
            writer.add_camera(name, mount)
        bag = ResultBag(writer, mounts, odometry, semantic_map)
        yield bag
        bag.write_paths()


class ResultBag:
    """Writes what the localization node publishes, odom and overlay images."""

    def __init__(
        self,
        writer: RecordingWriter,
        mounts: Mapping[str, CameraMount],
        odometry: Trajectory,
        semantic_map: SemanticMap,
    ) -> None:
        self._writer = writer
        self._mounts = mounts
        self._odometry = odometry
        self._palette = palette(semantic_map.label_count)
        self._shown = ShownPoints(semantic_map)
        self._path: list[Message] = []
        self._reckoned: list[Message] = []
        self._start_s = -np.inf
        self._T_map_odom_at_start = np.eye(4)
        self._next_overlay = self._next_path = -np.inf

    def add_labels(self, frame: Frame, label_map: LabelMap) -> None:
        """Write a frame blended with its labels, now and then."""
        if frame.stamp < self._next_overlay:
            return
        self._next_overlay = frame.stamp + OVERLAY_PERIOD_S - 0.01
        header = make_header(BAG_TYPES, frame.stamp, self._mounts[frame.camera].frame_id)
        jpeg = make_jpeg(BAG_TYPES, header, overlay(frame.image, label_map), JPEG_QUALITY)
        self._writer.write(f"/{frame.camera}/overlay/compressed", frame.stamp, jpeg)

    def add_estimate(self, estimate: Estimate, online: OnlineLocalizer) -> None:
        """Write an estimate with the particles that it came from."""
        stamp, T_map_base = estimate.stamp, estimate.T_map_base
        self._write_map(stamp, T_map_base[:3, 3])
        pose = make_estimate(BAG_TYPES, stamp, MAP_FRAME, T_map_base, estimate.covariance)
        self._writer.write("/pose", stamp, pose)
        self._write_particles(stamp, *online.particles)
        quality = BAG_TYPES.make("std_msgs/msg/Float32", data=online.tracking.quality)
        self._writer.write("/quality", stamp, quality)
        self._write_poses(stamp, T_map_base)

    def _write_map(self, stamp: float, position: FloatArray) -> None:
        shown = self._shown.around(position)
        if shown is None:
            return
        header = make_header(BAG_TYPES, stamp, MAP_FRAME)
        colours = self._palette[shown.labels]
        cloud = make_point_cloud(BAG_TYPES, header, shown.points, shown.labels, colours)
        self._writer.write("/map_points", stamp, cloud, latched=True)

    def _write_particles(self, stamp: float, T_map_base: FloatArray, weights: FloatArray) -> None:
        shown = make_particles(BAG_TYPES, stamp, MAP_FRAME, T_map_base[drawn(weights)])
        self._writer.write("/particles", stamp, shown)
        header = make_header(BAG_TYPES, stamp, MAP_FRAME)
        cloud = make_particle_cloud(BAG_TYPES, header, T_map_base, weights)
        self._writer.write("/particle_weights", stamp, cloud)

    def _write_poses(self, stamp: float, T_map_base: FloatArray) -> None:
        """Odometry, transforms and, now and then, the paths until here."""
        T_odom_base = self._odometry.at(stamp)
        T_map_odom = poses.compose(T_map_base, poses.invert(T_odom_base))
        if not self._path:
            self._start_s, self._T_map_odom_at_start = stamp, T_map_odom
        reckoned = poses.compose(self._T_map_odom_at_start, T_odom_base)
        self._path.append(make_stamped_pose(BAG_TYPES, stamp, MAP_FRAME, T_map_base))
        self._reckoned.append(make_stamped_pose(BAG_TYPES, stamp, MAP_FRAME, reckoned))
        self._writer.write_odometry(stamp, T_odom_base)
        self._writer.write_transforms(
            stamp,
            make_transform(BAG_TYPES, stamp, MAP_FRAME, ODOM_FRAME, T_map_odom),
            make_transform(BAG_TYPES, stamp, ODOM_FRAME, BASE_FRAME, T_odom_base),
        )
        if stamp >= self._next_path:
            self.write_paths()
            # later paths are longer: growing periods keep the bag from growing with their square
            self._next_path = stamp + max(PATH_PERIOD_S, (stamp - self._start_s) / 10)

    def write_paths(self) -> None:
        """Write the ways until here, localized and by odometry alone, if there are any."""
        for topic, stamped in (("/path", self._path), ("/odometry_path", self._reckoned)):
            if stamped:
                self._writer.write(topic, stamp_of(stamped[-1]), make_path(BAG_TYPES, stamped))
