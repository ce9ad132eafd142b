import json

import numpy as np
import pytest
from made_seasons import robotcar_poses, write_cmu_slice, write_robotcar

from fgsn_ros.cli import main
from fgsn_ros.geometry import poses
from fgsn_ros.recordings.benchmark_lists import submitted_name
from fgsn_ros.recordings.cmu_seasons import cmu_query_poses
from fgsn_ros.recordings.robotcar_seasons import robotcar_training_poses


def lines(known, off_m=0.0):
    text = ""
    for pose in known:
        translation, (x, y, z, w) = poses.to_quaternion(pose.T_camera_world)
        numbers = (w, x, y, z, translation[0] + off_m, *translation[1:])
        text += f"{submitted_name(pose.name)} {' '.join(f'{v:.9f}' for v in numbers)}\n"
    return text


def test_a_slice_and_robotcar_are_judged_by_condition(tmp_path, capsys):
    cmu, robotcar = write_cmu_slice(tmp_path / "cmu"), write_robotcar(tmp_path / "robotcar")
    for root, known, groups in (
        (cmu, cmu_query_poses(cmu), ["park", "sunny, no foliage", "all"]),
        (
            robotcar,
            robotcar_training_poses(robotcar),
            ["day, all", "night", "night, all", "overcast-winter", "all"],
        ),
    ):
        result, output = tmp_path / "result.txt", tmp_path / f"{root.name}.json"
        result.write_text(lines(known, off_m=0.3))
        assert main(["evaluate", "images", str(result), str(root), "--output", str(output)]) == 0
        conditions = json.loads(output.read_text())["conditions"]
        assert list(conditions) == groups
        assert all(c["recall_percent"] == [0.0, 100.0, 100.0] for c in conditions.values())
        assert all(abs(c["median_m"] - 0.3) < 1e-6 for c in conditions.values())
        printed = capsys.readouterr().out
        assert "0.25 m 2 deg" in printed
        assert all(group in printed for group in groups)


def test_several_lists_are_conditions_and_folders_of_one_too(tmp_path, capsys):
    known = robotcar_training_poses(write_robotcar(tmp_path / "robotcar"))
    (tmp_path / "result.txt").write_text(lines(known))
    full = "".join(
        f"{pose.name} {line.split(maxsplit=1)[1]}"
        for pose, line in zip(known, lines(known).splitlines(keepends=True), strict=True)
    )
    (tmp_path / "day.txt").write_text("".join(full.splitlines(keepends=True)[3:]))
    (tmp_path / "night.txt").write_text("".join(full.splitlines(keepends=True)[:3]))
    (tmp_path / "both.txt").write_text(full)
    result = str(tmp_path / "result.txt")
    for given, groups in ((("day", "night"), "day night"), (("both",), "night overcast-winter")):
        files = [str(tmp_path / f"{name}.txt") for name in given]
        assert main(["evaluate", "images", result, *files]) == 0
        rows = capsys.readouterr().out.splitlines()[1:-1]
        assert [row.split()[0] for row in rows] == [*groups.split(), "all"]
        assert all(row.split()[-1] == "100.0" for row in rows)


def test_poses_with_centres_are_told_by_a_flag(tmp_path, capsys):
    known = robotcar_training_poses(write_robotcar(tmp_path / "robotcar"))
    (tmp_path / "result.txt").write_text(lines(known))
    text = ""
    for pose in known:
        _, (x, y, z, w) = poses.to_quaternion(pose.T_camera_world)
        centre = poses.invert(pose.T_camera_world)[:3, 3]
        text += f"{pose.name} {' '.join(f'{v:.9f}' for v in (w, x, y, z, *centre))}\n"
    (tmp_path / "known.txt").write_text(text)
    files = [str(tmp_path / name) for name in ("result.txt", "known.txt")]
    assert np.abs(robotcar_poses()[1][:3, 3]).max() > 0.5  # a centre is no translation here
    assert main(["evaluate", "images", *files, "--centres"]) == 0
    assert capsys.readouterr().out.splitlines()[-2].split()[-3:] == ["100.0"] * 3
    assert main(["evaluate", "images", *files]) == 0
    assert capsys.readouterr().out.splitlines()[-2].split()[-3] != "100.0"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing.txt", "known.txt"], "nothing.txt"),
        (["result.txt", "other.txt"], "none of 1 located images"),
        (["result.txt"], "name files or folders of known poses"),
        (["result.txt", "."], "cannot read"),
    ],
)
def test_what_cannot_be_judged_is_one_line(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "result.txt").write_text("a.jpg 1 0 0 0 0 0 0\n")
    (tmp_path / "other.txt").write_text("b.jpg 1 0 0 0 0 0 0\n")
    assert main(["evaluate", "images", *arguments]) == 2
    assert message in capsys.readouterr().err
