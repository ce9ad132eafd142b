"""Local features between the nodes: found beside the labels, weighed, and a way out of nowhere."""

from typing import Any

import numpy as np
import pytest
from corridor import Corridor, TintSegmenter
from robot import WARN, Robot
from sensor_msgs.msg import CameraInfo, PointCloud2
from world import World, node_of, write_statistics

from fgsn_ros.geometry.trajectory import Trajectory
from fgsn_ros.mapping.builder import write_map
from fgsn_ros.mapping.descriptors import Kind, feature_extractor
from fgsn_ros.messages.images import make_camera_info
from fgsn_ros.messages.types import make_header
from fgsn_ros.nodes.feature_clouds import make_feature_cloud
from fgsn_ros.nodes.ros_messages import ROS_TYPES, labels_message

DRIVE = Corridor(frames=32, step_m=0.3)
FIRST = float(DRIVE.ground_truth.stamps[0])


class CorridorRobot(Robot):
    """Drives along the corridor, and sends labels and local features of what it sees."""

    def __init__(self, ros: Any, name: str, process: Any) -> None:
        super().__init__(ros, name, process, {"camera": DRIVE.mount})
        truth = DRIVE.ground_truth
        scaled = truth.poses.copy()
        scaled[:, :3, 3] *= 1.03
        self.kind: Kind = "sift"
        self._odometry = Trajectory(truth.stamps, scaled)
        self._extract = feature_extractor("sift")
        publish = ros.node.create_publisher
        self.features = publish(PointCloud2, f"/{name}/camera/features", 5)
        self.image_infos = publish(CameraInfo, f"/{name}/camera/features/camera_info", 5)

    def reckoned(self, time: float) -> Any:
        return self._odometry.at(FIRST + time)

    def truth(self, stamp: float) -> Any:
        return DRIVE.ground_truth.at(FIRST + stamp - self.base)

    def send_labels(self, camera: str, stamp: float, time: float) -> None:
        image = DRIVE.render(DRIVE.ground_truth.at(FIRST + time))[0]
        label_map = TintSegmenter().segment(image)
        header = make_header(ROS_TYPES, stamp, DRIVE.mount.frame_id)
        found = self._extract(image)
        if self.kind == "xfeat":
            found = type(found)(found.pixels, found.descriptors[:, :64].astype(np.int8))
        grid = DRIVE.mount.camera.at_stride(label_map.stride)
        self.image_infos.publish(make_camera_info(ROS_TYPES, header, DRIVE.mount.camera))
        self.features.publish(make_feature_cloud(ROS_TYPES, header, self.kind, found))
        self.infos[camera].publish(make_camera_info(ROS_TYPES, header, grid))
        self.labels[camera].publish(labels_message(header, label_map))


@pytest.fixture(scope="module")
def corridor(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A map of the corridor with its local features, and label statistics."""
    folder = tmp_path_factory.mktemp("corridor")
    world = World(folder / "map", folder / "tints.safetensors", "cd" * 32)
    write_map(world.map, DRIVE, TintSegmenter())
    log_ratio = np.where(np.eye(4) > 0, 1.2, -2.0).astype(np.float32)
    write_statistics(world.checkpoint, world.fingerprint, log_ratio)
    return world


@pytest.fixture(scope="module")
def robots(ros: Any, corridor: World) -> dict[str, CorridorRobot]:
    """Every process at once: each takes its seconds to start."""
    nodes = {
        "both": node_of("both", corridor),
        "by_labels": node_of("by_labels", corridor, local_features=False),
        "nowhere": node_of("nowhere", corridor, recover=True, use_sim_time=True),
    }
    ros.start(*nodes.values())
    return {name: CorridorRobot(ros, name, node) for name, node in nodes.items()}


def driven(robot: CorridorRobot, world: World, ticks: int) -> float:
    """Drive from a start that is 0.4 m off; the error after it [m]."""
    robot.ready(world)
    robot.tick()
    robot.poses.clear()
    robot.place(0.4)
    robot.drive(ticks)
    return robot.error_m()


def test_local_features_make_the_pose_sharper(
    robots: dict[str, CorridorRobot], corridor: World
) -> None:
    both, by_labels = robots["both"], robots["by_labels"]
    errors = [driven(robot, corridor, 12) for robot in (both, by_labels)]
    assert errors[0] < 0.1
    assert errors[0] < 0.5 * errors[1]
    both.until_counted("labels with local features", lambda: both.drive(1))
    assert by_labels.count("labels with local features") == 0
    assert not by_labels.features.get_subscription_count()


def test_features_of_another_kind_are_not_used_and_told_of(
    robots: dict[str, CorridorRobot], corridor: World
) -> None:
    both = robots["both"]
    if not both.poses:
        driven(both, corridor, 5)
    both.kind = "xfeat"
    both.until_counted("unusable local features", lambda: both.drive(1))
    both.until_status("inputs", WARN, "unusable local features", lambda: both.stand())
    both.ros.until(
        lambda: both.ros.said(
            both.process, "camera sends xfeat features, the map has sift: they are not used"
        ),
        "the reason",
    )
    both.kind = "sift"
    both.until_counted("labels with local features", lambda: both.stand())


def test_two_images_that_agree_say_where_a_robot_is(
    robots: dict[str, CorridorRobot], corridor: World
) -> None:
    """Four labels fit everywhere in the corridor; its texture does not."""
    nowhere = robots["nowhere"].ready(corridor)
    assert nowhere.status in ("", "searching")
    for _ in range(16):
        nowhere.drive_unlocated()
        if nowhere.poses:
            break
    assert nowhere.error_m() < 0.2
    nowhere.ros.until(
        lambda: nowhere.count("recognized by local features"), "its count", nowhere.drive_unlocated
    )
