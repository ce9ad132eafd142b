"""Which points of a reference frame a frame of another recording shows, by geometry alone."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.config import require
from fgsn_ros.correspondences.point_matches import (
    PointMatches,
    TrackedPoints,
    aligning_offset,
    matched_points,
)
from fgsn_ros.correspondences.seen_surface import SeenSurface

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int64]
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
        distance_m, alignment_m = self._settings.match_distance_m, self._settings.alignment_m
        offset = np.zeros(3)
        if alignment_m > 0.0:
            limits_m = alignment_m, min(alignment_m, _ALIGNED_DISTANCES * distance_m)
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
