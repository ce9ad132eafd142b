"""Simulated towns: map of a summer drive, localization in other seasons, from a wrong start.

    python benchmark/seasons.py --work /tmp/seasons

For each town, none of which the network was trained in, a map is made of a drive in summer. A
drive in autumn, winter, night and rain is localized on it from a start 2 m and 5 deg off, with
wheel odometry that drifts by 2 % or more: by labels, by the map's local features and by both, in
the same filter from the same start, beside dead reckoning. Local features alone leave the labels
out of the weights, and out of nothing else. Prints a table by season, pooled over the towns with 95
% bootstrap intervals over them, and one by run; writes both to seasons.md and seasons.json.

Rendered drives (bags), label maps, the images' local features and maps are kept in --work under
names that hold what they were made with, and used again. Remove the folder after a change of the
code.
"""

import hashlib
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import tyro
from evidence import NO_LABELS
from kept_features import KeptExtractor, KeptPoses
from scoring import judged, segmented_once, write_results
from season_tables import (
    BOTH,
    DEAD_RECKONING,
    LABELS,
    LOCAL_FEATURES,
    Run,
    run_table,
    season_table,
)

from fgsn_ros.commands.demo import PACKAGED_CHECKPOINT
from fgsn_ros.commands.start import Start
from fgsn_ros.config import require
from fgsn_ros.evaluation.trajectory_errors import dead_reckoning
from fgsn_ros.geometry.trajectory import Trajectory
from fgsn_ros.localization.initial_pose import InitialPose
from fgsn_ros.localization.localizer import LocalizerSettings
from fgsn_ros.localization.measured_pose import PoseFinder
from fgsn_ros.localization.online import OnlineLocalizer
from fgsn_ros.localization.pipeline import localize, require_log_ratio
from fgsn_ros.locating.feature_poses import FeaturePoses, FeaturePoseSettings
from fgsn_ros.mapping.builder import MapSettings, write_map
from fgsn_ros.mapping.local_features import load_local_features
from fgsn_ros.mapping.map_files import load_map
from fgsn_ros.mapping.semantic_map import SemanticMap
from fgsn_ros.recordings.open import open_recording
from fgsn_ros.recordings.recording import Recording, require_ground_truth, require_odometry
from fgsn_ros.segmentation.checkpoint import load_checkpoint
from fgsn_ros.segmentation.segmenter import Segmenter, SegmenterSettings
from fgsn_ros.simulation.bags import write_drive
from fgsn_ros.simulation.drive import DriveSettings, SimulatedDrive
from fgsn_ros.simulation.seasons import Season

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
    features: bool = True
    """localize by local features too, alone and beside the labels"""
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
            "medians [m], heading the median [deg]; in brackets 95 % bootstrap intervals over the "
            "towns. Recall within 0.25 m 2 deg / 0.5 m 5 deg / 5 m 10 deg [%]. Frames/s: the "
            "median frame's, without labelling and describing it. Drift of the odometry at the "
            "end, in % of the distance."
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
        results, speeds = {}, {}
        for name, localizer, finder in self._methods(drive):
            found, speeds[name] = self._localized(recording, drive, initial, localizer, finder)
            results[name] = judged(found, truth, s.skip_s)
        reckoned = dead_reckoning(
            require_odometry(recording), initial.T_map_base, found.stamps, initial.stamp
        )
        results[DEAD_RECKONING] = judged(reckoned, truth, s.skip_s)
        drift = _drift_percent(recording)
        return Run(self._town, season, results, speeds, drift, len(self._map))

    def _methods(
        self, drive: DriveSettings
    ) -> Iterator[tuple[str, LocalizerSettings, PoseFinder | None]]:
        """How a drive is localized: by what, with which settings and finder."""
        seeded = replace(self._settings.localizer, random_seed=self._settings.seed)
        yield LABELS, seeded, None
        if not self._settings.features:
            return
        finder = self._finder(drive)
        measurement = replace(seeded.measurement, independent_points=NO_LABELS)
        yield LOCAL_FEATURES, replace(seeded, measurement=measurement), finder
        yield BOTH, seeded, finder

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

    def _localized(
        self,
        recording: Recording,
        drive: DriveSettings,
        initial: InitialPose,
        localizer: LocalizerSettings,
        finder: PoseFinder | None,
    ) -> tuple[Trajectory, float]:
        """T_map_base, and the median frame's rate [frames/s] without labelling and describing."""
        cache = self._path("labels", drive, self._labelling).with_suffix(".npz")
        spent = [0.0]
        run = localize(
            recording,
            self._map,
            self._segmenter.checkpoint,
            initial,
            localizer,
            labels=segmented_once(recording, self._segmenter, cache),
            finder=finder,
            on_estimate=[lambda _, online: spent.append(_filter_s(online))],
        )
        return run.trajectory, 1.0 / float(np.median(np.diff(spent)))

    def _finder(self, drive: DriveSettings) -> PoseFinder:
        """Of the map's local features, with those of a drive's images found once."""
        local = load_local_features(self._map_path, self._map)
        log_ratio = require_log_ratio(self._segmenter.checkpoint)
        finder = FeaturePoses(self._map, local, log_ratio)
        kept = self._path("features", drive, local.kind, FeaturePoseSettings().features)
        return KeptPoses(finder, KeptExtractor(finder.extract, kept))


def kept_path(work: Path, kind: str, drive: DriveSettings, *made_with: object) -> Path:
    """Path in the work folder, named by everything that the file depends on."""
    digest = hashlib.sha256(repr((drive, made_with)).encode()).hexdigest()[:10]
    return work / f"{kind}-town{drive.town_seed}-{drive.season.value}-{digest}"


def _filter_s(online: OnlineLocalizer) -> float:
    """Time that the filter has taken, without reading, segmenting and describing [s]."""
    return sum(
        online.seconds[step] for step in ("propagate", "select", "match", "weigh", "estimate")
    )


def _drift_percent(recording: Recording) -> float:
    odometry, truth = require_odometry(recording), require_ground_truth(recording)
    stamps = truth.stamps[(truth.stamps >= odometry.stamps[0])]
    reckoned = dead_reckoning(odometry, truth.at(stamps[0]), stamps)
    end = reckoned.poses[-1, :2, 3] - truth.at(reckoned.stamps[-1])[:2, 3]
    return 100.0 * float(np.linalg.norm(end)) / truth.length_m()


if __name__ == "__main__":
    tyro.cli(Seasons, description=__doc__, config=(tyro.conf.EnumChoicesFromValues,)).run()
