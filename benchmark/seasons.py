"""Simulated towns: map of a summer drive, localization in other seasons, from a wrong start.

    python benchmark/seasons.py --work /tmp/seasons

For each town, none of which the network was trained in, a map is made of a drive in summer. A
drive in autumn, winter, night and rain is localized on it from a start 2 m and 5 deg off, by labels
and by wheel odometry that drifts by 2 % or more. Beside it stand SIFT matches with PnP in the same
filter (see sift_localization.py) and dead reckoning from the same start. Prints a table by season,
pooled over the towns, and one by run; writes both to seasons.md and seasons.json.

Rendered drives (bags), label maps, maps and SIFT's trajectories are kept in --work under names that
hold what they were made with, and used again. Remove the folder after a change of the code.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import tyro
from scoring import judged, segmented_once, write_results
from season_tables import DEAD_RECKONING, LABELS, SIFT, Run, run_table, season_table
from sift_localization import SiftSettings, localize_by_sift

from fgsn_ros.commands.demo import PACKAGED_CHECKPOINT
from fgsn_ros.commands.start import Start
from fgsn_ros.config import require
from fgsn_ros.evaluation.trajectory_errors import dead_reckoning
from fgsn_ros.geometry.trajectory import Trajectory, read_tum, write_tum
from fgsn_ros.localization.initial_pose import InitialPose
from fgsn_ros.localization.localizer import LocalizerSettings
from fgsn_ros.localization.online import OnlineLocalizer
from fgsn_ros.localization.pipeline import localize
from fgsn_ros.mapping.builder import MapSettings, write_map
from fgsn_ros.mapping.ground import Ground
from fgsn_ros.mapping.local_features import load_local_features
from fgsn_ros.mapping.map_files import load_map
from fgsn_ros.mapping.semantic_map import SemanticMap
from fgsn_ros.outputs import Layout, whole_folder
from fgsn_ros.recordings.open import open_recording
from fgsn_ros.recordings.recording import Recording, require_ground_truth, require_odometry
from fgsn_ros.segmentation.checkpoint import load_checkpoint
from fgsn_ros.segmentation.segmenter import Segmenter, SegmenterSettings
from fgsn_ros.simulation.bags import write_drive
from fgsn_ros.simulation.drive import DriveSettings, SimulatedDrive
from fgsn_ros.simulation.seasons import Season

_LAYOUT = Layout("share.json", "", ("trajectory.tum",))
MAP_LONGER = 1.5
"""The map's drive is longer by this factor and does not stop: the other may be faster."""


@dataclass(frozen=True)
class Seasons:
    """Localize simulated drives of several seasons on maps made in summer."""

    checkpoint: Path = PACKAGED_CHECKPOINT
    """network trained on other towns"""
    output: Path = Path("benchmark/results")
    """folder of seasons.md and seasons.json"""
    work: Path = Path("benchmark/work")
    """folder that keeps drives, labels and maps"""
    towns: tuple[int, ...] = (9001, 9002, 9003, 9004, 9005)
    """seeds of the towns"""
    seasons: tuple[Season, ...] = (Season.AUTUMN, Season.WINTER, Season.NIGHT, Season.RAIN)
    """seasons of the localized drives"""
    duration_s: float = 30.0
    """length of the localized drives [s], >= 2"""
    skip_s: float = 0.0
    """seconds at the start that are not judged, >= 0"""
    seed: int = 0
    """seed of the starts' directions and of the particles, >= 0"""
    sift: bool = True
    """localize by SIFT too"""
    jobs: int = 1
    """towns worked on at once, >= 1"""
    start: Start = field(default_factory=lambda: Start(offset_m=2.0, offset_deg=5.0))
    map: MapSettings = field(default_factory=MapSettings)
    segmenter: SegmenterSettings = field(default_factory=SegmenterSettings)
    localizer: LocalizerSettings = field(default_factory=LocalizerSettings)

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(len(self.towns) > 0 and len(self.seasons) > 0, "give a town and a season")
        require(self.duration_s >= 2.0, "duration_s must be >= 2")
        require(min(self.seed, self.skip_s) >= 0, "seed and skip_s must be >= 0")
        require(self.jobs >= 1, "jobs must be >= 1")

    def run(self) -> None:
        """Drive, map, localize; print and write the tables."""
        runs: list[Run] = []
        for of_town in self._all_runs():
            runs += of_town
            text = "\n\n".join([season_table(runs), run_table(runs), self._note()])
            write_results(self.output, "seasons", text, [run.values() for run in runs])
        print(text)

    def _all_runs(self) -> Iterator[list[Run]]:
        """The runs of each town, as they are done."""
        if self.jobs == 1:
            yield from (runs_in_town(self, town) for town in self.towns)
            return
        # Spawned: a fork of a process with OpenMP threads may hang.
        with ProcessPoolExecutor(self.jobs, mp_context=get_context("spawn")) as pool:
            yield from pool.map(runs_in_town, [self] * len(self.towns), self.towns)

    def _note(self) -> str:
        return (
            f"{len(self.towns)} towns, {self.duration_s:g} s a drive; start "
            f"{self.start.offset_m:g} m and {self.start.offset_deg:g} deg off; the first "
            f"{self.skip_s:g} s left out; frames pooled. Position, lateral and longitudinal are "
            "medians [m], heading the median [deg]. "
            "Recall within 0.25 m 2 deg / 0.5 m 5 deg / 5 m 10 deg [%]. Frames/s: the median "
            "frame's, without segmentation. Drift of the odometry at the end, in % of the distance."
        )


def runs_in_town(settings: Seasons, town: int) -> list[Run]:
    """All runs in a town."""
    case = _Town(settings, town)
    return [case.run(season) for season in settings.seasons]


class _Town:
    """A town's map and the runs on it."""

    def __init__(self, settings: Seasons, town: int) -> None:
        self._settings = settings
        self._town = town
        self._segmenter = Segmenter(load_checkpoint(settings.checkpoint), settings.segmenter)
        self._labelling = self._segmenter.checkpoint.fingerprint, self._segmenter.stride
        length = MAP_LONGER * settings.duration_s
        self._summer = DriveSettings(
            town_seed=town, season=Season.SUMMER, drive_seed=1, duration_s=length, stops=False
        )

    def run(self, season: Season) -> Run:
        """Localize a drive of a season."""
        s = self._settings
        drive = DriveSettings(
            town_seed=self._town, season=season, drive_seed=2, duration_s=s.duration_s
        )
        recording = self._recording(drive)
        truth = require_ground_truth(recording)
        direction = np.random.default_rng([s.seed, self._town, list(Season).index(season)])
        initial = s.start.initial(recording, truth, direction)
        labelled, frames_per_s = self._by_labels(recording, drive, initial)
        reckoned = dead_reckoning(
            require_odometry(recording), initial.T_map_base, labelled.stamps, initial.stamp
        )
        results = {LABELS: judged(labelled, truth, s.skip_s)}
        sift_share = 0.0
        if s.sift:
            trajectory, sift_share = self._by_sift(recording, drive, initial)
            results[SIFT] = judged(trajectory, truth, s.skip_s)
        results[DEAD_RECKONING] = judged(reckoned, truth, s.skip_s)
        return Run(
            self._town,
            season,
            results,
            frames_per_s,
            _drift_percent(recording),
            len(self._map),
            sift_share,
        )

    def _path(self, kind: str, drive: DriveSettings, *made_with: object) -> Path:
        return kept_path(self._settings.work, kind, drive, *made_with)

    def _recording(self, drive: DriveSettings) -> Recording:
        path = self._path("drive", drive)
        if not path.exists():
            write_drive(SimulatedDrive(drive), path)
        return open_recording(path)

    @cached_property
    def _map(self) -> SemanticMap:
        if not self._map_path.exists():
            recording = self._recording(self._summer)
            write_map(self._map_path, recording, self._segmenter, self._settings.map)
        return load_map(self._map_path)

    @property
    def _map_path(self) -> Path:
        return self._path("map", self._summer, self._labelling, self._settings.map)

    def _by_labels(
        self, recording: Recording, drive: DriveSettings, initial: InitialPose
    ) -> tuple[Trajectory, float]:
        """T_map_base, and the median frame's rate [frames/s] without segmentation."""
        cache = self._path("labels", drive, self._labelling).with_suffix(".npz")
        spent = [0.0]
        run = localize(
            recording,
            self._map,
            self._segmenter.checkpoint,
            initial,
            self._localizer,
            labels=segmented_once(recording, self._segmenter, cache),
            on_estimate=[lambda _, online: spent.append(_filter_s(online))],
        )
        return run.trajectory, 1.0 / float(np.median(np.diff(spent)))

    @property
    def _localizer(self) -> LocalizerSettings:
        return dataclasses.replace(self._settings.localizer, random_seed=self._settings.seed)

    def _by_sift(
        self, recording: Recording, drive: DriveSettings, initial: InitialPose
    ) -> tuple[Trajectory, float]:
        """T_map_base, and the share of the frames with a measurement."""
        s = self._settings
        made_with = self._summer, SiftSettings(), s.map, self._localizer, s.start, s.seed
        path = self._path("sift", drive, *made_with)
        if not path.exists():
            local, ground = (
                load_local_features(self._map_path, self._map),
                Ground(self._map.keyframe_poses),
            )
            run = localize_by_sift(
                recording, local, ground, initial, SiftSettings(), self._localizer
            )
            share = run.measured / len(run.trajectory)
            with whole_folder(path, _LAYOUT) as folder:
                write_tum(folder / "trajectory.tum", run.trajectory)
                (folder / "share.json").write_text(json.dumps(share))
        share = float(json.loads((path / "share.json").read_text()))
        return read_tum(path / "trajectory.tum"), share


def kept_path(work: Path, kind: str, drive: DriveSettings, *made_with: object) -> Path:
    """Path in the work folder, named by everything that the file depends on."""
    digest = hashlib.sha256(repr((drive, made_with)).encode()).hexdigest()[:10]
    return work / f"{kind}-town{drive.town_seed}-{drive.season.value}-{digest}"


def _filter_s(online: OnlineLocalizer) -> float:
    """Time that the filter has taken, without reading and segmenting [s]."""
    return sum(online.seconds[step] for step in ("propagate", "select", "weigh", "estimate"))


def _drift_percent(recording: Recording) -> float:
    odometry, truth = require_odometry(recording), require_ground_truth(recording)
    stamps = truth.stamps[(truth.stamps >= odometry.stamps[0])]
    reckoned = dead_reckoning(odometry, truth.at(stamps[0]), stamps)
    end = reckoned.poses[-1, :2, 3] - truth.at(reckoned.stamps[-1])[:2, 3]
    return 100.0 * float(np.linalg.norm(end)) / truth.length_m()


if __name__ == "__main__":
    tyro.cli(Seasons, description=__doc__, config=(tyro.conf.EnumChoicesFromValues,)).run()
