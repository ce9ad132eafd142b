"""`fgsn localize --view` in a file, read back by Rerun's own command."""

import re
import subprocess
import sys
from collections import Counter

import pytest

from fgsn_ros import cli
from fgsn_ros.geometry.trajectory import read_tum

pytest.importorskip("rerun", reason="of the extra [view], which an environment for ROS lacks")


def rows_by_entity(path):
    """Rows of each entity in a file, as `rerun rrd print` counts them."""
    printed = subprocess.run(
        [sys.executable, "-m", "rerun", "rrd", "print", str(path)],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    rows = Counter()
    for count, entity in re.findall(r"with (\d+) rows .*? - (/.*?) - (?:data )?columns", printed):
        rows[entity.replace("\\", "")] += int(count)
    return rows


def test_a_run_is_shown_in_a_file(workplace, tmp_path):
    view = tmp_path / "run.rrd"
    arguments = ["localize", workplace.bag, "--map", workplace.map]
    arguments += [
        "--checkpoint",
        workplace.checkpoint,
        "--output",
        tmp_path / "result",
        "--no-bag",
        "--view",
        view,
    ]
    assert cli.main([str(argument) for argument in arguments]) == 0
    frames = len(read_tum(tmp_path / "result/trajectory.tum"))
    rows = rows_by_entity(view)
    for entity in (
        "/map/base",
        "/map/covariance",
        "/map/particles",
        "/labels/camera",
        "/map/base/camera/image/points",
        "/plots/position/error",
        "/plots/position/3_sigma",
        "/plots/heading/error",
        "/plots/time/weigh",
    ):
        assert rows[entity] >= frames, entity
    for entity in ("points", "paths/estimate", "paths/odometry", "paths/reference"):
        assert rows[f"/map/{entity}"] >= 1, entity


@pytest.mark.parametrize("command", ["localize", "demo"])
def test_a_view_that_exists_is_refused_before_any_work(command, tmp_path, capsys):
    view = tmp_path / "run.rrd"
    view.write_text("mine")
    arguments = [command, "--output", str(tmp_path / "result"), "--view", str(view)]
    if command == "localize":
        arguments += [str(tmp_path / "bag"), "--map", "map", "--checkpoint", "network.onnx"]
    assert cli.main(arguments) == 2
    assert f"{view} exists already" in capsys.readouterr().err
    assert view.read_text() == "mine"


def test_without_a_screen_a_file_is_asked_for(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert cli.main(["demo", "--view", "--output", str(tmp_path / "demo")]) == 2
    assert "--view run.rrd" in capsys.readouterr().err
