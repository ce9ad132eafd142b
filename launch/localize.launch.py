"""Localize a robot from live topics, from a bag, or in the demo.

A segmentation node in each camera's namespace, the localization node in the launch's own, and on
request RViz, Nav2's lifecycle manager, a bag played and a bag recorded. A wrong argument, or a
node that fails, ends the launch with a line that says so and a non-zero exit code.
"""

import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ament_index_python.packages import PackageNotFoundError, get_package_share_directory
from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    LogInfo,
    OpaqueFunction,
    RegisterEventHandler,
    Shutdown,
    TimerAction,
)
from launch.event_handlers import OnProcessExit, OnProcessIO
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import ExecutableInPackage

from fgsn_ros.nodes.launch_arguments import (
    CHECKPOINT,
    DESCRIPTIONS,
    FLAGS,
    Camera,
    LaunchArguments,
    check_demo,
    checked,
    demo_drives,
    flag,
)

Actions = list[LaunchDescriptionEntity]

CONFIG = Path(get_package_share_directory("fgsn_ros")) / "config"
DEFAULTS = {
    **dict.fromkeys(DESCRIPTIONS, ""),
    **dict.fromkeys(FLAGS, "false"),
    "autostart": "true",
    "odom": "odom",
    "params_file": str(CONFIG / "localize.yaml"),
}
READY = "]: active"
"""What a node says when it is ready for a bag."""
UNUSABLE = 2
"""Exit code of a node whose arguments are wrong: starting it again would not help."""
RESPAWN_DELAY_S = 2.0
TF = ("tf", "tf_static")
MANAGER = "nav2_lifecycle_manager"
BAG_DELAY_S = 2.0
"""The bag waits so long then, at its first time: subscriptions find their publishers."""
LAST_LABELS_S = 2.0
"""Time after the bag for the labels of its last images."""
OUTPUTS = (
    "pose",
    "quality",
    "status",
    "path",
    "odometry_path",
    "particles",
    "particle_weights",
    "map_points",
    "initialpose",
)


def generate_launch_description() -> LaunchDescription:
    """The arguments, and what follows from them."""
    arguments = [
        DeclareLaunchArgument(name, default_value=DEFAULTS[name], description=description)
        for name, description in DESCRIPTIONS.items()
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=_start)])


def _start(context: LaunchContext) -> Actions:
    given = {name: context.launch_configurations[name].strip() for name in DESCRIPTIONS}
    namespace = context.launch_configurations.get("ros_namespace", "").rstrip("/")
    for name, package in (("rviz", "rviz2"), ("managed", MANAGER)):
        if flag(given, name):
            _require(name, package)
    if flag(given, "demo"):
        return _demo(given, namespace)
    return _localize(checked(given, namespace), namespace)


def _require(name: str, package: str) -> None:
    try:
        get_package_share_directory(package)
    except PackageNotFoundError:
        raise RuntimeError(f"{name}:=true needs the package {package}: install it") from None


def _localize(arguments: LaunchArguments, namespace: str) -> Actions:
    """Everything that is asked for; a bag starts when the nodes are ready."""
    nodes = [
        *(_segmentation(camera, arguments) for camera in arguments.cameras),
        _localization(arguments),
    ]
    others = [] if arguments.record is None else [_recorder(arguments, namespace)]
    if arguments.managed:
        others.append(_manager(arguments))
    actions: Actions = [*nodes, *others]
    actions += [_end_with(node, only=UNUSABLE if arguments.respawn else None) for node in nodes]
    actions += map(_end_with, others)
    if arguments.rviz:
        actions += _rviz(arguments, namespace)
    if arguments.bag is not None:
        player = _player(arguments.bag)
        after = _after_bag(player, arguments.rviz)
        waiting = nodes if arguments.autostart else []
        actions += _when_ready(waiting, [player, after, *_resumer()])
    return actions


# Processes


def _segmentation(camera: Camera, arguments: LaunchArguments) -> Node:
    parameters: dict[str, Any] = {
        "checkpoint": ParameterValue(str(arguments.checkpoint), value_type=str),
        "autostart": arguments.autostart and not arguments.managed,
        "use_sim_time": arguments.use_sim_time,
    }
    if camera.transport:
        parameters["image_transport"] = camera.transport
    if arguments.local_features:
        parameters["local_features"] = arguments.local_features
    remappings = []
    if camera.image:
        info = f"{camera.image.rpartition('/')[0]}/camera_info"
        remappings = [("image", camera.image), ("camera_info", info)]
    return Node(
        package="fgsn_ros",
        executable="segmentation_node",
        namespace=camera.namespace,
        parameters=[str(arguments.params_file), parameters],
        remappings=remappings,
        respawn=arguments.respawn,
        respawn_delay=RESPAWN_DELAY_S,
        output="screen",
    )


def _localization(arguments: LaunchArguments) -> Node:
    parameters: dict[str, Any] = {
        "map": ParameterValue(str(arguments.map), value_type=str),
        "checkpoint": ParameterValue(str(arguments.checkpoint), value_type=str),
        "cameras": [camera.namespace for camera in arguments.cameras],
        "autostart": arguments.autostart and not arguments.managed,
        "use_sim_time": arguments.use_sim_time,
    }
    if arguments.initial_pose is not None:
        x, y, yaw = arguments.initial_pose
        start = {"initial_pose.x": x, "initial_pose.y": y, "initial_pose.yaw": yaw}
        parameters |= {"set_initial_pose": True, **start}
    return Node(
        package="fgsn_ros",
        executable="localization_node",
        parameters=[str(arguments.params_file), parameters],
        remappings=[("odom", arguments.odom), *_tf(arguments)],
        respawn=arguments.respawn,
        respawn_delay=RESPAWN_DELAY_S,
        output="screen",
    )


def _manager(arguments: LaunchArguments) -> Node:
    cameras = [camera.namespace for camera in arguments.cameras]
    names = [*(f"{camera}/segmentation_node" for camera in cameras), "localization_node"]
    return Node(
        package=MANAGER,
        executable="lifecycle_manager",
        name="lifecycle_manager_fgsn",
        parameters=[
            {
                "node_names": names,
                "autostart": arguments.autostart,
                "use_sim_time": arguments.use_sim_time,
            }
        ],
        output="screen",
    )


def _tf(arguments: LaunchArguments) -> list[tuple[str, str]]:
    return [(f"/{name}", name) for name in TF] if arguments.own_tf else []


def _rviz(arguments: LaunchArguments, namespace: str) -> Actions:
    shown = f"{namespace}/{arguments.cameras[0].namespace}/map_overlay"
    ours = [(f"/{name}", f"{namespace}/{name}") for name in OUTPUTS] if namespace else []
    node = Node(
        package="rviz2",
        executable="rviz2",
        arguments=["-d", str(CONFIG / "localize.rviz")],
        parameters=[{"use_sim_time": arguments.use_sim_time}],
        remappings=[("/camera/map_overlay", shown), *ours, *_tf(arguments)],
        output="log",
    )
    return [node] if arguments.bag is None else [node, _end_with(node)]


def _player(bag: Path) -> ExecuteProcess:
    # paused, not delayed: during --delay the clock runs, and goes back when the bag starts
    options = ["--clock", "100", "--start-paused", "--disable-keyboard-controls"]
    return ExecuteProcess(
        cmd=["ros2", "bag", "play", *options, str(bag)], name="bag_player", output="screen"
    )


def _resumer() -> Actions:
    """Let the paused player go."""
    call = ["/rosbag2_player/resume", "rosbag2_interfaces/srv/Resume"]
    process = ExecuteProcess(cmd=["ros2", "service", "call", *call], name="resume", output="log")
    return [TimerAction(period=BAG_DELAY_S, actions=[process, _end_with(process, always=False)])]


def _recorder(arguments: LaunchArguments, namespace: str) -> ExecuteProcess:
    labels = [
        f"{camera.namespace}/{topic}"
        for camera in arguments.cameras
        for topic in ("labels", "labels/camera_info", "labels/info")
    ]
    topics = [f"{namespace}/{name}" for name in (*OUTPUTS, *labels)]
    topics += [f"{namespace if arguments.own_tf else ''}/{name}" for name in TF]
    topics += [arguments.odom, "/ground_truth", "/diagnostics"]
    regex = f"^({'|'.join(map(re.escape, topics))})$"
    # it has no namespace: its name alone tells it from another robot's
    options = ["--node-name", f"{namespace}/bag_recorder".strip("/").replace("/", "_")]
    options += ["--use-sim-time"] if arguments.use_sim_time else []
    return ExecuteProcess(
        cmd=["ros2", "bag", "record", "-o", str(arguments.record), *options, "-e", regex],
        name="bag_recorder",
        output="screen",
    )


# Order of events


def _end_with(
    process: ExecuteProcess, always: bool = True, only: int | None = None
) -> RegisterEventHandler:
    """End the launch when a process ends, with an error if that did.

    Args:
        process: Whose end.
        always: Whether to end without an error too.
        only: The one exit code that ends it, if any other is to be survived.
    """

    def ended(event: Any, context: LaunchContext) -> Shutdown | None:
        if context.is_shutdown or only not in (None, event.returncode):
            return None
        if event.returncode != 0:
            raise RuntimeError(f"{event.process_name} failed with exit code {event.returncode}")
        return Shutdown(reason=f"{event.process_name} has ended") if always else None

    return RegisterEventHandler(OnProcessExit(target_action=process, on_exit=ended))


def _when_ready(nodes: list[Node], actions: Actions) -> Actions:
    """Handlers that start `actions` once each node has said that it is ready."""
    if not nodes:
        return actions
    missing = set(nodes)

    def listener(node: Node) -> RegisterEventHandler:
        def heard(event: Any) -> Actions | None:
            if node not in missing or READY not in event.text.decode(errors="replace"):
                return None
            missing.remove(node)
            return None if missing else actions

        return RegisterEventHandler(
            OnProcessIO(target_action=node, on_stdout=heard, on_stderr=heard)
        )

    return [listener(node) for node in nodes]


def _after_bag(player: ExecuteProcess, rviz: bool) -> RegisterEventHandler:
    def ended(event: Any, context: LaunchContext) -> Actions | None:
        if context.is_shutdown:
            return None
        if event.returncode != 0:
            raise RuntimeError("the bag could not be played")
        if rviz:
            return [LogInfo(msg="the bag has ended; close RViz or press Ctrl-C to end")]
        end = Shutdown(reason="the bag has ended")
        return [TimerAction(period=LAST_LABELS_S, actions=[end])]

    return RegisterEventHandler(OnProcessExit(target_action=player, on_exit=ended))


# Demo


def _demo(given: dict[str, str], namespace: str) -> Actions:
    """Make the drives and the map where they are missing, then localize."""
    check_demo(given)
    drives = demo_drives()
    texts = {
        "map": str(drives.map),
        "checkpoint": str(CHECKPOINT),
        "bag": str(drives.winter),
        "initial_pose": "ground_truth",
        "odom": "/odom",
    }

    def localize() -> Actions:
        return _localize(checked({**given, **texts}, namespace), namespace)

    missing = drives.missing()
    if not missing:
        return localize()
    text = f"making the demo's drives and map in {drives.folder}; this takes minutes, but once"
    return [LogInfo(msg=text), *_one_after_another(missing, localize)]


def _one_after_another(commands: Sequence[Sequence[str]], then: Callable[[], Actions]) -> Actions:
    """Run `fgsn` with each of the arguments, its progress shown as it comes."""
    if not commands:
        return then()
    fgsn = ExecutableInPackage("fgsn", "fgsn_ros")
    process = ExecuteProcess(cmd=[fgsn, *commands[0]], output="log")

    def ended(event: Any, context: LaunchContext) -> Actions | None:
        if context.is_shutdown:
            return None
        if event.returncode != 0:
            raise RuntimeError(f"fgsn {commands[0][0]} failed: the demo cannot start")
        return _one_after_another(commands[1:], then)

    def show(event: Any) -> None:
        sys.stderr.write(event.text.decode(errors="replace"))
        sys.stderr.flush()

    return [
        RegisterEventHandler(OnProcessExit(target_action=process, on_exit=ended)),
        RegisterEventHandler(OnProcessIO(target_action=process, on_stdout=show, on_stderr=show)),
        process,
    ]
