"""The demo's bag played by ROS 2 through both nodes, and recorded again."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseWithCovarianceStamped
from launch.actions import ExecuteProcess
from launch_ros.actions import Node
from rosbag2_interfaces.srv import PlayNext, Resume
from rosidl_runtime_py.utilities import get_message
from sensor_msgs.msg import Image

from fgsn_ros.cli import main
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.trajectory import read_tum
from fgsn_ros.messages.types import stamp_of
from fgsn_ros.nodes.launch_arguments import CHECKPOINT, DemoDrives, topics_of
from fgsn_ros.nodes.ros_messages import LATCHED_QOS
from fgsn_ros.recordings.open import open_recording

FRAMES = 221
TOPICS = ("/camera/image/compressed", "/camera/camera_info", "/odom", "/tf_static", "/ground_truth")
STORAGES = ("sqlite3", "mcap")


def run(*arguments: object) -> None:
    assert main([str(argument) for argument in arguments]) == 0


@dataclass
class Place:
    """Where the bags are, and the start of the drive that is localized."""

    demo: DemoDrives
    folder: Path
    start: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)  # x y z [m], yaw [deg]

    def localize(self, bag: Path) -> Any:
        """What `fgsn localize` makes of a bag: its trajectory."""
        result = self.folder / f"{bag.name}_localized"
        files = ("--map", self.demo.map, "--checkpoint", CHECKPOINT, "--output", result)
        run("localize", bag, *files, "--no-bag", "--start.pose", *self.start)
        return read_tum(result / "trajectory.tum")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """The demo's drives and map, and a start half a metre off."""
    folder = tmp_path_factory.mktemp("replay")
    made = Place(DemoDrives(folder / "demo"), folder)
    for command in made.demo.missing():
        run(*command)
    truth = open_recording(made.demo.winter).ground_truth
    assert truth is not None
    T_map_base = truth.poses[0] @ poses.from_planar(0.4, -0.3, np.deg2rad(1.0))
    yaw_deg = np.rad2deg(poses.to_rpy(T_map_base)[2])
    made.start = (*T_map_base[:3, 3].tolist(), float(yaw_deg))
    return made


class Heard:
    """What the player and the nodes said during the replay."""

    def __init__(self, node: Any) -> None:
        self.statuses: dict[str, dict[str, str]] = {}
        self.poses: dict[float, PoseWithCovarianceStamped] = {}
        self.labels: set[float] = set()
        self.images: list[float] = []
        self.played = 0
        for kind, topic, take in (
            (PoseWithCovarianceStamped, "/pose", self._take_pose),
            (Image, "/camera/labels", lambda message: self.labels.add(rounded(message))),
            (DiagnosticArray, "/diagnostics", self._take_diagnostics),
        ):
            node.create_subscription(kind, topic, take, 100)

    def listen(self, node: Any, topics: dict[str, type]) -> None:
        """Hear what is played on all topics of the bag."""
        for topic, kind in topics.items():
            qos = LATCHED_QOS if topic == "/tf_static" else 100
            node.create_subscription(kind, topic, partial(self._take_played, topic), qos)

    def _take_played(self, topic: str, message: Any) -> None:
        self.played += 1
        if topic == TOPICS[0]:
            self.images.append(rounded(message))

    def _take_pose(self, message: PoseWithCovarianceStamped) -> None:
        self.poses[rounded(message)] = message

    def _take_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            self.statuses[status.name] = {pair.key: pair.value for pair in status.values}


def rounded(message: Any) -> float:
    return round(stamp_of(message), 3)


def both_nodes(place: Place) -> list[Node]:
    common = {"use_sim_time": True, "checkpoint": str(CHECKPOINT), "diagnostic_updater.period": 0.5}
    x, y, z, yaw_deg = place.start
    camera = {"image_transport": "compressed", "image_reliability": "reliable"}
    robot = {
        "map": str(place.demo.map),
        "set_initial_pose": True,
        **{f"initial_pose.{name}": value for name, value in (("x", x), ("y", y), ("z", z))},
        "initial_pose.yaw": np.deg2rad(yaw_deg).item(),
        "initial_pose.std_yaw": np.deg2rad(4.0).item(),
    }
    return [
        Node(
            package="fgsn_ros",
            executable="segmentation_node",
            namespace="/camera",
            parameters=[{**common, **camera}],
        ),
        Node(package="fgsn_ros", executable="localization_node", parameters=[{**common, **robot}]),
    ]


def ros2_bag(verb: str, *arguments: object) -> ExecuteProcess:
    words = ["ros2", "bag", verb, "--disable-keyboard-controls", *arguments]
    return ExecuteProcess(cmd=[str(word) for word in words])


@pytest.fixture(scope="module")
def offline(place: Place) -> Any:
    """The trajectory that the command makes of the drive."""
    return place.localize(place.demo.winter)


@pytest.fixture(scope="module")
def heard(ros: Any, place: Place, offline: Any) -> Heard:
    """The bag played once, with both nodes and a recorder of each storage listening.

    It is played message by message: the next image comes when the labels of this one are there, and
    the pose of the one before. So nothing is dropped, however slow the machine.
    """
    node = ros.node
    got = Heard(node)
    got.listen(
        node, {topic: get_message(kind) for topic, kind in topics_of(place.demo.winter).items()}
    )
    recorders = [
        ros2_bag("record", "-s", storage, "-o", place.folder / storage, "--topics", *TOPICS)
        for storage in STORAGES
    ]
    player = ros2_bag("play", place.demo.winter, "--clock", 100, "--start-paused")
    ros.start(*both_nodes(place), player, *recorders)
    listeners = {TOPICS[0]: 4, TOPICS[1]: 4, "/odom": 4, "/tf_static": 4, "/camera/labels": 2}

    def connected() -> bool:
        enough = (node.count_subscribers(topic) >= n for topic, n in listeners.items())
        return all(enough) and node.count_publishers("/odom") == 1

    ros.until(connected, "nodes, player and recorders to meet")
    step = node.create_client(PlayNext, "/rosbag2_player/play_next")
    resume = node.create_client(Resume, "/rosbag2_player/resume")
    ros.until(lambda: step.service_is_ready() and resume.service_is_ready(), "the player")
    located = {round(stamp, 3) for stamp in offline.stamps}
    while True:
        played, images = got.played, len(got.images)
        future = step.call_async(PlayNext.Request())
        ros.until(future.done, "the player to step")
        if not future.result().success:
            break
        ros.until(lambda played=played: got.played > played, "the message that was played")
        if len(got.images) > images:
            await_answers(ros, got, located)
    resume.call_async(Resume.Request())  # a paused one does not end
    assert ros.exit_code(player) == 0
    for recorder in recorders:
        ros.interrupt(recorder)
    for recorder in recorders:
        ros.exit_code(recorder)
    return got


def await_answers(ros: Any, got: Heard, located: set[float]) -> None:
    """Wait for the last image's labels, and the pose of the one before."""
    ros.until(lambda: got.images[-1] in got.labels, f"labels of the image at {got.images[-1]}")
    for stamp in got.images[-2:-1]:
        if stamp in located:
            ros.until(lambda stamp=stamp: stamp in got.poses, f"the pose at {stamp}")


def test_both_nodes_are_as_accurate_as_the_command(
    heard: Heard, place: Place, offline: Any
) -> None:
    truth = open_recording(place.demo.winter).ground_truth
    assert truth is not None
    located = [round(stamp, 3) for stamp in offline.stamps]
    assert FRAMES - 2 <= len(located) <= FRAMES
    assert set(located[:-1]) <= heard.poses.keys()  # odometry may end before the last image
    common = [index for index, stamp in enumerate(located) if stamp in heard.poses]
    stamps = offline.stamps[common]
    true = truth.at(stamps)[:, :2, 3]
    online = [heard.poses[located[index]].pose.pose.position for index in common]
    found = np.array([(p.x, p.y) for p in online])
    expected = np.median(np.linalg.norm(offline.poses[common][:, :2, 3] - true, axis=1))
    assert expected < 0.2
    median = np.median(np.linalg.norm(found - true, axis=1))
    assert median == pytest.approx(expected, rel=0.1, abs=0.005)


def test_diagnostics_of_both_nodes_tell_all_there_is(heard: Heard) -> None:
    said = heard.statuses
    assert said.keys() == {
        "camera/segmentation_node: images",
        "camera/segmentation_node: labels",
        "localization_node: localization",
        "localization_node: inputs",
    }
    keys = {
        "images": {"rate [Hz]", "age [s]", "dropped for a newer one", "received"},
        "labels": {
            "published",
            "inference time, median [ms]",
            "conversion time, median [ms]",
            "publishing time, median [ms]",
            "unlabelled share",
        },
        "localization": {
            "lost",
            "status",
            "quality",
            "position std [m]",
            "visible points",
            "effective sample size",
            "unlabelled share",
            "update time, mean [ms]",
        },
        "inputs": {
            "camera: label rate [Hz]",
            "camera: label age [s]",
            "odometry age [s]",
            "late labels",
        },
    }
    for name, values in said.items():
        assert keys[name.split(": ")[1]] <= values.keys(), name
    received = int(said["camera/segmentation_node: images"]["received"])
    assert received > 0.5 * FRAMES  # at the last report before the end
    assert received == int(said["camera/segmentation_node: labels"]["published"])
    assert float(said["localization_node: inputs"]["odometry age [s]"]) < 0.5


@pytest.mark.parametrize("storage", STORAGES)
def test_a_recorded_bag_is_localized(heard: Heard, place: Place, storage: str) -> None:
    recorded, original = open_recording(place.folder / storage), open_recording(place.demo.winter)
    assert recorded.frame_count >= FRAMES - 2
    assert recorded.odometry is not None
    assert original.odometry is not None
    kept = original.odometry.at(recorded.odometry.stamps)
    np.testing.assert_allclose(recorded.odometry.poses, kept, atol=1e-9)
    trajectory = place.localize(place.folder / storage)
    truth = original.ground_truth.at(trajectory.stamps)
    assert len(trajectory) >= FRAMES - 2
    errors = np.linalg.norm(trajectory.poses[:, :2, 3] - truth[:, :2, 3], axis=1)
    assert np.median(errors) < 0.5
