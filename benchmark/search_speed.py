"""What a search of the whole map costs, by the map's length: no pose, ten label maps, all places.

    python benchmark/search_speed.py --drives.work /tmp/drives

A simulated town's map (see labelled_drives.py) is laid out several times, side by side. Stated are
the points of all places, chosen once, some places with each label map, and a comparison of all
places by ten label maps, which happens every 2 m of the way: how long it takes on one core, and its
share of that core at the drive's speed. With several copies no place is the best, and the search
goes on to the end.
"""

import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import tyro
from labelled_drives import LabelledDrive, LabelledDrives
from replayed import Faults, Replayed
from scoring import markdown_table, write_results

from fgsn_ros.config import require
from fgsn_ros.geometry import poses
from fgsn_ros.localization.localizer import LocalizerSettings
from fgsn_ros.mapping.semantic_map import SemanticMap
from fgsn_ros.simulation.seasons import Season

APART_M = 3000.0
"""Copies of the town lie so far from each other."""
SPACING_M = 2.0
"""A comparison comes every so many metres."""


@dataclass(frozen=True)
class SearchSpeed:
    """Time the search of maps of several lengths."""

    drives: LabelledDrives = field(
        default_factory=lambda: LabelledDrives(towns=(701,), seasons=(Season.WINTER,))
    )
    output: Path = Path("benchmark/results")
    """folder of search_speed.md and search_speed.json"""
    copies: tuple[int, ...] = (1, 5, 15)
    """how often the town is laid out, each >= 1"""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(min(self.copies) >= 1, "copies must be >= 1")

    def run(self) -> None:
        """Time each; print and write the table."""
        drive = next(iter(self.drives))
        rows = [self._row(drive, copies) for copies in self.copies]
        text = markdown_table(rows)
        write_results(self.output, "search_speed", text, rows)
        print(text)

    def _row(self, drive: LabelledDrive, copies: int) -> dict[str, str]:
        large = replace(drive, semantic_map=laid_out(drive.semantic_map, copies))
        run = Replayed(large, Faults(), LocalizerSettings())
        run.online.search()
        timed = _Timed(run)
        run.until(float(drive.stamps[-1]))
        way = np.linalg.norm(np.diff(drive.truth.poses[:, :2, 3], axis=0), axis=1).sum()
        compared = np.array(timed.compared)
        per_comparison = float(np.median(compared))
        speed = way / float(drive.stamps[-1] - drive.stamps[0])
        return {
            "copies": str(copies),
            "mapped [km]": f"{copies * _length_m(drive.semantic_map) / 1000.0:.1f}",
            "places": str(timed.places),
            "points chosen, in all [s]": f"{sum(timed.prepared):.2f}",
            "with a label map, most [ms]": f"{1e3 * max(timed.prepared):.0f}",
            "comparison, median [ms]": f"{1e3 * per_comparison:.0f}",
            "most [ms]": f"{1e3 * compared.max():.0f}",
            "of a core while searching": f"{per_comparison * speed / SPACING_M:.0%}",
        }


class _Timed:
    """Times of a localizer's searches, by whether all places were ready."""

    def __init__(self, run: Replayed) -> None:
        self.prepared: list[float] = []
        self.compared: list[float] = []
        self.places = 0
        localizer = run.online._localizer
        search = localizer.search

        def timed(stamp: float):
            start = time.process_time()
            comparison = search(stamp)
            seconds = time.process_time() - start
            if comparison is not None:
                whole = comparison.complete and comparison.views == localizer.settings.probe.views
                if not comparison.complete:
                    self.prepared.append(seconds)
                elif whole:
                    self.compared.append(seconds)
            self.places = len(localizer._probe._places._poses)
            return comparison

        localizer.search = timed


def laid_out(town: SemanticMap, copies: int) -> SemanticMap:
    """A map with a town several times, side by side."""
    points, keyframes = town.all_points(), town.keyframe_poses
    offsets = [np.array([APART_M * k, 0.0, 0.0]) for k in range(copies)]
    moved = [poses.from_planar(offset[0], 0.0, 0.0) for offset in offsets]

    def again(values: np.ndarray) -> np.ndarray:
        return np.concatenate([values] * copies)

    return SemanticMap.from_points(
        np.concatenate([points.points + offset for offset in offsets]),
        again(points.labels),
        again(points.confidence),
        again(points.directions),
        again(points.min_range),
        again(points.max_range),
        np.concatenate([poses.compose(T, keyframes) for T in moved]),
        again(town.keyframe_histograms),
        town.fingerprint,
    )


def _length_m(town: SemanticMap) -> float:
    """Length of the roads that the key frames lie on, by cells of 10 m."""
    cells = np.unique(np.floor(town.keyframe_poses[:, :2, 3] / 10.0), axis=0)
    return 10.0 * len(cells)


if __name__ == "__main__":
    tyro.cli(SearchSpeed, description=__doc__, config=(tyro.conf.EnumChoicesFromValues,)).run()
