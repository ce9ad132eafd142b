"""A localized run as a rosbag2 with the topics that the localization node publishes."""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.commands.replay import Step
from fgsn_ros.commands.result_messages import (
    MAP_FRAME,
    make_estimate,
    make_map_points,
    make_particles,
    make_path,
)
from fgsn_ros.geometry import poses
from fgsn_ros.mapping.semantic_map import SemanticMap
from fgsn_ros.segmentation.labels import overlay
from fgsn_ros.sequences.messages import make, make_jpeg, make_transform
from fgsn_ros.sequences.recording import CameraMount
from fgsn_ros.sequences.rosbag_writer import BASE_FRAME, ODOM_FRAME, RecordingWriter

OVERLAY_PERIOD_S = 0.5
PATH_PERIOD_S = 1.0
PARTICLES_SHOWN = 300
MAP_POINTS_SHOWN = 500_000
JPEG_QUALITY = 85

FloatArray = NDArray[np.float64]


class ResultBag:
    """Writes pose, particles, path, odom, tf, map points and overlay images; a context manager."""

    def __init__(
        self, path: Path, mounts: Mapping[str, CameraMount], semantic_map: SemanticMap
    ) -> None:
        self._writer = RecordingWriter(path, storage="mcap")
        self._mounts = mounts
        self._map = semantic_map
        self._stamps: list[float] = []
        self._poses: list[FloatArray] = []
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

    def add(self, step: Step, particles: FloatArray, weights: FloatArray) -> None:
        """Write one weighed frame; particles (N, 4, 4) T_map_base with weights (N,)."""
        stamp, estimate = step.frame.stamp, step.estimate
        if not self._stamps:
            self._write_map(stamp)
        self._stamps.append(stamp)
        self._poses.append(estimate.T_map_base)
        pose = make_estimate(stamp, estimate.T_map_base, estimate.covariance)
        self._writer.write("/pose", "geometry_msgs/msg/PoseWithCovarianceStamped", stamp, pose)
        shown = make_particles(stamp, particles[drawn(weights, PARTICLES_SHOWN)])
        self._writer.write("/particles", "geometry_msgs/msg/PoseArray", stamp, shown)
        self._writer.write_odometry(stamp, step.T_odom_base)
        self._write_transforms(stamp, step.T_odom_base, estimate.T_map_base)
        if stamp >= self._next_path:
            self._write_path(stamp)
            # later paths are longer: growing periods keep the bag from growing with their square
            self._next_path = stamp + max(PATH_PERIOD_S, (stamp - self._stamps[0]) / 10)
        if stamp >= self._next_overlay:
            self._write_overlay(step)
            self._next_overlay = stamp + OVERLAY_PERIOD_S - 0.01

    def _write_map(self, stamp: float) -> None:
        every = max(1, -(-len(self._map) // MAP_POINTS_SHOWN))
        cloud = make_map_points(
            stamp, self._map.points[::every], self._map.labels[::every], self._map.label_count
        )
        self._writer.write(
            "/map_points", "sensor_msgs/msg/PointCloud2", stamp, cloud, latched=True
        )

    def _write_transforms(
        self, stamp: float, T_odom_base: FloatArray, T_map_base: FloatArray
    ) -> None:
        T_map_odom = poses.compose(T_map_base, poses.invert(T_odom_base))
        transforms = [
            make_transform(stamp, MAP_FRAME, ODOM_FRAME, T_map_odom),
            make_transform(stamp, ODOM_FRAME, BASE_FRAME, T_odom_base),
        ]
        tree = make("tf2_msgs/msg/TFMessage", transforms=transforms)
        self._writer.write("/tf", "tf2_msgs/msg/TFMessage", stamp, tree)

    def _write_path(self, stamp: float) -> None:
        path = make_path(self._stamps, self._poses)
        self._writer.write("/path", "nav_msgs/msg/Path", stamp, path)

    def _write_overlay(self, step: Step) -> None:
        camera, stamp = step.frame.camera, step.frame.stamp
        blended = overlay(step.frame.image, step.label_map)
        jpeg = make_jpeg(stamp, self._mounts[camera].frame_id, blended, JPEG_QUALITY)
        topic = f"/{camera}/overlay/compressed"
        self._writer.write(topic, "sensor_msgs/msg/CompressedImage", stamp, jpeg)


def drawn(weights: FloatArray, count: int) -> NDArray[np.int64]:
    """Indices of `count` evenly spaced draws by weight: PoseArray has no room for weights."""
    cumulative = np.cumsum(weights / weights.sum())
    positions = (0.5 + np.arange(count)) / count
    return np.minimum(np.searchsorted(cumulative, positions), len(weights) - 1)
