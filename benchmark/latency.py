"""Time from an image published to its pose received, with both nodes running (ROS 2).

    source /opt/ros/jazzy/setup.bash
    .venv/bin/python benchmark/latency.py

A simulated drive (that of the launch file's demo, made if it is not there) is published by a
process of its own with the clock's stamps: 640x480 images at 10 Hz, raw, then compressed (JPEG),
and odometry at 50 Hz. Both nodes run with their defaults. The time of each image is split into the
network's inference and the rest: transport, conversion, filter, waiting. Writes latency.md and
latency.json.
"""

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import rclpy
import tyro
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseWithCovarianceStamped
from latency_player import RATE_HZ, Transport, play
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from scoring import markdown_table, write_results
from sensor_msgs.msg import Image

from fgsn_ros.cli import main as fgsn
from fgsn_ros.messages.types import stamp_of
from fgsn_ros.nodes.launch_arguments import (
    CHECKPOINT,
    DemoDrives,
    demo_drives,
    ground_truth_of,
)

PATIENCE_S = 120.0
NODES = ("segmentation_node", "localization_node")


@dataclass(frozen=True)
class Latency:
    """Measure the time from image to pose with both nodes running."""

    output: Path = Path("benchmark/results")
    """folder of latency.md and latency.json"""
    seconds: float = 15.0
    """length of each measurement [s], in [2, 17]"""
    warm_up_s: float = 5.0
    """time before it that is not measured [s], >= 1"""
    transports: tuple[Transport, ...] = ("raw", "compressed")
    """how the images are sent"""


@dataclass
class Heard:
    """What the nodes told: times [s] by stamp [us], and diagnostics."""

    poses: dict[int, float] = field(default_factory=dict)
    labels: dict[int, float] = field(default_factory=dict)
    inference: dict[int, float] = field(default_factory=dict)
    statuses: dict[str, dict[str, str]] = field(default_factory=dict)

    def listen(self, node: Node) -> None:
        """Subscribe to what the nodes say."""

        def note(times: dict[int, float], message: PoseWithCovarianceStamped | Image) -> None:
            times[round(1e6 * stamp_of(message))] = time.time()

        node.create_subscription(
            PoseWithCovarianceStamped, "/pose", lambda m: note(self.poses, m), 50
        )
        node.create_subscription(Image, "/camera/labels", lambda m: note(self.labels, m), 50)
        node.create_subscription(DiagnosticArray, "/diagnostics", self._take_diagnostics, 50)

    def _take_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            values = self.statuses.setdefault(status.name, {})
            values.update({pair.key: pair.value for pair in status.values})


@contextmanager
def node_processes(
    transport: Transport, drives: DemoDrives, inference: Path
) -> Iterator[dict[str, int]]:
    """Both nodes, their process ids by name; the times of inference go to a file at the end."""
    x, y, yaw = ground_truth_of(drives.winter)
    settings: dict[str, dict[str, object]] = {
        "segmentation_node": {"image_transport": transport, "image_reliability": "reliable"},
        "localization_node": {
            "map": drives.map,
            "set_initial_pose": "true",
            "initial_pose.x": x,
            "initial_pose.y": y,
            "initial_pose.yaw": yaw,
        },
    }
    programs = {
        "segmentation_node": [str(Path(__file__).with_name("latency_segmentation.py")), inference],
        "localization_node": ["-m", "fgsn_ros.nodes.localization_node"],
    }
    processes = {}
    for name in NODES:
        given = {"checkpoint": CHECKPOINT, **settings[name]}
        words = [word for key, value in given.items() for word in ("-p", f"{key}:={value}")]
        if name == "segmentation_node":
            words += ["-r", "__ns:=/camera"]
        command = [sys.executable, *programs[name], "--ros-args", "--log-level", "warn", *words]
        processes[name] = subprocess.Popen([str(word) for word in command])
    try:
        yield {name: process.pid for name, process in processes.items()}
    finally:
        for process in processes.values():
            process.terminate()
        for process in processes.values():
            process.wait(timeout=PATIENCE_S)


@dataclass(frozen=True)
class Usage:
    """What a process has used until now."""

    cpu_s: float
    memory_mb: float

    @staticmethod
    def of(pid: int) -> "Usage":
        """From /proc."""
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks, pages = int(fields[11]) + int(fields[12]), int(fields[21])
        memory = pages * os.sysconf("SC_PAGE_SIZE") / 1e6
        return Usage(ticks / os.sysconf("SC_CLK_TCK"), memory)


def measure(transport: Transport, settings: Latency, drives: DemoDrives) -> dict[str, float]:
    """Figures of one transport: times in ms, CPU in per cent of a core, memory in MB."""
    heard = Heard()
    node = rclpy.create_node("listener")
    heard.listen(node)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    receiver, sender = get_context("spawn").Pipe(duplex=False)
    length = settings.warm_up_s + settings.seconds
    player = get_context("spawn").Process(
        target=play, args=(drives.winter, transport, length, sender)
    )
    with TemporaryDirectory() as folder:
        inference = Path(folder) / "inference.json"
        with node_processes(transport, drives, inference) as pids:
            player.start()
            published = _run(executor, receiver, pids, settings.warm_up_s)
            executor.shutdown()
            player.join()
        times = json.loads(inference.read_text())
    heard.inference = {int(stamp): seconds for stamp, seconds in times.items()}
    node.destroy_node()
    return _figures(heard, published, settings)


@dataclass(frozen=True)
class Published:
    """When images were published, and what the nodes used meanwhile."""

    images: dict[int, float]
    used: dict[str, tuple[Usage, Usage]]
    seconds: float


def _run(
    executor: SingleThreadedExecutor, player: Connection, pids: Mapping[str, int], warm_up_s: float
) -> Published:
    """Listen until the player has ended, and a second more."""
    _spin_until_told(executor, player)
    _spin(executor, warm_up_s)
    start, before = time.monotonic(), {name: Usage.of(pid) for name, pid in pids.items()}
    images = _spin_until_told(executor, player)
    used = {name: (before[name], Usage.of(pid)) for name, pid in pids.items()}
    seconds = time.monotonic() - start
    _spin(executor, 1.5)
    return Published(images, used, seconds)


def _spin(executor: SingleThreadedExecutor, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        executor.spin_once(timeout_sec=0.01)


def _spin_until_told(executor: SingleThreadedExecutor, player: Connection) -> dict[int, float]:
    end = time.monotonic() + PATIENCE_S
    while not player.poll():
        if time.monotonic() > end:
            raise TimeoutError("the player or the nodes did not start")
        executor.spin_once(timeout_sec=0.01)
    told: dict[int, float] = player.recv()
    return told


def _figures(heard: Heard, published: Published, settings: Latency) -> dict[str, float]:
    first = min(published.images) + round(1e6 * settings.warm_up_s)
    sent = {stamp: at for stamp, at in published.images.items() if stamp >= first}
    answered = [stamp for stamp in sent if stamp in heard.poses and stamp in heard.labels]
    total = np.array([heard.poses[s] - sent[s] for s in answered]) * 1e3
    to_labels = np.array([heard.labels[s] - sent[s] for s in answered]) * 1e3
    images = heard.statuses["segmentation_node: images"]
    update = heard.statuses["localization_node: localization"]
    inference = np.array([heard.inference[s] for s in answered]) * 1e3
    usage = {
        figure: value
        for name in NODES
        for figure, value in _usage(name, *published.used[name], published.seconds).items()
    }
    return {
        "image to pose, median [ms]": float(np.median(total)),
        "image to pose, 95 % [ms]": float(np.quantile(total, 0.95)),
        "inference, median [ms]": float(np.median(inference)),
        "rest, median [ms]": float(np.median(total - inference)),
        "of it before the labels [ms]": float(np.median(to_labels - inference)),
        "of it after the labels [ms]": float(np.median(total - to_labels)),
        "filter update, mean [ms]": float(update["update time, mean [ms]"]),
        **usage,
        "images": len(sent),
        "images without a pose": len(sent) - len(answered),
        "images dropped, with warm-up": int(images["dropped for a newer one"]),
    }


def _usage(name: str, before: Usage, after: Usage, seconds: float) -> dict[str, float]:
    return {
        f"{name}, CPU [% of a core]": 100.0 * (after.cpu_s - before.cpu_s) / seconds,
        f"{name}, memory [MB]": after.memory_mb,
    }


def table(figures: Mapping[str, Mapping[str, float]]) -> str:
    """Markdown: a row a figure, a column a transport."""
    names = next(iter(figures.values()))
    rows = (
        {"": name, **{kind: _shown(values[name]) for kind, values in figures.items()}}
        for name in names
    )
    return markdown_table(rows)


def _shown(value: float) -> str:
    return f"{value:.0f}" if value >= 100.0 or value == round(value) else f"{value:.1f}"


def main(settings: Latency) -> None:
    drives = demo_drives()
    for command in drives.missing():
        fgsn(list(command))
    load = os.getloadavg()[0]
    rclpy.init()
    figures = {t: measure(t, settings, drives) for t in settings.transports}
    rclpy.try_shutdown()
    machine = f"{os.cpu_count()} cores of {platform.machine()}, load {load:.1f} before"
    text = f"{machine}; {RATE_HZ} images/s\n\n{table(figures)}"
    write_results(settings.output, "latency", text, {"machine": machine, **figures})
    print(text)


if __name__ == "__main__":
    main(tyro.cli(Latency))
