"""Tables of localized drives by season and by run."""

from dataclasses import dataclass

import numpy as np
from scoring import Result, figures, markdown_table

from fgsn_ros.simulation.seasons import Season

LABELS, SIFT, DEAD_RECKONING = "labels", "SIFT and PnP", "dead reckoning"


@dataclass(frozen=True)
class Run:
    """One localized drive, by each method."""

    town: int
    season: Season
    results: dict[str, Result]
    frames_per_s: float
    """of localization from labels"""
    drift_percent: float
    """position error of the odometry at the end, from the true start, of the distance"""
    map_points: int
    sift_share: float
    """share of the frames that SIFT gave a pose of"""

    def values(self) -> dict[str, object]:
        """The numbers, for JSON."""
        return {
            "town": self.town,
            "season": self.season.value,
            "frames_per_s": self.frames_per_s,
            "drift_percent": self.drift_percent,
            "map_points": self.map_points,
            "sift_share": self.sift_share,
            **{method: figures([result]) for method, result in self.results.items()},
        }


def season_table(runs: list[Run]) -> str:
    """A row for each season and method, frames of all towns pooled."""
    rows = []
    for season in dict.fromkeys(run.season for run in runs):
        those = [run for run in runs if run.season is season]
        for method in those[0].results:
            speed = np.median([run.frames_per_s for run in those])
            rows.append(
                {
                    "season": season.value,
                    "method": method,
                    **_cells(figures([run.results[method] for run in those])),
                    "frames/s": f"{speed:.0f}" if method == LABELS else "",
                }
            )
    return markdown_table(rows)


def run_table(runs: list[Run]) -> str:
    """A row for each run: labels in full, the others by their median."""
    return markdown_table(_run_row(run) for run in runs)


def _run_row(run: Run) -> dict[str, str]:
    others = {
        f"{method}: position": f"{figures([result])['position']:.2f}"
        for method, result in run.results.items()
        if method != LABELS
    }
    return {
        "town": str(run.town),
        "season": run.season.value,
        **_cells(figures([run.results[LABELS]])),
        "frames/s": f"{run.frames_per_s:.0f}",
        "drift": f"{run.drift_percent:.1f}",
        **others,
        "SIFT poses": f"{100 * run.sift_share:.0f} %",
    }


def _cells(values: dict[str, float]) -> dict[str, str]:
    recalls = [value for name, value in values.items() if name.startswith("recall")]
    return {
        "position": f"{values['position']:.3f}",
        "lateral": f"{values['lateral']:.3f}",
        "longitudinal": f"{values['longitudinal']:.3f}",
        "heading": f"{values['heading']:.2f}",
        "95 %": f"{values['position 95 %']:.2f}",
        "recall": " / ".join(f"{recall:.0f}" for recall in recalls),
        "found after [s]": f"{values['found after, longest [s]']:.1f}",
        "lost": f"{values['lost']:.0f} of {values['runs']:.0f}",
    }
