"""Writes the tables of the nodes' parameters into their page: python tools/parameter_table.py.

They are made from the settings dataclasses that the nodes declare their parameters from.
"""

from collections.abc import Iterator
from enum import Enum
from pathlib import Path

from fgsn_ros.config import Setting, leaves
from fgsn_ros.nodes.settings import LOCALIZATION_PARAMETERS, SEGMENTATION_PARAMETERS

PAGE = Path(__file__).resolve().parents[1] / "docs" / "ros" / "parameters.md"
BEGIN = "<!-- made by tools/parameter_table.py -->"
END = "<!-- end of what tools/parameter_table.py made -->"
HEADER = ("| parameter | default | meaning | run time |", "| --- | --- | --- | --- |")


def main() -> None:
    """Renew the tables."""
    PAGE.write_text(renewed(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


def renewed(page: str) -> str:
    """The page's text with new tables between the markers."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{tables()}\n{END}{after}"


def tables() -> str:
    """A table for each node."""
    parts = []
    for name, declared in (
        ("segmentation_node", SEGMENTATION_PARAMETERS),
        ("localization_node", LOCALIZATION_PARAMETERS),
    ):
        rows = [row for settings, changeable in declared for row in _rows(settings, changeable)]
        parts.append("\n".join([f"\n`{name}`:\n", *HEADER, *rows]))
    return "\n".join(parts)


def _rows(settings: object, changeable: tuple[str, ...]) -> Iterator[str]:
    group = ""
    for leaf in leaves(settings):
        parent = leaf.name.rpartition(".")[0]
        if parent != group and parent:
            yield f"| `{parent}.` | | *{_summary(settings, parent)}* | |"
        group = parent
        may_change = "yes" if leaf.name.split(".")[0] in changeable else ""
        meaning = leaf.description.replace("|", "\\|")
        yield f"| `{leaf.name}` | {_default(leaf)} | {meaning} | {may_change} |"


def _summary(settings: object, name: str) -> str:
    """First line of the docstring of the dataclass that holds a group."""
    for part in name.split("."):
        settings = getattr(settings, part)
    return (settings.__doc__ or "").splitlines()[0]


def _default(leaf: Setting) -> str:
    value = leaf.default
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(map(str, value))}]"
    return '""' if value == "" else str(value)


if __name__ == "__main__":
    main()
