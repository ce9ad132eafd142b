"""`fgsn map --colmap MODEL IMAGES`."""

import pytest
from made_colmap import corridor_model, text_files, write, write_images

from fgsn_ros.cli import main
from fgsn_ros.mapping.map_files import load_map


def test_a_model_and_its_images_become_a_map(workplace, tmp_path, capsys, caplog):
    model, recording = corridor_model(frames=4)
    given = [
        str(write(tmp_path / "model", text_files(model))),
        str(write_images(tmp_path / "images", model, recording)),
    ]
    (tmp_path / "gps.txt").write_text(
        "000.png 48.0 9.0 0\n001.png 48.0 9.00001 0\n002.png 48.0 9.00002 0\n"
    )
    rest = ["--checkpoint", str(workplace.checkpoint), "--output", str(tmp_path / "map")]
    rest += ["--gps", str(tmp_path / "gps.txt"), "--mapping.min-agreement", "0"]
    assert main(["map", "--colmap", *given, *rest]) == 0
    assert "GPS: 3 of 3 positions fit with" in capsys.readouterr().out
    assert "nearly on a line" in caplog.text
    assert len(load_map(tmp_path / "map")) == len(model.points)
    assert main(["map", "--colmap", *given, *rest]) == 2  # what is there is not replaced unasked


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], "name what to map: a RECORDING, or a COLMAP model by --colmap MODEL IMAGES"),
        (["bag", "--colmap", "a", "b"], "name what to map"),
        (["bag", "--gps", "g"], "--similarity and --gps place a COLMAP model"),
        (["--colmap", "a", "b", "--gps", "g", "--similarity", "s"], "exclude each other"),
        (["--colmap", "a", "b", "--recording.first", "3"], "leave out --recording.*"),
        (["--colmap", "a", "b"], "a is no COLMAP model"),
    ],
)
def test_what_cannot_be_mapped_is_refused_in_one_line(
    workplace, tmp_path, capsys, monkeypatch, words, line
):
    monkeypatch.chdir(tmp_path)
    rest = ["--checkpoint", str(workplace.checkpoint), "--output", "map"]
    assert main(["map", *words, *rest]) == 2
    said = capsys.readouterr().err.strip()
    assert line in said
    assert len(said.splitlines()) == 1
    assert not (tmp_path / "map").exists()
