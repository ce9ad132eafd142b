"""Where it breaks: odometry's drift, images per second, and how wrong the start may be, as curves.

    python benchmark/limits.py --drives.work /tmp/drives --drives.towns 701 702 --drives.features

Simulated drives (see labelled_drives.py) are localized with one thing made worse at a time: the
odometry's scale, wrong by 2 to 30 %, with a turn of as many mrad a metre; fewer images; a start
that is 1 to 40 m off, given as known to as much. By labels, and with --drives.features by local
features too. Writes limits.md, limits.json and the curves, limits.png.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import tyro
from labelled_drives import LabelledDrive, LabelledDrives
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from replayed import Faults, Replayed
from scoring import markdown_table, write_results

from fgsn_ros.config import require
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.trajectory import Trajectory
from fgsn_ros.localization.initial_pose import InitialPose
from fgsn_ros.localization.localizer import LocalizerSettings
from fgsn_ros.outputs import whole_file

DRIFTS = (2.0, 5.0, 10.0, 20.0, 30.0)
"""[% of the way], and mrad a metre"""
RATES = (0.25, 0.5, 1.0, 2.5, 5.0)
"""[Hz]"""
STARTS = (1.0, 2.0, 5.0, 10.0, 20.0, 40.0)
"""[m]"""
SETTLED_S = 10.0
"""Errors are those after so long."""
LOST_M = 2.0


@dataclass(frozen=True)
class Run:
    """One drive with one thing made worse."""

    cause: str
    value: float
    by: str
    drive: str
    median_m: float
    p95_m: float
    lost: bool
    """the error is above 2 m throughout the last second"""


@dataclass(frozen=True)
class Limits:
    """Make one thing worse at a time."""

    drives: LabelledDrives = field(default_factory=LabelledDrives)
    output: Path = Path("benchmark/results")
    """folder of limits.md, limits.json and limits.png"""
    seeds: int = 2
    """runs of each drive, >= 1"""
    watched_s: float = 60.0
    """length of a run [s], > 20"""
    localizer: LocalizerSettings = field(default_factory=LocalizerSettings)

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.seeds >= 1, "seeds must be >= 1")
        require(self.watched_s > 20.0, "watched_s must be > 20")

    def run(self) -> None:
        """Run all; print and write tables and curves."""
        runs: list[Run] = []
        for drive in self.drives:
            for seed in range(self.seeds):
                runs += self._runs(drive, seed)
                print(table(runs), flush=True)
        write_results(self.output, "limits", table(runs), [vars(run) for run in runs])
        draw(self.output / "limits.png", runs)

    def _runs(self, drive: LabelledDrive, seed: int) -> Iterator[Run]:
        kinds = {"labels": replace(drive, finder=None)}
        if drive.finder is not None:
            kinds["both"] = drive
        for by, seen in kinds.items():
            for percent in DRIFTS:
                worse = replace(seen, odometry=drifting(drive.truth, percent, seed))
                yield self._run("drift [%]", percent, by, worse, 1.0, seed)
            for rate in RATES:
                every = round(self.drives.rate_hz / rate)
                yield self._run("images/s", rate, by, thinned(seen, every), 1.0, seed)
            for metres in STARTS:
                yield self._run("start off by [m]", metres, by, seen, metres, seed)

    def _run(
        self, cause: str, value: float, by: str, drive: LabelledDrive, off_m: float, seed: int
    ) -> Run:
        rng = np.random.default_rng([seed, drive.town])
        begin = float(rng.uniform(0.0, drive.stamps[-1] - self.watched_s - 1.0))
        angle = float(rng.uniform(-np.pi, np.pi))
        T = drive.truth.at(begin) @ poses.from_planar(
            off_m * np.cos(angle), off_m * np.sin(angle), 0.0
        )
        replayed = Replayed(drive, Faults(), replace(self.localizer, random_seed=seed), begin)
        start = InitialPose.around(T, max(1.0, off_m), float(np.radians(4.0)), begin)
        replayed.online.initialize(start)
        replayed.until(begin + self.watched_s)
        after = replayed.seen.between(begin + SETTLED_S, np.inf)
        last = after.error_m[-10:]
        median, p95 = np.quantile(after.error_m, [0.5, 0.95])
        lost = bool((last > LOST_M).all())
        return Run(cause, value, by, drive.name, float(median), float(p95), lost)


def drifting(truth: Trajectory, percent: float, seed: int) -> Trajectory:
    """Odometry of a drive with a scale wrong by so much, that turns by as many mrad a metre."""
    sign = np.random.default_rng(seed).choice([-1.0, 1.0], 2)
    steps = poses.compose(poses.invert(truth.poses[:-1]), truth.poses[1:])
    metres = np.linalg.norm(steps[:, :3, 3], axis=1)
    steps[:, :3, 3] *= 1.0 + sign[0] * percent / 100.0
    turned = poses.from_planar(0.0, 0.0, sign[1] * 1e-3 * percent * metres)
    T = [np.eye(4)]
    for step in poses.compose(steps, turned):
        T.append(poses.compose(T[-1], step))
    return Trajectory(truth.stamps, np.stack(T))


def thinned(drive: LabelledDrive, every: int) -> LabelledDrive:
    """Every so many images alone."""
    return replace(
        drive,
        stamps=drive.stamps[::every],
        label_maps=drive.label_maps[::every],
        features=drive.features[::every],
    )


def table(runs: list[Run]) -> str:
    """A row for each cause, value and kind of evidence."""
    groups: dict[tuple[str, float, str], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.cause, run.value, run.by), []).append(run)
    return markdown_table(
        {
            "cause": cause,
            "value": f"{value:g}",
            "by": by,
            "runs": str(len(group)),
            "median [m]": f"{np.median([run.median_m for run in group]):.2f}",
            "95 % [m]": f"{np.median([run.p95_m for run in group]):.2f}",
            "lost": f"{sum(run.lost for run in group)}",
        }
        for (cause, value, by), group in groups.items()
    )


def draw(path: Path, runs: list[Run]) -> None:
    """Curves: median and 95 % error, each the median of the runs, and the share of runs lost."""
    causes = list(dict.fromkeys(run.cause for run in runs))
    figure = Figure(figsize=(12.0, 6.0), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, len(causes), sharex="col", sharey="row", squeeze=False)
    for column, cause in enumerate(causes):
        error, lost = axes[:, column]
        for number, by in enumerate(dict.fromkeys(run.by for run in runs)):
            chosen = [run for run in runs if (run.cause, run.by) == (cause, by)]
            values = sorted({run.value for run in chosen})
            at = [[run for run in chosen if run.value == value] for value in values]
            colour = f"C{number}"
            medians = [np.median([run.median_m for run in group]) for group in at]
            highest = [np.median([run.p95_m for run in group]) for group in at]
            error.plot(values, medians, "o-", color=colour, label=f"{by}, median")
            error.plot(values, highest, "o:", color=colour, label=f"{by}, 95 %")
            shares = [100.0 * np.mean([run.lost for run in group]) for group in at]
            lost.plot(values, shares, "o-", color=colour)
        error.set_yscale("log")
        lost.set(xscale="log", xlabel=cause)
    axes[0, 0].set_ylabel("position error [m]")
    axes[1, 0].set_ylabel("runs lost [%]")
    axes[0, 0].legend()
    with whole_file(path) as temporary:
        figure.savefig(temporary, format="png", dpi=100)


if __name__ == "__main__":
    tyro.cli(Limits, description=__doc__, config=(tyro.conf.EnumChoicesFromValues,)).run()
