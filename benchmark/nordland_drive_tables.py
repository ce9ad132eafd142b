"""Errors of runs on Nordland's line, by stretch: what a run left, and the table of all."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scoring import markdown_table

BEYOND_M = 2.0
STRETCHES = {"1-30": (1, 30), "31-60": (31, 60), "all": (1, 60)}


@dataclass(frozen=True)
class Judged:
    """One run; errors in the reference's body frame, a value a frame."""

    season: str
    """that was localized, on the map of the other"""
    method: str
    seed: int
    first: int
    """frame that is judged, and all up to `last`"""
    last: int
    frames: list[int]
    along_m: list[float]
    lateral_m: list[float]
    heading_deg: list[float]
    x: list[float]
    y: list[float]
    lost: bool

    def errors(self, name: str, first: int, last: int) -> NDArray[np.float64]:
        """Absolute errors of that name at judged frames from first to last."""
        frames = np.array(self.frames)
        first, last = max(first, self.first, self.frames[0] + 1), min(last, self.last)
        chosen = (frames >= first) & (frames <= last)
        return np.abs(np.array(getattr(self, name), np.float64)[chosen])


def of_stretch(
    runs: Sequence[Judged], name: str, first: int = 1, last: int = 60
) -> NDArray[np.float64]:
    """Errors of that name in a stretch, of all runs."""
    return np.concatenate([run.errors(name, first, last) for run in runs])


def by_method(judged: Sequence[Judged], season: str) -> dict[str, list[Judged]]:
    """Runs of a season by method, in their order."""
    methods: dict[str, list[Judged]] = {}
    for run in judged:
        if run.season == season:
            methods.setdefault(run.method, []).append(run)
    return methods


def stretch_table(judged: Sequence[Judged], season: str) -> str:
    """A row for each method: median (95 %) along the track and lateral, by stretch; the worst."""
    rows = []
    for method, runs in by_method(judged, season).items():
        row = {f"{season} localized by": method}
        for stretch, limits in STRETCHES.items():
            for title, name in (("along", "along_m"), ("lateral", "lateral_m")):
                row[f"{title}, {stretch} [m]"] = _cell(of_stretch(runs, name, *limits))
        row["heading, all [deg]"] = _cell(of_stretch(runs, "heading_deg"))
        off = np.hypot(of_stretch(runs, "along_m"), of_stretch(runs, "lateral_m"))
        row["position, most [m]"] = f"{off.max():.1f}"
        row["frames beyond 2 m"] = f"{(off > BEYOND_M).sum()} of {len(off)}"
        rows.append(row | {"lost": f"{sum(run.lost for run in runs)} of {len(runs)}"})
    return markdown_table(rows)


def _cell(errors: NDArray[np.float64]) -> str:
    if len(errors) == 0:
        return ""
    median, most = np.percentile(errors, [50, 95])
    return f"{median:.2f} ({most:.2f})"
