"""Labels of points by vote over the images that see them."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from fgsn_ros.geometry.cameras import Camera
from fgsn_ros.mapping.structure import Structure
from fgsn_ros.segmentation.labels import LabelMap

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int64]
_COMPACT_AT = 2_000_000
_OCCLUSION_CELL_PX = (24.0, 8.0)
"""Wide and low: along a column of the image, a road's depth changes quickly."""
_OCCLUSION_DEPTH = 0.7
"""A point is hidden where another of its cell has less than this share of its depth."""


@dataclass
class LabelVotes:
    """A sparse histogram of votes per point: weights of the (point, label) pairs that occur."""

    label_count: int
    _keys: list[IndexArray] = field(default_factory=list)
    _weights: list[FloatArray] = field(default_factory=list)
    _pending: int = 0

    def add(
        self,
        points: NDArray[np.integer],
        labels: NDArray[np.integer],
        weights: NDArray[np.floating],
    ) -> None:
        """Add votes (N,): point, label below label_count, weight."""
        self._keys.append(points.astype(np.int64) * self.label_count + labels.astype(np.int64))
        self._weights.append(weights.astype(np.float64))
        self._pending += len(points)
        if self._pending > _COMPACT_AT:
            self._compact()

    def winners(self, point_count: int) -> tuple[NDArray[np.uint16], FloatArray]:
        """Label of each point (P,) and its share of the votes (P,); 0 where there was no vote."""
        keys, weights = self._compact()
        points, labels = np.divmod(keys, self.label_count)
        totals = np.bincount(points, weights, minlength=point_count)
        # Among equal weights the lowest label wins: the order does not depend on the votes'.
        order = np.lexsort((-labels, weights, points))
        best = order[np.flatnonzero(np.diff(points[order], append=-1))]
        winning = np.zeros(point_count, np.uint16)
        share = np.zeros(point_count)
        winning[points[best]] = labels[best]
        voted = best[totals[points[best]] > 0.0]
        share[points[voted]] = weights[voted] / totals[points[voted]]
        return winning, np.minimum(share, 1.0)

    def _compact(self) -> tuple[IndexArray, FloatArray]:
        keys = np.concatenate([np.zeros(0, np.int64), *self._keys])
        weights = np.concatenate([np.zeros(0), *self._weights])
        unique, inverse = np.unique(keys, return_inverse=True)
        sums: FloatArray = np.bincount(inverse.ravel(), weights, minlength=len(unique)).astype(
            np.float64
        )
        self._keys, self._weights, self._pending = [unique], [sums], 0
        return unique, sums


@dataclass(frozen=True)
class LabelledView:
    """The labels of one image of a structure."""

    frame: int
    """Number of the frame in the structure."""
    label_map: LabelMap


class Visibility:
    """Which points of a structure its cameras see, by how the structure's own views saw them."""

    def __init__(self, structure: Structure, range_factor: float, angle: float) -> None:
        """Range and viewing direction may leave the observed by a factor and an angle [rad]."""
        self._structure = structure
        self._tracked = structure.points_by_frame()
        self._tree = cKDTree(structure.points)
        self._nearest = structure.min_range / range_factor
        self._farthest = structure.max_range * range_factor
        self._cosine = float(np.cos(angle))
        self._reach = float(self._farthest.max()) if len(self._farthest) else 0.0

    def visible(
        self, frame: int, camera: Camera
    ) -> tuple[IndexArray, FloatArray, NDArray[np.bool_]]:
        """Points that a frame of the structure sees.

        Returns:
            Ascending indices (V,), pixels (V, 2), and whether the frame's own tracks hold the
            point (V,); another point that lies behind nearer ones is left out.
        """
        near = self._candidates(self._structure.T_map_camera[frame])
        seen = self._in_camera(frame, near)
        pixels, valid = camera.project(seen)
        near, pixels, depth = near[valid], pixels[valid], seen[valid, 2]
        tracked = np.isin(near, self._tracked[frame], assume_unique=True)
        kept = tracked | ~_hidden(pixels, depth)
        return near[kept], pixels[kept], tracked[kept]

    def depths(self, frame: int, points: IndexArray) -> FloatArray:
        """Depth (V,) of points (V,) in a frame [m]."""
        return self._in_camera(frame, points)[:, 2]

    def _in_camera(self, frame: int, points: IndexArray) -> FloatArray:
        T_map_camera = self._structure.T_map_camera[frame]
        seen: FloatArray = (self._structure.points[points] - T_map_camera[:3, 3]) @ T_map_camera[
            :3, :3
        ]
        return seen

    def _candidates(self, T_map_camera: FloatArray) -> IndexArray:
        """Points whose range and direction fit how they were seen."""
        centre = T_map_camera[:3, 3]
        near: IndexArray = np.array(
            self._tree.query_ball_point(centre, self._reach, return_sorted=True), np.int64
        )
        sight = self._structure.points[near] - centre
        ranges = np.linalg.norm(sight, axis=1)
        along = np.einsum("ij,ij->i", sight, self._structure.directions[near])
        usable = (ranges >= self._nearest[near]) & (ranges <= self._farthest[near])
        usable &= along >= self._cosine * ranges
        candidates: IndexArray = near[usable]
        return candidates


def _hidden(pixels: FloatArray, depth: FloatArray) -> NDArray[np.bool_]:
    """Points (V,) far behind the nearest point of their cell of the image."""
    cells = np.floor(pixels / _OCCLUSION_CELL_PX).astype(np.int64)
    cell = cells[:, 1] * (cells[:, 0].max(initial=0) + 1) + cells[:, 0]
    nearest = np.full(cell.max(initial=0) + 1, np.inf)
    np.minimum.at(nearest, cell, depth)
    hidden: NDArray[np.bool_] = depth * _OCCLUSION_DEPTH > nearest[cell]
    return hidden


def vote(
    votes: LabelVotes,
    points: IndexArray,
    pixels: FloatArray,
    weights: FloatArray,
    label_map: LabelMap,
) -> None:
    """Let an image vote for the points (V,) that it shows at pixels (V, 2).

    A vote weighs the network's confidence times `weights` (V,); unlabelled cells do not vote.
    """
    cells = np.floor((pixels + 0.5) / label_map.stride).astype(np.int64)
    labels = label_map.labels[cells[:, 1], cells[:, 0]]
    confidence = label_map.confidence[cells[:, 1], cells[:, 0]]
    labelled = labels < label_map.label_count
    votes.add(points[labelled], labels[labelled], (confidence * weights)[labelled])
