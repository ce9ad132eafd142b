"""Runs spoiled on purpose: is "lost" said where the pose is wrong, how late, how often in vain?

    python benchmark/spoiled.py --drives.work /tmp/drives --drives.towns 701 702 703 704

Simulated drives (see labelled_drives.py) are localized from a right start, and most are spoiled
after some seconds: the robot is carried off, its camera is covered or hands out one image again and
again, its wheels slip, it starts at a wrong place, or its map is another town's. The tables say, of
each kind, how long a wrong pose was called tracked, and of all runs, how often what the status and
the quality say is true. A pose is right within 1 m and 5 deg, wrong beyond 2 m or 10 deg.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import tyro
from kidnapped import carried_off, far_from
from labelled_drives import LabelledDrive, LabelledDrives
from numpy.typing import NDArray
from replayed import TICK_S, Faults, Replayed, Seen, in_processes, started_at
from scoring import markdown_table, write_results

from fgsn_ros.config import require
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.trajectory import Trajectory
from fgsn_ros.localization.localizer import LocalizerSettings
from fgsn_ros.localization.tracking import TrackingStatus
from fgsn_ros.segmentation.checkpoint import load_checkpoint
from fgsn_ros.segmentation.labels import LabelMap
from fgsn_ros.segmentation.segmenter import Segmenter

RIGHT_M, RIGHT_DEG = 1.0, 5.0
WRONG_M, WRONG_DEG = 2.0, 10.0
BEFORE_S, AFTER_S = 12.0, 25.0
"""A run is tracked before it is spoiled, and watched after that, so long."""
SLIPPING_S, SLIP = 5.0, 1.6
"""Wheels slip so long, and turn so many times as far as the robot drives."""
OFF_M = 30.0
"""A wrong start is so far off."""
QUALITIES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
LOST = (TrackingStatus.LOST, TrackingStatus.SEARCHING, TrackingStatus.NO_POSE)
Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Spoiled:
    """One run, from when it was spoiled on."""

    kind: str
    drive: str
    seen: Seen

    @property
    def right(self) -> Mask:
        """(T,)."""
        return (self.seen.error_m <= RIGHT_M) & (self.seen.error_deg <= RIGHT_DEG)

    @property
    def wrong(self) -> Mask:
        """(T,) of the times that there is a pose."""
        far = (self.seen.error_m > WRONG_M) | (self.seen.error_deg > WRONG_DEG)
        return far & np.isfinite(self.seen.error_m)

    def says(self, *statuses: TrackingStatus) -> Mask:
        """(T,) whether the status is one of these."""
        return np.array([status in statuses for status in self.seen.status])

    @property
    def told_after_s(self) -> float:
        """From the first wrong pose until the status is not "tracking" [s]; 0: it was not."""
        wrong = np.flatnonzero(self.wrong)
        if not len(wrong):
            return 0.0
        untracked = np.flatnonzero(~self.says(TrackingStatus.TRACKING)[wrong[0] :])
        return float(untracked[0] * TICK_S) if len(untracked) else np.inf


@dataclass(frozen=True)
class SpoiledRuns:
    """Spoil runs, and ask what the localizer says of them."""

    drives: LabelledDrives = field(default_factory=LabelledDrives)
    output: Path = Path("benchmark/results")
    """folder of spoiled.md and spoiled.json"""
    runs: int = 30
    """runs of each of the seven kinds, over the drives in turn, >= 1"""
    jobs: int = 1
    """processes that share the runs, >= 1"""
    localizer: LocalizerSettings = field(default_factory=LocalizerSettings)

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(min(self.runs, self.jobs) >= 1, "runs and jobs must be >= 1")

    def run(self) -> None:
        """Run all; print and write the tables."""
        drives = list(self.drives)
        shape = drives[0].mounts[next(iter(drives[0].mounts))].camera
        segmenter = Segmenter(load_checkpoint(self.drives.checkpoint))
        black = segmenter.segment(np.zeros((shape.height, shape.width, 3), np.uint8))
        kinds: dict[str, Callable[[LabelledDrive, float, np.random.Generator], LabelledDrive]] = {
            "good driving": lambda drive, since, rng: drive,
            "carried off": self._carried_off,
            "camera covered": lambda drive, since, rng: covered(drive, since, black),
            "camera frozen": lambda drive, since, rng: frozen(drive, since),
            "wheels slip": lambda drive, since, rng: slipping(drive, since),
            "wrong start": lambda drive, since, rng: drive,
            "another town's map": lambda drive, since, rng: elsewhere(drive, drives, rng),
        }
        runs: list[Spoiled] = []
        for kind, spoil in kinds.items():
            of_kind = partial(self._run, kind, spoil, drives)
            made = in_processes(of_kind, range(self.runs), self.jobs)
            print(markdown_table([_row(kind, made)]), flush=True)
            runs += made
        tables = [kind_table(runs), "\n".join(said(runs)), quality_table(runs)]
        text = "\n\n".join(tables)
        print(text)
        write_results(self.output, "spoiled", text, [_record(run) for run in runs])

    def _run(
        self,
        kind: str,
        spoil: Callable[[LabelledDrive, float, np.random.Generator], LabelledDrive],
        drives: list[LabelledDrive],
        seed: int,
    ) -> Spoiled:
        drive = drives[seed % len(drives)]
        rng = np.random.default_rng([seed, drive.town])
        begin = float(rng.uniform(0.0, drive.stamps[-1] - BEFORE_S - AFTER_S - 1.0))
        since = begin + BEFORE_S
        changed = spoil(drive, since, rng)
        run = Replayed(changed, Faults(), replace(self.localizer, random_seed=seed), begin)
        angle = float(rng.uniform(-np.pi, np.pi))
        off = (OFF_M * np.cos(angle), OFF_M * np.sin(angle), 0.0)
        run.online.initialize(started_at(drive, begin, off if kind == "wrong start" else (0, 0, 0)))
        run.until(since + AFTER_S)
        whole = kind in ("wrong start", "another town's map")
        return Spoiled(kind, drive.name, run.seen.between(begin if whole else since, np.inf))

    def _carried_off(
        self, drive: LabelledDrive, since: float, rng: np.random.Generator
    ) -> LabelledDrive:
        latest = float(drive.stamps[-1]) - AFTER_S - 1.0
        return carried_off(drive, since, far_from(drive, since, latest, rng))


def covered(drive: LabelledDrive, since: float, black: LabelMap) -> LabelledDrive:
    """From a time on the camera sees nothing."""
    later = drive.stamps > since
    maps = [black if late else seen for late, seen in zip(later, drive.label_maps, strict=True)]
    features = [None if late else f for late, f in zip(later, drive.features, strict=True)]
    return replace(drive, label_maps=maps, features=features)


def frozen(drive: LabelledDrive, since: float) -> LabelledDrive:
    """From a time on the camera's driver hands out its last image with new stamps."""
    shown = np.minimum(np.arange(len(drive.stamps)), np.flatnonzero(drive.stamps <= since)[-1])
    return replace(
        drive,
        label_maps=[drive.label_maps[k] for k in shown],
        features=[drive.features[k] for k in shown],
    )


def slipping(drive: LabelledDrive, since: float) -> LabelledDrive:
    """For some seconds the wheels turn further than the robot drives."""
    stamps, T = drive.odometry.stamps, drive.odometry.poses
    steps = poses.compose(poses.invert(T[:-1]), T[1:])
    slips = (stamps[1:] > since) & (stamps[1:] <= since + SLIPPING_S)
    steps[slips, :3, 3] *= SLIP
    driven = [T[0]]
    for step in steps:
        driven.append(poses.compose(driven[-1], step))
    return replace(drive, odometry=Trajectory(stamps, np.stack(driven)))


def elsewhere(
    drive: LabelledDrive, drives: list[LabelledDrive], rng: np.random.Generator
) -> LabelledDrive:
    """The same drive on the map of another town."""
    others = [other for other in drives if other.town != drive.town]
    if not others:
        raise SystemExit("error: another town's map needs two towns")
    other = others[int(rng.integers(len(others)))]
    return replace(drive, semantic_map=other.semantic_map, finder=other.finder)


def kind_table(runs: list[Spoiled]) -> str:
    """A row for each kind."""
    kinds = dict.fromkeys(run.kind for run in runs)
    return markdown_table(_row(kind, [run for run in runs if run.kind == kind]) for kind in kinds)


def _row(kind: str, runs: list[Spoiled]) -> dict[str, str]:
    told = np.array([run.told_after_s for run in runs])
    tracking = TrackingStatus.TRACKING
    deceived = [run.seen.longest_s(run.wrong & run.says(tracking)) for run in runs]
    ends_right = [bool(run.right[-1]) for run in runs]
    return {
        "spoiled by": kind,
        "runs": str(len(runs)),
        "wrong pose, share of the time": f"{np.mean(np.concatenate([r.wrong for r in runs])):.0%}",
        "told after, median [s]": f"{np.median(told):.1f}",
        "95 % [s]": f"{np.quantile(told, 0.95, method='higher'):.1f}",
        "wrong and tracked > 2 s": f"{np.mean([d > 2.0 for d in deceived]):.0%}",
        "longest [s]": f"{max(deceived):.1f}",
        "right at the end": f"{np.mean(ends_right):.0%}",
        "tracking at the end": f"{np.mean([run.says(tracking)[-1] for run in runs]):.0%}",
    }


def said(runs: list[Spoiled]) -> list[str]:
    """How often what is said is true, over all runs, and false alarms of good ones."""
    right, wrong = (np.concatenate([getattr(r, name) for r in runs]) for name in ("right", "wrong"))
    lost = np.concatenate([run.says(TrackingStatus.LOST) for run in runs])
    tracked = np.concatenate([run.says(TrackingStatus.TRACKING) for run in runs])
    good = [run for run in runs if run.kind == "good driving"]
    hours = sum(len(run.seen.stamps) for run in good) * TICK_S / 3600.0
    alarms = sum(_episodes(run.says(*LOST) & run.right) for run in good)
    doubts = sum(_episodes(~run.says(TrackingStatus.TRACKING) & run.right) for run in good)
    return [
        f"- Of the time that it says *lost*, the pose is wrong in {_share(wrong, lost)}, "
        f"right in {_share(right, lost)}.",
        f"- Of the time that it says *tracking*, the pose is right in {_share(right, tracked)}, "
        f"wrong in {_share(wrong, tracked)}.",
        f"- In {hours:.2f} hours of good driving: {alarms} times *lost* with a right pose, "
        f"{doubts} times not *tracking*.",
    ]


def _share(mask: Mask, among: Mask) -> str:
    return f"{mask[among].mean():.1%}" if among.any() else "none of 0 s"


def _episodes(mask: Mask) -> int:
    return int((np.diff(np.concatenate([[False], mask]).astype(int)) > 0).sum())


def quality_table(runs: list[Spoiled]) -> str:
    """How often a pose of a quality is right."""
    quality = np.concatenate([run.seen.quality for run in runs])
    right, wrong = (np.concatenate([getattr(r, name) for r in runs]) for name in ("right", "wrong"))
    rows = []
    for low, high in pairwise(QUALITIES):
        within = (quality >= low) & ((quality < high) | (high == QUALITIES[-1]))
        row = {"quality": f"{low:g} to {high:g}", "seconds": f"{within.sum() * TICK_S:.0f}"}
        rows.append({**row, "right": _share(right, within), "wrong": _share(wrong, within)})
    return markdown_table(rows)


def _record(run: Spoiled) -> dict[str, object]:
    return {
        "kind": run.kind,
        "drive": run.drive,
        "told_after_s": run.told_after_s,
        "wrong_s": float(run.wrong.sum() * TICK_S),
        "end_m": float(run.seen.error_m[-1]),
        "said": run.seen.said(),
    }


if __name__ == "__main__":
    tyro.cli(SpoiledRuns, description=__doc__, config=(tyro.conf.EnumChoicesFromValues,)).run()
