"""The kidnapped robot, and the start from nowhere: found again, by labels alone or with features?

    python benchmark/kidnapped.py --drives.work /tmp/drives --drives.towns 701 702 703 704
    python benchmark/kidnapped.py --recorded.map map --recorded.recording winter --recorded.features

Kidnapped: simulated drives (see labelled_drives.py) are localized from a right start; then the
robot is carried off to another place of its loop, where it drives on, and nobody tells. Cold start:
it drives on from a random place without an initial pose. Not on the map: the same on the map of
another town; not for one recording. A pose is right within 0.5 m and 5 deg.
"""

from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import tyro
from labelled_drives import LabelledDrive, LabelledDrives, RecordedDrive
from replayed import SIGMAS, Faults, Replayed, Seen, in_processes, started_at
from scoring import markdown_table, write_results

from fgsn_ros.config import require
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.trajectory import Trajectory
from fgsn_ros.localization.localizer import LocalizerSettings
from fgsn_ros.localization.tracking import TrackingSettings, TrackingStatus

NEAR_M, NEAR_DEG, CLOSE_M = 0.5, 5.0, 2.0
APART_M = 10.0
"""It is carried further than this."""
STEP_S = 0.02


@dataclass(frozen=True, eq=False)
class Trial:
    """One robot that does not know where it is."""

    kind: str
    drive: str
    lost_s: float
    """until it does not say any more that it tracks"""
    right_s: float
    """until the pose is right, and stays so for a second; infinite: never"""
    wrong_s: float
    """longest time that a pose that is not right had a quality above the threshold"""
    falsely_sure_s: float
    """of that, with an error beyond 3 sigma"""
    falsely_tracked_s: float
    """longest time of "tracking" with an error beyond 3 sigma"""
    tracked_s: float
    """time of "tracking" in all"""
    end_m: float
    end_deg: float
    end_status: str


@dataclass(frozen=True)
class Kidnapped:
    """Carry robots off, start them without a pose, and put them on wrong maps."""

    drives: LabelledDrives = field(default_factory=LabelledDrives)
    recorded: RecordedDrive = field(default_factory=RecordedDrive)
    """a map and a recording in place of simulated drives"""
    output: Path = Path("benchmark/results")
    """folder of kidnapped.md and kidnapped.json"""
    trials: int = 100
    """trials of each kind, over the drives in turn, >= 1"""
    before_s: float = 12.0
    """time that it is tracked before it is carried off [s], > 0"""
    watched_s: float = 20.0
    """time that the robot has to find itself [s], > 0"""
    jobs: int = 1
    """processes that share the trials, >= 1"""
    localizer: LocalizerSettings = field(default_factory=LocalizerSettings)

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(min(self.trials, self.jobs) >= 1, "trials and jobs must be >= 1")
        require(min(self.before_s, self.watched_s) > 0.0, "before_s and watched_s must be > 0")

    def run(self) -> None:
        """Run all trials; print and write the tables."""
        kinds = [self._kidnapped, self._cold_start, self._not_on_the_map]
        if self.recorded.map is None:
            drives = list(self.drives)
        else:
            drives, kinds = [self.recorded.drive()], kinds[:2]
        trials: list[Trial] = []
        for kind in kinds:
            found = in_processes(partial(kind, drives), range(self.trials), self.jobs)
            print(table(found), flush=True)
            trials += found
        tables = [table(trials)]
        if self.recorded.map is None:
            tables.append(season_table(trials, drives))
        print("\n\n".join(tables))
        text = "\n\n".join([*tables, trial_table(trials)])
        write_results(self.output, "kidnapped", text, {"trials": [vars(t) for t in trials]})

    def _kidnapped(self, drives: list[LabelledDrive], k: int) -> Trial:
        drive, rng = drives[k % len(drives)], np.random.default_rng([k, 1])
        first, last = float(drive.stamps[0]), float(drive.stamps[-1])
        start = float(rng.uniform(first, last - self.before_s - 1.0))
        leaves = start + self.before_s
        arrives = far_from(drive, leaves, last - self.watched_s - 1.0, rng)
        carried = carried_off(drive, leaves, arrives)
        run = Replayed(carried, Faults(), self._settings(k), start)
        run.online.initialize(started_at(carried, start))
        run.until(leaves + self.watched_s)
        return _judged("kidnapped", drive, run.seen, leaves)

    def _cold_start(self, drives: list[LabelledDrive], k: int) -> Trial:
        drive, rng = drives[k % len(drives)], np.random.default_rng([k, 2])
        start = float(rng.uniform(drive.stamps[0], drive.stamps[-1] - self.watched_s - 1.0))
        return self._searched("cold start", drive, start, k)

    def _not_on_the_map(self, drives: list[LabelledDrive], k: int) -> Trial:
        drive, rng = drives[k % len(drives)], np.random.default_rng([k, 3])
        others = [other for other in drives if other.town != drive.town]
        if not others:
            raise SystemExit("error: a place that is not on the map needs two towns")
        other = others[int(rng.integers(len(others)))]
        wrong = replace(drive, semantic_map=other.semantic_map, finder=other.finder)
        start = float(rng.uniform(drive.stamps[0], drive.stamps[-1] - self.watched_s - 1.0))
        return self._searched("not on the map", wrong, start, k)

    def _searched(self, kind: str, drive: LabelledDrive, start: float, k: int) -> Trial:
        run = Replayed(drive, Faults(), self._settings(k), start)
        run.online.search()
        run.until(start + self.watched_s)
        return _judged(kind, drive, run.seen, start)

    def _settings(self, seed: int) -> LocalizerSettings:
        return replace(self.localizer, random_seed=seed)


def carried_off(drive: LabelledDrive, leaves: float, arrives: float) -> LabelledDrive:
    """The drive until it `leaves`, and on from where it is when it `arrives` [s].

    Stamps go on; odometry does not see that the robot was carried.
    """
    later = leaves - arrives

    def spliced(before: Trajectory, T_before_after: np.ndarray) -> Trajectory:
        head = before.stamps <= leaves
        tail = before.stamps > arrives + 1e-6
        return Trajectory(
            np.concatenate([before.stamps[head], before.stamps[tail] + later]),
            np.concatenate([before.poses[head], poses.compose(T_before_after, before.poses[tail])]),
        )

    odometry = drive.odometry
    T = poses.compose(odometry.at(leaves), poses.invert(odometry.at(arrives)))
    head, tail = drive.stamps <= leaves, drive.stamps > arrives
    kept = [*np.flatnonzero(head), *np.flatnonzero(tail)]
    return replace(
        drive,
        odometry=spliced(odometry, T),
        truth=spliced(drive.truth, np.eye(4)),
        stamps=np.concatenate([drive.stamps[head], drive.stamps[tail] + later]),
        label_maps=[drive.label_maps[k] for k in kept],
        features=[drive.features[k] for k in kept],
    )


def far_from(drive: LabelledDrive, stamp: float, latest: float, rng: np.random.Generator) -> float:
    """A time at which the robot is far from where it is at a stamp [s]."""
    stamps = np.arange(drive.stamps[0], latest, STEP_S)
    off = drive.truth.at(stamps)[:, :2, 3] - drive.truth.at(stamp)[:2, 3]
    return float(rng.choice(stamps[np.linalg.norm(off, axis=1) > APART_M]))


def _judged(kind: str, drive: LabelledDrive, seen: Seen, since: float) -> Trial:
    after = seen.between(since, np.inf)
    right = (after.error_m <= NEAR_M) & (after.error_deg <= NEAR_DEG)
    tracked = np.array([status == TrackingStatus.TRACKING for status in after.status])
    untracked = np.flatnonzero(~tracked)
    sure = after.quality >= TrackingSettings().lost_quality
    return Trial(
        kind,
        drive.name,
        float(after.stamps[untracked[0]] - since) if len(untracked) else np.inf,
        after.first_held(right) - since,
        after.longest_s(~right & sure & np.isfinite(after.error_m)),
        after.longest_s(~right & sure & (after.error_m > SIGMAS * after.sigma_m)),
        after.falsely_tracked_s,
        float(tracked.sum()) * 0.1,
        float(after.error_m[-1]),
        float(after.error_deg[-1]),
        after.status[-1].value,
    )


def table(trials: list[Trial]) -> str:
    """A row for each kind of trial."""
    kinds = dict.fromkeys(trial.kind for trial in trials)
    return markdown_table(_row(kind, [t for t in trials if t.kind == kind]) for kind in kinds)


def season_table(trials: list[Trial], drives: list[LabelledDrive]) -> str:
    """A row for each kind and season."""
    seasons = {drive.name: drive.season.value for drive in drives}
    groups: dict[str, list[Trial]] = {}
    for trial in trials:
        groups.setdefault(f"{trial.kind}, {seasons[trial.drive]}", []).append(trial)
    return markdown_table(_row(name, group) for name, group in groups.items())


def _row(name: str, trials: list[Trial]) -> dict[str, str]:
    found = np.array([trial.right_s for trial in trials])
    right = [t.end_m <= NEAR_M and t.end_deg <= NEAR_DEG for t in trials]
    near = [t.end_m <= CLOSE_M and t.end_deg <= NEAR_DEG for t in trials]
    return {
        "trial": name,
        "trials": str(len(trials)),
        "right at the end": f"{np.mean(right):.0%}",
        "within 2 m": f"{np.mean(near):.0%}",
        "right once": f"{np.mean(np.isfinite(found)):.0%}",
        "right after, median [s]": f"{np.median(found):.1f}",
        "not right with high quality > 2 s": f"{np.mean([t.wrong_s > 2 for t in trials]):.0%}",
        "beyond 3 sigma": f"{np.mean([t.falsely_sure_s > 2 for t in trials]):.0%}",
        "falsely tracked > 2 s": f"{np.mean([t.falsely_tracked_s > 2 for t in trials]):.0%}",
        "longest [s]": f"{max(t.falsely_tracked_s for t in trials):.1f}",
        "ever tracking": f"{np.mean([t.tracked_s > 0 for t in trials]):.0%}",
    }


def trial_table(trials: list[Trial]) -> str:
    """A row for each trial."""
    return markdown_table(
        {
            "trial": t.kind,
            "drive": t.drive,
            "not tracking after [s]": f"{t.lost_s:.1f}",
            "right after [s]": f"{t.right_s:.1f}",
            "wrong with high quality [s]": f"{t.wrong_s:.1f}",
            "beyond 3 sigma [s]": f"{t.falsely_sure_s:.1f}",
            "falsely tracked [s]": f"{t.falsely_tracked_s:.1f}",
            "error at the end [m]": f"{t.end_m:.2f}",
            "[deg]": f"{t.end_deg:.1f}",
            "status": t.end_status,
        }
        for t in trials
    )


if __name__ == "__main__":
    tyro.cli(Kidnapped, description=__doc__, config=(tyro.conf.EnumChoicesFromValues,)).run()
