"""Table and plot of the experiments: a row for each variant, mean and spread over seeds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scoring import markdown_table

from fgsn_ros.outputs import whole_file

_RECALLS = ("recall 0.25 m 2 deg [%]", "recall 0.5 m 5 deg [%]", "recall 5 m 10 deg [%]")
_DEAD_RECKONING = "dead reckoning"


@dataclass
class Row:
    """A variant and what came of it."""

    group: str
    name: str
    results: dict[int, Mapping[str, Any]] = field(default_factory=dict)
    """by seed"""

    def of(self, part: str, name: str) -> list[float]:
        """A figure of each seed that has it; what is not finite is left out."""
        found = [result.get(part, {}).get(name) for result in self.results.values()]
        return [float(value) for value in found if value is not None]

    @property
    def failed(self) -> list[str]:
        """Why seeds have no figures."""
        return [str(result["failed"]) for result in self.results.values() if "failed" in result]

    def values(self) -> dict[str, object]:
        """The numbers, for JSON."""
        results = {str(seed): dict(result) for seed, result in sorted(self.results.items())}
        return {"question": self.group, "variant": self.name, "by seed": results}


def experiment_table(rows: list[Row]) -> str:
    """Markdown table; the last row is dead reckoning from the same starts."""
    lines, before = [], ""
    for row in rows:
        lines.append(_line(row, row.group if row.group != before else ""))
        before = row.group
    table = markdown_table([*lines, *_dead_reckoning_line(rows)])
    failures = [f"{row.group}, {row.name}: {why}" for row in rows for why in row.failed]
    return "\n".join([table, *(f"\nFailed: {failure}" for failure in failures)])


def _line(row: Row, group: str, part: str = "localization") -> dict[str, str]:
    lost, runs = sum(row.of(part, "lost")), sum(row.of(part, "runs"))
    return {
        "question": group,
        "variant": row.name,
        **{name.removesuffix(" [%]"): _cell(row.of(part, name), ".0f") for name in _RECALLS},
        "position": _cell(row.of(part, "position"), ".2f"),
        "lost": f"{lost:.0f} of {runs:.0f}" if runs else "",
        "consistency": _cell(row.of("held out", "consistency"), ".3f"),
        "information": _cell(row.of("held out", "information"), ".2f"),
        "labels in use": _cell(row.of("held out", "used_labels"), ".0f"),
    }


def _dead_reckoning_line(rows: list[Row]) -> list[dict[str, str]]:
    with_it = [row for row in rows if row.of(_DEAD_RECKONING, "position")]
    if not with_it:
        return []
    most = max(with_it, key=lambda row: len(row.results))
    line = _line(Row("", _DEAD_RECKONING, most.results), "", _DEAD_RECKONING)
    return [line | dict.fromkeys(("consistency", "information", "labels in use"), "")]


def _cell(values: list[float], form: str) -> str:
    if not values:
        return ""
    if len(values) == 1:
        return f"{values[0]:{form}}"
    return f"{np.mean(values):{form}} ± {np.std(values, ddof=1):{form}}"


@dataclass(frozen=True)
class _Panel:
    """One of the plot's axes: figures of a part of the results, each with its name in the key."""

    title: str
    part: str
    series: tuple[tuple[str, str], ...]


_PANELS = (
    _Panel(
        "recall [%]",
        "localization",
        tuple((name, name.removeprefix("recall ").removesuffix(" [%]")) for name in _RECALLS),
    ),
    _Panel("median position error [m]", "localization", (("position", ""),)),
    _Panel("label consistency", "held out", (("consistency", ""),)),
    _Panel("information [nats]", "held out", (("information", ""),)),
)


def plot(path: Path, rows: list[Row]) -> None:
    """One picture: a line for each variant, a dot for each seed, mean and standard deviation."""
    figure = Figure(figsize=(15.0, 1.2 + 0.36 * len(rows)), layout="constrained")
    FigureCanvasAgg(figure)
    places = _places(rows)
    columns = figure.subplots(
        1, len(_PANELS), sharey=True, squeeze=False, width_ratios=[1.6] + [1.0] * 3
    )
    for axes, panel in zip(columns[0], _PANELS, strict=True):
        for number, (name, label) in enumerate(panel.series):
            _draw(axes, places, [row.of(panel.part, name) for row in rows], f"C{number}", label)
        axes.set_xlabel(panel.title)
        axes.grid(axis="x", alpha=0.3)
        if len(panel.series) > 1:
            axes.legend(fontsize=8, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=3)
    names = columns[0, 0]
    names.set_yticks(places, [row.name for row in rows])
    names.set_ylim(places[-1] + 1.0, places[0] - 1.5)
    _name_groups(names, rows, places)
    with whole_file(path) as temporary:
        figure.savefig(temporary, dpi=100, format="png")


def _places(rows: list[Row]) -> list[float]:
    """Height of each row; a gap between questions."""
    heights, height = [], 0.0
    for index, row in enumerate(rows):
        height += 1.0 if index and row.group == rows[index - 1].group else 2.0
        heights.append(height)
    return heights


def _draw(
    axes: Axes, places: list[float], figures: list[list[float]], colour: str, label: str
) -> None:
    """A series: the figures of each row's seeds at its place."""
    for values, place in zip(figures, places, strict=True):
        if not values:
            continue
        axes.plot(values, [place] * len(values), ".", color=colour, alpha=0.4)
        spread = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
        axes.errorbar(float(np.mean(values)), place, xerr=spread, color=colour, fmt="o", capsize=3)
    if label:
        axes.plot([], [], "o", color=colour, label=label)


def _name_groups(axes: Axes, rows: list[Row], places: list[float]) -> None:
    for index, row in enumerate(rows):
        if index == 0 or row.group != rows[index - 1].group:
            axes.annotate(
                row.group,
                (0.0, places[index] - 1.0),
                xycoords=("axes fraction", "data"),
                xytext=(-6, 0),
                textcoords="offset points",
                ha="right",
                va="center",
                fontweight="bold",
                annotation_clip=False,
            )
