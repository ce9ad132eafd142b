"""Correspondences within one drive with known poses, to train a network on it without labels."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import cv2
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
from fgsn_ros.correspondences.images import write_jpeg
from fgsn_ros.errors import RecordingError
from fgsn_ros.geometry.cameras import CameraMount
from fgsn_ros.mapping.labelling import Visibility, in_camera
from fgsn_ros.mapping.structure import Reconstruction, Structure, StructureSettings, posed_frames
from fgsn_ros.recordings.recording import Recording

FloatArray = NDArray[np.float64]
Frames = tuple[int, int]
"""Numbers of a pair's reference and target frame."""
Match = tuple[Frames, Correspondence]
_PATCH_PX = 11
_JPEG_QUALITY = 95


@dataclass(frozen=True)
class SelfCorrespondenceSettings:
    """Which pairs of frames are made, and which of their points are believed."""

    min_distance_m: float = 0.5
    """Shortest way between the frames of a pair [m]. >= 0."""
    max_distance_m: float = 15.0
    """Longest way between the frames of a pair [m]. > min_distance_m."""
    pairs_per_frame: int = 6
    """Pairs that a frame begins, spread over the distances. >= 1."""
    min_points: int = 50
    """Pairs with fewer points are left out. >= 1."""
    max_points: int = 1000
    """Most points of a pair, drawn at random. >= min_points."""
    range_factor: float = 2.0
    """A point is looked for up to this factor outside the ranges of its track. >= 1."""
    view_angle_deg: float = 30.0
    """... and up to this angle from the track's mean viewing direction [deg]. 0 to 180."""
    min_similarity: float = 0.75
    """Least normalized correlation of the point's patches where its track does not join them."""
    validation_share: float = 0.15
    """Share of the pairs that go to the validation list. 0 to 1."""
    seed: int = 0
    """Seed of the choice of pairs and points. >= 0."""
    structure: StructureSettings = field(default_factory=StructureSettings)

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(
            0.0 <= self.min_distance_m < self.max_distance_m,
            "distances must be 0 <= min_distance_m < max_distance_m",
        )
        require(self.pairs_per_frame >= 1, "pairs_per_frame must be at least 1")
        require(1 <= self.min_points <= self.max_points, "min_points must be in 1..max_points")
        require(self.range_factor >= 1.0, "range_factor must be at least 1")
        require(0.0 <= self.view_angle_deg <= 180.0, "view_angle_deg must be in 0..180")
        require(-1.0 <= self.min_similarity <= 1.0, "min_similarity must be in -1..1")
        require(0.0 < self.validation_share < 1.0, "validation_share must be in 0..1")
        require(self.seed >= 0, "seed must be at least 0")


def write_self_correspondences(
    recording: Recording,
    root: Path,
    settings: SelfCorrespondenceSettings | None = None,
    overwrite: bool = False,
) -> int:
    """Write a CorrespondenceFolder of one recording's frames; returns the number of pairs.

    A point of a pair is a triangulated point, projected into both frames. Its track joins the
    two, or else the patches around it look alike after scaling by its depth.

    Raises:
        RecordingError: the recording has no ground truth, or too few points for two pairs.
        OutputError: the folder exists (without overwrite) or cannot be written.
    """
    settings = settings or SelfCorrespondenceSettings()
    rng = np.random.default_rng(settings.seed)
    with new_correspondence_folder(root, overwrite) as folder:
        structure = structure_and_images(recording, folder.images, settings.structure)
        matcher = SelfMatcher(structure, recording.cameras, folder.images, settings, rng)
        written = write_matches(folder, matcher.matches("correspondences"), settings.min_points)
        _write_lists(folder, [pair.path.name for pair in written], settings, rng, recording.name)
    return len(written)


def self_pairs(
    structure: Structure, settings: SelfCorrespondenceSettings, rng: np.random.Generator
) -> list[Frames]:
    """Pairs of frames of one camera, at ways drawn from equal slices of the distances."""
    pairs: set[Frames] = set()
    slices = np.linspace(
        settings.min_distance_m, settings.max_distance_m, settings.pairs_per_frame + 1
    )
    names = np.array(structure.cameras)
    for name in dict.fromkeys(structure.cameras):
        frames = np.flatnonzero(names == name)
        steps = np.diff(structure.T_map_camera[frames, :3, 3], axis=0)
        way = np.append(0.0, np.cumsum(np.linalg.norm(steps, axis=1)))
        for index, frame in enumerate(frames):
            wanted = way[index] + rng.uniform(slices[:-1], slices[1:])
            others = np.searchsorted(way, wanted)
            for other in others[others < len(frames)]:
                forward = rng.random() < 0.5
                pair = (int(frame), int(frames[other]))
                if not pairs & {pair, pair[::-1]}:
                    pairs.add(pair if forward else pair[::-1])
    return sorted(pairs)


def _write_lists(
    folder: CorrespondenceFolder,
    names: list[str],
    settings: SelfCorrespondenceSettings,
    rng: np.random.Generator,
    recording_name: str,
) -> None:
    if len(names) < 2:
        raise RecordingError(
            f"{recording_name} gives {len(names)} pairs of frames with {settings.min_points} "
            "points; drive further, or lower min_points"
        )
    held_out = int(np.clip(round(settings.validation_share * len(names)), 1, len(names) - 1))
    chosen = set(rng.permutation(len(names))[:held_out].tolist())
    train = [name for index, name in enumerate(names) if index not in chosen]
    validation = [name for index, name in enumerate(names) if index in chosen]
    folder.write_lists(train, validation)


class SelfMatcher:
    """Finds the points that two frames show."""

    def __init__(
        self,
        structure: Structure,
        mounts: Mapping[str, CameraMount],
        images: Path,
        settings: SelfCorrespondenceSettings,
        rng: np.random.Generator,
        run: int | None = None,
    ) -> None:
        self._structure = structure
        self._mounts = mounts
        self._images = images
        self._settings = settings
        self._rng = rng
        self._run = run
        angle = float(np.radians(settings.view_angle_deg))
        self._visibility = Visibility.of(structure, settings.range_factor, angle)

    def matches(self, title: str) -> Iterator[Match]:
        """Pairs of frames and their correspondences, under a progress bar."""
        pairs = self_pairs(self._structure, self._settings, self._rng)
        for pair in tqdm(pairs, desc=title, unit="pair"):
            yield pair, self.match(*pair)

    def match(self, first: int, second: int) -> Correspondence:
        """Correspondence of two frames, possibly with no points."""
        points, pixels, joined = self._seen_by_both(first, second)
        similarity = self._similarity(first, second, points, pixels)
        kept = joined | (similarity >= self._settings.min_similarity)
        chosen = np.flatnonzero(kept)
        if len(chosen) > self._settings.max_points:
            chosen = np.sort(self._rng.permutation(chosen)[: self._settings.max_points])
        return Correspondence(
            image_name(first, self._run),
            image_name(second, self._run),
            pixels[0][chosen],
            pixels[1][chosen],
            np.zeros(len(chosen)),
        )

    def _seen_by_both(
        self, first: int, second: int
    ) -> tuple[NDArray[np.int64], tuple[FloatArray, FloatArray], NDArray[np.bool_]]:
        """Points (N,), their pixels in both frames, and whether a track joins the frames."""
        (seen, pixels, tracked), (seen_2, pixels_2, tracked_2) = (
            self._visibility.visible(
                frame,
                self._structure.T_map_camera[frame],
                self._mounts[self._structure.cameras[frame]].camera,
            )
            for frame in (first, second)
        )
        points, a, b = np.intersect1d(seen, seen_2, assume_unique=True, return_indices=True)
        return points, (pixels[a], pixels_2[b]), tracked[a] & tracked_2[b]

    def _similarity(
        self,
        first: int,
        second: int,
        points: NDArray[np.int64],
        pixels: tuple[FloatArray, FloatArray],
    ) -> FloatArray:
        """Normalized correlation (N,) of the points' patches, equally large in the world."""
        depths = [
            in_camera(self._structure.T_map_camera[frame], self._structure.points[points])[:, 2]
            for frame in (first, second)
        ]
        nearer = np.maximum(depths[0], depths[1])
        patches = [
            _patches(self._grey(frame), centres, nearer / depth)
            for frame, centres, depth in zip((first, second), pixels, depths, strict=True)
        ]
        similarity: FloatArray = np.einsum("nk,nk->n", patches[0], patches[1])
        return similarity

    def _grey(self, frame: int) -> NDArray[np.uint8]:
        path = self._images / image_name(frame, self._run)
        return np.asarray(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), np.uint8)


def _patches(grey: NDArray[np.uint8], centres: FloatArray, scale: FloatArray) -> FloatArray:
    """Patches (N, P * P) of zero mean and unit norm around pixels, sampled every `scale` px."""
    if len(centres) == 0:
        return np.zeros((0, _PATCH_PX * _PATCH_PX))
    offsets = np.arange(_PATCH_PX) - _PATCH_PX // 2
    dv, du = (axis.ravel() for axis in np.meshgrid(offsets, offsets, indexing="ij"))
    u = (centres[:, :1] + scale[:, None] * du).astype(np.float32)
    v = (centres[:, 1:] + scale[:, None] * dv).astype(np.float32)
    # In slices: cv2.remap takes maps of at most 32767 rows.
    parts = [
        cv2.remap(grey, u[i : i + 16384], v[i : i + 16384], cv2.INTER_LINEAR)
        for i in range(0, len(centres), 16384)
    ]
    patches = np.concatenate(parts).astype(np.float64)
    patches -= patches.mean(axis=1, keepdims=True)
    normalized: FloatArray = patches / np.maximum(
        np.linalg.norm(patches, axis=1, keepdims=True), 1.0
    )
    return normalized


def image_name(number: int, run: int | None = None) -> str:
    """File name of a structure's frame; `run` numbers the recording where there are several."""
    name = f"{number:06d}.jpg"
    return name if run is None else f"run{run}_{name}"


def structure_and_images(
    recording: Recording, images: Path, settings: StructureSettings, run: int | None = None
) -> Structure:
    """The recording's structure; the images of its frames are written to the folder `images`.

    Raises:
        RecordingError: the recording has no ground truth, or a frame cannot be read.
    """
    reconstruction = Reconstruction(recording.cameras, settings)
    title = "tracking" if run is None else f"tracking {recording.name}"
    for posed in posed_frames(recording, settings.frame_spacing_m, settings.frame_turn_deg, title):
        number = reconstruction.add(posed)
        write_jpeg(images / image_name(number, run), posed.frame.image, _JPEG_QUALITY)
    structure = reconstruction.structure()
    reconstruction.warn_of_failures(recording.name)
    return structure


@dataclass(frozen=True)
class WrittenPair:
    """A pair of frames whose correspondence is written."""

    run: int
    """number of the target's recording; 0 is the reference's"""
    frames: Frames
    path: Path
    images: frozenset[str]


def write_matches(
    folder: CorrespondenceFolder, matches: Iterable[Match], min_points: int, run: int = 0
) -> list[WrittenPair]:
    """Write the correspondences that have enough points; `run` numbers the target's recording.

    Raises:
        OutputError: a file cannot be written.
    """
    written = []
    for frames, match in matches:
        if len(match.distance) >= min_points:
            path = folder.files / file_name(0, (0, run), frames)
            write_correspondence(path, match)
            images = frozenset((match.reference_image, match.target_image))
            written.append(WrittenPair(run, frames, path, images))
    return written
