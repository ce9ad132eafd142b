"""localize.launch.py as its users meet it: arguments, lines on the terminal, exit codes, a bag."""

import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from rosbags.highlevel import AnyReader

from fgsn_ros.cli import main
from fgsn_ros.errors import FgsnError
from fgsn_ros.messages.types import stamp_of
from fgsn_ros.nodes.launch_arguments import (
    CHECKPOINT,
    DESCRIPTIONS,
    FLAGS,
    Camera,
    DemoDrives,
    checked,
)

PATIENCE_S = 180.0
DRIVE = ("simulate", "drive", "--duration-s", "5", "--rate-hz", "5", "--width", "320")


@pytest.fixture(scope="module")
def drives(tmp_path_factory: pytest.TempPathFactory) -> DemoDrives:
    """A short drive, its map, and the same drive to localize."""
    made = DemoDrives(tmp_path_factory.mktemp("home") / "fgsn_ros" / "demo")
    assert main([*DRIVE, "--height", "240", "--output", str(made.summer)]) == 0
    files = ("--checkpoint", str(CHECKPOINT), "--output", str(made.map))
    assert main(["map", str(made.summer), *files]) == 0
    made.winter.symlink_to(made.summer)
    return made


class Launched:
    """A launch in a process group of its own."""

    def __init__(self, *arguments: str, home: Path | None = None) -> None:
        environment = {**os.environ, **({"ROS_HOME": str(home)} if home else {})}
        command = ["ros2", "launch", "fgsn_ros", "localize.launch.py", *arguments]
        self.process = subprocess.Popen(
            command,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.said = ""

    def until(self, words: str) -> None:
        """Wait until it has said something."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said += line
            if words in line:
                return
        raise AssertionError(f"not said: {words}\n{self.said}")

    def until_said(self, words: str) -> None:
        """Wait unless it has said it."""
        if words not in self.said:
            self.until(words)

    def ended(self) -> int:
        """Wait for the end; the exit code."""
        self.said += self.process.communicate(timeout=PATIENCE_S)[0]
        return self.process.returncode

    def close(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.communicate()


@pytest.fixture
def launch() -> Iterator[Callable[..., Launched]]:
    launched: list[Launched] = []

    def start(*arguments: str, home: Path | None = None) -> Launched:
        launched.append(Launched(*arguments, home=home))
        return launched[-1]

    yield start
    for one in launched:
        one.close()


def poses_of(bag: Path, topic: str) -> dict[float, np.ndarray]:
    """Stamp to x y, of a topic of poses."""
    with AnyReader([bag]) as reader:
        connections = [c for c in reader.connections if c.topic == topic]
        decoded = (
            reader.deserialize(raw, connection.msgtype)
            for connection, _, raw in reader.messages(connections)
        )
        return {
            round(stamp_of(m), 3): np.array([m.pose.pose.position.x, m.pose.pose.position.y])
            for m in decoded
        }


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((), "map:= is missing"),
        (("map:=/absent",), "map:=/absent is not there"),
        (("rviz:=maybe",), "rviz:=maybe is neither true nor false"),
        (("demo:=true", "bag:=drive"), "demo:=true brings its own bag"),
    ],
)
def test_a_wrong_argument_ends_the_launch_with_one_line(
    launch: Callable[..., Launched], arguments: tuple[str, ...], reason: str
) -> None:
    launched = launch(*arguments)
    assert launched.ended() == 1
    (line,) = [line for line in launched.said.splitlines() if "[INFO] [launch]" not in line]
    assert reason in line


def test_with_a_bag_it_says_what_the_arguments_do_not(drives: DemoDrives) -> None:
    texts = {**dict.fromkeys(DESCRIPTIONS, ""), **dict.fromkeys(FLAGS, "false"), "odom": "/odom"}
    files = {"map": drives.map, "checkpoint": CHECKPOINT, "params_file": __file__}
    texts |= {name: str(path) for name, path in files.items()}
    texts |= {"bag": str(drives.winter), "initial_pose": "ground_truth"}
    found = checked(texts)
    assert found.cameras == (Camera("camera", "/camera/image", "compressed"),)
    assert found.use_sim_time
    first = next(iter(poses_of(drives.winter, "/ground_truth").values()))
    np.testing.assert_allclose(found.initial_pose[:2], first)
    for wrong, reason in (
        ({"odom": "/wheels"}, "no nav_msgs/Odometry on /wheels"),
        ({"image": "/image"}, "no images on /image; it has /camera/image"),
        ({"bag": "/tmp"}, "cannot read the bag /tmp"),
    ):
        with pytest.raises(FgsnError, match=reason):
            checked({**texts, **wrong})


@pytest.mark.parametrize("kind", ["bag", "demo"])
def test_a_bag_is_localized_and_the_run_recorded(
    launch: Callable[..., Launched], drives: DemoDrives, tmp_path: Path, kind: str
) -> None:
    record = tmp_path / "record"
    arguments = {
        "bag": (f"map:={drives.map}", f"checkpoint:={CHECKPOINT}", f"bag:={drives.winter}"),
        "demo": ("demo:=true",),
    }[kind]
    start = ("initial_pose:=ground_truth",) if kind == "bag" else ()
    home = drives.folder.parents[1]
    launched = launch(*arguments, *start, f"record:={record}", home=home)
    assert launched.ended() == 0, launched.said
    assert "Traceback" not in launched.said
    truth, poses = poses_of(drives.winter, "/ground_truth"), poses_of(record, "/pose")
    assert len(poses) > 5
    errors = [np.linalg.norm(poses[stamp] - truth[stamp]) for stamp in poses if stamp in truth]
    assert np.median(errors) < 0.5
    with AnyReader([record]) as reader:
        topics = {connection.topic for connection in reader.connections}
    assert {"/map_points", "/tf", "/camera/labels", "/odom", "/path", "/diagnostics"} <= topics


def test_a_node_that_fails_ends_the_launch_with_an_error(
    launch: Callable[..., Launched], drives: DemoDrives, tmp_path: Path
) -> None:
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(b"no network")
    launched = launch(f"map:={drives.map}", f"checkpoint:={damaged}")
    assert launched.ended() == 1
    assert f"error: cannot read checkpoint {damaged}" in launched.said
    assert "Traceback" not in launched.said


@pytest.mark.parametrize("moment", ["starting", "ready"])
def test_ctrl_c_ends_every_process(
    launch: Callable[..., Launched], drives: DemoDrives, moment: str
) -> None:
    launched = launch(f"map:={drives.map}", f"checkpoint:={CHECKPOINT}")
    launched.until("labels, stride")  # the other node is on its way
    if moment == "ready":
        launched.until_said("[localization_node]: active")
    os.killpg(launched.process.pid, signal.SIGINT)
    launched.ended()
    assert "Traceback" not in launched.said
    assert launched.said.count("process has finished cleanly") == 2


def test_a_node_that_crashed_is_started_again_if_asked(
    launch: Callable[..., Launched], drives: DemoDrives
) -> None:
    launched = launch(f"map:={drives.map}", f"checkpoint:={CHECKPOINT}", "respawn:=true")
    launched.until("[camera.segmentation_node]: active")
    launched.until_said("[localization_node]: active")
    pid = re.search(r"segmentation_node-1\]: process started with pid \[(\d+)\]", launched.said)
    assert pid is not None
    os.kill(int(pid[1]), signal.SIGKILL)
    launched.until("[camera.segmentation_node]: active")
    assert launched.said.count("[localization_node]: active") == 1
    os.killpg(launched.process.pid, signal.SIGINT)
    launched.ended()


def test_a_node_with_wrong_arguments_is_not_started_again(
    launch: Callable[..., Launched], drives: DemoDrives, tmp_path: Path
) -> None:
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(b"no network")
    launched = launch(f"map:={drives.map}", f"checkpoint:={damaged}", "respawn:=true")
    assert launched.ended() == 1
    assert f"error: cannot read checkpoint {damaged}" in launched.said
