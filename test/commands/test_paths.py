"""No command destroys what it is given, or hangs on what is no file."""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from fgsn_ros.cli import main


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def given(workplace: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an input of every kind and links to them, which is the current one."""
    folder = tmp_path / "given"
    folder.mkdir()
    for path in (workplace.bag, workplace.map):
        (folder / path.name).mkdir()
        for file in path.iterdir():
            (folder / path.name / file.name).write_bytes(file.read_bytes())
    (folder / "net.safetensors").write_bytes(workplace.checkpoint.read_bytes())
    (folder / "poses.tum").write_text("1000 0 0 0 0 0 0 1\n1001 1 0 0 0 0 0 1\n")
    (folder / "labels").mkdir()
    cv2.imwrite(str(folder / "labels" / "0.png"), np.zeros((4, 6), np.uint8))
    (folder / "names.txt").write_text("road\n")
    (folder / "link").symlink_to("bag")
    monkeypatch.chdir(folder)
    return folder


NET = "--checkpoint net.safetensors"


@pytest.mark.parametrize(
    "command",
    [
        f"map bag {NET} --output bag",
        f"map link {NET} --output bag",
        f"map bag {NET} --output ../given/labels/../link",
        f"map bag {NET} --output bag/map",
        f"map bag {NET} --output .",
        f"map bag {NET} --output new --ply bag/metadata.yaml",
        f"map bag {NET} --output new --ply poses.tum --recording.poses poses.tum",
        f"localize bag --map map {NET} --output map",
        f"localize bag --map map {NET} --output bag",
        pytest.param(
            f"localize bag --map map {NET} --output new --reference poses.rrd --view poses.rrd",
            marks=pytest.mark.skipif(find_spec("rerun") is None, reason="of the extra [view]"),
        ),
        f"segment labels {NET} --output labels",
        f"segment bag {NET} --output bag",
        f"segment labels/0.png {NET} --output labels",
        "correspondences bag --output bag",
        "correspondences bag link --poses poses.tum --poses own --output ../given",
        "export --checkpoint net.safetensors --output net.safetensors",
        "evaluate poses.tum poses.tum --output poses.tum",
        "evaluate poses.tum poses.tum --output .",
        "evaluate segmentation labels labels --output labels/0.png",
        "evaluate segmentation labels labels --class-names names.txt --output names.txt",
        f"demo {NET} --output .",
        "train --data labels --output labels --objective semantic",
        "train --data labels --output . --objective statistics --init checkpoint.safetensors",
    ],
)
def test_an_output_that_is_an_input_is_refused_and_the_input_is_as_it_was(
    command: str, given: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.link("net.safetensors", "checkpoint.safetensors")
    os.link("poses.tum", "poses.rrd")
    before = contents(given)
    overwrite = [] if command.startswith("train") else ["--overwrite"]
    assert main([*command.split(), *overwrite]) == 2
    line = capsys.readouterr().err
    assert line.startswith("fgsn: error: ")
    assert line.count("\n") == 1
    assert "choose another output" in line
    assert contents(given) == before
    assert {path.name for path in given.parent.iterdir()} == {"given"}


@pytest.mark.parametrize(
    "command",
    [
        f"map bag {NET}",
        f"localize bag --map map {NET}",
        f"segment labels {NET}",
        "correspondences bag",
        "evaluate poses.tum poses.tum",
        "simulate drive",
        "demo",
    ],
)
def test_overwrite_keeps_a_folder_that_holds_something_else(
    command: str, given: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = given / "mine"
    mine.mkdir()
    for name in ("thesis.tex", "meta.json", "metadata.yaml", "labels.json", "metrics.json"):
        (mine / name).write_text("precious")
    assert main([*command.split(), "--output", "mine", "--overwrite"]) == 2
    assert "mine is not replaced: it holds " in capsys.readouterr().err
    assert set(contents(mine).values()) == {b"precious"}
    assert len(contents(mine)) == 5


INPUTS = {
    "correspondences": "PATH",
    "train": "--data PATH",
    "map": f"PATH {NET}",
    "localize": f"bag --map map {NET} --reference PATH",
    "evaluate": "poses.tum PATH",
    "evaluate segmentation": "labels labels --class-names PATH",
    "segment": f"PATH {NET}",
    "export": "--checkpoint PATH",
    "demo": "--checkpoint PATH",
}


@pytest.mark.parametrize("name", INPUTS)
@pytest.mark.parametrize("path", ["pipe", "/dev/zero"])
def test_an_input_that_has_no_end_is_refused_in_one_line(
    name: str, path: str, given: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo("pipe")
    words = INPUTS[name].replace("PATH", path).split()
    assert main([*name.split(), *words, "--output", "new.onnx"]) == 2
    line = capsys.readouterr().err
    assert line == f"fgsn: error: {path} is no file but a pipe or a device; name a file\n"
    assert not Path("new.onnx").exists()


@pytest.mark.parametrize(
    ("value", "words"), [('"a\\0b"', "is not Path"), ('"\\ud800"', "is not Path")]
)
def test_a_path_of_a_settings_file_that_cannot_be_one_is_refused_in_one_line(
    value: str, words: str, given: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("settings.yaml").write_text(f"map: {value}\n")
    assert main(f"localize bag {NET} --output new --config settings.yaml".split()) == 2
    line = capsys.readouterr().err
    assert words in line
    assert line.count("\n") == 1
    assert line[:-1].isprintable()


def test_a_settings_file_that_is_a_pipe_is_refused(
    given: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo("pipe")
    assert main(["evaluate", "poses.tum", "poses.tum", "--config", "pipe"]) == 2
    assert "it is no file but a pipe or a device" in capsys.readouterr().err
