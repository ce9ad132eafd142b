"""Matches of an image's local features with those of a map around a place."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.config import require
from fgsn_ros.geometry.cameras import Camera
from fgsn_ros.locating.camera_pose import Sightings
from fgsn_ros.mapping.descriptors import (
    OPPOSITE,
    Float32Array,
    ImageFeatures,
    distances,
    highest,
    unit,
)
from fgsn_ros.mapping.feature_tracks import FeaturePoints
from fgsn_ros.mapping.local_features import LocalFeatures
from fgsn_ros.mapping.map_records import MapPoints
from fgsn_ros.segmentation.labels import LabelMap

FloatArray = NDArray[np.float64]
Indices = NDArray[np.int64]
_RIVALS = 6


@dataclass(frozen=True)
class MatchSettings:
    """Which features are matched with which points."""

    ratio: float = 0.9
    """Largest ratio of the distances to the best and to the next point's descriptor; high, as the
    labels tell right matches from wrong ones. Above 0, at most 1."""
    same_point_m: float = 0.5
    """Points this close may be one point mapped twice, and do not compete [m], >= 0."""
    radius_m: float = 80.0
    """Points further from the place are not matched [m], > 0."""
    away_m: float = 5.0
    """How far from the place the image may have been taken [m], >= 0."""
    view_angle_deg: float = 60.0
    """Points are matched up to this angle from the direction that they were mapped from, and from
    the place's optical axis to the image's half width and as much again [deg], (0, 180]."""
    off_deg: float | None = None
    """A point is matched only with features this near where the place shows it, beside what being
    `away_m` from it changes, or as far off as a prediction may be [deg], > 0: fewer rivals, and
    more matches, where the place is well known. None: with all."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(0.0 < self.ratio <= 1.0, "ratio must be above 0 and at most 1")
        require(self.same_point_m >= 0.0, "same_point_m must be at least 0")
        require(self.radius_m > 0.0, "radius_m must be above 0")
        require(self.away_m >= 0.0, "away_m must be at least 0")
        require(0.0 < self.view_angle_deg <= 180.0, "view_angle_deg must be in (0, 180]")
        require(self.off_deg is None or self.off_deg > 0.0, "off_deg must be above 0")


@dataclass(frozen=True, eq=False)
class Seen:
    """An image's local features that its camera has rays for."""

    rays: FloatArray
    """(M, 2) x, y of the viewing rays at z = 1."""
    vectors: Float32Array
    """(M, D) descriptors of length 1."""
    labels: NDArray[np.int64]
    """(M,) label under each feature; the label count where there is none."""

    @staticmethod
    def of(features: ImageFeatures, camera: Camera, label_map: LabelMap) -> "Seen":
        """Of an image, its camera and its labels."""
        rays, valid = camera.unproject(features.pixels)
        labels, _ = label_map.at(features.pixels[valid])
        known = np.minimum(labels.astype(np.int64), label_map.label_count)
        return Seen(rays[valid, :2], unit(features.descriptors[valid]), known)

    def __len__(self) -> int:
        return len(self.rays)


@dataclass(frozen=True, eq=False)
class Matches:
    """Features of an image and the map points that they may show."""

    sightings: Sightings
    """(N) points and rays."""
    points: MapPoints
    """(N) the points, with their labels and where they were seen from."""
    labels: NDArray[np.int64]
    """(N,) label that the image has there; the label count where it has none."""

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Doubt:
    """How far off a predicted pose may be."""

    metres: float = 0.0
    radians: float = 0.0
    """of the heading"""


class Matcher:
    """Matches images with the local features around places."""

    def __init__(self, local: LocalFeatures, settings: MatchSettings) -> None:
        self._local = local
        self._settings = settings

    def matches(
        self, seen: Seen, T_map_camera: FloatArray, camera: Camera, doubt: Doubt | None = None
    ) -> Matches:
        """Of an image taken near a place (4, 4), no point and no pixel twice."""
        expected = self._expected(T_map_camera, camera)
        elsewhere = self._elsewhere(seen, expected, T_map_camera, doubt or Doubt())
        features, rows = self._best(seen, expected, elsewhere)
        points = expected.points[rows]
        return Matches(
            Sightings.of(points.points.astype(np.float64), seen.rays[features], camera),
            points,
            seen.labels[features],
        )

    def _expected(self, T_map_camera: FloatArray, camera: Camera) -> FeaturePoints:
        """Features that may be seen from around a place, by range and viewing direction."""
        limits, centre = self._settings, T_map_camera[:3, 3]
        features = self._local.near(centre, limits.radius_m)
        points = features.points
        sight = points.points.astype(np.float64) - centre
        ranges = np.linalg.norm(sight, axis=1)
        usable = ranges <= limits.radius_m
        usable &= ranges + limits.away_m >= points.min_range / 1.5
        usable &= ranges - limits.away_m <= points.max_range * 1.5
        # From further away the direction changes less for the place being elsewhere.
        moved = np.arctan2(limits.away_m, ranges)
        half = np.arctan(0.5 * camera.width / camera.fx)
        for along, widest in (
            (np.einsum("ij,ij->i", sight, points.directions), np.radians(limits.view_angle_deg)),
            (sight @ T_map_camera[:3, 2], 2.0 * half),
        ):
            usable &= along >= np.cos(np.minimum(widest + moved, np.pi)) * ranges
        return features[np.flatnonzero(usable)]

    def _elsewhere(
        self, seen: Seen, expected: FeaturePoints, T_map_camera: FloatArray, doubt: Doubt
    ) -> NDArray[np.bool_] | None:
        """Features and points (M, N) too far apart in the image; None: nothing is asked."""
        limits = self._settings
        if limits.off_deg is None:
            return None
        sight = expected.points.points.astype(np.float64) - T_map_camera[:3, 3]
        units = sight / np.linalg.norm(sight, axis=1, keepdims=True) @ T_map_camera[:3, :3]
        rays = np.hstack([seen.rays, np.ones((len(seen), 1))])
        rays /= np.linalg.norm(rays, axis=1, keepdims=True)
        away_m = max(limits.away_m, doubt.metres)
        moved = np.arctan2(away_m, np.linalg.norm(sight, axis=1))
        off = np.radians(limits.off_deg) + doubt.radians
        least = np.cos(np.minimum(moved + off, np.pi))
        elsewhere: NDArray[np.bool_] = rays @ units.T < least
        return elsewhere

    def _best(
        self, seen: Seen, expected: FeaturePoints, elsewhere: NDArray[np.bool_] | None
    ) -> tuple[Indices, Indices]:
        """Features and the points that they match, by a ratio test between distinct points."""
        if min(len(seen), len(expected)) < _RIVALS:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        cosines = seen.vectors @ unit(expected.descriptors).T
        if elsewhere is not None:
            cosines[elsewhere] = OPPOSITE
        few, values = highest(cosines, _RIVALS)
        positions = expected.points.points[few]
        apart = np.linalg.norm(positions - positions[:, :1], axis=2) > self._settings.same_point_m
        # If all are near the best, the last of them bounds what another point could reach.
        rival = np.where(apart.any(axis=1), apart.argmax(axis=1), _RIVALS - 1)
        second = np.take_along_axis(values, rival[:, None], axis=1)[:, 0]
        clear = distances(values[:, 0]) < self._settings.ratio * distances(second)
        if elsewhere is not None:
            clear &= ~elsewhere[np.arange(len(seen)), few[:, 0]]
        features = np.flatnonzero(clear)
        # The most alike first: a point has one feature. SIFT finds some places several times, each
        # with another orientation: counted twice, an error would make the pose look surer.
        features = features[np.argsort(-values[features, 0], kind="stable")]
        features = features[_first_of_each(few[features, 0])]
        places = seen.rays[features] @ np.array([1.0, 1.0j])
        features = features[_first_of_each(places)]
        return features, few[features, 0]


def _first_of_each(values: NDArray[np.generic]) -> Indices:
    """Ascending indices of the first of each distinct value (N,)."""
    _, first = np.unique(values, return_index=True)
    return np.sort(first)
