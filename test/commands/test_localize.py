import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from corridor import Corridor, TintSegmenter
from rosbags.highlevel import AnyReader

from fgsn_ros.cli import main
from fgsn_ros.commands import localize as localize_command
from fgsn_ros.geometry.trajectory import read_tum
from fgsn_ros.mapping.builder import write_map
from fgsn_ros.recordings.rosbag_writer import RecordingWriter


def localize(workplace: Any, output: Path, *more: str) -> int:
    arguments = ["localize", workplace.bag, "--map", workplace.map, "--output", output]
    arguments += ["--checkpoint", workplace.checkpoint, *more]
    return main([str(argument) for argument in arguments])


def test_a_result_folder_holds_trajectory_metrics_plots_and_bag(
    workplace: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "result"

    assert localize(workplace, output, "--start.offset-m", "0.5") == 0

    assert len(read_tum(output / "trajectory.tum")) == 12
    metrics = json.loads((output / "metrics.json").read_text())
    assert metrics["localized"]["frames"] == 12
    assert metrics["dead_reckoning"]["position_m"]["median"] == pytest.approx(0.5, abs=1e-6)
    assert metrics["facts"]["odometry"] == "recorded"
    assert {path.name for path in output.iterdir()} == {
        "trajectory.tum",
        "metrics.json",
        "trajectory.png",
        "consistency.png",
        "covariances.txt",
        "errors.png",
        "bag",
    }
    assert "dead reckoning" in capsys.readouterr().out


def test_the_result_bag_has_the_topics_of_the_node(workplace: Any, tmp_path: Path) -> None:
    output = tmp_path / "result"
    assert localize(workplace, output) == 0

    with AnyReader([output / "bag"]) as reader:
        counts = {topic: info.msgcount for topic, info in reader.topics.items()}
        assert counts == {
            "/pose": 12,
            "/particles": 12,
            "/particle_weights": 12,
            "/quality": 12,
            "/odom": 12,
            "/tf": 12,
            "/tf_static": 1,
            "/map_points": 1,
            "/path": 3,
            "/odometry_path": 3,
            "/camera/overlay/compressed": 3,
        }
        messages = {c.topic: reader.deserialize(d, c.msgtype) for c, _, d in reader.messages()}
    cloud = messages["/map_points"]
    assert (cloud.width, len(cloud.data)) == (500, 500 * cloud.point_step)
    xyz = np.frombuffer(cloud.data.tobytes(), np.uint8).reshape(500, -1)[:, :12].view("<f4")
    assert (xyz.min(axis=0) >= [0, -8, 0]).all()
    assert (xyz.max(axis=0) <= [30, 8, 5]).all()
    assert len(messages["/path"].poses) == len(messages["/odometry_path"].poses) == 12
    weights = messages["/particle_weights"].data.tobytes()
    assert np.frombuffer(weights, "<f4").reshape(-1, 4)[:, 3].mean() == pytest.approx(1.0)
    assert 0.0 <= messages["/quality"].data <= 1.0
    assert messages["/pose"].header.frame_id == "map"


def test_map_to_odom_to_base_is_the_estimate(workplace: Any, tmp_path: Path) -> None:
    output = tmp_path / "result"
    assert localize(workplace, output, "--start.offset-m", "1") == 0

    estimate = read_tum(output / "trajectory.tum").poses
    with AnyReader([output / "bag"]) as reader:
        trees = [
            reader.deserialize(d, c.msgtype) for c, _, d in reader.messages() if c.topic == "/tf"
        ]
    for tree, T_map_base in zip(trees, estimate, strict=True):
        (map_odom, odom_base) = tree.transforms
        assert (map_odom.header.frame_id, map_odom.child_frame_id) == ("map", "odom")
        assert (odom_base.header.frame_id, odom_base.child_frame_id) == ("odom", "base_link")
        yaw = 2 * np.arctan2(map_odom.transform.rotation.z, map_odom.transform.rotation.w)
        moved = odom_base.transform.translation.x * np.array([np.cos(yaw), np.sin(yaw)])
        start = np.array([map_odom.transform.translation.x, map_odom.transform.translation.y])
        np.testing.assert_allclose(start + moved, T_map_base[:2, 3], atol=1e-6)


def test_the_same_seed_gives_the_same_trajectory_to_the_bit(workplace: Any, tmp_path: Path) -> None:
    options = ("--no-bag", "--start.offset-m", "1", "--start.offset-deg", "3")
    for name, seed in (("a", "5"), ("b", "5"), ("c", "6")):
        assert localize(workplace, tmp_path / name, *options, "--localizer.random-seed", seed) == 0

    a, b, c = ((tmp_path / name / "trajectory.tum").read_bytes() for name in "abc")
    assert a == b
    assert a != c


def test_a_given_pose_starts_the_run(workplace: Any, tmp_path: Path) -> None:
    output = tmp_path / "result"
    pose = ("--start.pose", "0", "2", "0", "10", "--start.std-m", "0.01", "--start.std-deg", "0.1")
    assert localize(workplace, output, "--no-bag", *pose) == 0
    first = read_tum(output / "trajectory.tum").poses[0]
    np.testing.assert_allclose(first[:2, 3], [0, 2], atol=0.05)
    assert np.degrees(np.arctan2(first[1, 0], first[0, 0])) == pytest.approx(10, abs=0.5)


def test_a_reference_file_replaces_the_recordings_ground_truth(
    workplace: Any, tmp_path: Path
) -> None:
    reference = tmp_path / "reference.tum"
    reference.write_text("".join(f"{1000 + t / 10} {0.3 * t} 4 0 0 0 0 1\n" for t in range(12)))
    output = tmp_path / "result"
    options = ("--no-bag", "--reference", str(reference), "--start.std-m", "0.01")
    assert localize(workplace, output, *options) == 0
    assert read_tum(output / "trajectory.tum").poses[0, 1, 3] == pytest.approx(4, abs=0.1)


def test_without_a_start_a_robot_that_is_not_found_ends_the_command_in_a_line(
    workplace: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The workplace's labels are those of an untrained network: they fit nowhere."""
    output = tmp_path / "result"
    assert localize(workplace, output, "--start.unknown") == 2
    assert "the robot was not found on the map in 12 frames of bag" in capsys.readouterr().err
    assert not output.exists()


@pytest.fixture
def corridor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A bag of a textured corridor and a map of it; labels come from its tints."""
    drive = Corridor()
    write_map(tmp_path / "map", drive, TintSegmenter())
    with RecordingWriter(tmp_path / "bag") as writer:
        writer.add_camera("camera", drive.mount)
        for frame, T_map_base in zip(drive.frames(), drive.ground_truth.poses, strict=True):
            writer.write_odometry(frame.stamp, T_map_base)
            writer.write_ground_truth(frame.stamp, T_map_base)
            writer.write_image(frame)
    log_ratio = np.where(np.eye(4) > 0, 1.2, -2.0).astype(np.float32)
    checkpoint = SimpleNamespace(fingerprint="cd" * 32, log_ratio=log_ratio)
    segmenter = TintSegmenter()
    segmenter.checkpoint = checkpoint
    monkeypatch.setattr(localize_command, "load_checkpoint", lambda path: checkpoint)
    monkeypatch.setattr(localize_command, "Segmenter", lambda checkpoint, settings: segmenter)
    return SimpleNamespace(bag=tmp_path / "bag", map=tmp_path / "map", checkpoint="network.onnx")


def test_local_features_of_the_map_are_weighed_unless_told_not_to(
    corridor: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start = ("--no-bag", "--start.offset-m", "0.4")
    assert localize(corridor, tmp_path / "both", *start) == 0
    assert "features " in capsys.readouterr().out
    assert localize(corridor, tmp_path / "labels", *start, "--no-features") == 0
    assert "features " not in capsys.readouterr().out
    errors = [
        json.loads((tmp_path / name / "metrics.json").read_text())["localized"]["position_m"]
        for name in ("both", "labels")
    ]
    assert errors[0]["median"] < 0.5 * errors[1]["median"]


def test_a_map_without_local_features_is_localized_on_by_labels(
    workplace: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert localize(workplace, tmp_path / "result", "--no-bag") == 0
    assert "features " not in capsys.readouterr().out
