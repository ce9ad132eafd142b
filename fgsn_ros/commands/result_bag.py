"""A localized run as a rosbag2 with the topics that the localization node publishes."""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.commands.result_messages import (
    MAP_FRAME,
    make_estimate,
    make_map_points,
    make_particle_weights,
    make_particles,
    make_path,
)
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.cameras import CameraMount
from fgsn_ros.geometry.trajectory import Trajectory
from fgsn_ros.localization.estimate import Estimate
from fgsn_ros.localization.online import OnlineLocalizer
from fgsn_ros.localization.tracking import Tracking, TrackingSettings
from fgsn_ros.mapping.semantic_map import SemanticMap
from fgsn_ros.mapping.shown_points import ShownPoints
from fgsn_ros.messages.bag_messages import make, make_jpeg, make_transform
from fgsn_ros.recordings.recording import Frame
from fgsn_ros.recordings.rosbag_writer import BASE_FRAME, ODOM_FRAME, RecordingWriter
from fgsn_ros.segmentation.labels import LabelMap, overlay

OVERLAY_PERIOD_S = 0.5
PATH_PERIOD_S = 1.0
PARTICLES_SHOWN = 300
JPEG_QUALITY = 85

FloatArray = NDArray[np.float64]


class ResultBag:
    """Writes what the localization node publishes, odom and overlay images; a context manager."""

    def __init__(
        self,
        path: Path,
        mounts: Mapping[str, CameraMount],
        odometry: Trajectory,
        semantic_map: SemanticMap,
    ) -> None:
        self._writer = RecordingWriter(path, storage="mcap")
        self._mounts = mounts
        self._odometry = odometry
        self._label_count = semantic_map.label_count
        self._shown = ShownPoints(semantic_map)
        self._tracking = Tracking(TrackingSettings())
        self._stamps: list[float] = []
        self._poses: list[FloatArray] = []
        self._reckoned: list[FloatArray] = []
        self._T_map_odom_at_start = np.eye(4)
        self._next_overlay = self._next_path = -np.inf

    def __enter__(self) -> "ResultBag":
        self._writer.__enter__()
        for name, mount in self._mounts.items():
            self._writer.add_camera(name, mount)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        if kind is None and self._stamps:
            self._write_path(self._stamps[-1])
        return self._writer.__exit__(kind, error, trace)

    def add_labels(self, frame: Frame, label_map: LabelMap) -> None:
        """Write a frame blended with its labels, now and then."""
        if frame.stamp < self._next_overlay:
            return
        self._next_overlay = frame.stamp + OVERLAY_PERIOD_S - 0.01
        frame_id = self._mounts[frame.camera].frame_id
        jpeg = make_jpeg(frame.stamp, frame_id, overlay(frame.image, label_map), JPEG_QUALITY)
        topic = f"/{frame.camera}/overlay/compressed"
        self._writer.write(topic, "sensor_msgs/msg/CompressedImage", frame.stamp, jpeg)

    def add_estimate(self, estimate: Estimate, online: OnlineLocalizer) -> None:
        """Write an estimate with the particles that it came from."""
        stamp = estimate.stamp
        T_odom_base = self._odometry.at(stamp)
        T_map_odom = poses.compose(estimate.T_map_base, poses.invert(T_odom_base))
        if not self._stamps:
            self._T_map_odom_at_start = T_map_odom
        self._write_map(stamp, estimate.T_map_base[:3, 3])
        self._stamps.append(stamp)
        self._poses.append(estimate.T_map_base)
        self._reckoned.append(poses.compose(self._T_map_odom_at_start, T_odom_base))
        pose = make_estimate(stamp, estimate.T_map_base, estimate.covariance)
        self._writer.write("/pose", "geometry_msgs/msg/PoseWithCovarianceStamped", stamp, pose)
        T_map_base, weights = online.particles
        shown = make_particles(stamp, T_map_base[drawn(weights, PARTICLES_SHOWN)])
        self._writer.write("/particles", "geometry_msgs/msg/PoseArray", stamp, shown)
        cloud = make_particle_weights(stamp, T_map_base, weights)
        self._writer.write("/particle_weights", "sensor_msgs/msg/PointCloud2", stamp, cloud)
        self._tracking.add(estimate)
        quality = make("std_msgs/msg/Float32", data=self._tracking.quality)
        self._writer.write("/quality", "std_msgs/msg/Float32", stamp, quality)
        self._writer.write_odometry(stamp, T_odom_base)
        self._write_transforms(stamp, T_odom_base, T_map_odom)
        if stamp >= self._next_path:
            self._write_path(stamp)
            # later paths are longer: growing periods keep the bag from growing with their square
            self._next_path = stamp + max(PATH_PERIOD_S, (stamp - self._stamps[0]) / 10)

    def _write_map(self, stamp: float, position: FloatArray) -> None:
        shown = self._shown.around(position)
        if shown is None:
            return
        cloud = make_map_points(stamp, shown.points, shown.labels, self._label_count)
        self._writer.write("/map_points", "sensor_msgs/msg/PointCloud2", stamp, cloud, latched=True)

    def _write_transforms(
        self, stamp: float, T_odom_base: FloatArray, T_map_odom: FloatArray
    ) -> None:
        transforms = [
            make_transform(stamp, MAP_FRAME, ODOM_FRAME, T_map_odom),
            make_transform(stamp, ODOM_FRAME, BASE_FRAME, T_odom_base),
        ]
        tree = make("tf2_msgs/msg/TFMessage", transforms=transforms)
        self._writer.write("/tf", "tf2_msgs/msg/TFMessage", stamp, tree)

    def _write_path(self, stamp: float) -> None:
        for topic, T in (("/path", self._poses), ("/odometry_path", self._reckoned)):
            self._writer.write(topic, "nav_msgs/msg/Path", stamp, make_path(self._stamps, T))


def drawn(weights: FloatArray, count: int) -> NDArray[np.int64]:
    """Indices of `count` evenly spaced draws by weight: PoseArray has no room for weights."""
    cumulative = np.cumsum(weights / weights.sum())
    positions = (0.5 + np.arange(count)) / count
    return np.minimum(np.searchsorted(cumulative, positions), len(weights) - 1)
