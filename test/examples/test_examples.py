"""The scripts of examples/, each run as a user would on small inputs."""

import ast
import os
import re
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import pytest

from fgsn_ros.simulation.bags import write_drive
from fgsn_ros.simulation.drive import DriveSettings, SimulatedDrive
from fgsn_ros.simulation.seasons import Season

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
NETWORK = ROOT / "fgsn_ros" / "data" / "town.safetensors"
SUMMER = DriveSettings(
    town_seed=3, drive_seed=1, duration_s=3.0, rate_hz=5.0, width=320, height=240, stops=False
)
LONGEST = 40


@dataclass(frozen=True)
class Drives:
    """One short drive in two seasons, as bags, and some of its images."""

    folder: Path

    @property
    def summer(self) -> Path:
        return self.folder / "summer"

    @property
    def winter(self) -> Path:
        return self.folder / "winter"

    @property
    def images(self) -> Path:
        return self.folder / "images"


@pytest.fixture(scope="module")
def drives(tmp_path_factory: pytest.TempPathFactory) -> Drives:
    made = Drives(tmp_path_factory.mktemp("drives"))
    summer = SimulatedDrive(SUMMER)
    winter = SimulatedDrive(replace(SUMMER, drive_seed=2, season=Season.WINTER), summer.town)
    write_drive(summer, made.summer)
    write_drive(winter, made.winter)
    made.images.mkdir()
    for index in (0, 3):
        image = cv2.cvtColor(winter.render(index).image, cv2.COLOR_RGB2BGR)
        cv2.imwrite(str(made.images / f"{index}.jpg"), image)
    return made


@pytest.fixture(scope="module")
def town_map(drives: Drives) -> tuple[Path, str]:
    """The map that an example makes, and what the example says."""
    folder = drives.folder / "map"
    return folder, run("map_and_localize.py", drives.summer, drives.winter, NETWORK, folder)


def run(example: str, *arguments: Path) -> str:
    command = [sys.executable, str(ROOT / "examples" / example), *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_short_and_uses_public_names_alone(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= LONGEST
    imported = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ImportFrom)]
    assert not [node.module for node in imported if (node.module or "").startswith("fgsn_ros.")]


def test_a_folder_of_images_is_labelled(drives: Drives, tmp_path: Path) -> None:
    output = run("label_folder.py", drives.images, NETWORK, tmp_path / "labels")
    assert re.findall(r"^(\d).jpg: \d+ labels, confidence 0\.\d\d$", output, re.MULTILINE) == [
        "0",
        "3",
    ]
    labels = cv2.imread(str(tmp_path / "labels" / "3.png"), cv2.IMREAD_UNCHANGED)
    assert labels.shape == (240, 320)
    assert labels.max() > 0


def test_a_bag_is_mapped_and_another_localized(town_map: tuple[Path, str]) -> None:
    folder, output = town_map
    assert (folder / "meta.json").exists()
    match = re.search(r"^(\d+) frames, position within (\S+) m", output, re.MULTILINE)
    assert match is not None, output
    assert int(match[1]) >= 10
    assert float(match[2]) < 1.0


def test_odometry_and_labels_are_fed_one_by_one(drives: Drives, town_map: tuple[Path, str]) -> None:
    lines = run("online_loop.py", drives.winter, town_map[0], NETWORK).splitlines()
    assert len(lines) >= 10
    first, last = (float(re.findall(r"x (\S+) m", line)[0]) for line in (lines[0], lines[-1]))
    assert first != last
