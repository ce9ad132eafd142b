"""The localization node's life: up, down, up again; and the pose that it saves for the next one."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from geometry_msgs.msg import PoseWithCovarianceStamped
from lifecycle_msgs.msg import Transition
from robot import ERROR, ODOMETRY, OK, WARN, Robot
from world import World, node_of

from fgsn_ros.geometry import poses
from fgsn_ros.localization.initial_pose import InitialPose, SavedPose, load_pose, save_pose
from fgsn_ros.mapping.map_files import load_map
from fgsn_ros.messages.types import make_header, stamp_of
from fgsn_ros.nodes.ros_messages import ROS_TYPES, matrix_of

UP = (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE)
DOWN = (Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_CLEANUP)
CONFIGURE, ACTIVATE, DEACTIVATE, CLEANUP = *UP, *DOWN


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("saved")


@pytest.fixture(scope="module")
def robots(ros: Any, world: World, folder: Path) -> dict[str, Robot]:
    """All of them, started at once."""
    nodes = {
        "managed": node_of("managed", world, autostart=False),
        "keeper": node_of("keeper", world, saved_pose=str(folder / "kept.json"), save_period_s=0.1),
        "stranger": node_of(
            "stranger", world, autostart=False, saved_pose=str(folder / "strange.json")
        ),
    }
    made = {name: Robot(ros, name, node) for name, node in nodes.items()}
    ros.start(*nodes.values())
    return made


@pytest.fixture
def managed(robots: dict[str, Robot]) -> Robot:
    return robots["managed"]


def change(robot: Robot, *transitions: int) -> None:
    for transition in transitions:
        assert robot.change_state(transition)


def stop(robot: Robot, *transitions: int) -> None:
    change(robot, *transitions)
    robot.until_deaf()


def test_node_goes_up_and_down_twice(managed: Robot, world: World) -> None:
    for _ in range(2):
        change(managed, *UP)
        managed.ready(world).until_status("localization", ERROR, "no pose", managed.roll)
        managed.start()
        assert managed.error_m() < 0.5
        stop(managed, *DOWN)
        managed.until_status("localization", WARN, "not configured")
        left = managed.ros.node.get_publishers_info_by_topic("/managed/tf")
        assert [end.node_name for end in left] == []


def test_particles_stay_while_inactive_and_odometry_carries_them_on(
    managed: Robot, world: World
) -> None:
    change(managed, *UP)
    managed.ready(world).start(10)
    stop(managed, DEACTIVATE)
    managed.ros.until(lambda: managed.status == "inactive", "the status to be inactive")
    sent = len(managed.transforms)
    for _ in range(10):
        managed.tick()
    change(managed, ACTIVATE)
    managed.ready(world).drive(5)
    assert managed.error_m() < 0.4
    assert len(managed.transforms) > sent
    stop(managed, *DOWN)


def test_cleanup_forgets_the_pose(managed: Robot, world: World) -> None:
    change(managed, *UP)
    managed.ready(world).start()
    stop(managed, *DOWN)
    change(managed, *UP)
    managed.ready(world).until_status("localization", ERROR, "no pose", managed.tick)
    stop(managed, *DOWN)


def test_initial_pose_that_comes_before_activation_is_kept(managed: Robot, world: World) -> None:
    change(managed, CONFIGURE)
    managed.ros.until(managed.initial_pose.get_subscription_count, "initialpose to be heard")
    managed.place()
    managed.until_said("initial pose kept until activation")
    change(managed, ACTIVATE)
    managed.ready(world).drive(5)
    assert managed.error_m() < 0.5
    stop(managed, *DOWN)


def test_unusable_initial_pose_before_activation_does_no_harm(managed: Robot, world: World) -> None:
    change(managed, CONFIGURE)
    managed.ros.until(managed.initial_pose.get_subscription_count, "initialpose to be heard")
    message = PoseWithCovarianceStamped(header=make_header(ROS_TYPES, managed.time, "map"))
    message.pose.covariance[0] = np.nan
    managed.initial_pose.publish(message)
    managed.until_said("(6, 6) covariance")
    change(managed, ACTIVATE)
    managed.ready(world).start()
    assert managed.error_m() < 0.5
    stop(managed, *DOWN)


def test_a_missing_saved_pose_does_not_block_the_start(
    robots: dict[str, Robot], world: World, folder: Path
) -> None:
    assert not (folder / "kept.json").exists()
    keeper = robots["keeper"].ready(world)
    keeper.until_status("localization", ERROR, "no pose", keeper.tick)
    keeper.start()
    assert keeper.error_m() < 0.5


def test_the_last_pose_is_saved_and_the_next_node_starts_from_it(
    robots: dict[str, Robot], ros: Any, world: World, folder: Path
) -> None:
    first, file = robots["keeper"].ready(world), folder / "kept.json"
    first.start(10)
    first.until_status("localization", OK, "tracking", lambda: first.drive(1))
    ros.until(file.exists, "the saved pose")
    ros.interrupt(first.process)
    assert ros.exit_code(first.process) == 0
    saved = load_pose(file, load_map(world.map).identity)
    assert saved is not None
    last = first.poses[-1]
    then, now = (ODOMETRY.at(stamp - first.base) for stamp in (stamp_of(last), first.time))
    carried_on = matrix_of(last.pose.pose) @ poses.invert(then) @ now
    np.testing.assert_allclose(saved.pose.T_map_base, carried_on, atol=1e-6)
    assert 0.0 < saved.pose.covariance[0, 0] < 0.25

    second = Robot(ros, "next", node_of("next", world, saved_pose=str(file)))
    second.ticks = first.ticks
    ros.start(second.process)
    second.ready(world).drive(5)
    assert second.error_m() < 0.4


@pytest.mark.parametrize("kind", ["of another map", "damaged"])
def test_saved_pose_that_cannot_be_used_is_said_and_left(
    robots: dict[str, Robot], world: World, folder: Path, kind: str
) -> None:
    stranger, file = robots["stranger"], folder / "strange.json"
    if kind == "damaged":
        file.write_text('{"translation": [1, 2')
    else:
        save_pose(file, SavedPose(InitialPose(np.eye(4), np.eye(6) * 0.01)), "another map")
    change(stranger, *UP)
    stranger.until_said("cannot read the saved pose" if kind == "damaged" else "of another map")
    stranger.ready(world).until_status("localization", ERROR, "no pose", stranger.tick)
    stranger.start()
    assert stranger.error_m() < 0.5
    stop(stranger, *DOWN)
