"""Half an hour in one process, through changing weather: do memory, files and time a frame grow?

    python benchmark/long_run.py --drives.work /tmp/drives --drives.towns 701

One localizer on one town's summer map drives the town's loop again and again, in one season after
the other (see labelled_drives.py); at the beginning of each drive it is set down and given its
pose. Its clock goes on, as on a robot that is never switched off. By five minutes: resident memory,
open files, the filter's time a frame, and the position error. Writes long_run.md and long_run.json.
"""

import os
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path

import numpy as np
import tyro
from labelled_drives import LabelledDrive, LabelledDrives
from replayed import LABELS_LATE_S
from scoring import markdown_table, write_results

from fgsn_ros.config import require
from fgsn_ros.geometry import poses
from fgsn_ros.localization.initial_pose import InitialPose
from fgsn_ros.localization.localizer import LocalizerSettings
from fgsn_ros.localization.online import OnlineLocalizer

BIN_S = 300.0
SETTLED_S = 3.0
"""After it was set down, errors count from then on."""


@dataclass(frozen=True)
class Frame:
    """One label map, and what the process was then."""

    stamp: float
    error_m: float
    milliseconds: float
    resident_mib: float
    files: int


@dataclass(frozen=True)
class LongRun:
    """Drive for long."""

    drives: LabelledDrives = field(default_factory=lambda: LabelledDrives(towns=(701,)))
    output: Path = Path("benchmark/results")
    """folder of long_run.md and long_run.json"""
    minutes: float = 30.0
    """> 0"""
    localizer: LocalizerSettings = field(default_factory=LocalizerSettings)

    def __post_init__(self) -> None:
        """Check the range."""
        require(self.minutes > 0.0, "minutes must be > 0")
        require(len(self.drives.towns) == 1, "give one town: there is one map")

    def run(self) -> None:
        """Drive; print and write the table."""
        drives = list(self.drives)
        first = drives[0]
        online = OnlineLocalizer(
            first.semantic_map,
            first.log_ratio,
            first.mounts,
            self.localizer,
            finder=first.finder,
        )
        online.warm_up()
        frames: list[Frame] = []
        clock, T_odom_start = 0.0, np.eye(4)
        for drive in cycle(drives):
            if clock >= 60.0 * self.minutes:
                break
            frames += _driven(online, drive, clock, T_odom_start)
            clock += float(drive.odometry.stamps[-1]) + 0.02
            whole = poses.compose(poses.invert(drive.odometry.poses[0]), drive.odometry.poses[-1])
            T_odom_start = poses.compose(T_odom_start, whole)
            print(f"{clock:.0f} s, {drive.name}: {frames[-1].resident_mib:.0f} MiB", flush=True)
        text = table(frames)
        print(text)
        write_results(self.output, "long_run", text, [vars(frame) for frame in frames])


def _driven(
    online: OnlineLocalizer, drive: LabelledDrive, clock: float, T_odom_start: np.ndarray
) -> list[Frame]:
    """One drive, its stamps and its odometry going on from where the one before ended."""
    T_new_old = poses.compose(T_odom_start, poses.invert(drive.odometry.poses[0]))
    start = InitialPose.around(drive.truth.at(0.0), 1.0, float(np.radians(4.0)), clock)
    camera = next(iter(drive.mounts))
    seen = list(zip(drive.stamps, drive.label_maps, drive.features, strict=True))
    frames: list[Frame] = []
    for k, (stamp, T) in enumerate(zip(drive.odometry.stamps, drive.odometry.poses, strict=True)):
        online.add_odometry(clock + stamp, poses.compose(T_new_old, T))
        if k == 0:
            online.initialize(start)
        while seen and seen[0][0] + LABELS_LATE_S <= stamp:
            taken, *content = seen.pop(0)
            before = sum(online.seconds.values())
            estimates = online.add_labels(clock + taken, camera, *content)
            spent = 1e3 * (sum(online.seconds.values()) - before)
            if estimates and taken >= SETTLED_S:
                off = estimates[-1].T_map_base[:2, 3] - drive.truth.at(taken)[:2, 3]
                error = float(np.linalg.norm(off))
                frames.append(Frame(clock + taken, error, spent, _resident_mib(), _open_files()))
    return frames


def _resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def table(frames: list[Frame]) -> str:
    """A row for five minutes."""
    bins: dict[int, list[Frame]] = {}
    for frame in frames:
        bins.setdefault(int(frame.stamp // BIN_S), []).append(frame)
    return markdown_table(
        {
            "minutes": f"{number * BIN_S / 60:.0f}-{(number + 1) * BIN_S / 60:.0f}",
            "frames": str(len(some)),
            "memory [MiB]": f"{some[-1].resident_mib:.0f}",
            "open files": str(some[-1].files),
            "frame, median [ms]": f"{np.median([f.milliseconds for f in some]):.1f}",
            "95 % [ms]": f"{np.quantile([f.milliseconds for f in some], 0.95):.1f}",
            "error, median [m]": f"{np.median([f.error_m for f in some]):.2f}",
            "95 % [m]": f"{np.quantile([f.error_m for f in some], 0.95):.2f}",
        }
        for number, some in bins.items()
    )


if __name__ == "__main__":
    tyro.cli(LongRun, description=__doc__, config=(tyro.conf.EnumChoicesFromValues,)).run()
