"""ROS parameters made from a settings dataclass: one for each leaf field, named with dots.

A parameter has no null: for a field that may be None the empty string (text, paths), NaN (numbers)
and the empty array (tuples) stand for it. Enums and paths are strings. An integer is taken where a
number is due, as YAML's `1`, so parameters are dynamically typed and checked by their dataclass.
"""

import array
import math
from collections.abc import Callable, Collection, Iterable
from enum import Enum
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from rcl_interfaces.msg import ParameterDescriptor, SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter

from fgsn_ros.config import Setting, leaves, nested, override
from fgsn_ros.errors import FgsnError

Settings = TypeVar("Settings")


def declare(node: Node, settings: Settings, changeable: Collection[str] = ()) -> Settings:
    """Declare a parameter for each leaf field and read the settings back, overrides included.

    Args:
        node: The node that gets the parameters.
        settings: The defaults.
        changeable: Names that may change at run time, or their first parts; others are read-only.

    Raises:
        SettingsError: an override is of a wrong type or out of its range.
    """
    values = {}
    for leaf in leaves(settings):
        descriptor = ParameterDescriptor(
            description=leaf.description,
            additional_constraints=_choices(leaf.annotation),
            dynamic_typing=True,
            read_only=not _is_within(leaf.name, changeable),
        )
        default = _to_parameter(leaf)
        values[leaf.name] = node.declare_parameter(leaf.name, default, descriptor).value
    return _filled(settings, values)


def changed(settings: Settings, parameters: Iterable[Parameter]) -> Settings:
    """Settings with the parameters that are fields of it taken over.

    Raises:
        SettingsError: a value is of a wrong type or out of its range.
    """
    return _filled(settings, {parameter.name: parameter.value for parameter in parameters})


def watch(node: Node, settings: Settings, apply: Callable[[Settings], None]) -> None:
    """Call `apply` with the new settings at each change of their parameters.

    A change that the dataclass or `apply` refuses with a FgsnError is rejected with that line.
    """
    current = settings

    def on_set(parameters: list[Parameter]) -> SetParametersResult:
        nonlocal current
        try:
            new = changed(current, parameters)
            if new != current:
                apply(new)
        except FgsnError as error:
            return SetParametersResult(successful=False, reason=" ".join(str(error).split()))
        current = new
        return SetParametersResult(successful=True)

    node.add_on_set_parameters_callback(on_set)


def unknown_overrides(node: Node) -> list[str]:
    """Names given in a YAML file or on the command line that no parameter took; ask at the end."""
    given = node._parameter_overrides  # rclpy has no public way to them
    return sorted(name for name in given if not node.has_parameter(name))


def _filled(settings: Settings, values: dict[str, Any]) -> Settings:
    found = {
        leaf.name: _from_parameter(leaf.annotation, values[leaf.name])
        for leaf in leaves(settings)
        if leaf.name in values
    }
    return override(settings, nested(found), "parameters")


def _is_within(name: str, prefixes: Collection[str]) -> bool:
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)


def _optional(annotation: Any) -> Any | None:
    """What an annotation `X | None` holds beside None; None for any other annotation."""
    if get_origin(annotation) not in (Union, UnionType):
        return None
    (inner,) = (part for part in get_args(annotation) if part is not type(None))
    return inner


def _choices(annotation: Any) -> str:
    """The values that a field can take where they are listed, for `ros2 param describe`."""
    if get_origin(annotation) is Literal:
        return "one of: " + ", ".join(str(value) for value in get_args(annotation))
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return "one of: " + ", ".join(str(member.value) for member in annotation)
    return ""


def _to_parameter(leaf: Setting) -> Any:
    """The field's default in a type that parameters have."""
    value = leaf.default
    if value is None:
        return _none(_optional(leaf.annotation))
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Enum):
        return value.value
    return list(value) if isinstance(value, tuple) else value


def _none(inner: Any) -> Any:
    """What stands for None in a field `inner | None`."""
    if inner in (str, Path):
        return ""
    if inner is float:
        return math.nan
    if get_origin(inner) is tuple:
        return []
    raise TypeError(f"no parameter value can stand for None beside {inner}")


def _from_parameter(annotation: Any, value: Any) -> Any:
    """The value as `override` takes it."""
    if isinstance(value, array.array):
        value = value.tolist()
    if _optional(annotation) is not None and _is_none(value):
        return None
    return value


def _is_none(value: Any) -> bool:
    return value in ("", []) or (isinstance(value, float) and math.isnan(value))
