"""`fgsn poses` and `fgsn map` of bags that hold images, calibration, mounting and odometry."""

import json

import pytest
from raw_drive import RawDrive

from fgsn_ros.cli import main
from fgsn_ros.geometry.trajectory import read_tum
from fgsn_ros.recordings.rosbag_writer import RecordingWriter

FEW = ("--poses.keyframes.spacing-m", "0.5", "--poses.keyframes.features.features", "500")


def write_raw(path, drive):
    with RecordingWriter(path) as writer:
        writer.add_camera("camera", drive.cameras["camera"])
        for stamp, T in zip(drive.odometry.stamps, drive.odometry.poses, strict=True):
            writer.write_odometry(float(stamp), T)
        for frame in drive.frames():
            writer.write_image(frame)


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
