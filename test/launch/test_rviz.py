"""config/localize.rviz against what the nodes publish: a display of another QoS shows nothing."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rclpy
from geometry_msgs.msg import PoseWithCovarianceStamped
from nav_msgs.msg import Path as PathMessage
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, ReliabilityPolicy
from sensor_msgs.msg import Image, PointCloud2

from fgsn_ros.config import load_yaml
from fgsn_ros.mapping.semantic_map import SemanticMap
from fgsn_ros.messages.clouds import make_particle_cloud, make_point_cloud
from fgsn_ros.messages.types import make_header
from fgsn_ros.nodes.publishers import LocalizationPublishers, MatchOverlays
from fgsn_ros.nodes.ros_messages import ROS_TYPES

CONFIG: Any = load_yaml(Path(__file__).parents[2] / "config" / "localize.rviz")
MANAGER = CONFIG["Visualization Manager"]
DISPLAYS = {
    display["Topic"]["Value"]: display for display in MANAGER["Displays"] if "Topic" in display
}
OTHERS = {"/ground_truth"}
"""Topics of a bag."""
KINDS = {
    "PointCloud2": PointCloud2,
    "Path": PathMessage,
    "PoseWithCovariance": PoseWithCovarianceStamped,
    "Image": Image,
}


def policy(words: str) -> str:
    return words.upper().replace(" ", "_")


def one_point() -> SemanticMap:
    one, ahead = np.ones(1), np.array([[1.0, 0.0, 0.0]])
    pose, share = np.eye(4)[None], np.ones((1, 1))
    return SemanticMap.from_points(
        ahead, np.zeros(1, int), one, ahead, one, one, pose, share, "f" * 64
    )


@pytest.fixture(scope="module")
def publishers() -> Iterator[dict[str, Publisher]]:
    """Those of a localization node with one camera, by topic."""
    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node("publishers", context=context)
    LocalizationPublishers(node, "map", one_point())
    MatchOverlays(node, ("camera",), None, None)
    yield {publisher.topic_name: publisher for publisher in node.publishers}
    node.destroy_node()
    context.try_shutdown()


@pytest.mark.parametrize("topic", sorted(set(DISPLAYS) - OTHERS))
def test_a_display_asks_for_the_qos_that_the_node_offers(
    publishers: dict[str, Publisher], topic: str
) -> None:
    asked, offered = DISPLAYS[topic]["Topic"], publishers[topic].qos_profile
    assert ReliabilityPolicy[policy(asked["Reliability Policy"])] == offered.reliability
    assert DurabilityPolicy[policy(asked["Durability Policy"])] == offered.durability
    assert asked["Depth"] == offered.depth


@pytest.mark.parametrize("topic", sorted(set(DISPLAYS) - OTHERS))
def test_a_display_is_of_its_topics_type(publishers: dict[str, Publisher], topic: str) -> None:
    kind = DISPLAYS[topic]["Class"].removeprefix("rviz_default_plugins/")
    assert publishers[topic].msg_type is KINDS[kind]


def test_topics_of_a_bag_are_heard_whatever_it_offers() -> None:
    for topic in OTHERS:
        assert DISPLAYS[topic]["Topic"]["Reliability Policy"] == "Best Effort"
        assert DISPLAYS[topic]["Topic"]["Durability Policy"] == "Volatile"


def test_the_channels_that_colour_points_are_in_the_messages() -> None:
    header = make_header(ROS_TYPES, 1.0, "map")
    particles = make_particle_cloud(ROS_TYPES, header, np.eye(4)[None], np.ones(1))
    channel = DISPLAYS["/particle_weights"]["Channel Name"]
    assert channel in [field.name for field in particles.fields]
    point = np.zeros((1, 3), np.float32), np.zeros(1, np.uint16), np.zeros((1, 3), np.uint8)
    points = make_point_cloud(ROS_TYPES, header, *point)
    assert DISPLAYS["/map_points"]["Color Transformer"] == "RGB8"
    assert "rgb" in [field.name for field in points.fields]


def test_the_view_is_of_the_nodes_frames_and_its_tool_gives_their_initial_pose() -> None:
    assert MANAGER["Global Options"]["Fixed Frame"] == "map"
    (tool,) = [tool for tool in MANAGER["Tools"] if tool["Class"].endswith("SetInitialPose")]
    assert tool["Topic"]["Value"] == "/initialpose"
    assert tool["Topic"]["Reliability Policy"] == "Reliable"
    assert tool["Covariance x"] > 0.0
