"""The arguments of localize.launch.py and what they leave to the bag."""

from pathlib import Path

import numpy as np
import pytest

from fgsn_ros.errors import FgsnError
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.cameras import T_BASE_OPTICAL, Camera, CameraMount
from fgsn_ros.nodes import launch_arguments
from fgsn_ros.nodes.launch_arguments import (
    DESCRIPTIONS,
    FLAGS,
    DemoDrives,
    check_demo,
    checked,
    demo_drives,
)
from fgsn_ros.nodes.launch_arguments import Camera as Source
from fgsn_ros.recordings.bag_files import COMPRESSED, IMAGE, ODOMETRY, Topic
from fgsn_ros.recordings.recording import Frame
from fgsn_ros.recordings.rosbag_writer import RecordingWriter

START = poses.from_planar(3.0, -4.0, 0.75)


@pytest.fixture
def given(tmp_path: Path) -> dict[str, str]:
    """Texts of the arguments, with what looks like a map and a checkpoint."""
    (tmp_path / "map").mkdir()
    (tmp_path / "map" / "meta.json").touch()
    (tmp_path / "network.onnx").touch()
    texts = {**dict.fromkeys(DESCRIPTIONS, ""), **dict.fromkeys(FLAGS, "false"), "odom": "/odom"}
    files = {"map": tmp_path / "map", "checkpoint": tmp_path / "network.onnx"}
    return {**texts, **{name: str(path) for name, path in files.items()}, "params_file": __file__}


def written(path: Path, with_truth: bool) -> Path:
    """A drive of three images."""
    mount = CameraMount(Camera(32, 24, 30.0, 30.0, 15.5, 11.5), T_BASE_OPTICAL, "optical")
    with RecordingWriter(path) as writer:
        writer.add_camera("camera", mount)
        for i in range(3):
            T_map_base = START @ poses.from_planar(0.5 * i, 0.0, 0.1 * i)
            writer.write_odometry(1000.0 + i, T_map_base)
            writer.write_image(Frame(1000.0 + i, "camera", np.zeros((24, 32, 3), np.uint8)))
            if with_truth:
                writer.write_ground_truth(1000.0 + i, T_map_base)
    return path


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    return written(tmp_path / "drive", with_truth=True)


def refusal(given: dict[str, str], **arguments: str) -> str:
    with pytest.raises(FgsnError) as caught:
        checked({**given, **arguments})
    return str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"map": "/tmp"}, "holds no meta.json"),
        ({"checkpoint": ""}, "checkpoint:= is missing"),
        ({"checkpoint": "/absent"}, "checkpoint:=/absent is not there"),
        ({"params_file": "/absent"}, "params_file:=/absent is not there"),
        ({"bag": "/absent"}, "bag:=/absent is not there"),
        ({"bag": __file__}, "is no rosbag2"),
        ({"image_transport": "theora"}, "image_transport:=theora is neither"),
        ({"cameras": "left,right", "image": "/a"}, "names 1 topics, cameras:= 2"),
        ({"initial_pose": "1 2"}, "neither 'x y yaw' nor"),
        ({"initial_pose": "1 2 nan"}, "neither 'x y yaw' nor"),
        ({"initial_pose": "ground_truth"}, "needs bag:="),
        ({"record": "/tmp"}, "record:=/tmp exists already"),
        ({"autostart": "1"}, "autostart:=1 is neither true nor false"),
    ],
)
def test_what_cannot_work_is_refused_with_the_reason(
    given: dict[str, str], arguments: dict[str, str], reason: str
) -> None:
    assert reason in refusal(given, **arguments)


@pytest.mark.parametrize("name", ["drive.mcap", "drive.bag"])
def test_a_damaged_bag_is_refused(given: dict[str, str], tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"no bag")
    reason = "is no rosbag2" if name.endswith(".bag") else "cannot read the bag"
    assert reason in refusal(given, bag=str(tmp_path / name))


def test_without_a_bag_the_arguments_name_the_cameras(given: dict[str, str]) -> None:
    assert checked(given).cameras == (Source("camera", "", ""),)
    several = checked({**given, "cameras": "left, /right", "image": "/l/image,/r/image/compressed"})
    assert several.cameras == (Source("left", "/l/image", ""), Source("right", "/r/image", ""))
    assert checked({**given, "initial_pose": "1, 2, -0.5"}).initial_pose == (1.0, 2.0, -0.5)


def test_with_a_bag_it_says_what_the_arguments_do_not(given: dict[str, str], bag: Path) -> None:
    arguments = {"bag": str(bag), "initial_pose": "ground_truth"}
    found = checked({**given, **arguments})
    assert found.cameras == (Source("camera", "/camera/image", "compressed"),)
    assert found.use_sim_time
    np.testing.assert_allclose(found.initial_pose, [3.0, -4.0, 0.75])
    assert "no nav_msgs/Odometry on /wheels" in refusal(given, **arguments, odom="/wheels")
    assert "no images on /image; it has /camera/image" in refusal(
        given, **arguments, image="/image"
    )


def test_a_bag_without_ground_truth_cannot_give_the_initial_pose(
    given: dict[str, str], tmp_path: Path
) -> None:
    bag = written(tmp_path / "drive", with_truth=False)
    arguments = {"bag": str(bag), "initial_pose": "ground_truth"}
    assert "has no /ground_truth; give initial_pose" in refusal(given, **arguments)


def test_cameras_of_a_bag_are_its_image_topics(
    given: dict[str, str], bag: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds = {"/odom": ODOMETRY, "/left/image/compressed": COMPRESSED, "/left/image": IMAGE}
    kinds |= {"/right/image/compressed": COMPRESSED, "/left/depth": IMAGE}
    topics = {name: Topic(name, kind, 1) for name, kind in kinds.items()}
    monkeypatch.setattr(launch_arguments, "read_topics", lambda bag: topics)
    texts = {**given, "bag": str(bag)}
    left, right = (
        Source("left", "/left/image", "raw"),
        Source("right", "/right/image", "compressed"),
    )
    assert checked(texts).cameras == (left, right)
    assert checked({**texts, "cameras": "right"}).cameras == (right,)
    topics["/left/image_rect"] = Topic("/left/image_rect", IMAGE, 1)
    assert "several images of a camera: choose by image:=" in refusal(texts)


def test_the_demo_makes_what_is_missing_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROS_HOME", str(tmp_path))
    empty = demo_drives()
    outputs = [command[-1] for command in empty.missing()]
    assert outputs == [str(empty.summer), str(empty.winter), str(empty.map)]
    assert empty.folder == tmp_path / "fgsn_ros" / "demo"
    made = DemoDrives(tmp_path / "made")
    for path in (made.summer, made.winter, made.map):
        path.mkdir(parents=True)
    assert made.missing() == []
    with pytest.raises(FgsnError, match="its own checkpoint"):
        check_demo({**dict.fromkeys(DESCRIPTIONS, ""), "checkpoint": "mine"})
