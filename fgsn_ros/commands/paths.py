"""Paths that a command is given."""

from pathlib import Path
from typing import Any

from fgsn_ros.config import leaves

_OUTPUTS = {"output", "ply", "view"}


def inputs_of(command: Any) -> list[Path]:
    """Every path in a command's settings but those of its outputs."""
    paths = []
    for setting in leaves(command):
        values = setting.default if isinstance(setting.default, tuple) else (setting.default,)
        if setting.name not in _OUTPUTS:
            paths += [value for value in values if isinstance(value, Path)]
    return paths
