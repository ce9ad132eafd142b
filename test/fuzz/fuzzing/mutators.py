"""Damages, seeded: of bytes, of text, of trees of values, and of messages.

Each takes a `random.Random` first and what it damages second, and gives the damaged copy.
"""

import dataclasses
import json
import re
import struct
from random import Random
from typing import Any

import numpy as np

INTEGERS = (0, 1, 2, 3, 7, 8, 127, 128, 255, 256, 32767, 32768, 65534, 65535, 65536)
INTEGERS += (10**6, 2**24, 2**30, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 10**18, 2**63 - 1, 2**63)
INTEGERS += (2**64 - 1, 2**64, 10**20, 10**400, -(10**400), -1, -2, -(2**31), -(2**63))
FLOATS = (0.0, -0.0, 1e-320, 1e-30, 0.5, 1.0, 1e9, 1e19, 1e38, 1e154, 1e200, 1e308, -1e308)
FLOATS += (float("nan"), float("inf"), float("-inf"))
TEXTS = ("", " ", "\n", "\0", "a\0b", "\x1b[2J\x1b]0;x\x07", "\ufeff", "\r", "\u202e", "\ud800"[:0])
TEXTS += ("A" * 100_000, "..", "../../../../etc/passwd", "/dev/zero", "/dev/stdin", "~nosuchuser/x")
TEXTS += ("%s%n%d", "nan", "1e999", "None", "true", "0x10", "١٢", "𝟙", "é" * 300, "'\"\\", "#", "-")


class Raw(str):
    """Text of a tree that is written as it stands, without quotes."""


NUMBERS = (
    "NaN",
    "Infinity",
    "-Infinity",
    "1e999",
    "9" * 400,
    "-" + "9" * 5000,
    "1e-999",
    "0" * 400,
)
NUMBERS += ("1E400", "-0", "1" * 20, "0.1e1")
NESTINGS = ("[" * 90 + "]" * 90, "[" * 20_000 + "]" * 20_000, '{"a":' * 5000 + "1" + "}" * 5000)
NESTINGS += ("[" * 100_000,)
JSON_RAW = tuple(Raw(text) for text in (*NUMBERS, *NESTINGS, "", "1 1", "]", "\ufeff1", "\x00"))
YAML_RAW = tuple(
    Raw(text)
    for text in (
        *NUMBERS, *NESTINGS, ".inf", "-.inf", ".nan", "2001-13-45", "2001-02-30 99:99:99", "0x",
        "0b", "0o", "1:2:3", "190:20:30.15", "!!int ''", "!!int x", "!!float ''", "!!float x",
        "!!bool x", "!!null x", "!!timestamp x", "!!binary '!!!'", "!!set {a, b}", "!!omap [a: 1]",
        "!!pairs [a: 1]", "!!python/object/apply:os.system [exit]", "!!python/name:os.system",
        "!!map []", "!!seq {}", "!!str [a]", "!x y", "!<tag:x> y", "! z", "&a [*a]", "&a {b: *a}",
        "*a", "{<<: 1}", "{<<: [1]}", "{? [a] : b}", "{? {a: b} : c}", "{1: 2, a: 3, null: 4}",
        "&a [1, *a]", "=", "<<", "~", "_", "1_000", "[&a {b: c}, *a, *a]", "%", "@", "`", "\t",
        "|", "? ", "- - - 1", "--- 1", "...", "0777", "09", "1__2", "._1", "-", "+", "-.", "0_",
        "0x_", "0b_", "-0x", ":1", "1:", "1:61", "--1",
    )
)  # fmt: skip
BOMBS = tuple(
    "".join(
        f"x{i}: &x{i} [{', '.join([f'*x{i - 1}' if i else 'lol'] * 9)}]\n" for i in range(depth)
    )
    for depth in (3, 7, 9)
)
MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff")


# ---- bytes


def mutated_bytes(rng: Random, data: bytes, other: bytes = b"") -> bytes:
    """One to four damages of bytes, `other` being another input to take parts of."""
    mutated = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 4))):
        rng.choice(_OF_BYTES)(rng, mutated, other)
    return bytes(mutated)


def _flip(rng: Random, data: bytearray, _: bytes) -> None:
    for _ in range(rng.choice((1, 1, 4, 16))):
        if data:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _set(rng: Random, data: bytearray, _: bytes) -> None:
    if data:
        data[rng.randrange(len(data))] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))


def _integer(rng: Random, data: bytearray, _: bytes) -> None:
    """Another number where some field may be, often near the one that is there."""
    size = rng.choice((1, 2, 4, 4, 4, 8, 8))
    if len(data) < size:
        return
    at = rng.randrange(len(data) - size + 1)
    order = rng.choice(("little", "little", "big"))
    if rng.random() < 0.4:
        value = int.from_bytes(data[at : at + size], order) + rng.choice((-8, -1, 1, 2, 16, 256))
    else:
        value = rng.choice(INTEGERS)
    data[at : at + size] = (value % 256**size).to_bytes(size, order)


def _float(rng: Random, data: bytearray, _: bytes) -> None:
    if len(data) >= 8:
        at = rng.randrange(len(data) - 7)
        data[at : at + 8] = struct.pack(rng.choice("<>") + "d", rng.choice(FLOATS))


def _cut(rng: Random, data: bytearray, _: bytes) -> None:
    del data[rng.randrange(len(data) + 1) :]


def _remove(rng: Random, data: bytearray, _: bytes) -> None:
    at = rng.randrange(len(data) + 1)
    del data[at : at + rng.choice((1, 2, 4, 8, 64, 1024))]


def _insert(rng: Random, data: bytearray, _: bytes) -> None:
    at = rng.randrange(len(data) + 1)
    data[at:at] = rng.randbytes(rng.choice((1, 2, 4, 8, 64)))


def _fill(rng: Random, data: bytearray, _: bytes) -> None:
    at = rng.randrange(len(data) + 1)
    size = min(rng.choice((2, 8, 64, 512)), len(data) - at)
    data[at : at + size] = bytes([rng.choice((0, 0x20, 0xFF))]) * size


def _repeat(rng: Random, data: bytearray, _: bytes) -> None:
    at = rng.randrange(len(data) + 1)
    part = data[at : at + rng.choice((1, 4, 16, 256, 4096))]
    data[at:at] = part * rng.choice((1, 1, 2, 30))


def _move(rng: Random, data: bytearray, _: bytes) -> None:
    start = rng.randrange(len(data) + 1)
    part = data[start : start + rng.choice((1, 4, 16, 256))]
    del data[start : start + len(part)]
    at = rng.randrange(len(data) + 1)
    data[at:at] = part


def _splice(rng: Random, data: bytearray, other: bytes) -> None:
    start, at = rng.randrange(len(other) + 1), rng.randrange(len(data) + 1)
    part = other[start : start + rng.choice((4, 16, 256, 65536))]
    data[at : at + (len(part) if rng.random() < 0.5 else 0)] = part


def _number_text(rng: Random, data: bytearray, _: bytes) -> None:
    """Another number where one is written in digits."""
    found = list(re.finditer(rb"-?\d+(\.\d+)?([eE][-+]?\d+)?", data[:65536]))
    if found:
        match = rng.choice(found)
        data[match.start() : match.end()] = rng.choice((*NUMBERS, "", "-1", "65535")).encode()


_OF_BYTES = (_flip, _set, _integer, _integer, _float, _cut, _remove, _insert, _fill, _repeat)
_OF_BYTES += (_move, _splice, _number_text)


# ---- text of lines and columns


def mutated_text(rng: Random, data: bytes, other: bytes = b"") -> bytes:
    """One to three damages of a text of lines and columns."""
    lines = data.split(b"\n")
    for _ in range(rng.choice((1, 1, 2, 3))):
        at = rng.randrange(len(lines))
        columns = re.split(rb"([ ,:=]+)", lines[at])
        kind = rng.randrange(12)
        if kind < 4:
            columns[rng.randrange(len(columns))] = _token(rng)
        elif kind == 4:
            del columns[rng.randrange(len(columns)) :]
        elif kind == 5:
            columns += [b" ", _token(rng)] * rng.choice((1, 1, 500))
        lines[at] = b"".join(columns)
        if kind == 6:
            lines.insert(rng.randrange(len(lines) + 1), lines[at])
        elif kind == 7:
            lines.pop(at) if len(lines) > 1 else None
        elif kind == 8:
            there = rng.randrange(len(lines))
            lines[at], lines[there] = lines[there], lines[at]
        elif kind == 9:
            lines[at] = rng.choice(MARKS) + lines[at]
        elif kind == 10:
            lines = lines * rng.choice((2, 300)) if len(lines) < 1000 else lines
        elif kind == 11:
            lines[at] = mutated_bytes(rng, lines[at], other)
    ends = rng.choice((b"\n", b"\n", b"\n", b"\r\n", b"\r", b"\x0b"))
    encoded = ends.join(lines)
    if rng.random() < 0.04:
        encoded = encoded.decode("latin-1").encode(rng.choice(("utf-16", "utf-16-le", "utf-32")))
    return encoded


def _token(rng: Random) -> bytes:
    values = (*NUMBERS, *TEXTS, str(rng.choice(FLOATS)), *(str(value) for value in INTEGERS[:20]))
    return rng.choice(values).encode("utf-8", "surrogatepass")


# ---- trees of values, as JSON and YAML hold them


def mutated_tree(rng: Random, tree: Any, raw: tuple[Raw, ...] = JSON_RAW) -> Any:
    """One to three damages of a tree of dicts, lists and values."""
    tree = json.loads(json.dumps(tree))
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        places = list(_places(tree))
        if not places:
            return _value(rng, tree, raw)
        holder, key = rng.choice(places)
        kind = rng.randrange(10)
        if kind < 5:
            holder[key] = _value(rng, holder[key], raw)
        elif kind == 5:
            del holder[key]
        elif kind == 6:
            there, other = rng.choice(places)
            if other in there if isinstance(there, dict) else other < len(there):
                holder[key], there[other] = there[other], holder[key]
                tree = _flat_copy(tree)
        elif kind == 7:
            holder[key] = rng.choice(([holder[key]], {"data": holder[key]}, [], {}, None))
        elif kind == 8 and isinstance(holder, dict):
            name = rng.choice((key + "x", key.upper(), "", "A" * 5000, "\x1b[2J", "<<", "a\nb"))
            holder[name] = holder.pop(key)
        elif isinstance(holder, list):
            times = rng.choice((1, 1, 2, 1000))
            holder[key:key] = [holder[key]] * times
            tree = _flat_copy(tree)
    return rng.choice(([tree], None, {"a": tree}, 0, "x")) if rng.random() < 0.02 else tree


def _flat_copy(tree: Any, depth: int = 0) -> Any:
    """The tree without shared parts or loops."""
    if depth > 12:
        return None
    if isinstance(tree, dict):
        return {key: _flat_copy(value, depth + 1) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_flat_copy(value, depth + 1) for value in tree]
    return tree


def _places(tree: Any) -> Any:
    if not isinstance(tree, dict | list):
        return
    for key, value in list(tree.items() if isinstance(tree, dict) else enumerate(tree)):
        yield tree, key
        yield from _places(value)


def _value(rng: Random, value: Any, raw: tuple[Raw, ...]) -> Any:
    kind = rng.randrange(8)
    if kind == 0 and isinstance(value, int | float) and not isinstance(value, bool):
        return -value if rng.random() < 0.5 else value + rng.choice((-1, 1, 0.5))
    if kind == 1 and isinstance(value, str):
        at = rng.randrange(len(value) + 1)
        return value[:at] + rng.choice(TEXTS) + value[at:]
    kinds = (raw, raw, INTEGERS, FLOATS, TEXTS, (True, False, None, [], {}, [[]], {"": 0}))
    return rng.choice(rng.choice(kinds))


def tree_text(rng: Random, tree: Any) -> str:
    """A tree as JSON, which is YAML too; now and then with a key twice."""
    if isinstance(tree, Raw):
        return str(tree)
    if isinstance(tree, int) and not isinstance(tree, bool):
        return str(tree)
    if isinstance(tree, list):
        return "[" + ", ".join(tree_text(rng, value) for value in tree) + "]"
    if isinstance(tree, dict):
        items = [f"{json.dumps(key)}: {tree_text(rng, value)}" for key, value in tree.items()]
        if items and rng.random() < 0.01:
            items.append(rng.choice(items))
        return "{" + ", ".join(items) + "}"
    return json.dumps(tree, ensure_ascii=rng.random() < 0.5)


def mutated_json(rng: Random, data: bytes, other: bytes = b"") -> bytes:
    """Damage of JSON: mostly of its tree, sometimes of its text."""
    if rng.random() < 0.25 or data[:1] not in b"[{":
        return rng.choice((mutated_bytes, mutated_text))(rng, data, other)
    text = tree_text(rng, mutated_tree(rng, json.loads(data)))
    return text.encode("utf-8", "surrogatepass")


def mutated_yaml(rng: Random, data: bytes, other: bytes = b"") -> bytes:
    """Damage of YAML: mostly of its tree, sometimes of its text; aliases that multiply."""
    if rng.random() < 0.3:
        return rng.choice((mutated_bytes, mutated_text))(rng, data, other)
    import yaml

    tree = yaml.safe_load(data)
    if rng.random() < 0.1:
        return _with_bomb(rng, tree)
    text = tree_text(rng, mutated_tree(rng, tree, YAML_RAW))
    return text.encode("utf-8", "surrogatepass")


def _with_bomb(rng: Random, tree: Any) -> bytes:
    bomb = rng.choice(BOMBS)
    last = f"*x{bomb.count('&') - 1}"
    named = tree if isinstance(tree, dict) else {}
    lines = [f"{key}: {tree_text(rng, value)}" for key, value in named.items()]
    if lines and rng.random() < 0.8:
        at = rng.randrange(len(lines))
        lines[at] = lines[at].split(":")[0] + f": {last}"
    return (bomb + "\n".join(lines) + "\n").encode("utf-8", "surrogatepass")


# ---- messages


def mutated_message(rng: Random, message: Any) -> Any:
    """A message of rosbags with one to three fields, at any depth, of other values."""
    for _ in range(rng.choice((1, 1, 2, 3))):
        message = _with_field(rng, message)
    return message


def _with_field(rng: Random, message: Any) -> Any:
    names = [field.name for field in dataclasses.fields(message) if field.name[0] != "_"]
    if not names:
        return message
    name = rng.choice(names)
    value = getattr(message, name)
    if dataclasses.is_dataclass(value):
        changed = _with_field(rng, value)
    elif isinstance(value, list) and value and dataclasses.is_dataclass(value[0]):
        changed = _with_message(rng, value)
    else:
        changed = _field_value(rng, value)
    return dataclasses.replace(message, **{name: changed})


def _with_message(rng: Random, values: list[Any]) -> list[Any]:
    kind, at = rng.randrange(5), rng.randrange(len(values))
    if kind == 0:
        return []
    if kind == 1:
        return values * rng.choice((2, 50))
    return [*values[:at], _with_field(rng, values[at]), *values[at + 1 :]]


def _field_value(rng: Random, value: Any) -> Any:
    if isinstance(value, str):
        return rng.choice((*TEXTS, value + "x", "mono8", "map", "odom", "base_link", "equidistant"))
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        near = (value - 1, value + 1, value * 2, 0, 1, 255, 4096, 65535, 100_000)
        return rng.choice((*near, 2**31 - 1, 2**32 - 1)) % 2**32
    if isinstance(value, float):
        return rng.choice((*FLOATS, -value, value * 1e3, value + 1.0))
    if isinstance(value, np.ndarray):
        return _array(rng, value)
    return value


def _array(rng: Random, values: np.ndarray) -> np.ndarray:
    changed = values.copy()
    if values.dtype.kind == "f" and len(values) and rng.random() < 0.8:
        for _ in range(rng.choice((1, 1, 3))):
            changed[rng.randrange(len(values))] = rng.choice(FLOATS)
        return changed
    if values.dtype == np.uint8 and rng.random() < 0.6:
        return np.frombuffer(mutated_bytes(rng, values.tobytes()), np.uint8)
    return changed[: rng.randrange(len(values) + 1)]
