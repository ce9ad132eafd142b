"""Localization node: label images and wheel odometry in, the robot's pose on the map out.

A lifecycle node that starts itself (parameter `autostart`).

Subscribes:
    <camera>/labels, <camera>/labels/camera_info, <camera>/labels/info of each segmentation node;
    <camera>/features, <camera>/features/camera_info where the map has local features;
    odom (nav_msgs/Odometry); initialpose (geometry_msgs/PoseWithCovarianceStamped), kept while
    inactive; /tf and /tf_static for the cameras' mountings.

Publishes:
    pose (PoseWithCovarianceStamped, latched), quality (std_msgs/Float32, see `Tracking`),
    path and odometry_path (latched), map_points (PointCloud2, latched, coloured by label),
    particles (PoseArray), particle_weights (PointCloud2) and, with Nav2, particle_cloud, best
    effort, while someone subscribes; <camera>/map_overlay, likewise but reliable; the transform
    map -> odom with each odometry message; /diagnostics.

Services: nomotion_update (std_srvs/Empty), also by the name that nav2_amcl has for it,
request_nomotion_update; reinitialize_global_localization (std_srvs/Empty): the pose is forgotten,
and the robot looked for on the whole map; with Nav2, set_initial_pose (nav2_msgs/SetInitialPose).
"""

import logging
import os
import sys
from pathlib import Path
from typing import Any

# One thread weighs a frame in milliseconds. More would spin while they wait, at the cost of the
# network on the same cores, and wait for one another where cores are busy.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NUMBA_NUM_THREADS", "1")

from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.node import Node
from std_srvs.srv import Empty

from fgsn_ros.config import require
from fgsn_ros.errors import FgsnError, LocalizationError, one_line
from fgsn_ros.localization.localizer import LocalizerSettings
from fgsn_ros.localization.online import OnlineLocalizer, OnlineSettings
from fgsn_ros.localization.tracking import TrackingSettings
from fgsn_ros.locating.feature_poses import FeaturePoses
from fgsn_ros.mapping.local_features import has_local_features, load_local_features
from fgsn_ros.mapping.map_files import load_map
from fgsn_ros.mapping.semantic_map import check_fingerprint
from fgsn_ros.nodes import parameters
from fgsn_ros.nodes.diagnostics import LocalizationDiagnostics, ThrottledLog
from fgsn_ros.nodes.executables import run
from fgsn_ros.nodes.live_localization import KnownPlace, LiveLocalization
from fgsn_ros.nodes.managed_node import ManagedNode
from fgsn_ros.nodes.settings import LOCALIZATION_PARAMETERS, LocalizationNodeSettings
from fgsn_ros.segmentation.checkpoint import read_label_statistics

try:
    from nav2_msgs.srv import SetInitialPose
except ImportError:  # only where Nav2 is installed
    SetInitialPose = None

NODE_NAME = "localization_node"
NOMOTION_UPDATE = ("nomotion_update", "request_nomotion_update")
"""Our name of a service, and nav2_amcl's."""


class LocalizationNode(ManagedNode):
    """The lifecycle around a `LiveLocalization`.

    Raises:
        SettingsError: a parameter is out of its range.
    """

    def __init__(self) -> None:
        super().__init__(NODE_NAME)
        self._live: LiveLocalization | None = None
        self._entities: list[tuple[Any, Any]] = []
        self._forward_logs()
        self._settings, self._localizer, self._tracking, self._online = (
            parameters.declare(self, *declared) for declared in LOCALIZATION_PARAMETERS
        )
        self._diagnostics = LocalizationDiagnostics(
            self, self._settings.cameras, self._settings.stale_after_s
        )
        parameters.watch(self, self._settings, self._change)
        parameters.watch(self, self._localizer, self._change_localizer)
        parameters.watch(self, self._tracking, self._change_tracking)
        parameters.watch(self, self._online, self._change_online)
        self.start(self._settings.autostart)

    def destroy_node(self) -> None:
        """Save the pose, then let go of what ROS holds."""
        if self._live is not None:
            self._live.close()
        super().destroy_node()

    def prepare(self) -> KnownPlace:
        """Map, label statistics and local features; the filter's kernels are compiled.

        Raises:
            FgsnError: map or checkpoint are unusable, or do not belong together.
        """
        settings = self._settings
        require(settings.map != "", "the parameter 'map' needs a folder made by `fgsn map`")
        require(
            settings.checkpoint != "",
            "the parameter 'checkpoint' needs a .safetensors or .onnx file",
        )
        semantic_map = load_map(Path(settings.map))
        statistics = read_label_statistics(Path(settings.checkpoint))
        check_fingerprint(semantic_map, statistics.fingerprint)
        if statistics.log_ratio is None:
            raise LocalizationError(
                "the checkpoint has no label statistics; finish it with `fgsn train`"
            )
        finder = None
        if settings.local_features and has_local_features(Path(settings.map)):
            local = load_local_features(Path(settings.map), semantic_map)
            finder = FeaturePoses(semantic_map, local, statistics.log_ratio)
            finder.warm_up()
        OnlineLocalizer(semantic_map, statistics.log_ratio, {}, self._localizer).warm_up()
        return KnownPlace(semantic_map, statistics.log_ratio, finder)

    def configure(self, prepared: KnownPlace) -> None:
        """Take the map over; from now on an initial pose is heard."""
        finder = prepared.finder
        features = "" if finder is None else f" and {finder.kind} features"
        points = f"map of {len(prepared.map)} points{features}"
        self.get_logger().info(f"{points}, {self._settings.map}")
        self._live = LiveLocalization(
            self,
            self._settings,
            prepared,
            self._localizer,
            self._online,
            self._tracking,
            self._diagnostics,
        )
        pose = self.create_subscription(
            PoseWithCovarianceStamped, "initialpose", self._take_initial_pose, 5
        )
        self._entities = [(self.destroy_subscription, pose)]
        services = [(Empty, name, self._serve_update) for name in NOMOTION_UPDATE]
        services.append((Empty, "reinitialize_global_localization", self._serve_search))
        if SetInitialPose is not None:
            services.append((SetInitialPose, "set_initial_pose", self._serve_pose))
        for kind, name, serve in services:
            self._entities.append((self.destroy_service, self.create_service(kind, name, serve)))

    def activate(self) -> None:
        """Localize."""
        assert self._live is not None
        self._live.activate()

    def deactivate(self) -> None:
        """Stop; the particles stay."""
        assert self._live is not None
        self._live.deactivate()

    def clean_up(self) -> None:
        """Save the pose, then forget it and the map."""
        if self._live is not None:
            self._live.close()
            self._live = None
        for destroy, entity in self._entities:
            destroy(entity)
        self._entities = []

    def _change(self, settings: LocalizationNodeSettings) -> None:
        self._settings = settings
        if self._live is not None:
            self._live.settings = settings
        self._diagnostics.stale_after_s = settings.stale_after_s

    def _change_localizer(self, settings: LocalizerSettings) -> None:
        if self._live is not None:
            self._live.online.settings = settings
        self._localizer = settings

    def _change_tracking(self, settings: TrackingSettings) -> None:
        if self._live is not None:
            self._live.online.tracking.settings = settings
        self._tracking = settings

    def _change_online(self, settings: OnlineSettings) -> None:
        if self._live is not None:
            self._live.online.online_settings = settings
        self._online = settings

    def _take_initial_pose(self, message: PoseWithCovarianceStamped) -> None:
        assert self._live is not None
        try:
            self._live.receive_pose(message)
        except FgsnError as error:
            reason = " ".join(str(error).split())
            self.get_logger().error(reason)
            self._diagnostics.refused_pose = f"the last initial pose is not used: {reason}"

    def _serve_pose(self, request: Any, response: Any) -> Any:
        self._take_initial_pose(request.pose)
        return response

    def _serve_update(self, request: Any, response: Any) -> Any:
        assert self._live is not None
        self._live.online.request_update()
        return response

    def _serve_search(self, request: Any, response: Any) -> Any:
        assert self._live is not None
        self._live.search()
        return response

    def _forward_logs(self) -> None:
        """What the package says through Python's logging goes to this node's log."""
        logging.getLogger("fgsn_ros").addHandler(_ToNodeLog(self))


class _ToNodeLog(logging.Handler):
    """Hands log records to a node's logger, errors of one kind not all the time."""

    def __init__(self, node: Node) -> None:
        super().__init__(logging.WARNING)
        self._logger = node.get_logger()
        self._throttled = ThrottledLog(node)

    def emit(self, record: logging.LogRecord) -> None:
        text = one_line(record.getMessage())
        if record.levelno >= logging.ERROR:
            self._throttled.error(record.module, text)
        else:
            self._logger.warning(text)


def main() -> int:
    """Run the localization node."""
    return run(LocalizationNode, NODE_NAME)


if __name__ == "__main__":
    sys.exit(main())
