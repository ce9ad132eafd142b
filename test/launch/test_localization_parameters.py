"""Parameters of the localization node: what may change, what ends it at the start."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from robot import BEST_EFFORT, ERROR, OK, Robot
from sensor_msgs.msg import PointCloud2
from world import World, node_of, write_statistics

from fgsn_ros.messages.types import stamp_of


@dataclass(frozen=True)
class Refused:
    """Parameters that end the node, and why."""

    parameters: dict[str, object]
    reason: str


@pytest.fixture(scope="module")
def nodes(ros: Any, world: World, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """All of them, started at once."""
    folder: Path = tmp_path_factory.mktemp("unusable")
    write_statistics(folder / "other.safetensors", "b" * 64)
    (folder / "damaged.safetensors").write_bytes(b"\x08" * 99)
    refused = {
        "no_map": Refused({"map": None}, "the parameter 'map' needs a folder"),
        "absent_map": Refused({"map": "/absent"}, "/absent is no map: meta.json is missing"),
        "damaged_checkpoint": Refused(
            {"checkpoint": str(folder / "damaged.safetensors")}, "cannot read checkpoint"
        ),
        "other_checkpoint": Refused(
            {"checkpoint": str(folder / "other.safetensors")},
            "labelled by checkpoint aaaaaaaaaaaa, not by",
        ),
        "out_of_range": Refused({"min_particles": 1}, "min_particles must be at least 2"),
    }
    started = {name: node_of(name, world, **each.parameters) for name, each in refused.items()}
    started["tuned"] = node_of("tuned", world)
    ros.start(*started.values())
    ends = {name: (started[name], each.reason) for name, each in refused.items()}
    return {"tuned": Robot(ros, "tuned", started["tuned"]), **ends}


@pytest.fixture(scope="module")
def tuned(nodes: dict[str, Any], world: World) -> Robot:
    robot: Robot = nodes["tuned"]
    robot.ready(world).start()
    return robot


def test_particles_change_while_the_pose_stays(tuned: Robot) -> None:
    assert tuned.set_parameter("min_particles", 250).successful
    with tuned.heard(PointCloud2, "particle_weights", BEST_EFFORT) as clouds:
        tuned.ros.until(lambda: clouds[-1].width == 250, "250 particles", lambda: tuned.drive(1))
    tuned.drive(5)
    assert tuned.error_m() < 0.4


def test_settings_change_while_the_pose_stays(tuned: Robot) -> None:
    for name, value in (
        ("motion.yaw_per_metre", 0.005),
        ("measurement.points", 500),
        ("odometry_memory_s", 5.0),
        ("mounting_wait_s", 2),
    ):
        assert tuned.set_parameter(name, value).successful, name
    tuned.drive(5)
    assert tuned.error_m() < 0.4


def test_transform_tolerance_changes_at_run_time(tuned: Robot) -> None:
    assert tuned.set_parameter("transform_tolerance", 0.5).successful
    tuned.roll()
    newest = tuned.time + 0.5
    tuned.ros.until(lambda: stamp_of(tuned.transforms[-1]) > newest - 1e-6, "a transform")


def test_what_counts_as_lost_changes_at_run_time(tuned: Robot) -> None:
    for name, value in (("lost_std_m", 1e-6), ("lost_after_s", 0.5)):
        assert tuned.set_parameter(name, value).successful
    tuned.drive(8)
    tuned.until_status("localization", ERROR, "lost: the labels do not fit the pose")
    assert tuned.value("localization", "lost") == "True"
    assert tuned.set_parameter("lost_std_m", 3.0).successful
    tuned.until_status("localization", OK, "tracking", lambda: tuned.drive(1))


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("min_particles", 1, "min_particles must be at least 2"),
        ("min_particles", 100_000, "max_particles must be >= min_particles"),
        ("min_particles", 2.5, "min_particles: 2.5 is not int"),
        ("measurement.outlier_share", 1.0, "outlier_share must be in [0, 1)"),
        ("transform_tolerance", -0.1, "transform_tolerance must be at least 0"),
        ("lost_quality", 1.5, "lost_quality must be in [0, 1]"),
        ("time_jump_s", 0.0, "time_jump_s must be above 0"),
        ("map", "/elsewhere", "read-only"),
        ("model", "spatial", "read-only"),
        ("cameras", ["other"], "read-only"),
    ],
)
def test_change_that_cannot_be_is_refused_with_a_reason(
    tuned: Robot, name: str, value: object, reason: str
) -> None:
    result = tuned.set_parameter(name, value)
    assert not result.successful
    assert reason in result.reason


def test_a_wrong_pose_is_called_lost_or_found_again(tuned: Robot) -> None:
    tuned.place(forward=25.0, std_m=0.2)
    tuned.drive(1)
    assert tuned.error_m() > 5.0 or tuned.status != "tracking"

    def known() -> bool:
        return tuned.status == "lost" or (tuned.status == "tracking" and tuned.error_m() < 0.5)

    tuned.ros.until(known, "the pose to be lost or found", lambda: tuned.drive(1))


@pytest.mark.parametrize(
    "name",
    [
        "no_map",
        "absent_map",
        "damaged_checkpoint",
        "other_checkpoint",
        "out_of_range",
    ],
)
def test_unusable_parameters_end_the_node_with_one_line(
    nodes: dict[str, Any], ros: Any, name: str
) -> None:
    process, reason = nodes[name]
    assert ros.exit_code(process) == 2
    (line,) = [line for line in ros.stderr(process).splitlines() if line.strip()]
    assert line.startswith("localization_node: error: ")
    assert reason in line
