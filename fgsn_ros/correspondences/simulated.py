"""2D-2D correspondences between drives of one town, from geometry.

The form is that of the published data (Larsson et al., CVPR 2019, arXiv 1903.06916): the references
are summer images, the targets come from every season. Here each correspondence is exact: a pixel of
the reference is moved by its depth into the target, and kept where the target shows the same
surface at the same depth.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from fgsn_ros.config import require
from fgsn_ros.correspondences.files import (
    Correspondence,
    CorrespondenceFolder,
    file_name,
    new_correspondence_folder,
    write_correspondence,
)
from fgsn_ros.correspondences.images import write_classes, write_jpeg
from fgsn_ros.errors import OutputError
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.cameras import Camera
from fgsn_ros.simulation.drive import DriveSettings, SimulatedDrive
from fgsn_ros.simulation.materials import CLASS_NAMES, VEHICLE
from fgsn_ros.simulation.render import RenderedFrame
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
    change: float = 0.0
    """how far looks change from drive to drive, 0 to 1"""

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
        require(0.0 <= self.change <= 1.0, "change must be within 0 and 1")


@dataclass(frozen=True)
class View:
    """A rendered frame and where it was seen from."""

    frame: RenderedFrame
    T_map_camera: Array  # (4, 4)
    camera: Camera
    station: float  # m along the street


def view(drive: SimulatedDrive, index: int) -> View:
    """Render frame `index` of a drive as a view."""
    step = round(50.0 / drive.settings.rate_hz)
    station = float(drive.route.station[index * step])
    camera = next(iter(drive.cameras.values())).camera
    return View(drive.render(index), drive.T_map_camera(index), camera, station)


def write_correspondences(folder: Path, settings: CorrespondenceDriveSettings) -> None:
    """Render drives of several towns and write images, classes and correspondences.

    Args:
        folder: A new folder in the CorrespondenceFolder layout.
        settings: Towns, seasons and amounts.

    Raises:
        OutputError: the folder exists or cannot be written, or nothing corresponds.
    """
    with new_correspondence_folder(folder, classes=True) as layout:
        layout.write_class_names(CLASS_NAMES)
        train: list[str] = []
        validation: list[str] = []
        total = settings.towns * (1 + len(settings.seasons)) * _frames_per_drive(settings)
        with tqdm(total=total, desc="correspondences", unit="frame") as progress:
            for number in range(settings.towns):
                held_out = number >= settings.towns - settings.validation_towns
                names = validation if held_out else train
                names += _TownWriter(layout, settings, number, progress).write()
        if not train and not validation:
            raise OutputError(f"no frames correspond; raise offset_m above {settings.offset_m}")
        layout.write_lists(train, validation)


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
            change=s.change,
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
        write_jpeg(self.layout.images / name, seen.frame.image, self.settings.jpeg_quality)
        write_classes(self.layout.class_path(name), seen.frame.classes)
        return name

    def _write_pair(self, name: str, images: tuple[str, str], pair: tuple[Array, Array]) -> None:
        # The simulated points are exact: each weighs the same, as a point at the centre does
        distance = np.zeros(len(pair[0]))
        write_correspondence(
            self.layout.files / name, Correspondence(*images, pair[0], pair[1], distance)
        )


def correspond(
    reference: View, target: View, count: int, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Pixels (N, 2) of the reference and of the target that show the same points, N <= count.

    A point is kept where the target's depth at its projection agrees, where the reference's depth
    agrees with the target's point moved back, and where both show the same standing surface.
    """
    pixels = _sampled(reference.frame, 3 * count, rng)
    moved, seen = _move(reference, target, pixels.astype(float))
    nearest = np.zeros((len(moved), 2), dtype=int)
    nearest[seen] = np.rint(moved[seen]).astype(int)
    back, back_seen = _move(target, reference, nearest.astype(float))
    same = _surface(reference, pixels) == _surface(target, nearest)
    kind = target.frame.classes[nearest[:, 1], nearest[:, 0]]
    same &= kind == reference.frame.classes[pixels[:, 1], pixels[:, 0]]
    # Rounding to the target's pixel moves the point by up to 0.7 px there; a wrong depth, more
    scale = _depth(target, nearest) / _depth(reference, pixels)
    with np.errstate(invalid="ignore"):
        returned = np.linalg.norm(back - pixels, axis=1) <= 1.0 + 1.5 * np.maximum(scale, 0.0)
    kept = np.flatnonzero(
        seen & back_seen & same & returned & _agrees(reference, target, pixels, nearest)
    )
    kept = kept[:count]
    return pixels[kept].astype(float), moved[kept]


def _sampled(frame: RenderedFrame, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Pixels (N, 2) on standing surfaces; rare classes are taken more often than common ones."""
    usable = (frame.surfaces >= 0) & (frame.classes != VEHICLE) & (frame.depth < 120.0)
    flat = np.flatnonzero(usable)
    if not len(flat):
        return np.zeros((0, 2), dtype=np.int64)
    classes = frame.classes.reshape(-1)[flat]
    share = np.bincount(classes, minlength=len(CLASS_NAMES)) / len(flat)
    weight = 1.0 / np.sqrt(share[classes])
    size = min(count, len(flat))
    # Efraimidis-Spirakis: the largest keys of log(u) / w are a weighted sample
    keys = np.log(rng.random(len(flat))) / weight
    chosen = flat[np.argpartition(-keys, size - 1)[:size]]
    chosen = chosen[rng.permutation(size)]
    width = frame.classes.shape[1]
    return np.stack([chosen % width, chosen // width], axis=1)


def _points(source: View, pixels: Array) -> Array:
    """Map points (N, 3) of pixels at their rendered depth."""
    rays, _ = source.camera.unproject(pixels)
    depth = _depth(source, np.rint(pixels).astype(int))
    return poses.transform(source.T_map_camera, rays * depth[:, None])


def _move(source: View, target: View, pixels: Array) -> tuple[Array, NDArray[np.bool_]]:
    """Where points seen at pixels of the source lie in the target's image, and whether they do."""
    with np.errstate(invalid="ignore"):
        points = poses.transform(poses.invert(target.T_map_camera), _points(source, pixels))
        moved, valid = target.camera.project(points)
    return moved, valid & np.isfinite(moved).all(axis=1)


def _depth(source: View, pixels: NDArray[np.int64]) -> Array:
    depth = source.frame.depth[pixels[:, 1], pixels[:, 0]].astype(float)
    return np.where(np.isfinite(depth), depth, np.nan)


def _surface(source: View, pixels: NDArray[np.int64]) -> NDArray[np.int32]:
    return source.frame.surfaces[pixels[:, 1], pixels[:, 0]]


def _agrees(
    reference: View, target: View, pixels: NDArray[np.int64], nearest: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Whether the target's depth is that of the reference's point.

    On a surface seen at a grazing angle the depth changes within a pixel: the tolerance is the
    range of depths of the pixel's neighbours, and 2 %.
    """
    points = _points(reference, pixels.astype(float))
    expected = poses.transform(poses.invert(target.T_map_camera), points)[:, 2]
    height, width = target.frame.depth.shape
    around = []
    for du, dv in ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)):
        u = np.clip(nearest[:, 0] + du, 0, width - 1)
        v = np.clip(nearest[:, 1] + dv, 0, height - 1)
        around.append(target.frame.depth[v, u].astype(float))
    with np.errstate(invalid="ignore"):
        error = np.abs(around[0] - expected)
        steps = np.abs(np.array(around[1:]) - around[0])
        slope = np.sort(steps, axis=0)[1]  # of four neighbours; an edge shows in one or two
        agreed: NDArray[np.bool_] = error <= 0.02 * expected + 0.02 + np.minimum(
            slope, 0.1 * expected
        )
    return agreed
