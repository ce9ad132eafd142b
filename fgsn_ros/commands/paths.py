"""Paths that a command is given."""

import os
import stat
from pathlib import Path
from typing import Any

from fgsn_ros.config import leaves
from fgsn_ros.errors import SettingsError

_OUTPUTS = {"output", "ply", "view"}


def inputs_of(command: Any) -> list[Path]:
    """Every path in a command's settings but those of its outputs."""
    paths = []
    for setting in leaves(command):
        values = setting.default if isinstance(setting.default, tuple) else (setting.default,)
        if setting.name not in _OUTPUTS:
            paths += [value for value in values if isinstance(value, Path)]
    return paths


def check_inputs(command: Any) -> None:
    """Refuse inputs that no command can read.

    Raises:
        SettingsError: an input is a pipe or a device, which has no end.
    """
    for path in inputs_of(command):
        try:
            mode = os.stat(path).st_mode
        except (OSError, ValueError):
            continue  # who reads it says more
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise SettingsError(f"{path} is no file but a pipe or a device; name a file")
