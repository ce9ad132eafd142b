"""What localize.launch.py starts: its arguments, checked, the bag they name, the demo's drives.

`ros2 launch` runs with the system's Python, which need not have what pip has brought: so this
imports none of it, and bags are read by ROS 2's own reader.
"""

import json
import math
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import fgsn_ros
from fgsn_ros.config import require
from fgsn_ros.errors import MapError, RecordingError

CHECKPOINT = Path(fgsn_ros.__file__).parent / "data" / "town.onnx"
_DRIVE = ("simulate", "drive", "--town-seed", "2024", "--duration-s", "22")

DESCRIPTIONS = {
    "map": "folder made by `fgsn map`",
    "checkpoint": "network that labelled the map (.safetensors or .onnx)",
    "params_file": "parameters of both nodes (YAML)",
    "cameras": "namespaces of the cameras, a,b,...; empty: camera, or those of the bag",
    "image": "image topic of each camera, a,b,...; empty: <camera>/image; camera_info is beside it",
    "image_transport": "raw or compressed; empty: as in the bag, else as in params_file",
    "odom": "odometry topic (nav_msgs/Odometry)",
    "initial_pose": "'x y yaw' [m, m, rad], or ground_truth: that of the bag",
    "use_sim_time": "time comes from /clock; always so with bag",
    "autostart": "configure and activate the nodes; false leaves it to a lifecycle manager",
    "managed": "Nav2's lifecycle manager brings the nodes up, and down if one falls silent",
    "respawn": "start a node that crashed again",
    "rviz": "show it in RViz",
    "bag": "rosbag2 to play; at its end the launch ends too, unless RViz is open",
    "record": "folder to make: a rosbag2 of what the nodes publish",
    "demo": "simulate two drives, once, then localize the winter one on a map of the summer one",
}
"""Name to meaning."""
FLAGS = ("use_sim_time", "autostart", "managed", "respawn", "rviz", "demo")
_NOT_IN_DEMO = ("map", "checkpoint", "bag", "cameras", "image", "image_transport", "initial_pose")


GROUND_TRUTH = "/ground_truth"
_TRANSPORTS = {"sensor_msgs/msg/Image": "raw", "sensor_msgs/msg/CompressedImage": "compressed"}


@dataclass(frozen=True)
class Camera:
    """Where one camera's images come from."""

    namespace: str
    image: str
    """topic without the transport's name; empty: `image` in the namespace"""
    transport: str
    """raw or compressed; empty: as in the parameter file"""


@dataclass(frozen=True)
class LaunchArguments:
    """What to start."""

    map: Path
    local_features: str
    """kind of those that the map has; empty: none"""
    checkpoint: Path
    params_file: Path
    cameras: tuple[Camera, ...]
    odom: str
    """with the launch's namespace"""
    own_tf: bool
    """whether /tf and /tf_static are below the launch's namespace, as Nav2 has them; a bag may
    have them elsewhere"""
    initial_pose: tuple[float, float, float] | None
    """x, y [m], yaw [rad]"""
    use_sim_time: bool
    autostart: bool
    managed: bool
    respawn: bool
    rviz: bool
    bag: Path | None
    record: Path | None


def flag(given: Mapping[str, str], name: str) -> bool:
    """Value of a yes-no argument.

    Raises:
        SettingsError: it is none.
    """
    value = given[name].lower()
    require(value in ("true", "false"), f"{name}:={given[name]} is neither true nor false")
    return value == "true"


def check_demo(given: Mapping[str, str]) -> None:
    """Refuse what the demo brings itself.

    Raises:
        SettingsError: an argument is given that has no place beside demo:=true.
    """
    besides = [name for name in _NOT_IN_DEMO if given[name]]
    require(not besides, f"demo:=true brings its own {', '.join(besides)}; leave it out")


def checked(given: Mapping[str, str], namespace: str = "") -> LaunchArguments:
    """Arguments from their texts; what they leave open is found in the bag.

    Topics without a leading slash are below the launch's namespace.

    Raises:
        FgsnError: one is missing or wrong.
    """
    flags = {name: flag(given, name) for name in FLAGS}
    semantic_map = _existing(given, "map", "meta.json")
    checkpoint = _existing(given, "checkpoint")
    bag = _existing(given, "bag") if given["bag"] else None
    topics: dict[str, str] = {}
    odom = _topic(given["odom"], namespace)
    if bag is not None:
        topics = topics_of(bag)
        fits = topics.get(odom) == "nav_msgs/msg/Odometry"
        require(fits, f"{bag} has no nav_msgs/Odometry on {odom}; name it by odom:=")
    record = _absolute(given["record"]) if given["record"] else None
    require(record is None or not record.exists(), f"record:={record} exists already")
    return LaunchArguments(
        semantic_map,
        _kind_of_features(semantic_map),
        checkpoint,
        _existing(given, "params_file"),
        _cameras(given, topics, namespace),
        odom,
        not topics or f"{namespace}/tf_static" in topics or f"{namespace}/tf" in topics,
        _initial_pose(given["initial_pose"], bag),
        flags["use_sim_time"] or bag is not None,
        flags["autostart"],
        flags["managed"],
        flags["respawn"],
        flags["rviz"],
        bag,
        record,
    )


def _existing(given: Mapping[str, str], name: str, file: str = "") -> Path:
    """Absolute path of an argument that names a file, or a folder that holds `file`."""
    expected = DESCRIPTIONS[name].split(";")[0]
    require(given[name] != "", f"{name}:= is missing ({expected}); or give demo:=true alone")
    path = _absolute(given[name])
    require(path.exists(), f"{name}:={path} is not there ({expected})")
    require((path / file).exists(), f"{name}:={path} holds no {file}: it is no {expected}")
    return path


def _kind_of_features(semantic_map: Path) -> str:
    """That of a map's local features; empty where it has none."""
    path = semantic_map / "local_features" / "kind.json"
    try:
        return str(json.loads(path.read_text())["kind"]) if path.exists() else ""
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise MapError(f"the map is damaged: {path} cannot be read; build it again") from error


def _absolute(text: str) -> Path:
    return Path(text).expanduser().absolute()


def _topic(name: str, namespace: str) -> str:
    return name if name.startswith("/") else f"{namespace}/{name}"


def _cameras(
    given: Mapping[str, str], topics: Mapping[str, str], namespace: str
) -> tuple[Camera, ...]:
    transport = given["image_transport"]
    choices = ("", "raw", "compressed")
    require(transport in choices, f"image_transport:={transport} is neither raw nor compressed")
    names = [name.strip("/") for name in _listed(given["cameras"])]
    images = [
        _topic(image, namespace).removesuffix("/compressed") for image in _listed(given["image"])
    ]
    found = transports_of(topics)
    if found and not names and not images:
        images = _one_a_camera(list(found))
        below = namespace.lstrip("/") + "/"
        names = [_namespace(image).removeprefix(below) or "camera" for image in images]
    names = names or ["camera"]
    images = images or [_topic(f"{name}/image", namespace) if topics else "" for name in names]
    require(
        len(images) == len(names),
        f"image:= names {len(images)} topics, cameras:= {len(names)} namespaces; give one each",
    )
    for image in images:
        there = not topics or image in found
        require(there, f"the bag has no images on {image}; it has {', '.join(found) or 'none'}")
    return tuple(
        Camera(name, image, transport or found.get(image, ""))
        for name, image in zip(names, images, strict=True)
    )


def _one_a_camera(images: list[str]) -> list[str]:
    """Those named image..., as image_transport's are; else all."""
    images = [name for name in images if name.rpartition("/")[2].startswith("image")] or images
    different = len({_namespace(image) for image in images}) == len(images)
    require(different, f"the bag has several images of a camera: choose by image:=, of {images}")
    return images


def _listed(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _namespace(topic: str) -> str:
    return topic.rpartition("/")[0].strip("/")


def _initial_pose(text: str, bag: Path | None) -> tuple[float, float, float] | None:
    if not text:
        return None
    if text == "ground_truth":
        require(bag is not None, "initial_pose:=ground_truth needs bag:=")
        assert bag is not None
        return ground_truth_of(bag)
    try:
        x, y, yaw = (float(number) for number in text.replace(",", " ").split())
    except ValueError:
        x = y = yaw = math.nan
    finite = all(map(math.isfinite, (x, y, yaw)))
    require(finite, f"initial_pose:='{text}' is neither 'x y yaw' nor ground_truth")
    return x, y, yaw


def topics_of(bag: Path) -> dict[str, str]:
    """Topics of a rosbag2 that hold messages, to their types.

    Raises:
        RecordingError: the bag cannot be read.
    """
    import rosbag2_py

    try:
        metadata = rosbag2_py.Info().read_metadata(str(bag), "")
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise RecordingError(f"cannot read the bag {bag}: {reason}") from error
    topics = metadata.topics_with_message_count
    return {t.topic_metadata.name: t.topic_metadata.type for t in topics if t.message_count}


def transports_of(topics: Mapping[str, str]) -> dict[str, str]:
    """Image topics without the transport's name, to the transport: raw where there are both."""
    found: dict[str, str] = {}
    for topic, kind in topics.items():
        if kind not in _TRANSPORTS or topic.endswith("/compressedDepth"):
            continue
        base, transport = topic.removesuffix("/compressed"), _TRANSPORTS[kind]
        found[base] = "raw" if "raw" in (transport, found.get(base)) else "compressed"
    return dict(sorted(found.items()))


def ground_truth_of(bag: Path) -> tuple[float, float, float]:
    """First pose on /ground_truth: x, y [m], yaw [rad].

    Raises:
        RecordingError: there is none.
    """
    import rosbag2_py
    from nav_msgs.msg import Odometry
    from rclpy.serialization import deserialize_message

    reader = rosbag2_py.SequentialReader()
    reader.open(rosbag2_py.StorageOptions(uri=str(bag)), rosbag2_py.ConverterOptions("cdr", "cdr"))
    reader.set_filter(rosbag2_py.StorageFilter(topics=[GROUND_TRUTH]))
    if not reader.has_next():
        raise RecordingError(f"{bag} has no {GROUND_TRUTH}; give initial_pose:='x y yaw'")
    pose = deserialize_message(reader.read_next()[1], Odometry).pose.pose
    q = pose.orientation
    yaw = math.atan2(2.0 * (q.w * q.z + q.x * q.y), 1.0 - 2.0 * (q.y * q.y + q.z * q.z))
    return pose.position.x, pose.position.y, yaw


@dataclass(frozen=True)
class DemoDrives:
    """Drives of one town in two seasons, and the map of the first."""

    folder: Path

    @property
    def summer(self) -> Path:
        """Bag of the mapped drive."""
        return self.folder / "summer"

    @property
    def winter(self) -> Path:
        """Bag of the drive to localize."""
        return self.folder / "winter"

    @property
    def map(self) -> Path:
        """Map folder; named by the network, as a map of another one would be refused."""
        return self.folder / f"map_{zlib.crc32(CHECKPOINT.read_bytes()):08x}"

    def missing(self) -> list[tuple[str, ...]]:
        """`fgsn` commands, in order, that make what is not there."""
        commands = {
            self.summer: (*_DRIVE, "--drive-seed", "0", "--season", "summer"),
            self.winter: (*_DRIVE, "--drive-seed", "1", "--season", "winter"),
            self.map: ("map", str(self.summer), "--checkpoint", str(CHECKPOINT)),
        }
        return [
            (*command, "--output", str(path))
            for path, command in commands.items()
            if not path.exists()
        ]


def demo_drives() -> DemoDrives:
    """Those below ROS_HOME, ~/.ros where it is not set."""
    home = Path(os.environ.get("ROS_HOME") or "~/.ros").expanduser()
    return DemoDrives(home / "fgsn_ros" / "demo")
