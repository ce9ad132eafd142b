"""What a robot runs needs neither PyTorch nor Open3D: they are not in its install."""

import subprocess
import sys
from pathlib import Path
from typing import Any

from fgsn_ros.cli import main

EXTRA = ("torch", "torchvision", "open3d", "faiss", "h5py", "tensorboard", "onnx")
BLOCKED = f"""
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {EXTRA!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

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
        assert error.name.split(".")[0] not in EXTRA, (module.name, error)
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
    run(f"EXTRA = {EXTRA!r}{NODES}")


def test_a_command_that_lacks_its_extra_names_it_in_one_line(tmp_path: Path) -> None:
    drive = "from fgsn_ros.cli import main\nassert main(sys.argv[1:]) == 2"
    command = [sys.executable, "-c", BLOCKED + drive, "simulate", "drive", "--output"]
    result = subprocess.run([*command, str(tmp_path / "x")], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stderr == (
        "fgsn: error: the simulation needs open3d, which is not installed: "
        "pip install 'fgsn_ros[simulation]'\n"
    )
