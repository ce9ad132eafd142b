"""Correspondences between recordings of one place in several conditions, to train a network."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from fgsn_ros.config import require
from fgsn_ros.correspondences.files import (
    Correspondence,
    CorrespondenceFolder,
    RecordingPairs,
    new_correspondence_folder,
)
from fgsn_ros.correspondences.same_points import (
    PointMatches,
    SeenSurface,
    TrackedPoints,
    aligning_offset,
    matched_points,
)
from fgsn_ros.correspondences.within_drive import (
    Frames,
    Match,
    SelfCorrespondenceSettings,
    SelfMatcher,
    WrittenPair,
    image_name,
    structure_and_images,
    write_matches,
)
from fgsn_ros.errors import RecordingError
from fgsn_ros.mapping.structure import Structure
from fgsn_ros.recordings.recording import Recording

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int64]
_REFERENCE = 0
"""Run number of the first recording."""
_HELD_OUT_M = 20.0
"""Length of the stretches of road whose pairs are for validation [m]."""
SUPPORTED_DISTANCE = 0.5
"""Distance of a point that agrees with the depth around it and has no nearer match: it is right
about as often as a near match, and more often than a match at the farthest distance allowed."""
_ALIGNED_DISTANCES = 2.0
"""Matches that align may be farther apart than those that count: their error is averaged."""


@dataclass(frozen=True)
class CrossSettings:
    """Which pairs of frames of two recordings are made, and which points are believed."""

    max_distance_m: float = 5.0
    """Longest distance between the cameras of a pair [m]. > 0."""
    max_turn_deg: float = 30.0
    """Largest angle between the optical axes of a pair [deg]. 0 to 180."""
    pairs_per_frame: int = 4
    """Pairs that a reference frame begins with each other recording. >= 1."""
    match_distance_m: float = 0.15
    """Distance at which two well-triangulated points are still the same [m]. > 0."""
    depth_tolerance: float = 0.05
    """A point's depth agrees with that of the target's points but for this share. 0 to 1."""
    reach: float = 4.5
    """Farthest of the three points of the target that an unmatched point lies between, times the
    median distance of neighbouring points in the image (5 px at 640 x 480). > 0."""
    alignment_m: float = 0.6
    """Largest offset between the recordings' poses that is found and corrected, frame by frame
    [m]; 0 takes the poses as they are. >= 0."""
    within: bool = True
    """Make pairs within the first recording too, as for one recording."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.max_distance_m > 0.0, "max_distance_m must be above 0")
        require(0.0 <= self.max_turn_deg <= 180.0, "max_turn_deg must be in 0..180")
        require(self.pairs_per_frame >= 1, "pairs_per_frame must be at least 1")
        require(self.match_distance_m > 0.0, "match_distance_m must be above 0")
        require(0.0 < self.depth_tolerance < 1.0, "depth_tolerance must be in 0..1")
        require(self.reach > 0.0, "reach must be above 0")
        require(self.alignment_m >= 0.0, "alignment_m must be at least 0")

    @property
    def alignment_limits_m(self) -> tuple[float, float]:
        """Of `aligning_offset`."""
        return self.alignment_m, min(self.alignment_m, _ALIGNED_DISTANCES * self.match_distance_m)


def write_cross_correspondences(
    recordings: Sequence[Recording],
    root: Path,
    settings: SelfCorrespondenceSettings,
    across: CrossSettings,
    overwrite: bool = False,
) -> tuple[RecordingPairs, ...]:
    """Write a CorrespondenceFolder of pairs between the first recording and each of the others.

    The first is the reference: image i of a pair is its own, image j another recording's (see
    `CrossMatcher`). With `across.within`, pairs within the first are made too, as for one
    recording. Pairs for validation are of stretches of the reference's way; no training pair has
    an image of theirs. A point's distance from the centre, which gives its weight exp(-d), is
    `SeenPoints.distance` between recordings and 0 within the first.

    Returns:
        Of the pairs within the first recording, then of those with each of the others; the folder
        tells it, too.

    Raises:
        RecordingError: a recording has no ground truth, or too few points or frames for pairs.
        OutputError: the folder exists (without overwrite) or cannot be written.
    """
    rng = np.random.default_rng(settings.seed)
    with new_correspondence_folder(root, overwrite) as folder:
        writer = _PairWriter(recordings[0], folder, settings, across, rng)
        pairs = writer.within() if across.within else []
        for run, recording in enumerate(recordings[1:], start=1):
            pairs += writer.across(recording, run)
        train, validation = _write_lists(folder, pairs, writer.held_out)
        written = tuple(
            RecordingPairs(
                recording.name,
                sum(pair.run == run for pair in train + validation),
                sum(pair.run == run for pair in validation),
                writer.meeting[run],
            )
            for run, recording in enumerate(recordings)
        )
        folder.tell(written)
    return written


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
        self.held_out = _held_out(self._reference.structure, settings.validation_share)
        """(F,) which frames of the reference begin pairs for validation."""
        self.meeting = {_REFERENCE: 1.0}
        """See `RecordingPairs`, by run."""

    def within(self) -> list[WrittenPair]:
        """Pairs of the reference's own frames; none is for validation."""
        matcher = SelfMatcher(
            self._reference.structure,
            self._reference.mounts,
            self._folder.images,
            self._settings,
            self._rng,
            _REFERENCE,
        )
        matches = matcher.matches(f"correspondences {self._name}")
        return write_matches(self._folder, matches, self._settings.min_points, _REFERENCE)

    def across(self, recording: Recording, run: int) -> list[WrittenPair]:
        """Pairs of the reference's frames with those of another recording, number `run`."""
        target = self._tracked(recording, run)
        pairs = cross_pairs(self._reference.structure, target.structure, self._across, self._rng)
        if not pairs:
            raise RecordingError(
                f"no frame of {recording.name} is within {self._across.max_distance_m:g} m of one "
                f"of {self._name} that looks the same way; are the poses of both in one frame?"
            )
        shown = tqdm(pairs, desc=f"correspondences {recording.name}", unit="pair")
        least = self._settings.min_points
        angle = float(np.radians(self._settings.view_angle_deg))
        matcher = CrossMatcher(
            self._reference, target, self._across, self._settings.range_factor, angle
        )
        written = write_matches(self._folder, self._matches(matcher, shown, run), least, run)
        self.meeting[run] = float(np.mean(matcher.meeting))
        if not written:
            raise RecordingError(
                f"none of {len(pairs)} pairs of {self._name} and {recording.name} has "
                f"{least} points; are the poses of both in one frame, smooth, "
                "and accurate to decimetres? else lower min_points"
            )
        return written

    def _tracked(self, recording: Recording, run: int) -> TrackedPoints:
        structure = structure_and_images(
            recording, self._folder.images, self._settings.structure, run
        )
        return TrackedPoints(structure, recording.cameras)

    def _matches(self, matcher: "CrossMatcher", pairs: "tqdm[Frames]", run: int) -> Iterator[Match]:
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


def _write_lists(
    folder: CorrespondenceFolder, pairs: list[WrittenPair], held_out: NDArray[np.bool_]
) -> tuple[list[WrittenPair], list[WrittenPair]]:
    """List pairs for validation, and for training those that share no image with them.

    Args:
        folder: Of the pairs.
        pairs: Those that are written; of those within the reference none is for validation.
        held_out: (F,) frames of the reference whose pairs are for validation.

    Returns:
        The pairs for training, and those for validation; the files of the others are removed.
    """
    validation = [pair for pair in pairs if pair.run != _REFERENCE and held_out[pair.frames[0]]]
    seen: frozenset[str] = frozenset().union(*(pair.images for pair in validation))
    train = [pair for pair in pairs if not pair.images & seen]
    if not (validation and train):
        raise RecordingError(
            f"{len(pairs)} pairs of frames are too few to train on some and keep others for "
            "validation; drive further, or lower min_points"
        )
    folder.write_lists([pair.path.name for pair in train], [pair.path.name for pair in validation])
    for pair in set(pairs).difference(train, validation):
        pair.path.unlink()
    return train, validation


@dataclass(frozen=True)
class SeenPoints:
    """Points of the reference that both frames of a pair show."""

    reference_pixels: FloatArray
    """(N, 2) where the reference tracks them."""
    target_pixels: FloatArray
    """(N, 2) where they are projected into the target."""
    distance: FloatArray
    """(N,) 0 to 1: of the matched point of the target in units of what is allowed (see
    `matched_points`); at most SUPPORTED_DISTANCE where the depth around agrees."""


@dataclass(frozen=True, eq=False)
class _TargetFrame:
    """What the points of a reference are compared with."""

    offset: FloatArray
    """(3,) from the target's map to the reference's [m]."""
    matches: PointMatches
    """Of the points that the frame tracks."""
    surface: SeenSurface


class CrossMatcher:
    """Finds the points of frames of a reference that frames of a target show.

    Looks are not compared. A point is one that the reference frame tracks, seen by the target from
    a distance and direction like those of its track. It counts where the target frame tracks the
    same point (`matched_points`), or where its depth is that of the target's points around it:
    there, nothing hides it, and nothing has come or gone (parked cars, foliage).
    """

    def __init__(
        self,
        reference: TrackedPoints,
        target: TrackedPoints,
        settings: CrossSettings,
        range_factor: float,
        angle: float,
    ) -> None:
        """Range and viewing direction may leave a track's by a factor and an angle [rad]."""
        self._reference = reference
        self._target = target
        self._settings = settings
        self._range_factor = range_factor
        self._angle = angle
        self.meeting: list[float] = []
        """Of each target's frame: see `RecordingPairs`."""
        # Pairs come ordered by target.
        self._target_frame = lru_cache(maxsize=1)(self._prepared)

    def match(self, reference_frame: int, target_frame: int) -> SeenPoints:
        """The points of a pair of frames, possibly none."""
        target = self._target_frame(target_frame)
        points, pixels = self._reference.tracked(reference_frame)
        placed = self._reference.structure.points[points] - target.offset
        seen = self._target.in_camera(target_frame, placed)
        projected, valid = self._target.camera(target_frame).project(seen)
        usable = np.flatnonzero(valid & self._like_its_track(points, target_frame, placed))
        projected, depths = projected[usable], seen[usable, 2]
        supported = target.surface.holds(
            projected, depths, self._settings.reach, self._settings.depth_tolerance
        )
        distance = np.minimum(
            _matched_distance(points[usable], target.matches),
            np.where(supported, SUPPORTED_DISTANCE, np.inf),
        )
        kept = np.isfinite(distance)
        return SeenPoints(pixels[usable][kept], projected[kept], distance[kept])

    def _prepared(self, frame: int) -> _TargetFrame:
        points, pixels = self._target.tracked(frame)
        depths = self._target.in_camera(frame, self._target.structure.points[points])[:, 2]
        distance_m = self._settings.match_distance_m
        offset = np.zeros(3)
        posed = matched_points(
            self._reference, self._target, points, offset, distance_m, self._angle
        )
        self.meeting.append(len(posed.target) / max(len(points), 1))
        if self._settings.alignment_m > 0.0:
            limits_m = self._settings.alignment_limits_m
            offset = aligning_offset(self._reference, self._target, points, limits_m, self._angle)
        matches = matched_points(
            self._reference, self._target, points, offset, distance_m, self._angle
        )
        return _TargetFrame(offset, matches, SeenSurface(pixels, depths))

    def _like_its_track(
        self, points: IndexArray, target_frame: int, placed: FloatArray
    ) -> NDArray[np.bool_]:
        """Which points (N,), at (N, 3) in the target's map, the target sees as the track did."""
        structure = self._reference.structure
        sight = placed - self._target.structure.T_map_camera[target_frame, :3, 3]
        ranges = np.linalg.norm(sight, axis=1)
        along = np.einsum("ni,ni->n", sight, structure.directions[points])
        alike = along >= np.cos(self._angle) * ranges
        alike &= ranges >= structure.min_range[points] / self._range_factor
        alike &= ranges <= structure.max_range[points] * self._range_factor
        return np.asarray(alike)


def _matched_distance(points: IndexArray, matches: PointMatches) -> FloatArray:
    """Distance (N,) of the matches of points (N,) of the reference; infinite without one."""
    order = np.argsort(matches.reference)
    known = np.append(matches.reference[order], np.iinfo(np.int64).max)
    place = np.searchsorted(known, points)
    distance = np.append(matches.distance[order], np.inf)
    return np.where(known[place] == points, distance[place], np.inf)
