"""What a robot is told while its camera, its odometry or its node is gone, and after.

The nodes' clock is the drive's, moved on by the test: what is told depends on no machine's speed.
"""

import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from robot import ERROR, OK, WARN, Robot
from world import World, node_of

SILENT = 10
"""Ticks after which silence is told, at the latest."""
WRONG = 20
"""Ticks for which "tracking" may be said with an error beyond three standard deviations."""


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("saved") / "pose.json"


@pytest.fixture(scope="module")
def robots(ros: Any, world: World, saved: Path) -> dict[str, Robot]:
    """All of them, started at once."""
    keep = {"saved_pose": str(saved), "save_period_s": 0.1}
    nodes = {
        name: node_of(name, world, use_sim_time=True, **(keep if name == "killed" else {}))
        for name in ("blind", "legless", "dead", "killed")
    }
    ros.start(*nodes.values())
    return {name: Robot(ros, name, node) for name, node in nodes.items()}


def started(robot: Robot, world: World) -> Robot:
    """After some seconds of driving, and tracking."""
    robot.tell_time()
    robot.ready(world)
    robot.start(15)
    drive_until_tracking(robot)
    assert robot.error_m() < 0.4
    return robot


def tell(robot: Robot, status: str) -> None:
    robot.ros.until(lambda: robot.status == status, f"the status {status}", robot.tell_time)


def drive_until_tracking(robot: Robot) -> None:
    robot.ros.until(lambda: robot.status == "tracking", "tracking", lambda: robot.drive(1))


def drive_on(robot: Robot, ticks: int) -> None:
    """Drive with all there is; a pose that is far off must not be called tracked for long."""
    wrong = 0
    for _ in range(ticks):
        robot.drive(1)
        covariance = robot.poses[-1].pose.covariance
        sigma = float(np.sqrt(covariance[0] + covariance[7]))
        beyond = robot.error_m() > 3.0 * sigma and robot.status == "tracking"
        wrong = wrong + 1 if beyond else 0
        assert wrong < WRONG
    drive_until_tracking(robot)
    assert robot.error_m() < 0.5


def test_without_images_the_pose_follows_odometry_and_it_is_told(
    robots: dict[str, Robot], world: World
) -> None:
    blind = started(robots["blind"], world)
    before = float(blind.value("localization", "position std [m]") or 0.0)
    blind.carry_on(SILENT + 1)
    tell(blind, "no labels")
    blind.until_status("localization", WARN, "no labels: the pose follows odometry alone")
    blind.until_status("inputs", WARN, "labels of camera: 1.")
    blind.carry_on(120 - SILENT)
    assert blind.status == "no labels"
    # 48 m by odometry alone, whose scale is 2 % off and whose heading drifts 0.1 rad
    assert blind.error_now_m() < 5.0
    blind.until_status("localization", WARN, "no labels")
    assert float(blind.value("localization", "position std [m]")) > before + 0.5
    drive_on(blind, 40)


def test_without_odometry_the_pose_is_old_and_it_is_told(
    robots: dict[str, Robot], world: World
) -> None:
    legless = started(robots["legless"], world)
    for _ in range(20):
        legless.drive_untold("camera")
    tell(legless, "no odometry")
    legless.until_status("localization", ERROR, "no odometry: the pose is old")
    legless.until_status("inputs", WARN, "odometry: 2.0 s old")
    legless.roll()
    legless.ros.until(lambda: legless.status != "no odometry", "odometry to be heard")
    assert legless.status != "tracking"  # before labels confirm it
    drive_on(legless, 40)


def test_without_both_nothing_is_called_tracked(robots: dict[str, Robot], world: World) -> None:
    dead = started(robots["dead"], world)
    for _ in range(30):
        dead.drive_untold()
    tell(dead, "no odometry")
    dead.until_status("localization", ERROR, "no odometry")
    drive_on(dead, 40)


def test_a_killed_node_comes_back_with_the_saved_pose_where_the_robot_drove_on(
    robots: dict[str, Robot], ros: Any, world: World, saved: Path
) -> None:
    first = started(robots["killed"], world)
    ros.until(saved.exists, "the saved pose", lambda: first.drive(1))
    ros.signal(first.process, signal.SIGKILL)
    assert ros.exit_code(first.process) != 0

    keep = {"saved_pose": str(saved), "save_period_s": 0.1}
    second = Robot(ros, "again", node_of("again", world, use_sim_time=True, **keep))
    second.ticks = first.ticks + 80  # 32 m further on
    ros.start(second.process)
    second.tell_time()
    second.ready(world)
    second.roll()
    ros.until(lambda: second.transforms, "a transform", second.roll)
    ros.until(lambda: second.status not in ("", "no pose"), "a status", second.tell_time)
    assert second.status in ("converging", "no labels")
    drive_on(second, 40)
    second.until_status("localization", OK, "tracking", lambda: second.drive(1))
