"""Both nodes as a manager meets them: they answer while they get ready, keep a bond, and end."""

import signal
from pathlib import Path
from typing import Any

import pytest
from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from diagnostic_msgs.msg import DiagnosticArray
from launch.actions import GroupAction, SetEnvironmentVariable
from launch_ros.actions import Node
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from robot import Robot
from world import World, node_of

from fgsn_ros.nodes.bond import topics_of
from fgsn_ros.nodes.launch_arguments import CHECKPOINT

CONFIGURE, ACTIVATE = Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE
DEACTIVATE, CLEANUP = Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_CLEANUP


def segmentation(namespace: str, **parameters: object) -> Node:
    return Node(
        package="fgsn_ros",
        executable="segmentation_node",
        namespace=namespace,
        parameters=[
            {"checkpoint": str(CHECKPOINT), "diagnostic_updater.period": 0.2, **parameters}
        ],
    )


def uncompiled(node: Node, folder: Path) -> GroupAction:
    """A node that finds no kernels compiled before: getting ready takes it seconds."""
    return GroupAction([SetEnvironmentVariable("NUMBA_CACHE_DIR", str(folder)), node])


class Asking:
    """Asks a node for its state, and listens to its diagnostics."""

    def __init__(self, ros: Any, name: str) -> None:
        self.ros, self.name = ros, name
        self.said: list[tuple[str, str]] = []
        make = ros.node.create_client
        self._get = make(GetState, f"{name}/get_state")
        self._change = make(ChangeState, f"{name}/change_state")
        for topic in ("/diagnostics", f"{name.rpartition('/')[0]}/diagnostics"):
            ros.node.create_subscription(DiagnosticArray, topic, self._hear, 10)

    def _hear(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name.startswith(self.name.lstrip("/")):
                self.said.append((status.name.split(": ")[1], status.message))

    def _call(self, client: Any, request: Any) -> Any:
        self.ros.until(client.service_is_ready, self.name)
        return client.call_async(request)

    def asked(self, transition: int, label: str = "") -> Any:
        """The answer that is to come."""
        request = ChangeState.Request()
        request.transition.id, request.transition.label = transition, label
        return self._call(self._change, request)

    def change(self, transition: int, label: str = "") -> bool:
        future = self.asked(transition, label)
        self.ros.until(future.done, f"{self.name} to change its state")
        return bool(future.result().success)

    def state(self) -> int:
        future = self._call(self._get, GetState.Request())
        self.ros.until(future.done, f"{self.name} to tell its state")
        return int(future.result().current_state.id)

    def hears(self, task: str, text: str) -> None:
        self.said.clear()
        self.ros.until(
            lambda: any(t == task and text in words for t, words in self.said),
            f"{self.name}'s {task} to say '{text}'",
        )


@pytest.fixture(scope="module")
def waiting(ros: Any, world: World) -> dict[str, Asking]:
    """Both nodes, waiting for a manager."""
    ros.start(
        node_of("calm", world, autostart=False), segmentation("/calm/camera", autostart=False)
    )
    names = ("localization_node", "camera/segmentation_node")
    return {name.rpartition("/")[2]: Asking(ros, f"/calm/{name}") for name in names}


both = pytest.mark.parametrize("name", ["localization_node", "segmentation_node"])


@both
def test_a_transition_that_cannot_be_is_refused_and_the_node_lives(
    waiting: dict[str, Asking], name: str
) -> None:
    node = waiting[name]
    assert not node.change(ACTIVATE)
    assert not node.change(Transition.TRANSITION_CREATE)
    assert not node.change(0, "fly")
    assert node.state() == State.PRIMARY_STATE_UNCONFIGURED
    node.hears("inputs" if name == "localization_node" else "images", "not configured")


@both
def test_an_inactive_node_says_so_and_no_old_verdict(waiting: dict[str, Asking], name: str) -> None:
    node = waiting[name]
    tasks = ("localization", "inputs") if name == "localization_node" else ("images", "labels")
    assert node.change(0, "configure")
    assert node.change(ACTIVATE)
    assert not node.change(CONFIGURE)
    assert node.state() == State.PRIMARY_STATE_ACTIVE
    node.hears(tasks[0], "no ")
    assert node.change(DEACTIVATE)
    for task in tasks:
        node.hears(task, "inactive")
    assert node.change(ACTIVATE)
    assert node.change(DEACTIVATE)
    assert node.change(CLEANUP)
    for task in tasks:
        node.hears(task, "not configured")


def test_a_bond_is_kept_while_active_and_broken_at_the_end(waiting: dict[str, Asking]) -> None:
    Status = pytest.importorskip("bond.msg").Status
    node = waiting["segmentation_node"]
    ros = node.ros
    names = {
        "/bond": {"calm/camera/segmentation_node", "/calm/camera/segmentation_node"},
        "/calm/bond": {"camera/segmentation_node", "/calm/camera/segmentation_node"},
        "/calm/camera/bond": {"segmentation_node", "/calm/camera/segmentation_node"},
    }
    assert {t: set(n) for t, n in topics_of("/calm/camera", "segmentation_node").items()} == names
    heard: dict[str, list[Any]] = {topic: [] for topic in names}
    for topic, messages in heard.items():
        ros.node.create_subscription(Status, topic, messages.append, 100)
    assert node.change(CONFIGURE)
    assert node.change(ACTIVATE)
    ros.until(lambda: all(len(messages) > 8 for messages in heard.values()), "signs of life")
    for topic, messages in heard.items():
        assert {m.id for m in messages} == names[topic]
        assert all(m.active for m in messages)
        assert len({m.instance_id for m in messages}) == 1
    assert node.change(DEACTIVATE)
    ros.until(lambda: not any(m[-1].active for m in heard.values()), "the bond to be broken")
    assert node.change(CLEANUP)


@both
def test_it_answers_while_it_gets_ready(ros: Any, world: World, tmp_path: Path, name: str) -> None:
    node = {
        "localization_node": lambda: node_of("cold", world, autostart=False),
        "segmentation_node": lambda: segmentation("/cold", autostart=False),
    }[name]()
    ros.start(uncompiled(node, tmp_path))
    asking = Asking(ros, f"/cold/{name}")
    answer = asking.asked(CONFIGURE)
    states = []
    while not answer.done():
        states.append(asking.state())
        ros.turn()
    assert answer.result().success
    assert states[0] == State.PRIMARY_STATE_UNCONFIGURED  # it told its state before it was ready
    if name == "localization_node":  # whose kernels take seconds to compile
        assert ("inputs", "getting ready") in asking.said
    assert asking.state() == State.PRIMARY_STATE_INACTIVE
    ros.interrupt(node)
    assert ros.exit_code(node) == 0


def test_nothing_is_left_to_compile_for_the_first_labels(
    ros: Any, world: World, tmp_path: Path
) -> None:
    node = node_of("warm", world)
    ros.start(uncompiled(node, tmp_path))
    robot = Robot(ros, "warm", node)
    robot.until_said("active")
    compiled = {path.name for path in tmp_path.rglob("*.nbc")}
    assert compiled
    robot.ready(world).start()
    assert {path.name for path in tmp_path.rglob("*.nbc")} == compiled


def test_an_interrupt_while_it_gets_ready_ends_it_at_once(
    ros: Any, world: World, tmp_path: Path
) -> None:
    node = node_of("hasty", world)
    ros.start(uncompiled(node, tmp_path))
    Asking(ros, "/hasty/localization_node").hears("localization", "getting ready")
    ros.interrupt(node)
    assert ros.exit_code(node) == 0
    said = ros.stderr(node)
    assert "active" not in said  # it did not finish first
    assert "Traceback" not in said


@both
def test_an_interrupt_while_it_starts_ends_it_without_a_word(
    ros: Any, world: World, name: str
) -> None:
    node = node_of("brief", world) if name == "localization_node" else segmentation("/brief")
    ros.start(node)
    ros.until(lambda: node in ros.processes.processes(), "the process")
    maps = Path(f"/proc/{ros.processes[node].pid}/maps")
    ros.until(lambda: "_rclpy" in maps.read_text(), "its imports to begin")
    ros.interrupt(node)
    assert ros.exit_code(node) == 0
    assert ros.stderr(node) == ""


def has_manager() -> bool:
    try:
        get_package_prefix("nav2_lifecycle_manager")
    except PackageNotFoundError:
        return False
    return True


@pytest.mark.skipif(not has_manager(), reason="Nav2's lifecycle manager is not installed")
def test_navs_manager_brings_both_up_and_down_when_one_dies(ros: Any, world: World) -> None:
    nodes = [
        segmentation("/nav/camera", autostart=False),
        node_of("nav", world, autostart=False),
    ]
    manager = Node(
        package="nav2_lifecycle_manager",
        executable="lifecycle_manager",
        name="manager",
        namespace="/nav",
        parameters=[
            {
                "autostart": True,
                "node_names": ["camera/segmentation_node", "localization_node"],
                "attempt_respawn_reconnection": False,
            }
        ],
    )
    ros.start(*nodes, manager)

    ros.until(lambda: ros.said(manager, "Managed nodes are active"), "both to be active")
    ros.signal(nodes[0], signal.SIGSTOP)  # it hangs
    ros.until(lambda: ros.said(manager, "Have not received a heartbeat from"), "the silence")
    localization = Asking(ros, "/nav/localization_node")
    ros.until(
        lambda: localization.state() != State.PRIMARY_STATE_ACTIVE, "localization to be taken down"
    )
    ros.signal(nodes[0], signal.SIGKILL)
    assert ros.exit_code(nodes[0]) != 0
