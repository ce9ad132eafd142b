"""Localization node: label images and wheel odometry in, the robot's pose on the map out.

A lifecycle node that starts itself (parameter `autostart`).

Subscribes:
    <camera>/labels, <camera>/labels/camera_info, <camera>/labels/info of each segmentation node;
    odom (nav_msgs/Odometry); initialpose (geometry_msgs/PoseWithCovarianceStamped), kept while
    inactive; /tf and /tf_static for the cameras' mountings.

Publishes:
    pose (PoseWithCovarianceStamped, latched), quality (std_msgs/Float32, see `Tracking`),
    path and odometry_path (latched), map_points (PointCloud2, latched, coloured by label),
    particles (PoseArray), particle_weights (PointCloud2) and, with Nav2, particle_cloud, best
    effort, while someone subscribes; <camera>/map_overlay, likewise but reliable; the transform
    map -> odom with each odometry message; /diagnostics.

Services: nomotion_update (std_srvs/Empty) and, with Nav2, set_initial_pose
(nav2_msgs/SetInitialPose).
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
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.node import Node
from std_srvs.srv import Empty

from fgsn_ros.config import require
from fgsn_ros.errors import FgsnError, LocalizationError
from fgsn_ros.localization.localizer import LocalizerSettings
from fgsn_ros.localization.online import OnlineSettings
from fgsn_ros.localization.tracking import TrackingSettings
from fgsn_ros.mapping.map_files import load_map
from fgsn_ros.mapping.semantic_map import check_fingerprint
from fgsn_ros.nodes import parameters
from fgsn_ros.nodes.diagnostics import LocalizationDiagnostics, ThrottledLog
from fgsn_ros.nodes.executables import run
from fgsn_ros.nodes.live_localization import LiveLocalization
from fgsn_ros.nodes.settings import LOCALIZATION_PARAMETERS, LocalizationNodeSettings
from fgsn_ros.segmentation.checkpoint import read_label_statistics

try:
    from nav2_msgs.srv import SetInitialPose
except ImportError:  # only where Nav2 is installed
    SetInitialPose = None

NODE_NAME = "localization_node"


class LocalizationNode(LifecycleNode):
    """The lifecycle around a `LiveLocalization`.

    Raises:
        FgsnError: a parameter is out of its range or, with autostart, map or checkpoint are
            unusable.
    """

    def __init__(self) -> None:
        super().__init__(NODE_NAME)
        self._live: LiveLocalization | None = None
        self._entities: list[tuple[Any, Any]] = []
        self._failure: FgsnError | None = None
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
        for name in parameters.unknown_overrides(self):
            self.get_logger().warning(f"unknown parameter '{name}' has no effect")
        if self._settings.autostart:
            self._autostart()

    def destroy_node(self) -> None:
        """Save the pose, then let go of what ROS holds."""
        if self._live is not None:
            self._live.close()
        super().destroy_node()

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Read map and statistics; from now on an initial pose is heard."""
        try:
            self._live = self._configured()
        except FgsnError as error:
            self._failure = error
            if not self._settings.autostart:  # which ends with this line
                self.get_logger().error(" ".join(str(error).split()))
            return TransitionCallbackReturn.FAILURE
        pose = self.create_subscription(
            PoseWithCovarianceStamped, "initialpose", self._take_initial_pose, 5
        )
        update = self.create_service(Empty, "nomotion_update", self._serve_update)
        self._entities = [(self.destroy_subscription, pose), (self.destroy_service, update)]
        if SetInitialPose is not None:
            service = self.create_service(SetInitialPose, "set_initial_pose", self._serve_pose)
            self._entities.append((self.destroy_service, service))
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Localize."""
        assert self._live is not None
        self._live.activate()
        self.get_logger().info("active")
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop; the particles stay."""
        assert self._live is not None
        self._live.deactivate()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Forget the map and the pose."""
        self._forget()
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Save the pose and stop."""
        self._forget()
        return super().on_shutdown(state)

    def _forget(self) -> None:
        if self._live is not None:
            self._live.close()
            self._live = None
        for destroy, entity in self._entities:
            destroy(entity)
        self._entities = []

    def _autostart(self) -> None:
        for trigger in (self.trigger_configure, self.trigger_activate):
            if trigger() != TransitionCallbackReturn.SUCCESS:
                raise self._failure or LocalizationError("the node could not be activated")

    def _configured(self) -> LiveLocalization:
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
        self.get_logger().info(f"map of {len(semantic_map)} points, {settings.map}")
        return LiveLocalization(
            self,
            settings,
            semantic_map,
            statistics.log_ratio,
            self._localizer,
            self._online,
            self._tracking,
            self._diagnostics,
        )

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
            self.get_logger().error(" ".join(str(error).split()))

    def _serve_pose(self, request: Any, response: Any) -> Any:
        self._take_initial_pose(request.pose)
        return response

    def _serve_update(self, request: Any, response: Any) -> Any:
        assert self._live is not None
        self._live.online.request_update()
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
        text = " ".join(record.getMessage().split())
        if record.levelno >= logging.ERROR:
            self._throttled.error(record.module, text)
        else:
            self._logger.warning(text)


def main() -> int:
    """Run the localization node."""
    return run(LocalizationNode, NODE_NAME)


if __name__ == "__main__":
    sys.exit(main())
