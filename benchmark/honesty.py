"""How good the pose is, and whether its covariance says so: errors, NEES and coverage.

    python benchmark/honesty.py --drives.work /tmp/drives --drives.towns 701 702

Simulated drives (see labelled_drives.py) are localized from starts that are off by what they say of
themselves, 1 m and 4 deg, once a seed. Tables: errors with 95 % bootstrap intervals over the
drives; and normalised errors with the bounds that chance allows, for good driving after the first
seconds, while the pose converges, and in the last seconds before it is lost, for which runs are
spoiled: images come from another place, or wheels slip. Runs of one drive with other seeds see the
same labels: they count as one when independent samples are counted.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import tyro
from labelled_drives import LabelledDrive, LabelledDrives
from scoring import markdown_table, write_results

from fgsn_ros.config import require
from fgsn_ros.evaluation.consistency import Consistency, PlanarErrors, consistency, planar_errors
from fgsn_ros.evaluation.trajectory_errors import recall_percent
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.trajectory import Trajectory
from fgsn_ros.localization.estimate import Estimate
from fgsn_ros.localization.initial_pose import InitialPose
from fgsn_ros.localization.localizer import LocalizerSettings
from fgsn_ros.localization.online import OnlineLocalizer
from fgsn_ros.localization.tracking import TrackingStatus
from fgsn_ros.segmentation.labels import LabelMap
from fgsn_ros.simulation.drive import CAMERA
from fgsn_ros.simulation.seasons import Season

START_STD = np.array([1.0, 1.0, np.radians(4.0)])
"""x, y [m] and yaw [rad] of the starts."""
BEFORE_S = 5.0
"""So long before a pose is lost its covariance is looked at."""
ELSEWHERE_S = 15.0
"""Images of another place are those of so much later."""
SLIP = 1.4
"""Slipping wheels count so much more than the way."""
RESAMPLES = 500


@dataclass(frozen=True, eq=False)
class Run:
    """One localized drive."""

    drive: str
    season: Season
    errors: PlanarErrors
    status: list[TrackingStatus]
    lost_at: float
    """first time that it is lost [s]; infinite: never"""

    def tracked(self, skip_s: float) -> PlanarErrors:
        """After the first seconds."""
        return self.errors[self.errors.stamps >= self.errors.stamps[0] + skip_s]

    def converging(self) -> PlanarErrors:
        """While labels have not confirmed the pose."""
        return self.errors[np.array([s == TrackingStatus.CONVERGING for s in self.status])]

    def before_lost(self) -> PlanarErrors:
        """In the last seconds before it is lost."""
        stamps = self.errors.stamps
        return self.errors[(stamps >= self.lost_at - BEFORE_S) & (stamps < self.lost_at)]


@dataclass(frozen=True)
class Honesty:
    """Errors, NEES and coverage over drives and seeds."""

    drives: LabelledDrives = field(default_factory=LabelledDrives)
    output: Path = Path("benchmark/results")
    """folder of honesty.md and honesty.json"""
    seeds: int = 3
    """good runs of each drive, >= 1"""
    spoiled: int = 2
    """runs of each drive that are spoiled in the one way and in the other, in turn, >= 0"""
    skip_s: float = 5.0
    """seconds at the start that do not count as good driving, >= 0"""
    frames: int = 0
    """frames of each drive, the first ones; 0: all"""
    localizer: LocalizerSettings = field(default_factory=LocalizerSettings)

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.seeds >= 1, "seeds must be >= 1")
        require(self.spoiled >= 0, "spoiled must be >= 0")
        require(self.skip_s >= 0.0, "skip_s must be >= 0")
        require(self.frames >= 0, "frames must be >= 0")

    def run(self) -> None:
        """Run everything; print and write the tables."""
        good: list[Run] = []
        spoiled: list[Run] = []
        for drive in self.drives:
            good += [self._localized(drive, seed) for seed in range(self.seeds)]
            spoiled += [self._spoiled(drive, seed) for seed in range(self.spoiled)]
            print(markdown_table([_error_row(drive.name, good[-self.seeds :], self.skip_s)]))
        text = "\n\n".join([self._errors(good), self._consistency(good, spoiled)])
        values = {run.drive: _error_values([run], self.skip_s).tolist() for run in good}
        write_results(self.output, "honesty", text, values)
        print(text)

    def _errors(self, good: list[Run]) -> str:
        seasons = dict.fromkeys(run.season for run in good)
        rows = [
            _error_row(season.value, [run for run in good if run.season == season], self.skip_s)
            for season in seasons
        ]
        return markdown_table([*rows, _error_row("all", good, self.skip_s)])

    def _consistency(self, good: list[Run], spoiled: list[Run]) -> str:
        before = f"the last {BEFORE_S:g} s before lost"
        parts = {
            "tracked": ([run.tracked(self.skip_s) for run in good], self.seeds),
            "converging": ([run.converging() for run in good], self.seeds),
            before: ([run.before_lost() for run in spoiled], 1),
        }
        return markdown_table(
            _consistency_row(name, consistency(runs, copies))
            for name, (runs, copies) in parts.items()
            if any(len(run) for run in runs)
        )

    def _localized(self, drive: LabelledDrive, seed: int) -> Run:
        return self._run(drive, drive.odometry, drive.label_maps, seed)

    def _spoiled(self, drive: LabelledDrive, seed: int) -> Run:
        """From a time that the seed draws, images of another place, or wheels that slip."""
        rng = np.random.default_rng([seed, drive.town, 1])
        last = float(drive.stamps[self.frames - 1])
        since = float(rng.uniform(0.2, 0.5)) * last
        if seed % 2:
            return self._run(drive, _slipping(drive.odometry, since), drive.label_maps, seed)
        ahead = round(ELSEWHERE_S / float(np.median(np.diff(drive.stamps))))
        label_maps = [
            drive.label_maps[(k + ahead) % len(drive.stamps) if stamp >= since else k]
            for k, stamp in enumerate(drive.stamps)
        ]
        return self._run(drive, drive.odometry, label_maps, seed)

    def _run(
        self, drive: LabelledDrive, odometry: Trajectory, label_maps: Sequence[LabelMap], seed: int
    ) -> Run:
        settings = replace(self.localizer, random_seed=seed)
        online = OnlineLocalizer(drive.semantic_map, drive.log_ratio, drive.mounts, settings)
        first = float(drive.stamps[0])
        offset = START_STD * np.random.default_rng([seed, drive.town]).standard_normal(3)
        T = poses.compose(drive.truth.at(first), poses.from_planar(*offset))
        online.initialize(InitialPose.around(T, START_STD[0], START_STD[2], first))
        frames = self.frames or len(drive.stamps)
        seen = list(_played(online, odometry, drive.stamps[:frames], label_maps))
        estimates = [estimate for estimate, _ in seen]
        found = Trajectory(
            np.array([estimate.stamp for estimate in estimates]),
            np.stack([estimate.T_map_base for estimate in estimates]),
        )
        covariances = np.stack([estimate.covariance for estimate in estimates])
        status = [status for _, status in seen]
        lost = [e.stamp for e, status in seen if status == TrackingStatus.LOST]
        errors = planar_errors(found, covariances, drive.truth)
        return Run(drive.name, drive.season, errors, status, min(lost, default=np.inf))


def _played(
    online: OnlineLocalizer,
    odometry: Trajectory,
    stamps: np.ndarray,
    label_maps: Sequence[LabelMap],
) -> Iterator[tuple[Estimate, TrackingStatus]]:
    """Estimates of label maps that come at once, each with the status after it."""
    fed = 0
    for stamp, label_map in zip(stamps, label_maps, strict=False):
        while fed < len(odometry) and (fed == 0 or odometry.stamps[fed - 1] < stamp):
            online.add_odometry(float(odometry.stamps[fed]), odometry.poses[fed])
            fed += 1
        for estimate in online.add_labels(float(stamp), CAMERA, label_map):
            yield estimate, online.tracking.status_at(estimate.stamp)


def _slipping(odometry: Trajectory, since: float) -> Trajectory:
    """Odometry that counts too much of the way from a time on."""
    steps = poses.compose(poses.invert(odometry.poses[:-1]), odometry.poses[1:])
    steps[odometry.stamps[1:] >= since, :3, 3] *= SLIP
    T = [odometry.poses[0]]
    for step in steps:
        T.append(poses.compose(T[-1], step))
    return Trajectory(odometry.stamps, np.stack(T))


def bootstrapped(
    runs: list[Run], statistic: Callable[[list[Run]], np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """95 % interval of a statistic of runs, drawn drive by drive."""
    drives = list(dict.fromkeys(run.drive for run in runs))
    by_drive = [[run for run in runs if run.drive == drive] for drive in drives]
    rng = np.random.default_rng(0)
    drawn = rng.integers(len(drives), size=(RESAMPLES, len(drives)))
    values = [statistic([run for k in chosen for run in by_drive[k]]) for chosen in drawn]
    low, high = np.percentile(values, (2.5, 97.5), axis=0)
    return low, high


def _error_values(runs: list[Run], skip_s: float) -> np.ndarray:
    """Medians of position, along and across, 95 % and most [m], heading [deg], recalls [%]."""
    errors = np.abs(np.concatenate([run.tracked(skip_s).errors for run in runs]))
    position, degrees = np.hypot(errors[:, 0], errors[:, 1]), np.degrees(errors[:, 2])
    medians = np.median(errors, axis=0)
    most = np.percentile(position, 95), position.max()
    recalls = recall_percent(position, degrees)
    return np.array([np.median(position), *medians[:2], *most, np.degrees(medians[2]), *recalls])


def _error_row(name: str, runs: list[Run], skip_s: float) -> dict[str, str]:
    values = _error_values(runs, skip_s)
    low, high = bootstrapped(runs, lambda drawn: _error_values(drawn, skip_s))

    def cell(k: int, digits: int) -> str:
        return f"{values[k]:.{digits}f} ({low[k]:.{digits}f}-{high[k]:.{digits}f})"

    return {
        "drives": name,
        "runs": str(len(runs)),
        "position, median [m]": cell(0, 3),
        "longitudinal": cell(1, 3),
        "lateral": cell(2, 3),
        "95 %": cell(3, 2),
        "most": f"{values[4]:.2f}",
        "heading [deg]": cell(5, 2),
        "0.25 m 2 deg [%]": cell(6, 0),
        "0.5 m 5 deg [%]": cell(7, 0),
        "5 m 10 deg [%]": cell(8, 0),
    }


def _consistency_row(name: str, c: Consistency) -> dict[str, str]:
    def covered(axis: str) -> str:
        return " / ".join(f"{share:.1f}" for share in c.coverage_percent[axis])

    return {
        "frames": f"{name}: {c.frames}",
        "independent": f"{c.independent:.0f}",
        "NEES, 3 if honest": f"{c.nees:.2f}",
        "95 % band": f"{c.band[0]:.1f}-{c.band[1]:.1f}",
        "along, across, heading, 1 if honest": ", ".join(f"{v:.2f}" for v in c.nees_of_axes),
        "along within 1 / 2 / 3 sigma [%]": covered("longitudinal"),
        "across": covered("lateral"),
        "heading": covered("heading"),
        "position": covered("position"),
        "sigma along, across [m], heading [deg]": ", ".join(f"{v:.2f}" for v in c.sigma),
    }


if __name__ == "__main__":
    tyro.cli(Honesty, description=__doc__, config=(tyro.conf.EnumChoicesFromValues,)).run()
