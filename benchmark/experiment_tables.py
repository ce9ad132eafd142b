"""Table and plot of the experiments: a row for each variant, mean and spread over seeds."""

from collections.abc import Callable, Mapping
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


_Figures = Callable[[Row], list[float]]
_PANELS: tuple[tuple[str, tuple[tuple[str, _Figures], ...]], ...] = (
    (
        "recall [%]",
        tuple(
            (name.removeprefix("recall ").removesuffix(" [%]"), _figures)
            for name, _figures in (
                (name, (lambda row, name=name: row.of("localization", name))) for name in _RECALLS
            )
        ),
    ),
    ("median position error [m]", (("", lambda row: row.of("localization", "position")),)),
    ("label consistency", (("", lambda row: row.of("held out", "consistency")),)),
    ("information [nats]", (("", lambda row: row.of("held out", "information")),)),
)


def plot(path: Path, rows: list[Row]) -> None:
    """One picture: a line for each variant, a dot for each seed, mean and standard deviation."""
    figure = Figure(figsize=(15.0, 0.6 + 0.36 * len(rows)), layout="constrained")
    FigureCanvasAgg(figure)
    places = _places(rows)
    columns = figure.subplots(
        1, len(_PANELS), sharey=True, squeeze=False, width_ratios=[1.6] + [1.0] * 3
    )
    for axes, (title, series) in zip(columns[0], _PANELS, strict=True):
        for number, (label, figures) in enumerate(series):
            _draw(axes, rows, places, figures, f"C{number}", label)
        axes.set_xlabel(title)
        axes.grid(axis="x", alpha=0.3)
        if len(series) > 1:
            axes.legend(fontsize=8, loc="lower left")
    columns[0, 0].set_yticks(list(places), [f"{row.name}" for row in rows])
    columns[0, 0].invert_yaxis()
    _name_groups(columns[0, 0], rows, places)
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
    axes: Axes, rows: list[Row], places: list[float], figures: _Figures, colour: str, label: str
) -> None:
    known = [(row, place) for row, place in zip(rows, places, strict=True) if figures(row)]
    for row, place in known:
        values = figures(row)
        axes.plot(values, [place] * len(values), ".", color=colour, alpha=0.4)
        spread = np.std(values, ddof=1) if len(values) > 1 else 0.0
        axes.errorbar(np.mean(values), place, xerr=spread, color=colour, fmt="o", capsize=3)
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
