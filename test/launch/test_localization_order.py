"""Labels that come late, and what a seed repeats."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import street
from robot import IMAGE_AFTER_S, ODOMETRY, Robot
from world import World, node_of

from fgsn_ros.messages.types import stamp_of
from fgsn_ros.nodes.ros_messages import matrix_of

TICKS, LATE = 20, 5
PAIR = {name: replace(street.MOUNT, frame_id=f"{name}_optical") for name in ("left", "right")}


@pytest.fixture(scope="module")
def robots(ros: Any, world: World) -> dict[str, Robot]:
    """All of them, started at once."""
    nodes = {
        "prompt": node_of("prompt", world, random_seed=5),
        "delayed": node_of("delayed", world, random_seed=5),
        "chance": node_of("chance", world, random_seed=6),
        "unequal": node_of("unequal", world, cameras=list(PAIR)),
    }
    ros.start(*nodes.values())
    mounts = {"unequal": PAIR}
    made = {name: Robot(ros, name, node, mounts.get(name)) for name, node in nodes.items()}
    for robot in made.values():
        robot.ready(world).roll()
        robot.place()
    return made


@pytest.fixture(scope="module")
def prompt(robots: dict[str, Robot]) -> Robot:
    robots["prompt"].drive(TICKS)
    return robots["prompt"]


@pytest.fixture(scope="module")
def delayed(robots: dict[str, Robot]) -> Robot:
    """A robot whose images came half a second late."""
    robot, first = robots["delayed"], robots["delayed"].ticks
    for _ in range(TICKS + LATE):
        robot.roll()
        if robot.ticks > first + LATE:
            robot.until_located(send_late(robot, "camera", LATE))
    return robot


def send_late(robot: Robot, camera: str, ticks: int) -> float:
    """Send what a camera saw some ticks ago; its stamp."""
    time = 0.1 * (robot.ticks - 1 - ticks) + IMAGE_AFTER_S
    if time > 0.0:
        robot.send_labels(camera, robot.base + time, time)
    return robot.base + time


def poses_of(robot: Robot) -> dict[float, Any]:
    return {stamp_of(pose): matrix_of(pose.pose.pose) for pose in robot.poses}


def test_images_that_come_late_give_the_same_poses(prompt: Robot, delayed: Robot) -> None:
    expected, found = poses_of(prompt), poses_of(delayed)
    assert found.keys() == expected.keys()
    assert len(found) == TICKS
    for stamp, T_map_base in found.items():
        np.testing.assert_array_equal(T_map_base, expected[stamp])


def test_transform_after_late_images_is_of_now(delayed: Robot) -> None:
    delayed.roll()
    now = delayed.time + 0.1
    delayed.ros.until(lambda: stamp_of(delayed.transforms[-1]) > now - 1e-6, "a transform of now")
    T_map_odom = matrix_of(delayed.transforms[-1].transform)
    T_map_base = T_map_odom @ ODOMETRY.at(delayed.time - delayed.base)
    truth = delayed.truth(delayed.time)
    assert np.linalg.norm(T_map_base[:2, 3] - truth[:2, 3]) < 0.4


def test_another_seed_gives_other_poses_of_the_same_way(
    robots: dict[str, Robot], prompt: Robot
) -> None:
    robots["chance"].drive(TICKS)
    found, expected = poses_of(robots["chance"]), poses_of(prompt)
    assert found.keys() == expected.keys()
    apart = [np.linalg.norm(found[s][:2, 3] - expected[s][:2, 3]) for s in sorted(found)]
    assert 1e-6 < max(apart[-5:]) < 0.4


def test_images_late_behind_those_of_another_camera_are_counted_and_used(
    robots: dict[str, Robot],
) -> None:
    unequal = robots["unequal"]
    for _ in range(TICKS):
        unequal.drive(1, "left")
        send_late(unequal, "right", 3)
    unequal.ros.until(lambda: unequal.count("late labels") > TICKS // 2, "late labels to count")
    assert unequal.error_m() < 0.4
    assert min(np.diff([stamp_of(pose) for pose in unequal.poses])) >= 0.0
