import json

import numpy as np
import pytest

from fgsn_ros.cli import main
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.trajectory import Trajectory, write_tum


@pytest.fixture
def files(tmp_path):
    """A drive along y = 3 sin(t), and its reference, lost from 3 to 7 s."""
    t = 0.1 * np.arange(101)
    drive = Trajectory(t, poses.from_planar(2.0 * t, 3.0 * np.sin(t), np.arctan2(3 * np.cos(t), 2)))
    known = (t <= 3.0) | (t >= 7.0)
    write_tum(tmp_path / "estimate.tum", drive)
    write_tum(tmp_path / "reference.tum", Trajectory(t[known], drive.poses[known]))
    return tmp_path / "estimate.tum", tmp_path / "reference.tum"


def test_poses_in_a_hole_have_no_reference_unless_its_length_is_allowed(files, tmp_path):
    measured = {}
    for name, options in (("usual", []), ("allowed", ["--max-pose-gap-s", "5"])):
        output = tmp_path / name
        assert main(["evaluate", *map(str, files), "--output", str(output), *options]) == 0
        measured[name] = json.loads((output / "metrics.json").read_text())["localized"]
    assert measured["usual"]["left_out"] == 39
    assert measured["usual"]["position_m"]["maximum"] < 1e-6
    assert measured["allowed"]["left_out"] == 0
    assert measured["allowed"]["position_m"]["maximum"] > 2.0


@pytest.mark.parametrize("limit", ["0", "-1", "nan"])
def test_a_gap_that_is_no_time_is_refused(files, limit, capsys):
    assert main(["evaluate", *map(str, files), "--max-pose-gap-s", limit]) == 2
    assert "max_pose_gap_s must be above 0" in capsys.readouterr().err


def test_a_reference_of_another_clock_is_named_with_both_times(files, tmp_path, capsys):
    text = files[1].read_text().splitlines()
    rows = [line.split(maxsplit=1) for line in text if not line.startswith("#")]
    late = tmp_path / "late.tum"
    late.write_text("".join(f"{1.7e9 + float(stamp):.3f} {rest}\n" for stamp, rest in rows))
    assert main(["evaluate", str(files[0]), str(late)]) == 2
    said = capsys.readouterr().err
    assert "the estimate's stamps (0.000 to 10.000 s)" in said
    assert "the reference's (1700000000.000 to 1700000010.000 s)" in said
    assert "from a start of their own" in said
