from pathlib import Path
from typing import Any

import cv2
import pytest

from fgsn_ros.cli import main


def test_the_demo_writes_table_and_picture(
    workplace: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "demo"
    options = ["--checkpoint", str(workplace.checkpoint), "--duration-s", "2"]

    assert main(["demo", "--output", str(output), *options]) == 0

    assert "dead reckoning" in capsys.readouterr().out
    names = {path.name for path in output.iterdir()}
    assert {"demo.png", "map", "bag", "trajectory.tum", "metrics.json"} <= names
    picture = cv2.imread(str(output / "demo.png"))
    assert picture is not None
    assert picture.std() > 20
