"""A localized run as a rosbag2 with the topics that the localization node publishes."""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fgsn_ros.commands import messages
from fgsn_ros.commands.replay import Step
from fgsn_ros.geometry import poses
from fgsn_ros.mapping.semantic_map import SemanticMap
from fgsn_ros.segmentation.labels import overlay, palette
from fgsn_ros.sequences.recording import CameraMount
from fgsn_ros.sequences.rosbag_writer import RecordingWriter

OVERLAY_PERIOD_S = 0.5
PATH_PERIOD_S = 1.0
PARTICLES_SHOWN = 300
MAP_POINTS_SHOWN = 500_000

FloatArray = NDArray[np.float64]


class ResultBag:
    """Writes pose, particles, path, odom, tf, map points and overlay images of a run."""

    def __init__(
        self,
        path: Path,
        mounts: Mapping[str, CameraMount],
        semantic_map: SemanticMap,
    ) -> None:
        self._writer = RecordingWriter(path, storage="mcap")
        self._mounts = mounts
        self._map = semantic_map
        self._stamps: list[float] = []
        self._poses: list[FloatArray] = []
        self._next_overlay = self._next_path = -np.inf

    def __enter__(self) -> "ResultBag":
        self._writer.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None and self._stamps:
            self._write_path(self._stamps[-1])
        self._writer.__exit__(kind, error, traceback)

    def add(
        self, step: Step, T_odom_base: FloatArray, particles: FloatArray, weights: FloatArray
    ) -> None:
        """Write one weighed frame; particles (N, 4, 4) T_map_base with weights (N,)."""
        estimate, stamp = step.estimate, step.frame.stamp
        if not self._stamps:
            self._write_latched(stamp)
        self._stamps.append(stamp)
        self._poses.append(estimate.T_map_base)
        pose = messages.pose_with_covariance(stamp, "map", estimate.T_map_base, estimate.covariance)
        shown = particles[_drawn(weights, PARTICLES_SHOWN)]
        self._write("pose", "geometry_msgs/PoseWithCovarianceStamped", stamp, pose)
        self._write(
            "particles", "geometry_msgs/PoseArray", stamp, messages.pose_array(stamp, "map", shown)
        )
        self._write_odometry(stamp, T_odom_base, estimate.T_map_base)
        if stamp >= self._next_path:
            # later paths are longer: growing periods keep the bag's size from growing as their square
            self._write_path(stamp)
            self._next_path = stamp + max(PATH_PERIOD_S, (stamp - self._stamps[0]) / 20)
        if stamp >= self._next_overlay:
            self._write_overlay(step)
            self._next_overlay = stamp + OVERLAY_PERIOD_S - 0.01

    def _write(self, topic: str, kind: str, stamp: float, message: Any) -> None:
        self._writer.write(f"/{topic}", kind.replace("/", "/msg/"), stamp, message)

    def _write_latched(self, stamp: float) -> None:
        static = [
            messages.transform(stamp, "base_link", mount.frame_id, mount.T_base_camera)
            for mount in self._mounts.values()
        ]
        self._write("tf_static", "tf2_msgs/TFMessage", stamp, messages.transforms(*static))
        every = max(1, -(-len(self._map) // MAP_POINTS_SHOWN))
        labels = np.asarray(self._map.labels[::every])
        cloud = messages.label_cloud(
            stamp,
            "map",
            np.asarray(self._map.points[::every]),
            labels,
            palette(self._map.label_count)[labels],
        )
        self._write("map_points", "sensor_msgs/PointCloud2", stamp, cloud)

    def _write_odometry(
        self, stamp: float, T_odom_base: FloatArray, T_map_base: FloatArray
    ) -> None:
        T_map_odom = poses.compose(T_map_base, poses.invert(T_odom_base))
        tree = messages.transforms(
            messages.transform(stamp, "map", "odom", T_map_odom),
            messages.transform(stamp, "odom", "base_link", T_odom_base),
        )
        self._write("tf", "tf2_msgs/TFMessage", stamp, tree)
        odometry = messages.odometry(stamp, "odom", "base_link", T_odom_base)
        self._write("odom", "nav_msgs/Odometry", stamp, odometry)

    def _write_path(self, stamp: float) -> None:
        path = messages.path(self._stamps, "map", self._poses)
        self._write("path", "nav_msgs/Path", stamp, path)

    def _write_overlay(self, step: Step) -> None:
        blended = overlay(step.frame.image, step.label_map)
        _, jpeg = cv2.imencode(".jpg", blended[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])
        message = messages.compressed_image(
            step.frame.stamp, self._mounts[step.frame.camera].frame_id, jpeg.tobytes()
        )
        topic = f"{step.frame.camera.strip('/')}/overlay/compressed"
        self._write(topic, "sensor_msgs/CompressedImage", step.frame.stamp, message)


def _drawn(weights: FloatArray, count: int) -> NDArray[np.int64]:
    """Indices of `count` evenly spaced draws by weight: PoseArray has no room for weights."""
    cumulative = np.cumsum(weights / weights.sum())
    positions = (0.5 + np.arange(count)) / count
    return np.minimum(np.searchsorted(cumulative, positions), len(weights) - 1)
