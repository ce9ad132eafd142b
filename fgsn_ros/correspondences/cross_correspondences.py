"""Correspondences between recordings of one place in several conditions, to train a network."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from fgsn_ros.correspondences.cross_matching import CrossMatcher, CrossSettings
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
from fgsn_ros.correspondences.point_matches import TrackedPoints
from fgsn_ros.correspondences.self_correspondences import (
    SelfCorrespondenceSettings,
    SelfMatcher,
    self_pairs,
)
from fgsn_ros.errors import RecordingError
from fgsn_ros.mapping.structure import Structure
from fgsn_ros.outputs import whole_folder
from fgsn_ros.recordings.recording import Recording

_REFERENCE = 0
"""Run number of the first recording."""
_HELD_OUT_M = 20.0
"""Length of the stretches of road whose pairs are for validation [m]."""
Frames = tuple[int, int]
Match = tuple[Frames, Correspondence]


@dataclass(frozen=True)
class _Pair:
    """A written pair."""

    run: int
    path: Path
    images: frozenset[str]
    held_out: bool


def write_cross_correspondences(
    recordings: Sequence[Recording],
    root: Path,
    settings: SelfCorrespondenceSettings,
    across: CrossSettings,
    overwrite: bool = False,
) -> tuple[int, ...]:
    """Write a CorrespondenceFolder of pairs between the first recording and each of the others.

    The first is the reference: image i of a pair is its own, image j another recording's (see
    `CrossMatcher`). With `across.within`, pairs within the first are made too, as for one
    recording. Pairs for validation are of stretches of the reference's way; no training pair has
    an image of theirs. A point's distance from the centre, which gives its weight exp(-d), is
    `SeenPoints.distance` between recordings and 0 within the first.

    Returns:
        Number of pairs within the first recording, then with each of the others.

    Raises:
        RecordingError: a recording has no ground truth, or too few points or frames for pairs.
        OutputError: the folder exists (without overwrite) or cannot be written.
    """
    rng = np.random.default_rng(settings.seed)
    with whole_folder(root, overwrite=overwrite) as temporary:
        folder = CorrespondenceFolder(temporary)
        folder.images.mkdir()
        folder.files.mkdir()
        writer = _PairWriter(recordings[0], folder, settings, across, rng)
        pairs = writer.within() if across.within else []
        for run, recording in enumerate(recordings[1:], start=1):
            pairs += writer.across(recording, run)
        listed = _write_lists(temporary, pairs)
    return tuple(sum(pair.run == run for pair in listed) for run in range(len(recordings)))


class _PairWriter:
    """Writes the images and pairs of a reference and its targets."""

    def __init__(
        self,
        reference: Recording,
        folder: CorrespondenceFolder,
        settings: SelfCorrespondenceSettings,
        across: CrossSettings,
        rng: np.random.Generator,
    ) -> None:
        self._name = reference.name
        self._folder = folder
        self._settings = settings
        self._across = across
        self._rng = rng
        self._reference = self._tracked(reference, _REFERENCE)
        self._held_out = _held_out(self._reference.structure, settings.validation_share)

    def within(self) -> list[_Pair]:
        """Pairs of the reference's own frames; none is for validation."""
        structure = self._reference.structure
        matcher = SelfMatcher(
            structure,
            self._reference.mounts,
            self._folder.images,
            self._settings,
            self._rng,
            _REFERENCE,
        )
        pairs = self_pairs(structure, self._settings, self._rng)
        matches = ((pair, matcher.match(*pair)) for pair in _progress(pairs, self._name))
        return self._written(matches, _REFERENCE, np.zeros(len(structure.cameras), bool))

    def across(self, recording: Recording, run: int) -> list[_Pair]:
        """Pairs of the reference's frames with those of another recording, number `run`."""
        target = self._tracked(recording, run)
        pairs = cross_pairs(self._reference.structure, target.structure, self._across, self._rng)
        if not pairs:
            raise RecordingError(
                f"no frame of {recording.name} is within {self._across.max_distance_m:g} m of one "
                f"of {self._name} that looks the same way; are the poses of both in one frame?"
            )
        matches = self._matches(target, _progress(pairs, recording.name), run)
        written = self._written(matches, run, self._held_out)
        if not written:
            raise RecordingError(
                f"none of {len(pairs)} pairs of {self._name} and {recording.name} has "
                f"{self._settings.min_points} points; are the poses of both in one frame, smooth, "
                "and accurate to decimetres? else lower min_points"
            )
        return written

    def _tracked(self, recording: Recording, run: int) -> TrackedPoints:
        structure = structure_and_images(
            recording, self._folder.images, self._settings.structure, run
        )
        return TrackedPoints(structure, recording.cameras)

    def _matches(self, target: TrackedPoints, pairs: Iterable[Frames], run: int) -> Iterator[Match]:
        angle = float(np.radians(self._settings.view_angle_deg))
        matcher = CrossMatcher(
            self._reference, target, self._across, self._settings.range_factor, angle
        )
        for reference_frame, target_frame in pairs:
            seen = matcher.match(reference_frame, target_frame)
            order = self._rng.permutation(len(seen.distance))
            chosen = np.sort(order[: self._settings.max_points])
            yield (
                (reference_frame, target_frame),
                Correspondence(
                    image_name(reference_frame, _REFERENCE),
                    image_name(target_frame, run),
                    seen.reference_pixels[chosen],
                    seen.target_pixels[chosen],
                    seen.distance[chosen],
                ),
            )

    def _written(
        self, matches: Iterator[Match], run: int, held_out: NDArray[np.bool_]
    ) -> list[_Pair]:
        """The pairs that have enough points; held_out (F,) is asked for their reference frame."""
        written = []
        for frames, match in matches:
            if len(match.distance) >= self._settings.min_points:
                path = self._folder.files / file_name(0, (_REFERENCE, run), frames)
                write_correspondence(path, match)
                images = frozenset((match.reference_image, match.target_image))
                written.append(_Pair(run, path, images, bool(held_out[frames[0]])))
        return written


def cross_pairs(
    reference: Structure, target: Structure, settings: CrossSettings, rng: np.random.Generator
) -> list[Frames]:
    """Pairs of a reference's and a target's frame that look the same way, ordered by target.

    Those of one reference frame are drawn one each from equal parts of the frames within
    max_distance_m, ordered by distance.
    """
    pairs = []
    for frame, T in enumerate(reference.T_map_camera):
        distance = np.linalg.norm(target.T_map_camera[:, :3, 3] - T[:3, 3], axis=1)
        along = target.T_map_camera[:, :3, 2] @ T[:3, 2]
        usable = distance <= settings.max_distance_m
        usable &= along >= np.cos(np.radians(settings.max_turn_deg))
        near = np.flatnonzero(usable)
        ordered = near[np.argsort(distance[near], kind="stable")]
        for part in np.array_split(ordered, settings.pairs_per_frame):
            if len(part):
                pairs.append((frame, int(rng.choice(part))))
    return sorted(pairs, key=lambda pair: (pair[1], pair[0]))


def _held_out(structure: Structure, share: float) -> NDArray[np.bool_]:
    """Which frames (F,) begin pairs for validation: stretches at even distances."""
    count = len(structure.cameras)
    one = np.array([name == structure.cameras[0] for name in structure.cameras])
    steps = np.diff(structure.T_map_camera[one, :3, 3], axis=0)
    stretches = max(1, round(share * float(np.linalg.norm(steps, axis=1).sum()) / _HELD_OUT_M))
    # Frames are taken at even distances: their number measures the way.
    return np.asarray((np.arange(count) + 0.5) / count * stretches % 1.0 >= 1.0 - share)


def _progress(pairs: list[Frames], name: str) -> "tqdm[Frames]":
    return tqdm(pairs, desc=f"correspondences {name}", unit="pair")


def _write_lists(root: Path, pairs: list[_Pair]) -> list[_Pair]:
    """List pairs for validation, and for training those that share no image with them.

    Returns:
        The listed pairs; the files of the others are removed.
    """
    validation = [pair for pair in pairs if pair.held_out]
    seen: frozenset[str] = frozenset().union(*(pair.images for pair in validation))
    train = [pair for pair in pairs if not pair.images & seen]
    if not (validation and train):
        raise RecordingError(
            f"{len(pairs)} pairs of frames are too few to train on some and keep others for "
            "validation; drive further, or lower min_points"
        )
    write_list(root / TRAIN_LIST, [pair.path.name for pair in train])
    write_list(root / VALIDATION_LIST, [pair.path.name for pair in validation])
    listed = train + validation
    for pair in set(pairs).difference(listed):
        pair.path.unlink()
    return listed
