"""Labels of points by vote over the images that see them."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.segmentation.labels import LabelMap

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int64]
_COMPACT_AT = 10_000
"""Pending votes beyond twice the pairs that occurred: few, as each block of a map has its own."""


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
        keys = points.astype(np.int64) * self.label_count + labels.astype(np.int64)
        self.add_sums(keys, weights.astype(np.float64))

    def add_sums(self, keys: IndexArray, weights: FloatArray) -> None:
        """Add votes (N,) as another histogram's `sums` gave them."""
        self._keys.append(keys)
        self._weights.append(weights)
        self._pending += len(keys)
        if self._pending > _COMPACT_AT + 2 * len(self._keys[0]):
            self.sums()

    def winners(self, point_count: int) -> tuple[NDArray[np.uint16], FloatArray]:
        """Label of each point (P,) and its share of the votes (P,); 0 where there was no vote."""
        keys, weights = self.sums()
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

    def sums(self) -> tuple[IndexArray, FloatArray]:
        """Keys (N,), point * label_count + label, of the pairs that occur; their weights (N,)."""
        keys = np.concatenate([np.zeros(0, np.int64), *self._keys])
        weights = np.concatenate([np.zeros(0), *self._weights])
        unique, inverse = np.unique(keys, return_inverse=True)
        sums: FloatArray = np.bincount(inverse.ravel(), weights, minlength=len(unique)).astype(
            np.float64
        )
        self._keys, self._weights, self._pending = [unique], [sums], 0
        return unique, sums


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
