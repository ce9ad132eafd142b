"""Camera or odometry gone for a while, or the localizer restarted: how far off, and what it says.

    python benchmark/outages.py --work /tmp/drives

Each fault falls into simulated drives (see labelled_drives.py) at a time that the seed draws, after
the pose was tracked for some seconds. Prints and writes a table: the error at the end of the fault
beside what odometry alone would have allowed, the time until the pose is within 0.5 m again, what
the localizer said meanwhile, and the longest time that it said "tracking" with an error beyond 3
sigma. Where odometry is gone, its messages are lost while the wheels count on, or, "reset", it
begins anew. A restarted localizer knows only the pose that was saved before, 10 s of driving ago.
"""

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tyro
from labelled_drives import LabelledDrive, LabelledDrives
from replayed import Faults, Replayed, Seen, Span, started_at
from scoring import markdown_table, write_results

from fgsn_ros.config import require
from fgsn_ros.geometry import poses
from fgsn_ros.localization.initial_pose import load_pose, save_pose
from fgsn_ros.localization.localizer import LocalizerSettings

TRACKED_S = 6.0
"""The robot is tracked for so long before a fault, at least."""
AFTER_S = 12.0
"""So long it is watched after one."""
RESTARTED_AFTER_S = 10.0
SAVE_PERIOD_S = 5.0


@dataclass(frozen=True)
class Case:
    """A kind of fault."""

    name: str
    labels_s: float = 0.0
    odometry_s: float = 0.0
    reset: bool = False
    restart: bool = False

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return RESTARTED_AFTER_S if self.restart else max(self.labels_s, self.odometry_s)

    def faults(self, start: float) -> Faults:
        """The fault, from a time on."""
        labels = Span(start, start + self.labels_s) if self.labels_s else Span()
        odometry = Span(start, start + self.odometry_s) if self.odometry_s else Span()
        return Faults(labels, odometry, self.reset and self.odometry_s > 0.0)


CASES = (
    *(Case(f"camera gone {s:g} s", labels_s=s) for s in (5.0, 20.0, 60.0)),
    *(Case(f"odometry gone {s:g} s", odometry_s=s) for s in (2.0, 5.0, 15.0, 30.0)),
    *(Case(f"odometry gone {s:g} s, reset", odometry_s=s, reset=True) for s in (2.0, 5.0, 15.0)),
    *(Case(f"both gone {s:g} s", s, s) for s in (5.0, 20.0)),
    Case("restarted after 10 s", restart=True),
    Case("restarted after 10 s, odometry too", restart=True, reset=True),
)


@dataclass(frozen=True, eq=False)
class Outcome:
    """One run with a fault."""

    case: str
    drive: str
    error_m: float
    """at the end of the fault"""
    odometry_m: float
    """what odometry alone is off then from the true pose at its start; the way, if it is reset"""
    sigma_m: float
    """at the end of the fault"""
    within_s: float
    falsely_tracked_s: float
    lost_s: float
    said: str
    """from the fault's beginning"""


@dataclass(frozen=True)
class Outages:
    """Outages of camera and odometry, and restarts."""

    drives: LabelledDrives = field(default_factory=LabelledDrives)
    output: Path = Path("benchmark/results")
    """folder of outages.md and outages.json"""
    runs: int = 8
    """runs of each fault, over the drives in turn, >= 1"""
    only: str = ""
    """cases whose name begins so"""
    localizer: LocalizerSettings = field(default_factory=LocalizerSettings)

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.runs >= 1, "runs must be >= 1")

    def run(self) -> None:
        """Run every fault; print and write the tables."""
        outcomes: list[Outcome] = []
        drives = list(self.drives)
        for case in CASES:
            if case.name.startswith(self.only):
                for k in range(self.runs):
                    outcomes.append(self._outcome(case, drives[k % len(drives)], k))
                print(markdown_table([_row([o for o in outcomes if o.case == case.name])]))
        text = "\n\n".join([table(outcomes), run_table(outcomes)])
        write_results(self.output, "outages", text, [vars(outcome) for outcome in outcomes])
        print(text)

    def _outcome(self, case: Case, drive: LabelledDrive, seed: int) -> Outcome:
        rng = np.random.default_rng([seed, drive.town])
        latest = float(drive.stamps[-1]) - AFTER_S - case.seconds
        start = float(rng.uniform(min(TRACKED_S, latest), latest))
        begin = max(start - TRACKED_S, 0.0)
        run = Replayed(drive, case.faults(start), self.localizer, begin)
        run.online.initialize(started_at(drive, begin))
        end = start + case.seconds
        if case.restart:
            seen = self._restarted(run, drive, start, end, case.reset)
        else:
            run.until(end + AFTER_S)
            seen = run.seen
        after = seen.between(start, np.inf)
        at_end = seen.between(end + 0.09, end + 0.3)  # odometry is there again
        reckoned = _reckoned(drive, start, end, case)
        return Outcome(
            case.name,
            drive.name,
            float(at_end.error_m[0]),
            reckoned,
            float(at_end.sigma_m[0]),
            seen.within_after(end),
            after.falsely_tracked_s,
            after.longest_s(np.array([status.value == "lost" for status in after.status])),
            after.said(),
        )

    def _restarted(
        self, run: Replayed, drive: LabelledDrive, start: float, end: float, reset: bool
    ) -> Seen:
        """Kill the localizer, and start another with the pose that was saved every 5 s."""
        with tempfile.TemporaryDirectory() as folder:
            path, identity = Path(folder) / "pose.json", drive.semantic_map.identity
            due = [0.0]

            def save(stamp: float) -> None:
                saved = run.online.pose_to_save(stamp)
                if stamp >= due[0] and saved is not None:
                    save_pose(path, saved, identity)
                    due[0] = stamp + SAVE_PERIOD_S

            run.until(start, save)
            faults = Faults(odometry=Span(0.0, end), reset=True) if reset else Faults()
            again = Replayed(drive, faults, self.localizer, end)
            saved = load_pose(path, identity)
            if saved is not None:
                again.online.resume(saved, end)
            again.until(end + AFTER_S)
            return again.seen


def _reckoned(drive: LabelledDrive, start: float, end: float, case: Case) -> float:
    if case.reset:
        return float(np.linalg.norm((drive.truth.at(end) - drive.truth.at(start))[:2, 3]))
    moved = poses.compose(poses.invert(drive.odometry.at(start)), drive.odometry.at(end))
    found = poses.compose(drive.truth.at(start), moved)
    return float(np.linalg.norm((found - drive.truth.at(end))[:2, 3]))


def table(outcomes: list[Outcome]) -> str:
    """A row for each kind of fault."""
    names = dict.fromkeys(outcome.case for outcome in outcomes)
    return markdown_table(_row([o for o in outcomes if o.case == name]) for name in names)


def _row(outcomes: list[Outcome]) -> dict[str, str]:
    def spread(name: str) -> str:
        values = np.array([getattr(outcome, name) for outcome in outcomes])
        return f"{np.median(values):.1f} ({values.max():.1f})"

    return {
        "fault": outcomes[0].case,
        "runs": str(len(outcomes)),
        "error at its end, median (most) [m]": spread("error_m"),
        "odometry alone [m]": spread("odometry_m"),
        "sigma [m]": spread("sigma_m"),
        "within 0.5 m after [s]": spread("within_s"),
        "falsely tracked, longest [s]": f"{max(o.falsely_tracked_s for o in outcomes):.1f}",
    }


def run_table(outcomes: list[Outcome]) -> str:
    """A row for each run."""
    return markdown_table(
        {
            "fault": o.case,
            "drive": o.drive,
            "error [m]": f"{o.error_m:.2f}",
            "odometry alone [m]": f"{o.odometry_m:.2f}",
            "sigma [m]": f"{o.sigma_m:.2f}",
            "within 0.5 m after [s]": f"{o.within_s:.1f}",
            "falsely tracked [s]": f"{o.falsely_tracked_s:.1f}",
            "lost [s]": f"{o.lost_s:.1f}",
            "said": o.said,
        }
        for o in outcomes
    )


if __name__ == "__main__":
    tyro.cli(Outages, description=__doc__, config=(tyro.conf.EnumChoicesFromValues,)).run()
