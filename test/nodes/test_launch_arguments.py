"""The arguments of localize.launch.py and what they leave to the bag."""

import subprocess
import sys
from pathlib import Path

import pytest

from fgsn_ros.errors import FgsnError
from fgsn_ros.mapping.local_features import FOLDER
from fgsn_ros.nodes import launch_arguments
from fgsn_ros.nodes.launch_arguments import (
    DESCRIPTIONS,
    FLAGS,
    Camera,
    DemoDrives,
    check_demo,
    checked,
    demo_drives,
)
from fgsn_ros.recordings.bag_files import COMPRESSED, IMAGE, ODOMETRY


@pytest.fixture
def given(tmp_path: Path) -> dict[str, str]:
    """Texts of the arguments, with what looks like a map and a checkpoint."""
    (tmp_path / "map").mkdir()
    (tmp_path / "map" / "meta.json").touch()
    (tmp_path / "network.onnx").touch()
    texts = {**dict.fromkeys(DESCRIPTIONS, ""), **dict.fromkeys(FLAGS, "false"), "odom": "/odom"}
    files = {"map": tmp_path / "map", "checkpoint": tmp_path / "network.onnx"}
    return {**texts, **{name: str(path) for name, path in files.items()}, "params_file": __file__}


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


def test_without_a_bag_the_arguments_name_the_cameras(given: dict[str, str]) -> None:
    assert checked(given).cameras == (Camera("camera", "", ""),)
    several = checked({**given, "cameras": "left, /right", "image": "/l/image,/r/image/compressed"})
    assert several.cameras == (Camera("left", "/l/image", ""), Camera("right", "/r/image", ""))
    assert checked({**given, "initial_pose": "1, 2, -0.5"}).initial_pose == (1.0, 2.0, -0.5)


def test_the_maps_features_are_those_that_the_nodes_look_for(
    given: dict[str, str], tmp_path: Path
) -> None:
    assert checked(given).local_features == ""
    folder = tmp_path / "map" / FOLDER
    folder.mkdir()
    (folder / "kind.json").write_text('{"kind": "xfeat"}')
    assert checked(given).local_features == "xfeat"
    (folder / "kind.json").write_text("[]")
    assert "the map is damaged" in refusal(given)


def test_cameras_of_a_bag_are_its_image_topics(
    given: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    topics = {"/odom": ODOMETRY, "/left/image/compressed": COMPRESSED, "/left/image": IMAGE}
    topics |= {"/right/image/compressed": COMPRESSED, "/left/depth": IMAGE}
    monkeypatch.setattr(launch_arguments, "topics_of", lambda bag: topics)
    texts = {**given, "bag": str(tmp_path)}
    left, right = (
        Camera("left", "/left/image", "raw"),
        Camera("right", "/right/image", "compressed"),
    )
    assert checked(texts).cameras == (left, right)
    assert checked({**texts, "cameras": "right"}).cameras == (right,)
    topics["/left/image_rect"] = IMAGE
    assert "several images of a camera: choose by image:=" in refusal(texts)


def test_names_without_a_slash_are_below_the_launchs_namespace(given: dict[str, str]) -> None:
    texts = {**given, "odom": "odom", "image": "front/image_raw"}
    assert checked(texts).odom == "/odom"
    one = checked(texts, "/robot1")
    assert (one.odom, one.cameras) == (
        "/robot1/odom",
        (Camera("camera", "/robot1/front/image_raw", ""),),
    )
    other = checked({**texts, "odom": "/wheels", "image": "/front/image_raw"}, "/robot1")
    assert (other.odom, other.cameras[0].image) == ("/wheels", "/front/image_raw")


@pytest.mark.parametrize(("tf", "own"), [("/robot1/tf", True), ("/tf", False)])
def test_a_robots_bag_is_found_below_its_namespace(
    given: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tf: str, own: bool
) -> None:
    topics = {"/robot1/odom": ODOMETRY, "/robot1/left/image": IMAGE, tf: "tf2_msgs/msg/TFMessage"}
    monkeypatch.setattr(launch_arguments, "topics_of", lambda bag: topics)
    found = checked({**given, "odom": "odom", "bag": str(tmp_path)}, "/robot1")
    assert found.cameras == (Camera("left", "/robot1/left/image", "raw"),)
    assert (found.odom, found.own_tf) == ("/robot1/odom", own)


def test_the_launch_needs_nothing_that_pip_brings() -> None:
    code = (
        "import sys, fgsn_ros.nodes.launch_arguments; "
        "print(sorted({'numpy', 'cv2', 'numba', 'rosbags', 'tyro'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


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
