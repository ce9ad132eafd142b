"""Correspondences within one drive with known poses, to train a network on it without labels."""

from collections.abc import Mapping
from dataclasses import dataclass, field
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
from fgsn_ros.correspondences.pair_images import image_name, structure_and_images
from fgsn_ros.errors import RecordingError
from fgsn_ros.geometry.cameras import CameraMount
from fgsn_ros.mapping.labelling import Visibility, in_camera
from fgsn_ros.mapping.structure import Structure, StructureSettings
from fgsn_ros.outputs import whole_folder
from fgsn_ros.recordings.recording import Recording

FloatArray = NDArray[np.float64]
_PATCH_PX = 11


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
    with whole_folder(root, overwrite=overwrite) as temporary:
        folder = CorrespondenceFolder(temporary)
        folder.images.mkdir()
        folder.files.mkdir()
        structure = structure_and_images(recording, folder.images, settings.structure)
        matcher = SelfMatcher(structure, recording.cameras, folder.images, settings, rng)
        names: list[str] = []
        pairs = self_pairs(structure, settings, rng)
        for first, second in tqdm(pairs, desc="correspondences", unit="pair"):
            correspondence = matcher.match(first, second)
            if len(correspondence.distance) >= settings.min_points:
                names.append(file_name(0, (0, 0), (first, second)))
                write_correspondence(folder.files / names[-1], correspondence)
        _write_lists(temporary, names, settings, rng, recording.name)
    return len(names)


def self_pairs(
    structure: Structure, settings: SelfCorrespondenceSettings, rng: np.random.Generator
) -> list[tuple[int, int]]:
    """Pairs of frames of one camera, at ways drawn from equal slices of the distances."""
    pairs: set[tuple[int, int]] = set()
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
    root: Path,
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
    write_list(root / TRAIN_LIST, train)
    write_list(root / VALIDATION_LIST, validation)


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
