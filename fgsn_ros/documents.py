"""YAML and JSON from outside: read in one place, with bounds on what they may ask for.

Beyond what the libraries refuse: nesting without end, aliases that multiply ("billion laughs"),
names that are there twice, numbers that are not finite or exceed 64 bits, and dates.
"""

import json
import math
from typing import Any

import yaml

MOST_YAML_CHARACTERS = 1 << 20
"""PyYAML reads about as many in some seconds."""
_DEEPEST = 50
_MOST_NODES = 100_000
"""Values, each counted as often as aliases repeat it."""
_LONGEST_NUMBER = 1000
_MERGE = "tag:yaml.org,2002:merge"
_TIMESTAMP = "tag:yaml.org,2002:timestamp"


def parse_yaml(text: str, most_characters: int = MOST_YAML_CHARACTERS) -> Any:
    """The value of a YAML document: dicts, lists, numbers, text; what looks like a date is text.

    Raises:
        ValueError: it is damaged or out of bounds; says in a line what is wrong.
    """
    if len(text) > most_characters:
        raise ValueError(f"it is larger than {most_characters} characters")
    try:
        return yaml.load(text, _Loader)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    except Exception as error:  # of odd tags and scalars PyYAML raises almost anything
        raise ValueError(" ".join(str(error).split()) or type(error).__name__) from error


def parse_json(text: str | bytes, only_finite: bool = True) -> Any:
    """The value of a JSON text.

    Args:
        text: What to read.
        only_finite: Refuse NaN and infinity, which are not JSON's but which Python writes.

    Raises:
        ValueError: it is damaged or out of bounds; says in a line what is wrong.
    """
    try:
        return json.loads(
            text,
            parse_int=_whole,
            parse_float=_finite if only_finite else float,
            parse_constant=_finite if only_finite else float,
            object_pairs_hook=_without_repeats,
        )
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """SafeLoader with bounds."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = 0
        self._count = 0
        self._sizes: dict[int, int] = {}
        """Values in each finished node, by its id; nodes live as long as the loader."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        before, is_alias = self._count, self.check_event(yaml.AliasEvent)
        self._depth += 1
        if self._depth > _DEEPEST:
            raise ValueError(f"it is nested deeper than {_DEEPEST} levels")
        node = super().compose_node(parent, index)
        self._depth -= 1
        if is_alias and id(node) not in self._sizes:
            raise ValueError("it has an alias of what it is part of")
        self._count += self._sizes[id(node)] if is_alias else 1
        if self._count > _MOST_NODES:
            raise ValueError(f"it holds more than {_MOST_NODES} values")
        self._sizes[id(node)] = self._count - before
        return node

    def compose_mapping_node(self, anchor: Any) -> Any:
        node = super().compose_mapping_node(anchor)
        names = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != _MERGE:
                if key.value in names:
                    raise ValueError(f"it holds {key.value!r} twice")
                names.add(key.value)
        return node

    def construct_yaml_int(self, node: Any) -> int:
        _require_short(node.value)
        return _in_64_bits(super().construct_yaml_int(node), node.value)

    def construct_yaml_float(self, node: Any) -> float:
        _require_short(node.value)
        return _finite(super().construct_yaml_float(node), node.value)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != _TIMESTAMP]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)
_Loader.add_constructor("tag:yaml.org,2002:float", _Loader.construct_yaml_float)


def _whole(digits: str) -> int:
    _require_short(digits)
    return _in_64_bits(int(digits), digits)


def _require_short(number: str) -> None:
    if len(number) > _LONGEST_NUMBER:
        raise ValueError(f"the number {number[:20]}... has {len(number)} characters")


def _in_64_bits(value: int, written: str) -> int:
    if not -(2**63) <= value < 2**64:
        raise ValueError(f"the number {written[:20]}... exceeds 64 bits")
    return value


def _finite(value: str | float, written: str = "") -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{written or value} is no finite number")
    return number


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"it holds {twice!r} twice")
    return content
