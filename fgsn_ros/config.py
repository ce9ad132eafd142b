"""Settings: checked frozen dataclasses, filled from YAML files and the command line."""

import dataclasses
from pathlib import Path
from typing import TypeVar

import yaml

from fgsn_ros.errors import SettingsError

Settings = TypeVar("Settings")


def require(condition: bool, message: str) -> None:
    """Raise SettingsError with `message` unless `condition` holds."""
    if not condition:
        raise SettingsError(message)


def load_yaml(path: Path) -> dict[str, object]:
    """Read a YAML mapping with the safe loader.

    Raises:
        SettingsError: the file cannot be read or is not a mapping.
    """
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise SettingsError(f"cannot read settings from {path}: {reason}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise SettingsError(f"{path} holds no mapping of setting names to values")
    return {str(key): value for key, value in content.items()}


def override(settings: Settings, values: dict[str, object], source: str) -> Settings:
    """Copy of a settings dataclass with the named fields replaced, nested dataclasses included.

    Args:
        settings: A frozen dataclass instance.
        values: Field name to value; a nested dataclass takes a mapping.
        source: Where the values come from, for the error.

    Raises:
        SettingsError: a name is unknown or a value fails the dataclass's own check.
    """
    if not dataclasses.is_dataclass(settings) or isinstance(settings, type):
        raise TypeError("override needs a dataclass instance")
    known = {field.name for field in dataclasses.fields(settings) if field.init}
    changes: dict[str, object] = {}
    for name, value in values.items():
        require(name in known, f"{source}: unknown setting '{name}'; known: {sorted(known)}")
        changes[name] = _converted(getattr(settings, name), value, f"{source}: {name}")
    return dataclasses.replace(settings, **changes)


def _converted(current: object, value: object, source: str) -> object:
    if dataclasses.is_dataclass(current) and not isinstance(current, type):
        require(isinstance(value, dict), f"{source} takes a mapping of settings")
        assert isinstance(value, dict)
        return override(current, value, source)
    if isinstance(current, tuple) and isinstance(value, list):
        return tuple(value)
    if isinstance(current, Path) and isinstance(value, str):
        return Path(value)
    if type(current) is float and type(value) is int:
        return float(value)
    return value
