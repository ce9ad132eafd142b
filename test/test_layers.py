"""The architecture, checked from the source: who may import whom, and how long things may be."""

import ast
from pathlib import Path

import pytest

import fgsn_ros

PACKAGE = Path(fgsn_ros.__file__).parent
LAYERS = {
    "errors": 0,
    "documents": 0,
    "config": 0,
    "outputs": 0,
    "caches": 0,
    "kernel_cache": 0,
    "left_out": 0,
    "text_files": 0,
    "lookahead": 0,
    "geometry": 1,
    "messages": 2,
    "recordings": 3,
    "segmentation": 3,
    "simulation": 4,
    "mapping": 4,
    "correspondences": 5,
    "evaluation": 5,
    "training": 6,
    "localization": 6,
    "locating": 7,
    "commands": 8,
    "cli": 8,
    "command_help": 8,
    "terminal": 8,
    "nodes": 8,
}
TOP = 8
ROS = {"rclpy", "cv_bridge", "message_filters", "launch", "launch_ros", "diagnostic_updater"}
ROS_PREFIX = ("tf2_", "tf_transformations", "rcl")
LONGEST_FUNCTION, LONGEST_FILE = 60, 500

sources = pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE))
)


def module_of(path):
    """The part of the package that a file belongs to: `geometry`, `cli`, ... or the root itself."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return "" if parts == ("__init__",) else parts[0]


def imported(path):
    """Dotted names that a file imports, those inside functions included."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: import by the full name"
            if node.module in ("fgsn_ros", "matplotlib"):
                yield from (f"{node.module}.{alias.name}" for alias in node.names)
            else:
                yield node.module


def is_ros(name):
    root = name.split(".")[0]
    return root in ROS or root.startswith(ROS_PREFIX) or root.endswith(("_msgs", "_interfaces"))


@sources
def test_imports_point_down_the_layers(path):
    module = module_of(path)
    below = {
        name.split(".")[1]
        for name in imported(path)
        if name.startswith("fgsn_ros.") and name.split(".")[1] != module
    }
    if not module:  # the public names: of any layer but the top, and only for type checkers
        assert all(LAYERS[name] < TOP for name in below)
        return
    assert module in LAYERS, f"{module} has no layer; give it one"
    # The top sits side by side: the command line imports its commands.
    wrong = {name for name in below if LAYERS[name] >= LAYERS[module] and LAYERS[module] < TOP}
    # Errors, settings and outputs are the floor and stand on one another.
    if LAYERS[module] == 0:
        wrong -= {name for name in LAYERS if LAYERS[name] == 0}
    assert not wrong, f"{module} must not import {', '.join(sorted(wrong))}"
    assert module == "nodes" or "nodes" not in below


@sources
def test_only_the_nodes_import_ros(path):
    if module_of(path) != "nodes":
        assert not [name for name in imported(path) if is_ros(name)]


@sources
def test_files_and_functions_stay_short(path):
    text = path.read_text()
    assert len(text.splitlines()) <= LONGEST_FILE
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno - node.lineno < LONGEST_FUNCTION, f"{node.name} is too long"


@sources
def test_nothing_unpickles_or_draws_through_global_state(path):
    refused = {"pickle", "dill", "joblib", "marshal", "shelve", "matplotlib.pyplot"}
    assert not refused & set(imported(path))
