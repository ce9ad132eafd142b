"""Simulated drives as label maps and odometry, kept on disk: many runs of the filter in minutes.

    python benchmark/labelled_drives.py --work /tmp/drives --towns 601 701

renders, segments and maps what is missing there; outages.py and wrong_start.py do so too. Each town
has a map of a drive in summer and, in each season, a drive that is localized on it. Kept are maps
and label maps, under names that hold what they were made with; odometry and ground truth are made
anew from the seeds. Remove the folder after a change of the simulation. With `--features` the maps
have local features, and those of the images are kept too.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import tyro
from scoring import described_once, segmented_once

from fgsn_ros.commands.demo import PACKAGED_CHECKPOINT
from fgsn_ros.config import require
from fgsn_ros.geometry.cameras import CameraMount
from fgsn_ros.geometry.trajectory import Trajectory
from fgsn_ros.localization.measured_pose import PoseFinder
from fgsn_ros.localization.pipeline import require_log_ratio
from fgsn_ros.locating.feature_poses import FeaturePoses, FeaturePoseSettings
from fgsn_ros.mapping.builder import MapSettings, write_map
from fgsn_ros.mapping.descriptors import ImageFeatures
from fgsn_ros.mapping.feature_builder import LocalFeatureSettings
from fgsn_ros.mapping.local_features import load_local_features
from fgsn_ros.mapping.map_files import load_map
from fgsn_ros.mapping.semantic_map import SemanticMap
from fgsn_ros.recordings.open import open_recording, read_reference
from fgsn_ros.recordings.recording import (
    Frame,
    RecordingSettings,
    require_ground_truth,
    require_odometry,
)
from fgsn_ros.segmentation.checkpoint import load_checkpoint
from fgsn_ros.segmentation.labels import LabelMap
from fgsn_ros.segmentation.segmenter import Segmenter
from fgsn_ros.simulation.drive import CAMERA, DriveSettings, SimulatedDrive
from fgsn_ros.simulation.seasons import Season
from fgsn_ros.simulation.world import Town

MAP_LONGER = 1.15
"""The map's drive is longer by this factor and does not stop: the others may be faster."""


@dataclass(frozen=True)
class LabelledDrives:
    """Where the drives are kept, and which there are."""

    work: Path = Path("benchmark/work")
    """folder that keeps label maps and maps"""
    checkpoint: Path = PACKAGED_CHECKPOINT
    """network trained on other towns"""
    towns: tuple[int, ...] = (701, 702)
    """seeds of the towns"""
    seasons: tuple[Season, ...] = (Season.WINTER, Season.NIGHT, Season.RAIN, Season.AUTUMN)
    """seasons of the localized drives"""
    duration_s: float = 95.0
    """length of the localized drives [s], >= 10"""
    rate_hz: float = 5.0
    """their images per second"""
    threads: int = 0
    """threads for rendering, 0: all cores"""
    features: bool = False
    """use the map's local features too, as `fgsn localize` does"""
    map: MapSettings = field(
        default_factory=lambda: MapSettings(local_features=LocalFeatureSettings(kind="none"))
    )
    """with --features its local features are SIFT's"""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(len(self.towns) > 0 and len(self.seasons) > 0, "give a town and a season")
        require(self.duration_s >= 10.0, "duration_s must be >= 10")

    def __iter__(self) -> Iterator["LabelledDrive"]:
        """Every drive, town by town; what is missing is made."""
        for town in self.towns:
            yield from self.of_town(town)

    def of_town(self, town: int) -> Iterator["LabelledDrive"]:
        """The drives in a town."""
        place = _Place(self, town)
        for season in self.seasons:
            yield place.drive(season)

    def run(self) -> None:
        """Make what is missing."""
        for drive in self:
            print(f"{drive.name}: {len(drive.stamps)} label maps, {len(drive.semantic_map)} points")


@dataclass(frozen=True, eq=False)
class LabelledDrive:
    """One drive and the map it is localized on."""

    name: str
    town: int
    season: Season
    semantic_map: SemanticMap
    log_ratio: np.ndarray
    mounts: dict[str, CameraMount]
    odometry: Trajectory
    """T_odom_base, 50 Hz"""
    truth: Trajectory
    """T_map_base, 50 Hz"""
    stamps: np.ndarray
    """(F,) of the label maps [s]"""
    label_maps: list[LabelMap]
    features: list[ImageFeatures | None]
    """(F,) local features of the images, where they are used"""
    finder: PoseFinder | None = None
    """measures poses by them"""


@dataclass(frozen=True)
class RecordedDrive:
    """A recording in place of simulated drives, and its map."""

    map: Path | None = None
    """map made by `fgsn map`"""
    recording: Path | None = None
    """recording to localize on it"""
    checkpoint: Path = PACKAGED_CHECKPOINT
    """network that labelled the map"""
    reference: Path | None = None
    """trajectory in the map frame (TUM text); else the recording's ground truth"""
    features: bool = False
    """use the map's local features too, as `fgsn localize` does"""
    settings: RecordingSettings = field(default_factory=RecordingSettings)

    def __post_init__(self) -> None:
        """Check that both are given."""
        require((self.map is None) == (self.recording is None), "give a map and a recording")

    def drive(self) -> LabelledDrive:
        """Its label maps, and local features if they are used."""
        assert self.map is not None
        assert self.recording is not None
        recording = open_recording(self.recording, self.settings)
        truth = require_ground_truth(recording) if self.reference is None else None
        segmenter = Segmenter(load_checkpoint(self.checkpoint))
        semantic_map = load_map(self.map).in_memory()
        log_ratio = require_log_ratio(segmenter.checkpoint)
        finder = None
        if self.features:
            local = load_local_features(self.map, semantic_map)
            finder = FeaturePoses(semantic_map, local, log_ratio)
        stamps, label_maps, features = [], [], []
        for frame in recording.frames():
            stamps.append(frame.stamp)
            label_maps.append(segmenter.segment(frame.image))
            features.append(None if finder is None else finder.extract(frame.image))
        return LabelledDrive(
            recording.name,
            0,
            Season.SUMMER,
            semantic_map,
            log_ratio,
            dict(recording.cameras),
            require_odometry(recording),
            truth or read_reference(self.reference, recording),
            np.array(stamps),
            label_maps,
            features,
            finder,
        )


class _RenderedOnce(SimulatedDrive):
    """A simulated drive whose images are kept until it is told to forget them."""

    _kept: list[Frame] | None = None

    def frames(self) -> Iterator[Frame]:
        """Render the frames, the first time."""
        if self._kept is None:
            self._kept = list(super().frames())
        return iter(self._kept)

    def forget(self) -> None:
        """Let go of the images."""
        self._kept = None


class _Place:
    """A town, its map and its drives."""

    def __init__(self, settings: LabelledDrives, town: int) -> None:
        self._settings = settings
        self._segmenter = Segmenter(load_checkpoint(settings.checkpoint))
        self._town = Town.from_seed(town)

    def drive(self, season: Season) -> LabelledDrive:
        """A drive with its label maps."""
        s = self._settings
        settings = DriveSettings(
            town_seed=self._town.seed,
            season=season,
            drive_seed=2,
            duration_s=s.duration_s,
            rate_hz=s.rate_hz,
            threads=s.threads,
        )
        drive = _RenderedOnce(settings, self._town)
        semantic_map, finder = self._map
        cache = self._path("labels", settings).with_suffix(".npz")
        labels = segmented_once(drive, self._segmenter, cache)
        features: list[ImageFeatures | None] = [None] * drive.frame_count
        if finder is not None:
            cache = self._path("features", settings, FeaturePoseSettings().features)
            features = list(described_once(drive, finder.extract, cache.with_suffix(".npz")))
        drive.forget()
        # Stamps are enough for label maps that are kept: nothing is rendered.
        empty = np.zeros((0, 0, 3), np.uint8)
        label_maps = [labels(Frame(float(t), CAMERA, empty)) for t in drive.frame_stamps]
        return LabelledDrive(
            drive.name,
            self._town.seed,
            season,
            semantic_map,
            require_log_ratio(self._segmenter.checkpoint),
            dict(drive.cameras),
            drive.odometry,
            drive.ground_truth,
            drive.frame_stamps,
            label_maps,
            features,
            finder,
        )

    @cached_property
    def _map(self) -> tuple[SemanticMap, FeaturePoses | None]:
        s = self._settings
        settings = replace(s.map, local_features=LocalFeatureSettings()) if s.features else s.map
        summer = DriveSettings(
            town_seed=self._town.seed,
            drive_seed=1,
            duration_s=MAP_LONGER * s.duration_s,
            stops=False,
            threads=s.threads,
        )
        path = self._path("map", summer, settings)
        if not path.exists():
            write_map(path, SimulatedDrive(summer, self._town), self._segmenter, settings)
        semantic_map = load_map(path).in_memory()
        if not s.features:
            return semantic_map, None
        local = load_local_features(path, semantic_map)
        log_ratio = require_log_ratio(self._segmenter.checkpoint)
        return semantic_map, FeaturePoses(semantic_map, local, log_ratio)

    def _path(self, kind: str, drive: DriveSettings, *made_with: object) -> Path:
        work, labelling = self._settings.work, (self._segmenter.checkpoint.fingerprint,)
        made_with = (replace(drive, threads=0), labelling, made_with)  # as any number of threads
        digest = hashlib.sha256(repr(made_with).encode()).hexdigest()[:10]
        return work / f"{kind}-town{drive.town_seed}-{drive.season.value}-{digest}"


if __name__ == "__main__":
    tyro.cli(LabelledDrives, description=__doc__, config=(tyro.conf.EnumChoicesFromValues,)).run()
