"""2D-2D correspondences between drives of one town, from geometry.

The form is that of the published data (Larsson et al., CVPR 2019, arXiv 1903.06916): the references
are summer images, the targets come from every season. Here each correspondence is exact: a pixel of
the reference is moved by its depth into the target, and kept where the target shows the same
surface at the same depth.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from fgsn_ros.config import require
from fgsn_ros.correspondences.files import (
    TRAIN_LIST,
    VALIDATION_LIST,
    Correspondence,
    CorrespondenceFolder,
    file_name,
    write_correspondence,
    write_list,
)
from fgsn_ros.errors import OutputError
from fgsn_ros.outputs import whole_folder
from fgsn_ros.simulation.covisibility import View, correspond, view
from fgsn_ros.simulation.drive import DriveSettings, SimulatedDrive
from fgsn_ros.simulation.materials import CLASS_NAMES
from fgsn_ros.simulation.seasons import Season
from fgsn_ros.simulation.world import Town

Array = NDArray[np.float64]
_SPEED = 8.0  # m/s of the drives that frames are taken from
_LEAST_POINTS = 50  # pairs with fewer correspondences are left out


@dataclass(frozen=True)
class CorrespondenceDriveSettings:
    """Which drives give correspondences, and how many."""

    first_town: int = 1000
    """seed of the first town; keep these towns out of any test"""
    towns: int = 8
    """number of towns, at least 1"""
    validation_towns: int = 1
    """the last so many towns go to corr_val.txt"""
    seasons: tuple[Season, ...] = tuple(Season)
    """seasons of the targets; summer targets come from another drive than the references"""
    length_m: float = 300.0
    """stretch of each town's street that is driven [m]"""
    spacing_m: float = 4.5
    """distance of reference frames, and of target frames [m], above 0"""
    offset_m: float = 6.0
    """targets of a reference frame lie within so much along the road [m]"""
    points: int = 2000
    """most correspondences of a pair"""
    wander_m: float = 0.6
    """lateral wander of the drives [m]"""
    width: int = 640
    """image width [px]"""
    height: int = 480
    """image height [px]"""
    jpeg_quality: int = 92
    """1..100"""
    seed: int = 1
    """of drives and of sampled pixels"""
    threads: int = 0
    """threads for rendering, 0 for all cores"""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.towns >= 1, "towns must be at least 1")
        require(0 <= self.validation_towns <= self.towns, "validation_towns is 0 to towns")
        require(len(self.seasons) >= 1, "seasons must name at least one season")
        require(self.length_m > 0.0, "length_m must be above 0")
        require(self.spacing_m > 0.0, "spacing_m must be above 0")
        require(self.offset_m >= 0.0, "offset_m must not be negative")
        require(self.points >= 1, "points must be at least 1")
        require(1 <= self.jpeg_quality <= 100, "jpeg_quality is 1 to 100")


def write_correspondences(folder: Path, settings: CorrespondenceDriveSettings) -> None:
    """Render drives of several towns and write images, classes and correspondences.

    Args:
        folder: A new folder in the CorrespondenceFolder layout.
        settings: Towns, seasons and amounts.

    Raises:
        OutputError: the folder exists or cannot be written, or nothing corresponds.
    """
    with whole_folder(folder) as temporary:
        layout = CorrespondenceFolder(temporary)
        for part in (layout.images, layout.files, layout.classes):
            part.mkdir()
        layout.write_class_names(CLASS_NAMES)
        lists: dict[str, list[str]] = {TRAIN_LIST: [], VALIDATION_LIST: []}
        total = settings.towns * (1 + len(settings.seasons)) * _frames_per_drive(settings)
        with tqdm(total=total, desc="correspondences", unit="frame") as progress:
            for number in range(settings.towns):
                held_out = number >= settings.towns - settings.validation_towns
                name = VALIDATION_LIST if held_out else TRAIN_LIST
                lists[name] += _TownWriter(layout, settings, number, progress).write()
        if not any(lists.values()):
            raise OutputError(f"no frames correspond; raise offset_m above {settings.offset_m}")
        for name, names in lists.items():
            write_list(temporary / name, names)


def _frames_per_drive(settings: CorrespondenceDriveSettings) -> int:
    return max(1, int(settings.length_m / settings.spacing_m))


@dataclass(frozen=True)
class _TownWriter:
    """Writes the images and correspondences of one town."""

    layout: CorrespondenceFolder
    settings: CorrespondenceDriveSettings
    number: int
    progress: "tqdm[None]"

    def write(self) -> list[str]:
        """Names of the correspondence files."""
        town = Town.from_seed(self.settings.first_town + self.number)
        references = [
            (index, self._saved(seen, Season.SUMMER, 0, index), seen)
            for index, seen in self._views(town, Season.SUMMER, 0)
        ]
        names: list[str] = []
        for run, season in enumerate(self.settings.seasons, start=1):
            for index, seen in self._views(town, season, run):
                image = self._saved(seen, season, run, index)
                for reference_index, reference_image, reference in references:
                    if abs(reference.station - seen.station) > self.settings.offset_m:
                        continue
                    rng = np.random.default_rng(
                        [self.settings.seed, self.number, run, index, reference_index]
                    )
                    name = file_name(self.number, (0, run), (reference_index, index))
                    pair = correspond(reference, seen, self.settings.points, rng)
                    if len(pair[0]) >= _LEAST_POINTS:
                        self._write_pair(name, (reference_image, image), pair)
                        names.append(name)
        return names

    def _drive(self, town: Town, season: Season, run: int) -> SimulatedDrive:
        s = self.settings
        rng = np.random.default_rng([s.seed, self.number, 99])
        start = float(rng.uniform(0.0, town.street.length))
        duration = (s.length_m + 3 * s.spacing_m) / _SPEED
        settings = DriveSettings(
            town_seed=town.seed, season=season, drive_seed=1000 * s.seed + run,
            duration_s=duration, start_m=start, min_speed=_SPEED, max_speed=_SPEED, stops=False,
            wander_m=s.wander_m, rate_hz=50.0, width=s.width, height=s.height, threads=s.threads,
        )  # fmt: skip
        return SimulatedDrive(settings, town)

    def _views(self, town: Town, season: Season, run: int) -> Iterator[tuple[int, View]]:
        """Views about every spacing_m along the street, jittered between drives."""
        drive = self._drive(town, season, run)
        rng = np.random.default_rng([self.settings.seed, self.number, run, 7])
        count = _frames_per_drive(self.settings)
        wanted = (np.arange(count) + rng.uniform(0.1, 0.9, count)) * self.settings.spacing_m
        travelled = drive.route.station - drive.route.station[0]
        indices = np.searchsorted(travelled, wanted)
        for index in indices.tolist():
            yield index, view(drive, index)
            self.progress.update()

    def _saved(self, seen: View, season: Season, run: int, index: int) -> str:
        """Write a view's image and classes; gives the image's name."""
        name = f"town{self.number:03d}_{run}_{season.value}_{index:05d}.jpg"
        quality = [cv2.IMWRITE_JPEG_QUALITY, self.settings.jpeg_quality]
        bgr = cv2.cvtColor(seen.frame.image, cv2.COLOR_RGB2BGR)
        written = cv2.imwrite(str(self.layout.images / name), bgr, quality)
        classes = cv2.imwrite(str(self.layout.class_path(name)), seen.frame.classes)
        if not (written and classes):
            raise OutputError(f"cannot write {name}; free space or choose another output")
        return name

    def _write_pair(self, name: str, images: tuple[str, str], pair: tuple[Array, Array]) -> None:
        # The simulated points are exact: each weighs the same, as a point at the centre does
        distance = np.zeros(len(pair[0]))
        write_correspondence(
            self.layout.files / name, Correspondence(*images, pair[0], pair[1], distance)
        )
