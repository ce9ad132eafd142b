"""Two robots at once, each with the launch file in a namespace of its own."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ament_index_python.packages import get_package_share_directory
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseWithCovarianceStamped
from launch.actions import GroupAction, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch_ros.actions import PushRosNamespace
from nav_msgs.msg import Odometry
from sensor_msgs.msg import CameraInfo, Image
from tf2_msgs.msg import TFMessage

from fgsn_ros.cli import main
from fgsn_ros.geometry import poses
from fgsn_ros.messages.images import make_camera_info, make_image
from fgsn_ros.messages.poses import make_odometry, make_transform, make_transforms
from fgsn_ros.messages.types import make_header, stamp_of
from fgsn_ros.nodes.launch_arguments import CHECKPOINT
from fgsn_ros.nodes.ros_messages import LATCHED_QOS, ROS_TYPES
from fgsn_ros.recordings.open import open_recording

LAUNCH = Path(get_package_share_directory("fgsn_ros")) / "launch" / "localize.launch.py"
DRIVE = ("simulate", "drive", "--duration-s", "5", "--rate-hz", "5", "--width", "320")


class Fed:
    """A robot that is fed a recording from some frame on, each image answered by a pose."""

    def __init__(self, ros: Any, name: str, recording: Any, first: int) -> None:
        self.ros, self.name, self.recording = ros, name, recording
        self.frames = list(recording.frames())[first:]
        ((self.camera, self.mount),) = recording.cameras.items()
        self.poses: dict[float, PoseWithCovarianceStamped] = {}
        self.transforms: list[Any] = []
        publish, subscribe = ros.node.create_publisher, ros.node.create_subscription
        self.odometry = publish(Odometry, f"/{name}/odom", 50)
        self.images = publish(Image, f"/{name}/camera/image", 5)
        self.infos = publish(CameraInfo, f"/{name}/camera/camera_info", 5)
        static = publish(TFMessage, f"/{name}/tf_static", LATCHED_QOS)
        mounting = make_transform(
            ROS_TYPES, 0.0, "base_link", self.mount.frame_id, self.mount.T_base_camera
        )
        static.publish(make_transforms(ROS_TYPES, [mounting]))
        self.static = static
        subscribe(PoseWithCovarianceStamped, f"/{name}/pose", self._take_pose, LATCHED_QOS)
        subscribe(TFMessage, f"/{name}/tf", lambda m: self.transforms.extend(m.transforms), 50)

    def _take_pose(self, message: PoseWithCovarianceStamped) -> None:
        self.poses[round(stamp_of(message), 3)] = message

    def start(self) -> str:
        """The launch's argument: the true pose of the first frame."""
        T = self.recording.ground_truth.at(self.frames[0].stamp)
        return f"{T[0, 3]} {T[1, 3]} {poses.to_rpy(T)[2]}"

    def error_m(self, frame: Any) -> float:
        """Send a frame and the odometry after it until its pose is there; its error."""
        stamp = round(frame.stamp, 3)
        self.ros.until(
            lambda: stamp in self.poses, f"{self.name}'s pose at {stamp}", lambda: self._send(frame)
        )
        position = self.poses[stamp].pose.pose.position
        truth = self.recording.ground_truth.at(frame.stamp)[:2, 3]
        return float(np.hypot(position.x - truth[0], position.y - truth[1]))

    def _send(self, frame: Any) -> None:
        header = make_header(ROS_TYPES, frame.stamp, self.mount.frame_id)
        self.infos.publish(make_camera_info(ROS_TYPES, header, self.mount.camera))
        self.images.publish(make_image(ROS_TYPES, header, "rgb8", frame.image))
        odometry = self.recording.odometry
        near = np.abs(odometry.stamps - frame.stamp) < 0.15
        for stamp, T in zip(odometry.stamps[near], odometry.poses[near], strict=True):
            self.odometry.publish(make_odometry(ROS_TYPES, float(stamp), "odom", "base_link", T))


@pytest.fixture(scope="module")
def robots(ros: Any, tmp_path_factory: pytest.TempPathFactory) -> list[Fed]:
    folder = tmp_path_factory.mktemp("two")
    drive, made = folder / "drive", folder / "map"
    assert main([*DRIVE, "--height", "240", "--output", str(drive)]) == 0
    files = ("--checkpoint", str(CHECKPOINT), "--output", str(made))
    assert main(["map", str(drive), *files]) == 0
    recording = open_recording(drive)
    fed = [Fed(ros, "robot1", recording, 0), Fed(ros, "robot2", recording, 10)]
    for robot in fed:
        arguments = {
            "map": str(made),
            "checkpoint": str(CHECKPOINT),
            "initial_pose": robot.start(),
        }
        source = PythonLaunchDescriptionSource(str(LAUNCH))
        include = IncludeLaunchDescription(source, launch_arguments=arguments.items())
        ros.start(GroupAction([PushRosNamespace(robot.name), include]))
    return fed


def test_each_of_two_robots_hears_its_own_odometry_and_images(robots: list[Fed]) -> None:
    for first, second in zip(*(robot.frames[:10] for robot in robots), strict=True):
        errors = [robots[0].error_m(first), robots[1].error_m(second)]
        assert max(errors) < 1.0
    for robot in robots:
        frames = {(t.header.frame_id, t.child_frame_id) for t in robot.transforms}
        assert ("map", "odom") in frames


def test_diagnostics_name_the_robot_and_the_camera(ros: Any, robots: list[Fed]) -> None:
    names: dict[str, str] = {}

    def hear(message: DiagnosticArray) -> None:
        names.update((status.name, status.hardware_id) for status in message.status)

    ros.node.create_subscription(DiagnosticArray, "/diagnostics", hear, 50)
    expected = {
        f"{robot.name}/{node}: {task}": f"/{robot.name}{camera}"
        for robot in robots
        for node, camera, tasks in (
            ("localization_node", "", ("localization", "inputs")),
            ("camera/segmentation_node", "/camera", ("images", "labels")),
        )
        for task in tasks
    }
    ros.until(lambda: len(names) >= len(expected), "diagnostics of all nodes")
    assert names == expected
