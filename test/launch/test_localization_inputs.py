"""What the localization node says and does when its inputs are missing, wrong, or start anew."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import street
from robot import ERROR, OK, TRUTH, WARN, Robot
from sensor_msgs.msg import CameraInfo, Image
from tf2_msgs.msg import TFMessage
from world import World, node_of

from fgsn_ros.geometry import poses
from fgsn_ros.messages.poses import make_transform, make_transforms
from fgsn_ros.messages.types import make_header, stamp_of
from fgsn_ros.nodes.ros_messages import ROS_TYPES

TURNED = poses.from_xyz_rpy([0.0, 0.0, 0.0], [0.0, 0.0, np.deg2rad(-35.0)])
PAIR = {
    "front": replace(street.MOUNT, frame_id="front_optical"),
    "right": replace(
        street.MOUNT, frame_id="right_optical", T_base_camera=TURNED @ street.MOUNT.T_base_camera
    ),
}


@pytest.fixture(scope="module")
def robots(ros: Any, world: World) -> dict[str, Robot]:
    """All of them, started at once."""
    x, y = TRUTH.poses[0, :2, 3].tolist()
    yaw = float(poses.to_rpy(TRUTH.poses[0])[2])
    home = {"initial_pose.x": x, "initial_pose.y": y + 0.4, "initial_pose.yaw": yaw}
    nodes = {
        "hindered": node_of("hindered", world, mounting_wait_s=0.3),
        "looping": node_of("looping", world, set_initial_pose=True, **home),
        "pair": node_of("pair", world, cameras=list(PAIR)),
        "masted": node_of("masted", world, set_initial_pose=True, **home),
    }
    ros.start(*nodes.values())
    mounts = {"pair": PAIR}
    return {name: Robot(ros, name, node, mounts.get(name)) for name, node in nodes.items()}


@pytest.fixture
def hindered(robots: dict[str, Robot], world: World) -> Robot:
    return robots["hindered"].ready(world)


@pytest.fixture
def looping(robots: dict[str, Robot], world: World) -> Robot:
    return robots["looping"].ready(world)


@pytest.fixture
def pair(robots: dict[str, Robot]) -> Robot:
    return robots["pair"]


def test_without_odometry_a_pose_waits_and_it_is_said(hindered: Robot) -> None:
    hindered.place()
    hindered.until_status("inputs", WARN, "no odometry yet")
    hindered.until_status(
        "localization", ERROR, "no pose: give an initial pose, and check odometry"
    )
    assert hindered.transforms == []
    hindered.roll()
    hindered.ros.until(lambda: hindered.transforms, "a transform")
    hindered.drive(5)
    assert hindered.error_m() < 0.5


def test_odometry_of_other_frames_is_not_used_and_said(hindered: Robot) -> None:
    hindered.start()
    stamp = hindered.time
    other = lambda: hindered.send_odometry(stamp + 0.1, 0.1 * hindered.ticks, "wheels")  # noqa: E731
    hindered.until_counted("odometry of other frames", other)
    hindered.until_said("odometry is from 'wheels' to 'base_link', not 'odom' to 'base_link'")
    hindered.drive(3)
    assert hindered.error_m() < 0.5


def test_camera_without_a_transform_is_named_until_it_comes(hindered: Robot) -> None:
    hindered.start()
    known = hindered.mounts["camera"]
    hindered.mounts["camera"] = replace(known, frame_id="mast_optical")
    missing = "no transform from base_link to mast_optical"
    hindered.until_status("inputs", WARN, missing, hindered.tick)
    hindered.until_counted("labels without a mounting", hindered.tick)
    assert hindered.count(missing) > 0
    hindered.ros.until(lambda: stamp_of(hindered.transforms[-1]) > hindered.time, "a transform")
    seen = len(hindered.poses)
    hindered.tell_mountings(hindered.mounts)
    hindered.ros.until(lambda: len(hindered.poses) > seen, "a pose", hindered.tick)
    hindered.drive(3)
    assert hindered.error_m() < 0.5


def test_camera_that_stops_is_said_until_it_comes_back(hindered: Robot) -> None:
    hindered.start()
    driving, blind = (
        lambda step=step: hindered.keep_up(step) for step in (hindered.tick, hindered.roll)
    )
    hindered.until_status("inputs", OK, "labels and odometry come", driving)
    assert 1.0 < float(hindered.value("inputs", "camera: label rate [Hz]")) < 100.0
    hindered.until_status("inputs", WARN, "labels of camera: ", blind)
    assert float(hindered.value("inputs", "camera: label age [s]")) > 1.0
    assert float(hindered.value("inputs", "odometry age [s]")) < 1.0
    hindered.until_status("inputs", OK, "labels and odometry come", driving)
    hindered.drive(3)
    assert hindered.error_m() < 0.5


def test_images_stamped_ahead_of_odometry_are_said(hindered: Robot) -> None:
    hindered.start()

    def ahead() -> None:
        hindered.roll()
        hindered.send_labels("camera", hindered.time + 3.0, 0.1 * hindered.ticks)

    hindered.until_status("inputs", WARN, "s ahead of odometry, and wait for it", ahead)
    hindered.base += 4.0  # odometry comes to where the images are
    hindered.drive(3)


def test_a_camera_without_calibration_is_said_until_it_has_one(hindered: Robot) -> None:
    hindered.start()
    empty = CameraInfo(header=make_header(ROS_TYPES, hindered.time, "camera_optical"))
    empty.height, empty.width = 40, 64
    uncalibrated = lambda: hindered.infos["camera"].publish(empty)  # noqa: E731
    hindered.until_status("inputs", WARN, "camera/labels/camera_info: ", uncalibrated)
    hindered.ros.until(
        lambda: "camera/labels/camera_info: " not in hindered.statuses["inputs"].message,
        "the calibration to be heard",
        hindered.tick,
    )
    hindered.drive(3)
    assert hindered.error_m() < 0.5


def test_a_camera_info_without_a_frame_has_that_of_the_labels(hindered: Robot) -> None:
    hindered.start()
    hindered.info_frame_id = ""
    hindered.drive(5)
    hindered.info_frame_id = None
    assert hindered.error_m() < 0.5


def test_a_refused_initial_pose_is_said_until_another_is_taken(hindered: Robot) -> None:
    hindered.start()
    hindered.place(frame_id="odom")
    refused = "the last initial pose is not used: an initial pose in the frame 'odom'"
    hindered.until_status("localization", WARN, refused, lambda: hindered.drive(1))
    hindered.start()
    hindered.until_status("localization", OK, "tracking", lambda: hindered.drive(1))
    assert "initial pose" not in hindered.statuses["localization"].message


def test_labels_of_another_checkpoint_are_not_used_and_said(hindered: Robot, world: World) -> None:
    hindered.start()
    hindered.tell_fingerprint("b" * 64)
    told = "labels of camera are of checkpoint bbbbbbbbbbbb, the map of aaaaaaaaaaaa"
    hindered.until_status("localization", ERROR, told)
    seen = len(hindered.poses)
    hindered.until_counted("labels of another checkpoint", hindered.tick, 3)
    assert len(hindered.poses) == seen
    hindered.tell_fingerprint(world.fingerprint)
    hindered.until_status("localization", OK, "tracking", hindered.tick)
    assert len(hindered.poses) > seen


def test_damaged_labels_are_skipped_and_said(hindered: Robot) -> None:
    hindered.start()
    header = make_header(ROS_TYPES, hindered.time, "camera_optical")
    damaged = Image(header=header, height=40, width=64, step=64, encoding="mono8", data=bytes(99))
    coloured = Image(header=header, height=1, width=1, step=3, encoding="rgb8", data=bytes(3))
    for message in (damaged, coloured):
        hindered.until_counted(
            "unusable label images",
            lambda message=message: hindered.labels["camera"].publish(message),
        )
    hindered.until_said("damaged: 99 bytes for 64x40 mono8")
    hindered.drive(2)
    assert hindered.error_m() < 0.5


def test_initial_pose_of_the_parameters_is_the_start(looping: Robot) -> None:
    looping.drive(10)
    assert looping.error_m() < 0.4


def test_time_that_jumps_back_starts_again_from_the_parameters(looping: Robot) -> None:
    looping.drive(25)
    for _ in range(2):
        looping.ticks = 0
        looping.until_counted("time jumps", looping.roll)
        looping.poses.clear()
        looping.drive(10)
        assert looping.error_m() < 0.4
        looping.drive(20)
    looping.until_said("buffers are reset; starting from the initial pose")
    assert looping.ros.stderr(looping.process).count("time went back from") == 2


def test_time_that_jumps_forward_does_not_freeze_it(looping: Robot) -> None:
    looping.drive(10)
    for seconds in (3.0, 1e6):
        looping.base += seconds
        looping.drive(10)
        assert looping.error_m() < 0.4


def test_a_mounting_that_moves_is_known_after_time_jumped_back(
    robots: dict[str, Robot], world: World
) -> None:
    masted = robots["masted"]
    known = masted.mounts["camera"]
    masted.mounts["camera"] = replace(known, frame_id="mast_optical")
    transforms = masted.ros.node.create_publisher(TFMessage, "/masted/tf", 50)

    def move() -> None:
        """The mounting, before odometry and images of the next tick."""
        mast = masted.mounts["camera"]
        told = [
            make_transform(ROS_TYPES, masted.time + after, "base_link", mast.frame_id, T)
            for after, T in ((0.0, mast.T_base_camera), (0.1, mast.T_base_camera))
        ]
        transforms.publish(make_transforms(ROS_TYPES, told))

    masted.ready(world)
    for back_s in (0.0, 100.0, 100.0):
        masted.base -= back_s
        masted.ticks = 0
        masted.ros.until(
            lambda: masted.poses and abs(masted.time - stamp_of(masted.poses[-1])) < 1.0,
            "a pose of the new time",
            lambda: (move(), masted.tick()),
        )
        for _ in range(10):
            move()
            masted.drive(1)
        assert masted.error_m() < 0.5
    said = masted.ros.stderr(masted.process)
    assert said.count("time went back from") == 2
    assert "TF_OLD_DATA" not in said


def test_labels_without_their_info_or_camera_are_counted(pair: Robot, world: World) -> None:
    heard = pair.labels["front"].get_subscription_count
    pair.ros.until(heard, "the node to listen")
    pair.until_counted("labels without labels/info", pair.tick)
    assert pair.poses == []
    pair.ready(world)
    pair.start()


def test_each_of_two_cameras_has_its_own_stamps_and_mounting(pair: Robot, world: World) -> None:
    pair.ready(world)
    pair.image_after_s["front"] = 0.043
    pair.start()
    pair.poses.clear()
    pair.drive(10)
    after = {round((stamp_of(pose) - pair.base) % 0.1, 3) for pose in pair.poses}
    assert after == {0.043, 0.085}
    for camera in ("right", "front"):
        pair.drive(15, camera)
        assert pair.error_m() < 0.4
    assert {pair.value("inputs", f"{camera}: label age [s]") != "" for camera in PAIR} == {True}
