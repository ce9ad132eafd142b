"""What a robot runs needs neither PyTorch nor Open3D: they are not in its install."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fgsn_ros.cli import main

EXTRA = ("torch", "torchvision", "open3d", "faiss", "h5py", "tensorboard", "onnx")
BLOCKED = f"""
import importlib.util, sys

def is_absent(name):
    return name.split(".")[0] in {EXTRA!r}

class Absent:
    def find_spec(self, name, path=None, target=None):
        if is_absent(name):
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name: None if is_absent(name) else find_spec(name)
sys.meta_path.insert(0, Absent())
"""
NODES = """
import importlib, pkgutil
import fgsn_ros.nodes

imported = []
for module in pkgutil.iter_modules(fgsn_ros.nodes.__path__):
    try:
        importlib.import_module(f"fgsn_ros.nodes.{module.name}")
        imported.append(module.name)
    except ModuleNotFoundError as error:
        assert not is_absent(error.name), (module.name, error)
assert "settings" in imported
"""


def run(code: str, *arguments: object) -> str:
    command = [sys.executable, "-c", BLOCKED + code, *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_a_recording_is_localized_with_an_exported_network(workplace: Any, tmp_path: Path) -> None:
    network, output = tmp_path / "network.onnx", tmp_path / "result"
    size = ("--height", "64", "--width", "96")
    export = ("export", "--checkpoint", str(workplace.checkpoint), "--output", str(network))
    assert main([*export, *size]) == 0
    options = ("--map", workplace.map, "--checkpoint", network, "--output", output)
    localize = "from fgsn_ros.cli import main\nsys.exit(main(sys.argv[1:]))"
    run(localize, "localize", workplace.bag, *options)
    assert (output / "trajectory.tum").exists()
    assert (output / "bag").is_dir()


def test_the_parts_of_the_nodes_load() -> None:
    run(NODES)


@pytest.mark.parametrize(
    ("command", "missing"),
    [
        ("simulate drive --output OUTPUT", ("the simulation", "open3d", "simulation")),
        ("demo --output OUTPUT", ("the simulation", "open3d", "simulation")),
        ("correspondences x --output OUTPUT", ("training or its data", "h5py", "train")),
        (
            "train --data x --output OUTPUT",
            ("training or its data", "torch, faiss, h5py, tensorboard", "train"),
        ),
    ],
)
def test_a_command_that_lacks_its_extra_says_so_in_one_line(
    command: str, missing: tuple[str, str, str], tmp_path: Path
) -> None:
    words = command.replace("OUTPUT", str(tmp_path / "output")).split()
    code = "from fgsn_ros.cli import main\nsys.exit(main(sys.argv[1:]))"
    result = subprocess.run(
        [sys.executable, "-c", BLOCKED + code, *words], capture_output=True, text=True
    )
    purpose, module, extra = missing
    assert result.returncode == 2
    assert result.stderr == (
        f"fgsn: error: {purpose} needs {module}, not installed here: "
        f"pip install 'fgsn_ros[{extra}]'\n"
    )
    assert list(tmp_path.iterdir()) == []
