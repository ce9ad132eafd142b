"""Wrong initial poses: found, or said to be lost? And an hour of good driving without false alarm.

    python benchmark/wrong_start.py --work /tmp/drives

The localizer is started in the middle of simulated drives (see labelled_drives.py) with a pose that
is wrong by some metres, in any direction, or by an angle, given as if it were known to 1 m and 4
deg. A run is well if within 5 s the robot is found or "lost". It is found when, for a second, the
pose is within 2 m and 5 deg of the truth, and no further than the 3 sigma that it says of itself.
Then whole drives are localized from a right start, with several seeds: how often was the pose lost,
or thought to be elsewhere, and how often was it not confirmed after the first 5 s?
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import tyro
from labelled_drives import LabelledDrive, LabelledDrives
from replayed import SIGMAS, Faults, Replayed, started_at
from scoring import markdown_table, write_results

from fgsn_ros.config import require
from fgsn_ros.localization.localizer import LocalizerSettings
from fgsn_ros.localization.tracking import TrackingStatus

WITHIN_S = 5.0
WATCHED_S = 8.0
NEAR_M, NEAR_DEG, FOUND_M = 0.5, 5.0, 2.0


@dataclass(frozen=True, eq=False)
class Start:
    """One run from a wrong pose."""

    wrong: str
    drive: str
    stamp: float
    found_s: float
    """until the robot is found; infinite: never"""
    near_s: float
    """until the pose is within 0.5 m and 5 deg; infinite: never"""
    lost_s: float
    """until it is said to be lost; infinite: never"""
    falsely_tracked_s: float
    end_m: float
    """error at the end"""
    end_status: str

    @property
    def well(self) -> bool:
        """Whether it was found or lost in time."""
        return min(self.found_s, self.lost_s) <= WITHIN_S


@dataclass(frozen=True, eq=False)
class Good:
    """One drive from a right start."""

    drive: str
    seconds: float
    lost_s: float
    moved: int
    """how often it was thought to be elsewhere"""
    unconfirmed_s: float
    """after the first 5 s"""
    median_m: float
    most_m: float
    falsely_tracked_s: float


@dataclass(frozen=True)
class WrongStart:
    """Localize from wrong initial poses, and watch good driving for false alarms."""

    drives: LabelledDrives = field(default_factory=LabelledDrives)
    output: Path = Path("benchmark/results")
    """folder of wrong_start.md and wrong_start.json"""
    metres: tuple[float, ...] = (2.0, 5.0, 10.0, 30.0, 60.0)
    """how far wrong initial poses are off [m]"""
    degrees: tuple[float, ...] = (90.0, 180.0)
    """how far they are turned [deg]"""
    runs: int = 20
    """runs of each, over the drives in turn, >= 1"""
    good_s: float = 3600.0
    """so long good driving is watched [s], >= 0"""
    localizer: LocalizerSettings = field(default_factory=LocalizerSettings)

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.runs >= 1, "runs must be >= 1")
        require(self.good_s >= 0.0, "good_s must be >= 0")

    def run(self) -> None:
        """Run every start; print and write the tables."""
        drives = list(self.drives)
        starts: list[Start] = []
        kinds = [(f"{m:g} m", m, 0.0) for m in self.metres]
        kinds += [(f"{d:g} deg", 0.0, d) for d in self.degrees]
        for name, metres, degrees in kinds:
            for k in range(self.runs):
                starts.append(self._start(name, metres, degrees, drives[k % len(drives)], k))
            print(markdown_table([_row([s for s in starts if s.wrong == name])]))
        good: list[Good] = []
        seed = 0
        while sum(each.seconds for each in good) < self.good_s:
            good.append(self._good(drives[seed % len(drives)], seed))
            seed += 1
        tables = [table(starts), good_table(good) if good else "", start_table(starts)]
        values = {"starts": [vars(s) for s in starts], "good": [vars(each) for each in good]}
        write_results(self.output, "wrong_start", "\n\n".join(tables), values)
        print("\n\n".join(tables))

    def _start(
        self, name: str, metres: float, degrees: float, drive: LabelledDrive, seed: int
    ) -> Start:
        rng = np.random.default_rng([seed, drive.town, round(metres), round(degrees)])
        stamp = float(rng.uniform(0.0, drive.stamps[-1] - WATCHED_S))
        way, side = rng.uniform(-np.pi, np.pi), rng.choice([-1.0, 1.0])
        offset = metres * np.cos(way), metres * np.sin(way), side * np.radians(degrees)
        run = Replayed(drive, Faults(), replace(self.localizer, random_seed=seed), stamp)
        run.online.initialize(started_at(drive, stamp, offset))
        run.until(stamp + WATCHED_S)
        seen = run.seen
        near = (seen.error_m <= NEAR_M) & (seen.error_deg <= NEAR_DEG)
        found = (seen.error_m <= np.minimum(SIGMAS * seen.sigma_m, FOUND_M)) & (
            seen.error_deg <= NEAR_DEG
        )
        lost = [k for k, status in enumerate(seen.status) if status == TrackingStatus.LOST]
        return Start(
            name,
            drive.name,
            stamp,
            seen.first_held(found) - stamp,
            seen.first_held(near, 0.0) - stamp,
            float(seen.stamps[lost[0]] - stamp) if lost else np.inf,
            seen.falsely_tracked_s,
            float(seen.error_m[-1]),
            seen.status[-1].value,
        )

    def _good(self, drive: LabelledDrive, seed: int) -> Good:
        run = Replayed(drive, Faults(), replace(self.localizer, random_seed=seed))
        run.online.initialize(started_at(drive, 0.0, (0.5, -0.3, 0.02)))
        run.until(float(drive.stamps[-1]))
        seen = run.seen
        status = np.array([each.value for each in seen.status])
        later = seen.stamps > WITHIN_S
        return Good(
            drive.name,
            float(drive.stamps[-1]),
            float(np.sum(status == TrackingStatus.LOST.value)) * 0.1,
            run.online.counts["found elsewhere"],
            float(np.sum((status != TrackingStatus.TRACKING.value) & later)) * 0.1,
            float(np.median(seen.error_m)),
            float(seen.error_m[later].max()),
            seen.falsely_tracked_s,
        )


def table(starts: list[Start]) -> str:
    """A row for each kind of wrong pose."""
    names = dict.fromkeys(start.wrong for start in starts)
    return markdown_table(_row([s for s in starts if s.wrong == name]) for name in names)


def _row(starts: list[Start]) -> dict[str, str]:
    found = np.array([start.found_s for start in starts])
    return {
        "wrong by": starts[0].wrong,
        "runs": str(len(starts)),
        "found or lost within 5 s": f"{np.mean([start.well for start in starts]):.0%}",
        "found within 5 s": f"{np.mean(found <= WITHIN_S):.0%}",
        "found within 8 s": f"{np.mean(np.isfinite(found)):.0%}",
        "found after, median [s]": f"{np.median(found):.1f}",
        "within 0.5 m after, median [s]": f"{np.median([s.near_s for s in starts]):.1f}",
        "at the end within 2 m": f"{np.mean([s.end_m <= FOUND_M for s in starts]):.0%}",
        "within 0.5 m": f"{np.mean([s.end_m <= NEAR_M for s in starts]):.0%}",
        "falsely tracked, longest [s]": f"{max(s.falsely_tracked_s for s in starts):.1f}",
    }


def good_table(good: list[Good]) -> str:
    """A row for each drive, all its seeds together, and one for all."""
    names = [*dict.fromkeys(each.drive for each in good), "all"]
    return markdown_table(
        _good_row(name, [g for g in good if name in (g.drive, "all")]) for name in names
    )


def _good_row(name: str, good: list[Good]) -> dict[str, str]:
    return {
        "good driving": name,
        "seconds": f"{sum(g.seconds for g in good):.0f}",
        "lost [s]": f"{sum(g.lost_s for g in good):.1f}",
        "moved elsewhere": str(sum(g.moved for g in good)),
        "not confirmed after 5 s [s]": f"{sum(g.unconfirmed_s for g in good):.1f}",
        "error, median [m]": f"{np.median([g.median_m for g in good]):.2f}",
        "most [m]": f"{max(g.most_m for g in good):.2f}",
        "falsely tracked, longest [s]": f"{max(g.falsely_tracked_s for g in good):.1f}",
    }


def start_table(starts: list[Start]) -> str:
    """A row for each run."""
    return markdown_table(
        {
            "wrong by": s.wrong,
            "drive": s.drive,
            "from [s]": f"{s.stamp:.1f}",
            "found after [s]": f"{s.found_s:.1f}",
            "within 0.5 m after [s]": f"{s.near_s:.1f}",
            "lost after [s]": f"{s.lost_s:.1f}",
            "falsely tracked [s]": f"{s.falsely_tracked_s:.1f}",
            "error at the end [m]": f"{s.end_m:.2f}",
            "status": s.end_status,
        }
        for s in starts
    )


if __name__ == "__main__":
    tyro.cli(WrongStart, description=__doc__, config=(tyro.conf.EnumChoicesFromValues,)).run()
