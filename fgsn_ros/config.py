"""Settings: checked frozen dataclasses, filled from YAML files and the command line."""

import dataclasses
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

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
    annotations = get_type_hints(type(settings))
    changes: dict[str, object] = {}
    for name, value in values.items():
        require(name in known, f"{source}: unknown setting '{name}'; known: {sorted(known)}")
        where = f"{source}: {name}"
        current = getattr(settings, name)
        if dataclasses.is_dataclass(current) and not isinstance(current, type):
            require(isinstance(value, dict), f"{where} takes a mapping of settings")
            changes[name] = override(current, cast(dict[str, object], value), where)
        else:
            changes[name] = _converted(annotations[name], value, where)
    return dataclasses.replace(settings, **changes)


def _converted(annotation: Any, value: Any, source: str) -> Any:
    """Give `value`, as YAML reads it, the type that a field is annotated with."""
    kind = get_origin(annotation)
    if kind in (Union, UnionType):
        return _first_converted(get_args(annotation), value, source)
    if kind is Literal and value in get_args(annotation):
        return value
    if kind is tuple and isinstance(value, (list, tuple)):
        return _converted_tuple(get_args(annotation), value, source)
    if isinstance(annotation, type):
        if isinstance(value, str) and issubclass(annotation, Enum):
            members = {member.value: member for member in annotation}
            require(value in members, f"{source}: {value!r} is none of {list(members)}")
            return members[value]
        if type(value) is annotation:
            return value
        if annotation is float and type(value) is int:
            return float(value)
        if annotation is Path and isinstance(value, str):
            return Path(value)
    raise SettingsError(f"{source}: {value!r} is not {_name(annotation)}")


def _first_converted(annotations: tuple[Any, ...], value: Any, source: str) -> Any:
    for annotation in annotations:
        try:
            return _converted(annotation, value, source)
        except SettingsError:
            continue
    names = " or ".join(_name(annotation) for annotation in annotations)
    raise SettingsError(f"{source}: {value!r} is not {names}")


def _converted_tuple(items: tuple[Any, ...], values: Sequence[Any], source: str) -> Any:
    if len(items) == 2 and items[1] is Ellipsis:
        items = (items[0],) * len(values)
    require(len(items) == len(values), f"{source} takes {len(items)} values")
    return tuple(_converted(item, value, source) for item, value in zip(items, values, strict=True))


def _name(annotation: Any) -> str:
    return "null" if annotation is type(None) else str(getattr(annotation, "__name__", annotation))
