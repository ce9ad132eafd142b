"""Tables of localized drives by season and by run."""

from dataclasses import dataclass

import numpy as np
from scoring import Result, figures, markdown_table

from fgsn_ros.simulation.seasons import Season

LABELS, LOCAL_FEATURES, BOTH = "labels", "local features", "labels and local features"
DEAD_RECKONING = "dead reckoning"
RESAMPLES = 500


@dataclass(frozen=True)
class Run:
    """One localized drive, by each method."""

    town: int
    season: Season
    results: dict[str, Result]
    frames_per_s: dict[str, float]
    """of the filter, by method"""
    drift_percent: float
    """position error of the odometry at the end, from the true start, of the distance"""
    map_points: int

    def values(self) -> dict[str, object]:
        """The numbers, for JSON."""
        return {
            "town": self.town,
            "season": self.season.value,
            "frames_per_s": self.frames_per_s,
            "drift_percent": self.drift_percent,
            "map_points": self.map_points,
            **{method: figures([result]) for method, result in self.results.items()},
        }


def season_table(runs: list[Run]) -> str:
    """A row for each season and method, frames of all towns pooled."""
    rows = []
    for season in dict.fromkeys(run.season for run in runs):
        those = [run for run in runs if run.season is season]
        for method in those[0].results:
            speeds = [run.frames_per_s[method] for run in those if method in run.frames_per_s]
            rows.append(
                {
                    "season": season.value,
                    "method": method,
                    **_interval_cells(those, method),
                    "frames/s": f"{np.median(speeds):.0f}" if speeds else "",
                }
            )
    return markdown_table(rows)


def _interval_cells(runs: list[Run], method: str) -> dict[str, str]:
    """The figures of a method in one season, each with its interval over the towns, if several."""
    values = figures([run.results[method] for run in runs])
    low, high = bootstrapped(runs, method)

    def cell(name: str, digits: int) -> str:
        known = f" ({low[name]:.{digits}f}-{high[name]:.{digits}f})" if len(runs) > 1 else ""
        return f"{values[name]:.{digits}f}{known}"

    recalls = [name for name in values if name.startswith("recall")]
    return {
        "position": cell("position", 3),
        "lateral": cell("lateral", 3),
        "longitudinal": cell("longitudinal", 3),
        "heading": cell("heading", 2),
        "95 %": cell("position 95 %", 2),
        "recall": " / ".join(cell(name, 0) for name in recalls),
        "found after [s]": f"{values['found after, longest [s]']:.1f}",
        "lost": f"{values['lost']:.0f} of {values['runs']:.0f}",
    }


def bootstrapped(runs: list[Run], method: str) -> tuple[dict[str, float], dict[str, float]]:
    """95 % intervals of the figures of runs of one season, one a town, drawn town by town."""
    rng = np.random.default_rng(0)
    drawn = rng.integers(len(runs), size=(RESAMPLES, len(runs)))
    samples = [figures([runs[k].results[method] for k in chosen]) for chosen in drawn]
    intervals = {
        name: np.percentile([sample[name] for sample in samples], (2.5, 97.5))
        for name in samples[0]
        if np.isfinite([sample[name] for sample in samples]).all()
    }
    low, high = ({name: float(ends[k]) for name, ends in intervals.items()} for k in (0, 1))
    return low, high


def run_table(runs: list[Run]) -> str:
    """A row for each run: labels in full, the others by their median."""
    return markdown_table(_run_row(run) for run in runs)


def _run_row(run: Run) -> dict[str, str]:
    values = figures([run.results[LABELS]])
    recalls = [value for name, value in values.items() if name.startswith("recall")]
    others = {
        f"{method}: position": f"{figures([result])['position']:.2f}"
        for method, result in run.results.items()
        if method != LABELS
    }
    return {
        "town": str(run.town),
        "season": run.season.value,
        "position": f"{values['position']:.3f}",
        "lateral": f"{values['lateral']:.3f}",
        "longitudinal": f"{values['longitudinal']:.3f}",
        "heading": f"{values['heading']:.2f}",
        "95 %": f"{values['position 95 %']:.2f}",
        "recall": " / ".join(f"{recall:.0f}" for recall in recalls),
        "found after [s]": f"{values['found after, longest [s]']:.1f}",
        "frames/s": f"{run.frames_per_s[LABELS]:.0f}",
        "drift": f"{run.drift_percent:.1f}",
        **others,
    }
