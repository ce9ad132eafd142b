"""The text of `fgsn COMMAND --help`: the options that people use first, the others by group."""

import shutil
import textwrap
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from enum import Enum
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import tyro

from fgsn_ros.config import Setting, leaves

_INDENT = " " * 6
_WIDEST, _NARROWEST = 100, 40
_WORDS = {int: "INT", float: "FLOAT", str: "TEXT", Path: "PATH"}


def help_page(name: str, settings: object, common: Sequence[str]) -> str:
    """The help of a command, wrapped at the terminal's width.

    Args:
        name: Words of the command.
        settings: Instance of its dataclass with the defaults; tyro.MISSING where there is none.
        common: Fields, dotted through nested dataclasses, that are shown first, in this order.
    """
    options = {option.name: option for option in leaves(settings)}
    words = {}
    for field, marks in _marks(type(settings)).items():
        if tyro.conf.Positional in marks:
            word = next(mark.metavar for mark in marks if hasattr(mark, "metavar"))
            words[word] = options.pop(field)
        elif tyro.conf.UseAppendAction in marks:  # takes one value, and is given several times
            options[field] = replace(
                options[field], annotation=get_args(options[field].annotation)[0]
            )
    first = [options.pop(field) for field in common]
    groups = defaultdict(list)
    for option in options.values():
        groups[option.name.rpartition(".")[0]].append(option)
    parts = [_usage(name, words, first), *map(_wrapped, _paragraphs(settings))]
    placed = (_entry(word, option) for word, option in words.items())
    parts.append("\n".join([*placed, *map(_flagged, first)]))
    for group, members in groups.items():
        title = f"{group}: {_summary(settings, group)}" if group else "further options:"
        parts.append("\n".join([_wrapped(title), *map(_flagged, members)]))
    return "\n\n".join(parts)


def _marks(command: type) -> dict[str, tuple[Any, ...]]:
    """What tyro shall know of each field beyond its type."""
    hints = get_type_hints(command, include_extras=True)
    return {name: getattr(hint, "__metadata__", ()) for name, hint in hints.items()}


def _usage(name: str, words: Iterable[str], first: Iterable[Setting]) -> str:
    required = (_invocation(option) for option in first if option.default is tyro.MISSING)
    text = " ".join([f"usage: fgsn {name}", *words, *required, "[options]"])
    return _wrapped(text, hanging=_INDENT)


def _paragraphs(settings: object) -> list[str]:
    paragraphs = (settings.__doc__ or "").split("\n\n")
    return [*paragraphs, "--config FILE.yaml sets any of these; flags win."]


def _flagged(option: Setting) -> str:
    return _entry(_invocation(option), option)


def _entry(invocation: str, option: Setting) -> str:
    """Two lines or more: how an option is given, and below it what it is for."""
    text = " ".join(filter(None, [option.description, _default(option.default)]))
    return f"{_wrapped(invocation, '  ', hanging='  ')}\n{_wrapped(text, _INDENT)}"


def _invocation(option: Setting) -> str:
    """How an option is given: `--map PATH`, or both flags of a switch."""
    name = option.name.replace("_", "-")
    if option.annotation is bool:
        group, dot, leaf = name.rpartition(".")
        return f"--{name}, --{group}{dot}no-{leaf}"
    return f"--{name} {_value(option.annotation)}"


def _value(annotation: Any) -> str:
    """What follows a flag, by the type of its field."""
    kind, items = get_origin(annotation), get_args(annotation)
    if kind in (Union, UnionType):
        return " | ".join(_value(item) for item in items if item is not type(None))
    if kind is Literal:
        return "{" + ", ".join(map(str, items)) + "}"
    if kind is tuple:
        return f"[{_value(items[0])} ...]" if items[-1] is ... else " ".join(map(_value, items))
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return "{" + ", ".join(str(member.value) for member in annotation) + "}"
    return _WORDS[annotation]


def _default(value: object) -> str:
    if value is tyro.MISSING:
        return "(required)"
    if value is None or value == () or value == "":
        return ""
    if isinstance(value, bool):
        return f"(default: {'yes' if value else 'no'})"
    values = value if isinstance(value, tuple) else (value,)
    shown = (item.value if isinstance(item, Enum) else item for item in values)
    return f"(default: {' '.join(map(str, shown))})"


def _summary(settings: object, group: str) -> str:
    """First line of the docstring of the dataclass that holds a group."""
    for part in group.split("."):
        settings = getattr(settings, part)
    return (settings.__doc__ or "").splitlines()[0]


def _wrapped(text: str, indent: str = "", hanging: str = "") -> str:
    """Text in lines as wide as the terminal; words are not cut."""
    columns = shutil.get_terminal_size().columns
    return textwrap.fill(
        " ".join(text.split()),
        max(_NARROWEST, min(columns, _WIDEST)),
        initial_indent=indent,
        subsequent_indent=indent + hanging,
        break_on_hyphens=False,
        break_long_words=False,
    )
