"""The public names of the package."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import fgsn_ros

SOURCE = Path(fgsn_ros.__file__)


def run(code: str) -> None:
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def shown_to_type_checkers() -> set[tuple[str, str]]:
    """Names and their modules, as imported for type checkers."""
    body = ast.parse(SOURCE.read_text()).body
    (block,) = (node for node in body if isinstance(node, ast.If))
    return {
        (alias.asname or alias.name, f"{node.module}:{alias.name}")
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def test_importing_the_package_loads_nothing() -> None:
    run(
        "import sys; before = set(sys.modules); import fgsn_ros; "
        "loaded = {name.split('.')[0] for name in set(sys.modules) - before}; "
        "assert not loaded - sys.stdlib_module_names - {'fgsn_ros'}, loaded; "
        "assert [name for name in sys.modules if name.startswith('fgsn_ros.')] == []"
    )


@pytest.mark.parametrize("name", fgsn_ros.__all__)
def test_a_public_name_is_loaded_when_it_is_asked_for_and_documented(name: str) -> None:
    value = getattr(fgsn_ros, name)
    assert value.__module__.startswith("fgsn_ros.")
    assert value.__doc__
    assert getattr(fgsn_ros, name) is value


def test_type_checkers_see_the_same_names() -> None:
    places = {
        (name, f"fgsn_ros.{place}" if ":" in place else f"fgsn_ros.{place}:{name}")
        for name, place in fgsn_ros._PLACES.items()
    }
    assert shown_to_type_checkers() == places
    assert fgsn_ros.__all__ == sorted(fgsn_ros._PLACES)
    assert set(fgsn_ros.__all__) <= set(dir(fgsn_ros))


def test_another_name_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="'fgsn_ros' has no attribute 'Particle'"):
        _ = fgsn_ros.Particle
    with pytest.raises(ImportError):
        from fgsn_ros import Particle  # noqa: F401


def test_a_robot_loads_neither_pytorch_nor_open3d_by_the_names_that_it_uses() -> None:
    names = sorted(set(fgsn_ros.__all__))
    run(
        f"import sys, fgsn_ros; [getattr(fgsn_ros, name) for name in {names}]; "
        "assert not {'torch', 'open3d', 'matplotlib'} & set(sys.modules)"
    )
