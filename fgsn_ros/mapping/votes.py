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
    """Which points of a structure a camera sees, by how the structure's own views saw them."""

    def __init__(self, structure: Structure, range_factor: float, angle: float) -> None:
        """Range and viewing direction may leave the observed by a factor and an angle [rad]."""
        self._structure = structure
        self._tree = cKDTree(structure.points)
        self._nearest = structure.min_range / range_factor
        self._farthest = structure.max_range * range_factor
        self._cosine = float(np.cos(angle))
        self._reach = float(self._farthest.max()) if len(self._farthest) else 0.0

    def visible(self, camera: Camera, T_map_camera: FloatArray) -> tuple[IndexArray, FloatArray]:
        """Ascending indices (V,) of the visible points and their pixels (V, 2)."""
        centre = T_map_camera[:3, 3]
        near = np.array(
            self._tree.query_ball_point(centre, self._reach, return_sorted=True), np.int64
        )
        sight = self._structure.points[near] - centre
        ranges = np.linalg.norm(sight, axis=1)
        along = np.einsum("ij,ij->i", sight, self._structure.directions[near])
        usable = (ranges >= self._nearest[near]) & (ranges <= self._farthest[near])
        usable &= along >= self._cosine * ranges
        pixels, valid = camera.project(sight[usable] @ T_map_camera[:3, :3])
        return near[usable][valid], pixels[valid]


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
