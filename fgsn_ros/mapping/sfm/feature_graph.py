"""Features of many images that show the same points, gathered from matches of pairs."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from fgsn_ros.geometry import poses
from fgsn_ros.geometry.cameras import CameraMount
from fgsn_ros.mapping.sfm.adjustment import Observations
from fgsn_ros.mapping.sfm.keyframes import KeyFrame
from fgsn_ros.mapping.triangulation import TriangulationSettings, Views, triangulate

FloatArray = NDArray[np.float64]
Indices = NDArray[np.int64]
_UNBENDING = 5
FEW_POINTS = 20
"""Points that go on from one key frame to the next, below which the stretch is weak."""


@dataclass(frozen=True, eq=False)
class FeatureTable:
    """The features of all images in one numbering."""

    image: Indices
    """(F,) image of each feature."""
    starts: Indices
    """(N + 1,) first feature of each image, then F."""
    rays: FloatArray
    """(F, 2)."""
    focal_px: FloatArray
    """(F, 2)."""
    T_camera_base: FloatArray
    """(N, 4, 4) of each image."""
    camera: Indices
    """(N,) calibration of each image, 0..C-1."""

    @staticmethod
    def of(frames: Sequence[KeyFrame], mounts: Sequence[CameraMount]) -> "FeatureTable":
        """Of images and the mounting of each; equal calibrations are one."""
        cameras = list(dict.fromkeys(mount.camera for mount in mounts))
        sizes = np.array([len(frame) for frame in frames], np.int64)
        return FeatureTable(
            np.repeat(np.arange(len(frames)), sizes),
            np.concatenate([[0], np.cumsum(sizes)]),
            np.concatenate([frame.rays for frame in frames]),
            np.concatenate([frame.focal_px for frame in frames]),
            poses.invert(np.array([mount.T_base_camera for mount in mounts])),
            np.array([cameras.index(mount.camera) for mount in mounts]),
        )


def corrected(rays: FloatArray, calibration: FloatArray) -> FloatArray:
    """True rays (M, 2) of those that the given calibration has, by its corrections (M, 2)."""
    seen = rays * np.exp(-calibration[:, :1])
    true = seen
    for _ in range(_UNBENDING):
        true = seen / (1.0 + calibration[:, 1:] * (true**2).sum(axis=1, keepdims=True))
    return true


@dataclass(frozen=True, eq=False)
class FeatureTracks:
    """Features that show one point, ordered by point; no image shows a point twice."""

    feature: Indices
    """(M,)."""
    track: Indices
    """(M,) 0..T-1, ascending."""


def feature_tracks(table: FeatureTable, matches: Indices, min_views: int) -> FeatureTracks:
    """Tracks of features that matches (K, 2) connect.

    What connects two features of one image holds a wrong match, and is left out.
    """
    count = len(table.image)
    ones = np.ones(len(matches), np.int8)
    graph = coo_matrix((ones, (matches[:, 0], matches[:, 1])), shape=(count, count))
    _, component = connected_components(graph, directed=False)
    feature = np.unique(matches)
    order = np.lexsort((table.image[feature], component[feature]))
    feature = feature[order]
    _, track, views = np.unique(component[feature], return_inverse=True, return_counts=True)
    twice = np.zeros(len(views), bool)
    same = (np.diff(track) == 0) & (np.diff(table.image[feature]) == 0)
    twice[track[1:][same]] = True
    whole = (views >= min_views) & ~twice
    kept = whole[track]
    return FeatureTracks(feature[kept], (np.cumsum(whole) - 1)[track[kept]])


@dataclass(frozen=True, eq=False)
class Structure:
    """Points, and the features that show them."""

    points: FloatArray
    """(P, 3) [m]."""
    seen: Observations
    feature: Indices
    """(M,) feature of each observation."""


def structure(
    table: FeatureTable,
    tracks: FeatureTracks,
    T_map_base: FloatArray,
    calibration: FloatArray,
    settings: TriangulationSettings,
    min_views: int,
) -> Structure:
    """Points of the tracks that pass the triangulation's tests from poses (N, 4, 4).

    Calibrations (C, 2) are those of `Adjusted`.
    """
    if len(tracks.track) == 0:
        return _nothing(table)
    image = table.image[tracks.feature]
    T_camera_map = poses.compose(table.T_camera_base, poses.invert(T_map_base))
    rays = corrected(table.rays[tracks.feature], calibration[table.camera[image]])
    views = Views(tracks.track, T_camera_map[image], rays, table.focal_px[tracks.feature])
    with np.errstate(all="ignore"):
        found = triangulate(views, settings, min_views)
    kept = found.agreeing & found.accepted[tracks.track]
    number = np.cumsum(found.accepted) - 1
    return _structure(
        table, found.points[found.accepted], tracks.feature[kept], number[tracks.track[kept]]
    )


def _structure(
    table: FeatureTable, points: FloatArray, feature: Indices, point: Indices
) -> Structure:
    image = table.image[feature]
    seen = Observations(
        image,
        point,
        table.rays[feature],
        table.focal_px[feature],
        table.camera[image],
        table.T_camera_base[image],
    )
    return Structure(points, seen, feature)


def _nothing(table: FeatureTable) -> Structure:
    none = np.zeros(0, np.int64)
    return _structure(table, np.zeros((0, 3)), none, none)


def thinned(found: Structure, table: FeatureTable, per_image: int) -> Structure:
    """The longest tracks, so that each image keeps `per_image` of its observations, or all."""
    views = np.bincount(found.seen.point, minlength=len(found.points))
    order = np.argsort(-views[found.seen.point], kind="stable")
    image = found.seen.pose[order]
    by_image = np.argsort(image, kind="stable")
    starts = np.searchsorted(image[by_image], np.arange(len(table.T_camera_base)))
    rank = np.empty(len(order), np.int64)
    rank[by_image] = np.arange(len(order)) - starts[image[by_image]]
    chosen = np.zeros(len(found.points), bool)
    chosen[found.seen.point[order[rank < per_image]]] = True
    kept = chosen[found.seen.point]
    number = (np.cumsum(chosen) - 1)[found.seen.point[kept]]
    return _structure(table, found.points[chosen], found.feature[kept], number)


def nearest_views(
    found: Structure, table: FeatureTable, T_map_base: FloatArray, most: int
) -> Structure:
    """The same points, each seen by those `most` images that are nearest to it, or all.

    Long tracks couple images far apart, which costs adjustment much and tells it little.
    """
    seen = found.seen
    apart = np.linalg.norm(T_map_base[seen.pose, :3, 3] - found.points[seen.point], axis=1)
    order = np.lexsort((apart, seen.point))
    starts = np.searchsorted(seen.point[order], np.arange(len(found.points)))
    rank = np.arange(len(order)) - starts[seen.point[order]]
    kept = np.sort(order[rank < most])
    return _structure(table, found.points, found.feature[kept], seen.point[kept])


def going_on(point: Indices, image: Indices, count: int) -> Indices:
    """(count - 1,) points that images before and after each gap between images see."""
    if len(point) == 0:
        return np.zeros(max(count - 1, 0), np.int64)
    _, number = np.unique(point, return_inverse=True)
    first = np.full(int(number.max()) + 1, count)
    last = np.zeros_like(first)
    np.minimum.at(first, number, image)
    np.maximum.at(last, number, image)
    change = np.bincount(first, minlength=count + 1) - np.bincount(last, minlength=count + 1)
    return np.asarray(np.cumsum(change)[: count - 1], np.int64)
