import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
import rclpy
from rclpy.node import Node
from rclpy.parameter import Parameter

from fgsn_ros.config import require
from fgsn_ros.errors import LocalizationError, SettingsError
from fgsn_ros.nodes import parameters


@dataclass(frozen=True)
class Noise:
    scale: float = 0.5
    """Share of the signal, at least 0."""

    def __post_init__(self) -> None:
        require(self.scale >= 0, "scale must not be negative")


@dataclass(frozen=True)
class Settings:
    particles: int = 10
    """How many."""
    noise: Noise = field(default_factory=Noise)
    start: tuple[float, float] = (0.0, 1.0)
    cameras: tuple[str, ...] = ()
    limit: float | None = None
    pose: tuple[float, float] | None = None
    output: Path | None = None
    model: Literal["planar", "spatial"] = "planar"


@pytest.fixture
def node(request: pytest.FixtureRequest) -> Iterator[Node]:
    arguments = [a for p in getattr(request, "param", []) for a in ("-p", p)]
    context = rclpy.Context()
    rclpy.init(context=context)
    made = Node("parameters", context=context, cli_args=["--ros-args", *arguments])
    yield made
    made.destroy_node()
    context.try_shutdown()


def test_each_field_becomes_a_described_parameter(node: Node) -> None:
    assert parameters.declare(node, Settings(), ("noise",)) == Settings()
    assert node.get_parameter("noise.scale").value == 0.5
    assert node.get_parameter("output").value == ""
    assert math.isnan(node.get_parameter("limit").value)
    description = node.describe_parameter("noise.scale")
    assert description.description == "Share of the signal, at least 0."
    assert not description.read_only
    assert node.describe_parameter("particles").read_only
    assert node.describe_parameter("model").additional_constraints == "one of: planar, spatial"


@pytest.mark.parametrize(
    "node",
    [["noise.scale:=2", "start:=[1, 2]", "cameras:=[left]", "limit:=1", "pose:=[1.5, 2.0]",
      "output:=there", "model:=spatial", "bogus:=1"]],
    indirect=True,
)  # fmt: skip
def test_overrides_fill_the_settings_and_unknown_ones_are_named(node: Node) -> None:
    assert parameters.declare(node, Settings()) == Settings(
        10, Noise(2.0), (1.0, 2.0), ("left",), 1.0, (1.5, 2.0), Path("there"), "spatial"
    )
    assert parameters.unknown_overrides(node) == ["bogus"]


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (["noise.scale:=-1.0"], "scale must not be negative"),
        (["particles:=many"], "particles: 'many' is not int"),
        (["particles:=1.5"], "particles: 1.5 is not int"),
        (["start:=[1.0]"], "start takes 2 values"),
        (["model:=flat"], "model: 'flat' is not"),
    ],
    indirect=["node"],
)
def test_wrong_override_is_one_line(node: Node, message: str) -> None:
    with pytest.raises(SettingsError, match=message) as caught:
        parameters.declare(node, Settings())
    assert "\n" not in str(caught.value)


def test_changes_are_checked_and_taken_over(node: Node) -> None:
    applied: list[Settings] = []

    def apply(settings: Settings) -> None:
        if settings.particles > 100:
            raise LocalizationError("too many\nparticles")
        applied.append(settings)

    names = ("noise", "particles", "limit")
    parameters.watch(node, parameters.declare(node, Settings(), names), apply)

    def change(name: str, value: object) -> tuple[bool, str]:
        (result,) = node.set_parameters([Parameter(name, value=value)])
        return result.successful, result.reason

    assert change("noise.scale", 2) == (True, "")
    assert change("noise.scale", -1.0) == (False, "scale must not be negative")
    assert change("particles", 20) == (True, "")
    assert change("particles", 200) == (False, "too many particles")
    assert change("limit", 3.0) == (True, "")
    assert change("limit", math.nan) == (True, "")
    assert not change("start", [1.0, 2.0])[0]  # read-only
    assert [(s.noise.scale, s.particles, s.limit) for s in applied] == [
        (2.0, 10, None),
        (2.0, 20, None),
        (2.0, 20, 3.0),
        (2.0, 20, None),
    ]
    assert node.get_parameter("particles").value == 20
