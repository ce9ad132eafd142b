"""The commands one after the other, on what the one before has written."""

import json
from pathlib import Path
from typing import Any

import pytest

from fgsn_ros.cli import main
from fgsn_ros.mapping.map_files import load_map
from fgsn_ros.recordings.open import open_recording
from fgsn_ros.segmentation.checkpoint import load_checkpoint


def run(*arguments: object) -> None:
    assert main([str(argument) for argument in arguments]) == 0


@pytest.fixture(scope="module")
def drive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("simulated") / "drive"
    size = ("--width", 200, "--height", 150)
    options = ("--town-seed", 3, "--duration-s", 2, "--rate-hz", 5, "--threads", 1)
    run("simulate", "drive", *options, *size, "--no-stops", "--output", path)
    return path


def test_a_simulated_drive_is_a_recording(drive: Path) -> None:
    recording = open_recording(drive)
    assert recording.frame_count == len(list(recording.frames()))
    assert recording.odometry is not None
    assert recording.ground_truth is not None
    assert recording.cameras["camera"].camera.width == 200


def test_a_drive_is_mapped_localized_and_evaluated(
    drive: Path, workplace: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    semantic_map, result = tmp_path / "map", tmp_path / "result"
    ply = tmp_path / "map.ply"
    given = ("--checkpoint", workplace.checkpoint, "--output", semantic_map, "--ply", ply)
    run("map", drive, *given)
    mapped = load_map(semantic_map)
    assert mapped.fingerprint == load_checkpoint(workplace.checkpoint).fingerprint
    assert ply.read_bytes().startswith(b"ply\n")

    options = ("--map", semantic_map, "--checkpoint", workplace.checkpoint, "--output", result)
    run("localize", drive, *options, "--start.std-m", 0.1, "--start.std-deg", 0.5)
    metrics = json.loads((result / "metrics.json").read_text())
    assert metrics["localized"]["height_m"]["median"] < 0.1

    capsys.readouterr()
    run("evaluate", result / "trajectory.tum", result / "trajectory.tum")
    position = next(
        line for line in capsys.readouterr().out.splitlines() if line.startswith("position")
    )
    assert position.split()[-4:] == ["0.000"] * 4
