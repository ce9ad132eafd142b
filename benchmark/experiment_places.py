"""Streets to localize in: a map's drive and the drives on it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import yaml
from experiment_variants import Form
from scoring import Result, judged, segmented_once
from seasons import MAP_LONGER, kept_path

from fgsn_ros.commands.start import Start
from fgsn_ros.errors import SettingsError
from fgsn_ros.evaluation.trajectory_errors import dead_reckoning
from fgsn_ros.geometry.cameras import CameraMount
from fgsn_ros.geometry.trajectory import Trajectory
from fgsn_ros.localization.localizer import LocalizerSettings
from fgsn_ros.localization.pipeline import localize
from fgsn_ros.mapping.builder import MapSettings, build_map
from fgsn_ros.recordings.open import open_recording
from fgsn_ros.recordings.recording import Frame, Recording, require_ground_truth, require_odometry
from fgsn_ros.segmentation.checkpoint import load_checkpoint
from fgsn_ros.segmentation.segmenter import Segmenter
from fgsn_ros.simulation.bags import write_drive
from fgsn_ros.simulation.drive import DriveSettings, SimulatedDrive
from fgsn_ros.simulation.seasons import Season

_START = Start(offset_m=2.0, offset_deg=5.0)


@dataclass(frozen=True)
class Place:
    """Recordings of one street, with ground truth and odometry."""

    name: str
    map: Path
    """recording that the map is made of"""
    drives: tuple[tuple[str, Path], ...]
    """name and recording of each localized drive"""
    map_spacing_m: float
    """distance of the map's labelled images [m]"""
    every: int
    """every so many frames of a drive are localized"""

    def described(self) -> tuple[object, ...]:
        """What results depend on; paths by name alone."""
        drives = tuple((name, path.name) for name, path in self.drives)
        return self.name, self.map.name, drives, self.map_spacing_m, self.every


def given_places(path: Path, form: Form) -> tuple[Place, ...]:
    """Places of a YAML list of `name`, `map` (a recording) and `drives` (name to recording).

    Raises:
        SettingsError: the file is no such list.
    """
    try:
        places = tuple(
            Place(
                str(entry["name"]),
                path.parent / entry["map"],
                tuple((str(name), path.parent / to) for name, to in entry["drives"].items()),
                form.map_spacing_m,
                form.every,
            )
            for entry in yaml.safe_load(path.read_text())
        )
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise SettingsError(f"{path} is no list of name, map and drives: {error}") from error
    if not places or not all(place.drives for place in places):
        raise SettingsError(f"{path} names no drive to localize; add one")
    return places


def simulated_places(work: Path, form: Form) -> tuple[Place, ...]:
    """Drives of the form's towns, rendered where `work` does not hold them yet."""
    return tuple(_simulated_place(work, form, town) for town in form.towns)


def _simulated_place(work: Path, form: Form, town: int) -> Place:
    summer = DriveSettings(
        town_seed=town,
        season=Season.SUMMER,
        drive_seed=1,
        duration_s=MAP_LONGER * form.duration_s,
        stops=False,
    )
    drives = [
        DriveSettings(town_seed=town, season=season, drive_seed=2, duration_s=form.duration_s)
        for season in form.seasons
    ]
    named = tuple((drive.season.value, _rendered(work, drive)) for drive in drives)
    return Place(f"town {town}", _rendered(work, summer), named, form.map_spacing_m, form.every)


def _rendered(work: Path, drive: DriveSettings) -> Path:
    path = kept_path(work, "drive", drive)
    if not path.exists():
        write_drive(SimulatedDrive(drive), path)
    return path


def localized(
    checkpoint: Path, places: tuple[Place, ...], seed: int
) -> tuple[dict[str, Result], dict[str, Result]]:
    """Errors by drive, and those of dead reckoning from the same starts.

    Args:
        checkpoint: With label statistics.
        places: Where to localize.
        seed: Of the starts' directions and of the particles.
    """
    segmenter = Segmenter(load_checkpoint(checkpoint))
    settings = replace(LocalizerSettings(), random_seed=seed)
    found, reckoned = {}, {}
    for number, place in enumerate(places):
        making = MapSettings(keyframe_spacing_m=place.map_spacing_m)
        semantic_map = build_map(open_recording(place.map), segmenter, making)
        for index, (name, path) in enumerate(place.drives):
            recording = Thinned(open_recording(path), place.every)
            truth, odometry = require_ground_truth(recording), require_odometry(recording)
            rng = np.random.default_rng([seed, number, index])
            initial = _START.initial(recording, truth, rng)
            labels = segmented_once(recording, segmenter)
            run = localize(
                recording, semantic_map, segmenter.checkpoint, initial, settings, labels,
                progress=False,
            )  # fmt: skip
            stamps = run.trajectory.stamps
            dead = dead_reckoning(odometry, initial.T_map_base, stamps, initial.stamp)
            found[f"{place.name}, {name}"] = judged(run.trajectory, truth)
            reckoned[f"{place.name}, {name}"] = judged(dead, truth)
    return found, reckoned


@dataclass(frozen=True)
class Thinned:
    """A recording with every so many of its frames."""

    whole: Recording
    every: int

    @property
    def name(self) -> str:
        """As of the whole."""
        return self.whole.name

    @property
    def cameras(self) -> Mapping[str, CameraMount]:
        """As of the whole."""
        return self.whole.cameras

    @property
    def odometry(self) -> Trajectory | None:
        """As of the whole."""
        return self.whole.odometry

    @property
    def odometry_origin(self) -> str:
        """As of the whole."""
        return self.whole.odometry_origin

    @property
    def ground_truth(self) -> Trajectory | None:
        """As of the whole."""
        return self.whole.ground_truth

    @property
    def frame_count(self) -> int:
        """Number of frames that are left."""
        return -(-self.whole.frame_count // self.every)

    def frames(self) -> Iterator[Frame]:
        """The frames that are left."""
        return islice(self.whole.frames(), 0, None, self.every)
