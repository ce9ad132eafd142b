"""The localization node's topics, transform and services, on a robot that drives along a street."""

from typing import Any

import numpy as np
import pytest
import street
from geometry_msgs.msg import PoseArray, PoseWithCovarianceStamped
from nav_msgs.msg import Path as PathMessage
from rclpy.qos import DurabilityPolicy, ReliabilityPolicy
from robot import BEST_EFFORT, ERROR, IMAGE_AFTER_S, ODOMETRY, OK, Robot
from sensor_msgs.msg import Image, PointCloud2
from std_msgs.msg import Float32
from std_srvs.srv import Empty
from world import World, node_of

from fgsn_ros.geometry import poses
from fgsn_ros.messages.images import make_image
from fgsn_ros.messages.types import make_header, stamp_of
from fgsn_ros.nodes.ros_messages import LATCHED_QOS, ROS_TYPES, matrix_of, rgb_of
from fgsn_ros.segmentation.labels import palette


@pytest.fixture(scope="module")
def robot(ros: Any, world: World) -> Robot:
    made = Robot(ros, "plain", node_of("plain", world, transform_tolerance=0.25))
    ros.start(made.process)
    return made.ready(world)


@pytest.fixture(scope="module")
def moving(robot: Robot) -> Robot:
    """The robot after its start."""
    robot.start()
    return robot


def test_without_an_initial_pose_there_is_no_pose_and_no_transform(robot: Robot) -> None:
    robot.until_status("localization", ERROR, "no pose", robot.tick)
    robot.until_counted("labels without an initial pose", robot.tick)
    assert (robot.poses, robot.transforms) == ([], [])


def test_initial_pose_in_another_frame_is_rejected_and_said(robot: Robot) -> None:
    robot.place(frame_id="odom")
    robot.until_said("an initial pose in the frame 'odom' is not used; give it in 'map'")
    robot.until_status("localization", ERROR, "no pose", robot.tick)
    assert robot.transforms == []


@pytest.mark.parametrize("broken", ["orientation", "covariance"])
def test_initial_pose_that_is_none_is_refused_and_said(robot: Robot, broken: str) -> None:
    message = PoseWithCovarianceStamped(header=make_header(ROS_TYPES, robot.time, "map"))
    message.pose.pose.orientation.w = float(broken != "orientation")
    message.pose.covariance[0] = np.nan
    robot.initial_pose.publish(message)
    robot.until_said("quaternion of zeros" if broken == "orientation" else "(6, 6) covariance")
    robot.until_status("localization", ERROR, "no pose", robot.tick)


def test_topics_have_the_documented_types_and_qos(robot: Robot) -> None:
    latched = (ReliabilityPolicy.RELIABLE, DurabilityPolicy.TRANSIENT_LOCAL)
    reliable = (ReliabilityPolicy.RELIABLE, DurabilityPolicy.VOLATILE)
    best_effort = (ReliabilityPolicy.BEST_EFFORT, DurabilityPolicy.VOLATILE)
    published = {
        "pose": ("geometry_msgs/msg/PoseWithCovarianceStamped", *latched),
        "quality": ("std_msgs/msg/Float32", *reliable),
        "status": ("std_msgs/msg/String", *latched),
        "path": ("nav_msgs/msg/Path", *latched),
        "odometry_path": ("nav_msgs/msg/Path", *latched),
        "map_points": ("sensor_msgs/msg/PointCloud2", *latched),
        "particles": ("geometry_msgs/msg/PoseArray", *best_effort),
        "particle_weights": ("sensor_msgs/msg/PointCloud2", *best_effort),
        "camera/map_overlay": ("sensor_msgs/msg/Image", *reliable),
        "tf": ("tf2_msgs/msg/TFMessage", *reliable),
        "diagnostics": ("diagnostic_msgs/msg/DiagnosticArray", *reliable),
    }
    subscribed = {
        "odom": ("nav_msgs/msg/Odometry", *best_effort),
        "initialpose": ("geometry_msgs/msg/PoseWithCovarianceStamped", *reliable),
        "camera/labels": ("sensor_msgs/msg/Image", *best_effort),
        "camera/labels/camera_info": ("sensor_msgs/msg/CameraInfo", *best_effort),
        "camera/labels/info": ("vision_msgs/msg/LabelInfo", *latched),
    }
    node = robot.ros.node
    for look, expected in (
        (node.get_publishers_info_by_topic, published),
        (node.get_subscriptions_info_by_topic, subscribed),
    ):
        for topic, entry in expected.items():
            (found,) = [
                (end.topic_type, end.qos_profile.reliability, end.qos_profile.durability)
                for end in look(f"/plain/{topic}")
                if end.node_name == "localization_node"
            ]
            assert found == entry, topic


def test_pose_follows_the_robot(moving: Robot) -> None:
    moving.drive(15)
    assert moving.poses[-1].header.frame_id == "map"
    assert max(moving.error_m(pose) for pose in moving.poses[-5:]) < 0.4
    covariance = np.reshape(moving.poses[-1].pose.covariance, (6, 6))
    assert 0.0 < covariance[0, 0] < 0.5
    np.testing.assert_allclose(covariance, covariance.T)


def test_transform_is_sent_with_each_odometry_message_and_a_tolerance(moving: Robot) -> None:
    moving.drive(1)
    start = moving.time
    moving.roll()
    moving.roll()
    expected = start + 0.02 * np.arange(1, 11) + 0.25

    def sent() -> list[float]:
        return [stamp_of(t) for t in moving.transforms if stamp_of(t) > start + 0.251]

    moving.ros.until(lambda: len(sent()) >= 10, "ten transforms")
    np.testing.assert_allclose(sent(), expected, atol=1e-6)
    frames = {(t.header.frame_id, t.child_frame_id) for t in moving.transforms}
    assert frames == {("map", "odom")}


def test_transform_and_odometry_are_the_pose(moving: Robot) -> None:
    moving.drive(1)
    pose = moving.poses[-1]
    T_odom_base = ODOMETRY.at(stamp_of(pose) - moving.base)
    expected = matrix_of(pose.pose.pose)

    def is_pose() -> bool:
        T_map_odom = matrix_of(moving.transforms[-1].transform)
        return bool(np.allclose(poses.compose(T_map_odom, T_odom_base), expected, atol=1e-6))

    moving.ros.until(is_pose, "the transform of the pose", moving.roll)


def test_transform_is_not_sent_with_tf_broadcast_off(moving: Robot) -> None:
    assert moving.set_parameter("tf_broadcast", False).successful
    start = moving.time
    moving.drive(2)
    assert moving.set_parameter("tf_broadcast", True).successful
    again = moving.time
    moving.roll()
    moving.ros.until(lambda: stamp_of(moving.transforms[-1]) > again + 0.251, "a transform")
    stamps = np.array([stamp_of(transform) for transform in moving.transforms]) - 0.25
    assert not ((stamps > start + 0.001) & (stamps < again + 0.001)).any()


def of_the_last_pose(robot: Robot, received: list[Any]) -> Any:
    """Drive on, and wait for the message that belongs to the pose."""
    robot.drive(1)
    stamp = robot.poses[-1].header.stamp
    return robot.ros.until(
        lambda: next((m for m in received if m.header.stamp == stamp), None), "its message"
    )


def test_particles_are_around_the_pose(moving: Robot) -> None:
    with moving.heard(PoseArray, "particles", BEST_EFFORT) as received:
        message = of_the_last_pose(moving, received)
    xy = np.array([(pose.position.x, pose.position.y) for pose in message.poses])
    assert 50 < len(xy) <= 400
    mean = matrix_of(moving.poses[-1].pose.pose)[:2, 3]
    np.testing.assert_allclose(xy.mean(axis=0), mean, atol=0.1)


def test_particle_cloud_is_for_nav2(moving: Robot) -> None:
    kind = pytest.importorskip("nav2_msgs.msg").ParticleCloud
    with moving.heard(kind, "particle_cloud", BEST_EFFORT) as received:
        message = of_the_last_pose(moving, received)
    assert sum(particle.weight for particle in message.particles) == pytest.approx(1.0)
    x = np.mean([particle.pose.position.x for particle in message.particles])
    assert x == pytest.approx(moving.poses[-1].pose.pose.position.x, abs=0.1)


def test_particle_weights_are_relative_to_their_mean(moving: Robot) -> None:
    with moving.heard(PointCloud2, "particle_weights", BEST_EFFORT) as received:
        message = of_the_last_pose(moving, received)
    assert [field.name for field in message.fields] == ["x", "y", "z", "weight"]
    rows = np.frombuffer(bytes(message.data), "<f4").reshape(message.width, 4)
    assert len(rows) == 400
    assert rows[:, 3].mean() == pytest.approx(1.0, abs=1e-5)
    mean = matrix_of(moving.poses[-1].pose.pose)[:2, 3]
    np.testing.assert_allclose((rows[:, :2] * rows[:, 3:]).mean(axis=0), mean, atol=0.1)


def test_quality_of_a_right_pose_is_near_one(moving: Robot) -> None:
    moving.until_status("localization", OK, "tracking", lambda: moving.drive(1))
    with moving.heard(Float32, "quality") as received:
        moving.drive(5)
    assert 0.5 < received[-1].data <= 1.0


def test_paths_are_those_of_pose_and_odometry(moving: Robot) -> None:
    with (
        moving.heard(PathMessage, "path", LATCHED_QOS) as path,
        moving.heard(PathMessage, "odometry_path", LATCHED_QOS) as reckoned,
    ):
        before = len(path[-1].poses)
        moving.drive(12)
        moving.ros.until(lambda: len(path[-1].poses) > before, "a longer path")
    driven, odometry = path[-1], reckoned[-1]
    assert driven.header.frame_id == odometry.header.frame_id == "map"
    xy = np.array([(p.pose.position.x, p.pose.position.y) for p in driven.poses])
    assert np.linalg.norm(np.diff(xy, axis=0), axis=1).min() > 0.2 - 1e-6
    truth = np.stack([moving.truth(stamp_of(pose)) for pose in driven.poses])
    assert np.median(np.linalg.norm(xy - truth[:, :2, 3], axis=1)) < 0.4
    assert np.ptp([pose.pose.position.x for pose in odometry.poses]) > 2.0


def test_late_subscriber_gets_the_maps_points_coloured_by_label(robot: Robot, world: World) -> None:
    received: list[PointCloud2] = []
    subscription = robot.listen(PointCloud2, "map_points", received.append, LATCHED_QOS)
    (cloud,) = robot.ros.until(lambda: received, "the map")
    robot.ros.node.destroy_subscription(subscription)
    kind = np.dtype([("xyz", "<f4", 3), ("rgb", "<u4"), ("label", "<u2")])
    points = np.frombuffer(bytes(cloud.data), kind)
    assert (cloud.header.frame_id, len(points)) == ("map", 30000)
    # A point on the border of two surfaces may be stored on the other side, 0.1 mm away.
    assert (street.surface_labels(points["xyz"]) == points["label"]).mean() > 0.999
    red, green, blue = palette(street.LABELS)[points["label"][0]].astype(int)
    assert points["rgb"][0] == red << 16 | green << 8 | blue


def test_map_overlay_is_made_while_someone_subscribes(moving: Robot) -> None:
    node, mount = moving.ros.node, moving.mounts["camera"]
    overlays = node.create_publisher(Image, "/plain/camera/overlay", 5)
    assert overlays.get_subscription_count() == 0
    received: list[Image] = []
    subscription = moving.listen(Image, "camera/map_overlay", received.append)
    moving.ros.until(overlays.get_subscription_count, "the overlay to be wanted")
    grey = np.full((mount.camera.height, mount.camera.width, 3), 90, np.uint8)

    def show() -> None:
        stamp = moving.time + IMAGE_AFTER_S
        overlays.publish(make_image(ROS_TYPES, make_header(ROS_TYPES, stamp, ""), "rgb8", grey))
        moving.drive(1)

    moving.ros.until(lambda: received, "a map overlay", show)
    drawn = rgb_of(received[0])
    assert drawn.shape == grey.shape
    assert 0.001 < (drawn != grey).any(axis=2).mean() < 0.9
    node.destroy_subscription(subscription)
    moving.ros.until(lambda: not overlays.get_subscription_count(), "the overlay to be let go")


@pytest.mark.parametrize("service", ["nomotion_update", "request_nomotion_update"])
def test_nomotion_update_lets_an_image_count_though_the_robot_stands(
    moving: Robot, service: str
) -> None:
    moving.drive(1)

    def standing() -> Any:
        moving.until_located(moving.stand())
        return matrix_of(moving.poses[-1].pose.pose)

    standing()
    first, second = standing(), standing()
    np.testing.assert_allclose(first, second, atol=1e-12)
    moving.call(Empty, service, Empty.Request())
    assert np.abs(standing() - second).max() > 1e-6


def test_set_initial_pose_service_moves_the_pose(moving: Robot) -> None:
    kind = pytest.importorskip("nav2_msgs.srv").SetInitialPose
    moving.drive(1)
    request = kind.Request(pose=moving.place(forward=2.0, std_m=0.01))
    moving.poses.clear()
    moving.call(kind, "set_initial_pose", request)
    moving.drive(1)
    assert moving.error_m() == pytest.approx(2.0, abs=0.3)
    moving.place()
    moving.drive(10)
    assert moving.error_m() < 0.4


def test_diagnostics_of_a_robot_that_drives_well(moving: Robot) -> None:
    moving.until_status("localization", OK, "tracking", lambda: moving.drive(1))
    times = lambda: moving.value("localization", "update time, mean [ms]")  # noqa: E731
    moving.ros.until(times, "a report after an estimate", lambda: moving.drive(1))
    assert moving.value("localization", "lost") == "False"
    for key, low, high in (
        ("quality", 0.5, 1.0),
        ("position std [m]", 0.0, 0.5),
        ("visible points", 50.0, 800.0),
        ("effective sample size", 10.0, 400.0),
        ("unlabelled share", 0.0, 0.2),
        ("update time, mean [ms]", 0.1, 1e4),
    ):
        assert low <= float(moving.value("localization", key)) <= high, key
