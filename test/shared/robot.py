"""A robot in the street: what its wheels and cameras tell a localization node, and its answers."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import street
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import PoseWithCovarianceStamped, TransformStamped
from launch_ros.actions import Node
from lifecycle_msgs.srv import ChangeState
from nav_msgs.msg import Odometry
from rcl_interfaces.msg import SetParametersResult
from rcl_interfaces.srv import SetParameters
from rclpy.duration import Duration
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header, String
from tf2_msgs.msg import TFMessage
from vision_msgs.msg import LabelInfo
from world import World

from fgsn_ros.geometry import poses
from fgsn_ros.geometry.cameras import CameraMount
from fgsn_ros.messages.images import make_camera_info
from fgsn_ros.messages.poses import make_estimate, make_odometry, make_transform, make_transforms
from fgsn_ros.messages.types import make_header, make_time, stamp_of
from fgsn_ros.nodes.ros_messages import LATCHED_QOS, ROS_TYPES, labels_message, matrix_of

TRUTH = street.weaving_drive(24.0, speed=4.0)
ODOMETRY = street.drifting_odometry(TRUTH)
IMAGE_AFTER_S = 0.085
"""After the start of a tick, between two odometry messages."""
BEST_EFFORT = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
PATIENCE_S = 60.0
NO_ODOMETRY = Odometry()
NO_ODOMETRY.pose.pose.orientation.w = 0.0  # no quaternion
OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR


class Robot:
    """Drives along the street, 0.1 s a tick: five odometry messages and an image of each camera.

    Its stamps are `base` plus the time in the drive; so is its clock, for a node with use_sim_time.
    """

    def __init__(
        self,
        ros: Any,
        name: str,
        process: Node,
        mounts: Mapping[str, CameraMount] | None = None,
    ) -> None:
        self.ros, self.name, self.process = ros, name, process
        self.mounts = dict(mounts or {"camera": street.MOUNT})
        self.base, self.ticks, self.is_heard = 1000.0, 0, False
        self.T_odom_drive = poses.identity()
        """Where its odometry has the origin of the drive's."""
        self.image_after_s = dict.fromkeys(self.mounts, IMAGE_AFTER_S)
        self.poses: list[PoseWithCovarianceStamped] = []
        self.transforms: list[TransformStamped] = []
        self.statuses: dict[str, DiagnosticStatus] = {}
        self.info_frame_id: str | None = None
        """In the cameras' infos, if not that of their images."""
        self.status = ""
        """What the topic status said last."""
        publish = ros.node.create_publisher
        self.clock = publish(Clock, f"/{name}/clock", 10)
        self.odometry = publish(Odometry, f"/{name}/odom", 50)
        self.initial_pose = publish(PoseWithCovarianceStamped, f"/{name}/initialpose", 5)
        self.static = publish(TFMessage, f"/{name}/tf_static", LATCHED_QOS)
        self.labels, self.infos, self.label_infos = (
            {camera: publish(kind, f"/{name}/{camera}/{topic}", qos) for camera in self.mounts}
            for kind, topic, qos in (
                (Image, "labels", 5),
                (CameraInfo, "labels/camera_info", 5),
                (LabelInfo, "labels/info", LATCHED_QOS),
            )
        )
        self.listen(PoseWithCovarianceStamped, "pose", self.poses.append, LATCHED_QOS)
        self.listen(TFMessage, "tf", lambda message: self.transforms.extend(message.transforms), 50)
        self.listen(DiagnosticArray, "diagnostics", self._take_diagnostics, 5)
        self.listen(String, "status", lambda message: setattr(self, "status", message.data))
        self.tell_mountings(self.mounts)

    def listen(self, kind: type, topic: str, take: Callable[[Any], None], qos: Any = 10) -> Any:
        return self.ros.node.create_subscription(kind, f"/{self.name}/{topic}", take, qos)

    @contextmanager
    def heard(self, kind: type, topic: str, qos: Any = 10) -> Iterator[list[Any]]:
        """Messages of a topic, of which the robot has driven to get one."""
        received: list[Any] = []
        subscription = self.listen(kind, topic, received.append, qos)
        self.ros.until(lambda: received, topic, lambda: self.drive(1))
        yield received
        self.ros.node.destroy_subscription(subscription)

    def tell_mountings(self, mounts: Mapping[str, CameraMount]) -> None:
        """Transforms of cameras to their base."""
        transforms = [
            make_transform(ROS_TYPES, 0.0, "base_link", mount.frame_id, mount.T_base_camera)
            for mount in mounts.values()
        ]
        self.static.publish(make_transforms(ROS_TYPES, transforms))

    def tell_fingerprint(self, fingerprint: str, *cameras: str) -> None:
        """Which network the labels come from."""
        for camera in cameras or self.mounts:
            header = Header(frame_id=fingerprint)
            self.label_infos[camera].publish(LabelInfo(header=header))

    def ready(self, world: World) -> "Robot":
        """Wait until the node hears it, and knows the mountings and the labels' network."""
        if self.is_heard:
            return self
        self.tell_fingerprint(world.fingerprint)
        for publisher in (self.static, *self.label_infos.values()):
            self.ros.until(publisher.get_subscription_count, self.name)
            assert publisher.wait_for_all_acked(Duration(seconds=PATIENCE_S))
        # A message to a best-effort subscription that is just being made may be lost. So the node
        # is sent what it can only count, until it does.
        self.until_counted("refused messages", lambda: self.odometry.publish(NO_ODOMETRY))
        for camera in self.mounts:
            self.until_counted("labels ", lambda camera=camera: self._send_old_labels(camera))
        self.is_heard = True
        return self

    def _send_old_labels(self, camera: str) -> None:
        """Too old to be used; several, as some may wait for a pose before they are counted."""
        for _ in range(5):
            self.send_labels(camera, 1.0, 0.0)

    def until_deaf(self) -> None:
        """Wait until the node has stopped to listen: none of the next messages is for it."""
        self.ros.until(lambda: not self.odometry.get_subscription_count(), "the node to be deaf")
        self.is_heard = False

    @property
    def time(self) -> float:
        """Stamp of the last odometry [s]."""
        return self.base + 0.1 * self.ticks

    def tick(self, *cameras: str) -> float:
        """Drive 0.1 s and send images of cameras, of all by default; the images' stamp."""
        start = 0.1 * self.ticks
        self.ticks += 1
        way = lambda passed: start + passed  # noqa: E731
        return self._send(cameras or self.mounts, self.base + start, way)

    def roll(self) -> None:
        """Drive 0.1 s without an image."""
        self.ticks += 1
        self._send((), self.time - 0.1, lambda passed: 0.1 * (self.ticks - 1) + passed)

    def carry_on(self, ticks: int) -> None:
        """Drive without images, each tick answered by a transform before the next one."""
        for _ in range(ticks):
            sent = len(self.transforms)
            self.roll()
            self.ros.until(
                lambda sent=sent: (
                    len(self.transforms) > sent and stamp_of(self.transforms[-1]) > self.time
                ),
                "a transform of now",
            )

    def drive_untold(self, *cameras: str) -> None:
        """Drive 0.1 s that odometry does not tell, and send images of the cameras named."""
        start = 0.1 * self.ticks
        self.ticks += 1
        for camera in cameras:
            after = self.image_after_s[camera]
            self.send_labels(camera, self.base + start + after, start + after)
        self.tell_time()

    def drive_unlocated(self, ticks: int = 1) -> None:
        """Drive, each image heard before the next one is sent, whether a pose comes of it or not.

        For a node whose clock is the drive's.
        """
        for _ in range(ticks):
            self.tick()
            self.statuses.clear()
            self.ros.until(self._is_newest_heard, f"{self.name} to hear its labels")

    def _is_newest_heard(self) -> bool:
        return all(
            0.0 <= float(self.value("inputs", f"{camera}: label age [s]") or 1.0) < 0.1
            for camera in self.mounts
        )

    def carry_off(self, ticks: int) -> None:
        """Be elsewhere in the drive: nobody tells, neither odometry nor the clock."""
        before, now = 0.1 * self.ticks, 0.1 * ticks
        moved = poses.compose(ODOMETRY.at(before), poses.invert(ODOMETRY.at(now)))
        self.T_odom_drive = poses.compose(self.T_odom_drive, moved)
        self.base += before - now
        self.ticks = ticks

    def reckoned(self, time: float) -> Any:
        """T_odom_base (4, 4) at a time in the drive [s]."""
        return poses.compose(self.T_odom_drive, ODOMETRY.at(time))

    def tell_time(self) -> None:
        """Set the node's simulated clock."""
        self.clock.publish(Clock(clock=make_time(ROS_TYPES, self.time)))

    def stand(self, *cameras: str) -> float:
        """Stand still for 0.1 s; the images' stamp."""
        here, now = 0.1 * self.ticks, self.time
        self.base += 0.1
        return self._send(cameras or self.mounts, now, lambda passed: here)

    def _send(self, cameras: Iterable[str], start: float, way: Callable[[float], float]) -> float:
        for passed in 0.02 * np.arange(1, 6):
            self.send_odometry(start + passed, way(passed))
        for camera in cameras:
            after = self.image_after_s[camera]
            self.send_labels(camera, start + after, way(after))
        self.tell_time()
        return start + max((self.image_after_s[camera] for camera in cameras), default=0.0)

    def keep_up(self, step: Callable[[], Any]) -> None:
        """Take steps until the drive's time is the clock's; its stamps jump there at first."""
        now = self.ros.node.get_clock().now().nanoseconds * 1e-9
        self.base += now - self.time if self.time < now - 60.0 else 0.0
        while self.time < now:
            step()

    def send_odometry(self, stamp: float, time: float, frame_id: str = "odom") -> None:
        """Odometry of a time in the drive [s]."""
        message = make_odometry(ROS_TYPES, stamp, frame_id, "base_link", self.reckoned(time))
        self.odometry.publish(message)

    def send_labels(self, camera: str, stamp: float, time: float) -> None:
        """What a camera sees at a time in the drive [s]."""
        mount = self.mounts[camera]
        header = make_header(ROS_TYPES, stamp, mount.frame_id)
        grid = mount.camera.at_stride(street.STRIDE)
        rng = np.random.default_rng(round(1e3 * time))
        label_map = street.label_map(TRUTH.at(time), mount, rng)
        frame_id = mount.frame_id if self.info_frame_id is None else self.info_frame_id
        told = make_header(ROS_TYPES, stamp, frame_id)
        self.infos[camera].publish(make_camera_info(ROS_TYPES, told, grid))
        self.labels[camera].publish(labels_message(header, label_map))

    def drive(self, ticks: int, *cameras: str) -> None:
        """Drive, each image answered by a pose before the next one is sent."""
        for _ in range(ticks):
            self.until_located(self.tick(*cameras))

    def until_located(self, stamp: float) -> None:
        """Wait for the pose of a stamp."""
        self.ros.until(
            lambda: any(abs(stamp_of(pose) - stamp) < 1e-6 for pose in reversed(self.poses)),
            f"{self.name}'s pose at {stamp:.3f} s",
        )

    def place(
        self,
        forward: float = 0.0,
        std_m: float = 0.5,
        frame_id: str = "map",
        stamp: float | None = None,
    ) -> PoseWithCovarianceStamped:
        """Send an initial pose so far ahead of the true one [m]; the message."""
        T_map_base = self.truth(self.time) @ poses.from_planar(forward, 0.0, 0.0)
        covariance = np.diag(np.square([std_m, std_m, 0.1, 0.01, 0.01, 0.05]))
        message = make_estimate(
            ROS_TYPES, self.time if stamp is None else stamp, frame_id, T_map_base, covariance
        )
        self.initial_pose.publish(message)
        return message

    def start(self, ticks: int = 5) -> None:
        """From wherever it is: an initial pose, then some driving."""
        self.tick()
        self.poses.clear()
        self.place()
        self.drive(ticks)

    def truth(self, stamp: float) -> Any:
        """True T_map_base (4, 4) at a stamp."""
        return TRUTH.at(stamp - self.base)

    def error_m(self, message: PoseWithCovarianceStamped | None = None) -> float:
        """Horizontal error of a pose, by default the last."""
        message = message or self.poses[-1]
        T_map_base = matrix_of(message.pose.pose)
        truth = self.truth(stamp_of(message))
        return float(np.linalg.norm(T_map_base[:2, 3] - truth[:2, 3]))

    def error_now_m(self) -> float:
        """Horizontal error of map -> odom with the odometry of now."""
        T_map_odom = matrix_of(self.transforms[-1].transform)
        T_map_base = T_map_odom @ self.reckoned(0.1 * self.ticks)
        truth = self.truth(self.time)
        return float(np.linalg.norm(T_map_base[:2, 3] - truth[:2, 3]))

    def value(self, status: str, key: str) -> str:
        """A value in the last diagnostics, empty if it is not there."""
        values = self.statuses[status].values if status in self.statuses else []
        return next((pair.value for pair in values if pair.key == key), "")

    def count(self, start: str) -> int:
        """Sum of the counts in the diagnostics of the inputs whose names start so."""
        values = self.statuses["inputs"].values if "inputs" in self.statuses else []
        return sum(int(pair.value) for pair in values if pair.key.startswith(start))

    def until_status(
        self, status: str, level: bytes, text: str, repeat: Callable[[], Any] = int
    ) -> None:
        """Wait for new diagnostics of a level that hold a text."""
        self.statuses.clear()

        def told() -> bool:
            found = self.statuses.get(status)
            return found is not None and found.level == level and text in found.message

        self.ros.until(told, f"{self.name}'s {status} to say '{text}'", repeat)

    def until_counted(self, start: str, repeat: Callable[[], Any], more: int = 1) -> None:
        """Wait for a count in the diagnostics of the inputs to rise."""
        self.statuses.clear()
        self.ros.until(lambda: "inputs" in self.statuses, f"{self.name}'s diagnostics")
        least = self.count(start) + more
        self.ros.until(lambda: self.count(start) >= least, f"{self.name}'s {start}", repeat)

    def until_said(self, text: str) -> None:
        """Wait for a line in the node's log."""
        self.ros.until(lambda: text in self.ros.stderr(self.process), f"'{text}' in the log")

    def call(self, kind: Any, service: str, request: Any) -> Any:
        """Call a service of the node; its response."""
        client = self.ros.node.create_client(kind, f"/{self.name}/{service}")
        self.ros.until(client.service_is_ready, service)
        future = client.call_async(request)
        self.ros.until(future.done, f"{service} to answer")
        self.ros.node.destroy_client(client)
        return future.result()

    def set_parameter(self, name: str, value: object) -> SetParametersResult:
        """Set a parameter of the node at run time."""
        request = SetParameters.Request(
            parameters=[Parameter(name, value=value).to_parameter_msg()]
        )
        service = "localization_node/set_parameters"
        return self.call(SetParameters, service, request).results[0]

    def change_state(self, transition: int) -> bool:
        """Ask for a lifecycle transition; whether it succeeded."""
        request = ChangeState.Request()
        request.transition.id = transition
        return self.call(ChangeState, "localization_node/change_state", request).success

    def _take_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            self.statuses[status.name.split(": ")[1]] = status
