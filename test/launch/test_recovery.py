"""A robot that nobody tells where it is: started without a pose, asked to search, or carried off.

The nodes' clock is the drive's, moved on by the test: what is found depends on no machine's speed.
"""

from typing import Any

import numpy as np
import pytest
from robot import ERROR, OK, Robot
from std_srvs.srv import Empty
from world import World, node_of

LONGEST_SEARCH = 150
"""Ticks of 0.4 m after which the robot is found, at the latest."""
WRONG = 40
"""Ticks for which "tracking" may be said of a robot that was carried off."""


@pytest.fixture(scope="module")
def robots(ros: Any, world: World) -> dict[str, Robot]:
    """All of them, started at once."""
    recovers = {"unplaced": True, "asked": False, "carried": True}
    nodes = {
        name: node_of(name, world, use_sim_time=True, recover=recover)
        for name, recover in recovers.items()
    }
    ros.start(*nodes.values())
    return {name: Robot(ros, name, node) for name, node in nodes.items()}


def heard(robot: Robot, world: World) -> Robot:
    robot.tell_time()
    return robot.ready(world)


def tracking(robot: Robot, world: World) -> Robot:
    """After a start from a pose, and some driving."""
    heard(robot, world).start(5)
    robot.ros.until(lambda: robot.status == "tracking", "tracking", lambda: robot.drive(1))
    assert robot.error_m() < 0.5
    return robot


def drive_until(robot: Robot, status: str) -> None:
    for _ in range(LONGEST_SEARCH):
        if robot.status == status:
            return
        robot.drive_unlocated()
    raise AssertionError(f"{robot.name} drove {LONGEST_SEARCH} ticks and is '{robot.status}'")


def is_right(robot: Robot) -> None:
    """Tracking goes on at the true pose, and it is told."""
    robot.drive(10)
    assert robot.error_m() < 0.5
    assert robot.error_now_m() < 0.5
    robot.until_status("localization", OK, "tracking", lambda: robot.drive(1))


def test_without_an_initial_pose_the_robot_is_found_on_the_map(
    robots: dict[str, Robot], world: World
) -> None:
    unplaced = heard(robots["unplaced"], world)
    unplaced.until_status("localization", ERROR, "searching: the robot is looked for")
    assert unplaced.status == "searching"
    unplaced.drive_unlocated()
    assert (unplaced.poses, unplaced.transforms) == ([], [])
    drive_until(unplaced, "tracking")
    is_right(unplaced)


def test_a_pose_that_is_given_ends_the_search(robots: dict[str, Robot]) -> None:
    unplaced = robots["unplaced"]
    unplaced.call(Empty, "reinitialize_global_localization", Empty.Request())
    unplaced.ros.until(lambda: unplaced.status == "searching", "the search")
    unplaced.start(5)
    assert unplaced.error_m() < 0.5


def test_reinitialize_global_localization_forgets_the_pose_and_finds_the_robot(
    robots: dict[str, Robot], world: World
) -> None:
    """By the name and type that nav2_amcl has for it; the robot need not recover by itself."""
    asked = tracking(robots["asked"], world)
    asked.carry_off(asked.ticks + 60)
    asked.call(Empty, "reinitialize_global_localization", Empty.Request())
    asked.ros.until(lambda: asked.status == "searching", "the search")
    asked.until_status("localization", ERROR, "searching")
    before = len(asked.poses), len(asked.transforms)
    asked.drive_unlocated(2)
    assert (len(asked.poses), len(asked.transforms)) == before
    drive_until(asked, "tracking")
    is_right(asked)


def test_a_robot_that_was_carried_off_is_lost_then_found(
    robots: dict[str, Robot], world: World
) -> None:
    carried = tracking(robots["carried"], world)
    carried.carry_off(130)
    wrong = 0
    for _ in range(LONGEST_SEARCH):
        carried.drive_unlocated()
        near = carried.error_m() < 1.0
        covariance = carried.poses[-1].pose.covariance
        sigma = float(np.sqrt(covariance[0] + covariance[7]))
        wrong += carried.status == "tracking" and carried.error_m() > 3.0 * sigma
        if near and carried.status == "tracking":
            break
    assert wrong < WRONG
    is_right(carried)
