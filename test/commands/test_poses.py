"""`fgsn poses` and `fgsn map` of bags that hold images, calibration, mounting and odometry."""

import json

import cv2
import numpy as np
import pytest
from blind_drive import fixes_of
from corridor import Corridor
from raw_drive import RawDrive, write_raw
from sensor_messages import fix, imu

from fgsn_ros.cli import main
from fgsn_ros.geometry.trajectory import read_tum
from fgsn_ros.messages.poses import make_transform, make_transforms
from fgsn_ros.messages.types import BAG_TYPES
from fgsn_ros.recordings.rosbag_writer import RecordingWriter

FEW = ("--poses.keyframes.spacing-m", "0.5", "--poses.keyframes.features.features", "500")


@pytest.fixture(scope="module")
def bags(tmp_path_factory):
    folder = tmp_path_factory.mktemp("raw")
    write_raw(folder / "monday", RawDrive(frames=10))
    write_raw(folder / "tuesday", RawDrive(seed=2, offset_m=0.4, frames=10))
    return folder


def test_two_raw_bags_become_trajectories_in_one_frame_with_a_report(bags, tmp_path, capsys):
    output = tmp_path / "poses"
    given = [str(bags / "monday"), str(bags / "tuesday"), "--output", str(output), *FEW]
    assert main(["poses", *given]) == 0
    assert "joined with monday" in capsys.readouterr().out
    assert len(read_tum(output / "tuesday.tum")) == 10
    report = json.loads((output / "report.json").read_text())
    assert [one["frame"] for one in report["sessions"]] == [0, 0]
    assert main(["poses", *given]) == 2  # what is there is not replaced unasked
    assert main(["poses", *given, "--overwrite"]) == 0


def test_what_a_run_keeps_is_found_by_the_next_and_lies_apart_from_the_output(
    bags, tmp_path, capsys
):
    for name in ("monday", "tuesday"):
        given = [str(bags / name), "--output", str(tmp_path / name), *FEW]
        assert main(["poses", *given, "--keep", str(tmp_path / "work")]) == 0
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "work").iterdir()}
    given = [str(bags / "monday"), str(bags / "tuesday"), "--output", str(tmp_path / "both"), *FEW]
    assert main(["poses", *given, "--keep", str(tmp_path / "work")]) == 0
    assert "joined with monday" in capsys.readouterr().out
    assert made == {path: path.stat().st_mtime_ns for path in (tmp_path / "work").iterdir()}
    within = str(tmp_path / "other" / "work")
    given = [str(bags / "monday"), "--output", str(tmp_path / "other"), *FEW]
    assert main(["poses", *given, "--keep", within]) == 2
    assert "holds the input" in capsys.readouterr().err


def write_sensed(path, drive, topics=("/fix",)):
    """With RTK fixes of base_link on each topic, and an IMU on a drive that is level."""
    fixes = fixes_of(drive.truth, 0.02, antenna=np.zeros(3))
    with RecordingWriter(path) as writer:
        writer.add_camera("camera", drive.cameras["camera"])
        mount = make_transform(BAG_TYPES, 100.0, "base_link", "imu", np.eye(4))
        writer.write("/tf_static", 100.0, make_transforms(BAG_TYPES, [mount]), latched=True)
        for i, (stamp, T) in enumerate(
            zip(drive.odometry.stamps, drive.odometry.poses, strict=True)
        ):
            writer.write_odometry(float(stamp), T)
            place = tuple(fixes.positions[i].tolist())
            for topic in topics:
                writer.write(topic, float(stamp), fix(stamp, "base_link", 0, place, [4e-4] * 3))
            level = (1e-3 * i, 0.0, 0.0, 1.0)
            writer.write("/imu/data", float(stamp), imu(stamp, "imu", level, 1e-4))
        for frame in drive.frames():
            writer.write_image(frame)


def test_gps_and_imu_of_a_bag_are_used_and_reported(tmp_path, capsys):
    write_sensed(tmp_path / "surveyed", RawDrive(frames=8))
    output, shared = tmp_path / "poses", ("--poses.gps.shared-s", "0")
    given = [str(tmp_path / "surveyed"), "--output", str(output), *FEW, *shared]
    assert main(["poses", *given]) == 0
    said = capsys.readouterr().out
    assert "GPS: 8 fixes used, 0 of them disagree, 0 left out" in said
    assert "IMU: up by its orientation at 8 key frames" in said
    report = json.loads((output / "report.json").read_text())
    assert report["frames"][0]["x"] == "east"
    assert report["frames"][0]["origin"]["latitude_deg"] == pytest.approx(48.5, abs=1e-5)
    assert report["sessions"][0]["gps"]["residual_m"]["p95"] < 0.1


def test_of_two_gps_topics_none_is_used_unless_it_is_named(tmp_path, capsys, caplog):
    write_sensed(tmp_path / "bag", RawDrive(frames=8), ("/front/fix", "/rear/fix"))
    given = [str(tmp_path / "bag"), "--output", str(tmp_path / "poses"), *FEW]
    assert main(["poses", *given]) == 0
    said = "has several sensor_msgs/NavSatFix topics: /front/fix, /rear/fix; none is used: name one"
    assert said in caplog.text
    assert "gps_topic" in caplog.text
    assert "GPS" not in capsys.readouterr().out


def test_a_map_of_a_bag_without_poses_makes_them_first_and_says_so(
    bags, workplace, tmp_path, capsys, caplog
):
    flags = ["--checkpoint", str(workplace.checkpoint), "--output", str(tmp_path / "map")]
    flags += ["--mapping.min-agreement", "0", "--mapping.local-features.kind", "none"]
    assert main(["map", str(bags / "monday"), *flags]) == 0
    assert "monday: no poses; they are made first" in caplog.text
    assert "10 of 10 frames placed" in capsys.readouterr().out


PAIRS = ("--pairs.min-points", "5", "--pairs.structure.tracks.min-corner", "1e-4")


def test_pairs_of_two_raw_bags_are_made_with_poses_of_both_in_one_frame(
    bags, tmp_path, capsys, caplog
):
    given = [str(bags / "monday"), str(bags / "tuesday"), *PAIRS]
    assert main(["correspondences", *given, "--output", str(tmp_path / "pairs")]) == 0
    assert "monday, tuesday: no poses; they are made first" in caplog.text
    said = capsys.readouterr().out
    assert "joined with monday" in said
    across = said.splitlines()[-1]
    assert int(across.split(": ")[1].split()[0]) > 0
    assert "monday and tuesday" in across


def test_pairs_of_a_raw_bag_and_one_with_poses_are_refused(bags, workplace, tmp_path, capsys):
    given = [str(workplace.bag), str(bags / "monday"), "--output", str(tmp_path / "pairs")]
    assert main(["correspondences", *given]) == 2
    assert "monday: no poses, and bag has some" in capsys.readouterr().err


def test_a_drive_that_stands_still_ends_with_one_line(tmp_path, capsys):
    write_raw(tmp_path / "parked", RawDrive(frames=5, step_m=0.0))
    assert main(["poses", str(tmp_path / "parked"), "--output", str(tmp_path / "poses")]) == 2
    assert "stands still" in capsys.readouterr().err
    assert not (tmp_path / "poses").exists()


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A folder of images and nothing else."""
    folder = tmp_path_factory.mktemp("photos")
    for number, frame in enumerate(Corridor(frames=8).frames(), 1):
        cv2.imwrite(str(folder / f"{number:02d}.png"), frame.image[:, :, ::-1])
    return folder


def test_a_folder_of_images_alone_becomes_poses_without_scale_and_a_calibration(
    photos, tmp_path, capsys
):
    pytest.importorskip("pycolmap")
    output = tmp_path / "poses"
    flags = ["--images.focal-guesses", "0.7", "--images.features.features", "500"]
    assert main(["poses", str(photos), "--output", str(output), *flags]) == 0
    said = capsys.readouterr().out
    assert "scale unknown: no odometry, GPS or poses" in said
    assert "8 of 8 images placed" in said
    assert len(read_tum(output / f"{photos.name}.tum")) == 8
    written = {path.name for path in output.rglob("*") if path.is_file()}
    assert {"report.json", "camera.yaml", "cameras.txt", "points3D.txt"} <= written
    assert main(["poses", str(photos), "--output", str(output), *flags, "--overwrite"]) == 0


def test_without_pycolmap_images_alone_end_with_the_line_that_brings_it(
    photos, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["poses", str(photos), "--output", str(tmp_path / "poses")]) == 2
    assert "pip install 'fgsn_ros[poses]'" in capsys.readouterr().err
    assert not (tmp_path / "poses").exists()


def test_images_alone_are_not_joined_with_a_recording(photos, bags, tmp_path, capsys):
    paths = [str(bags / "monday"), str(photos)]
    assert main(["poses", *paths, "--output", str(tmp_path / "poses")]) == 2
    assert "name the folder alone" in capsys.readouterr().err


def test_a_map_of_images_alone_is_refused_by_what_is_missing(photos, workplace, tmp_path, capsys):
    flags = ["--checkpoint", str(workplace.checkpoint), "--output", str(tmp_path / "map")]
    assert main(["map", str(photos), *flags]) == 2
    assert "without camera.yaml" in capsys.readouterr().err
