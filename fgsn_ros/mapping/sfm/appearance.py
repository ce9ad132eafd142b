"""Images that may show the same place: by what they look like, aggregated local features.

VLAD (Jegou et al., CVPR 2010) with intra-normalisation (Arandjelovic & Zisserman, CVPR 2013), of
words that the recordings' own features make.
"""

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.vq import kmeans2

from fgsn_ros.mapping.descriptors import Float32Array, unit
from fgsn_ros.mapping.sfm.keyframes import KeyFrame

FloatArray = NDArray[np.float64]
_WORDS = 64
_SAMPLE = 20_000
_ITERATIONS = 8


def words(frames: Sequence[KeyFrame], rng: np.random.Generator) -> Float32Array:
    """Visual words (W, D): centres of a sample of the images' descriptors, by k-means."""
    each = max(_SAMPLE // max(len(frames), 1), 1)
    some = [frame.descriptors[rng.permutation(len(frame))[:each]] for frame in frames]
    vectors = unit(np.concatenate(some))
    centres = vectors[rng.permutation(len(vectors))[:_WORDS]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a word that no vector is nearest to stays where it is
        centres, _ = kmeans2(vectors, centres, _ITERATIONS, minit="matrix")
    return np.asarray(centres, np.float32)


def looks(frames: Sequence[KeyFrame], centres: Float32Array) -> Float32Array:
    """What images look like (N, W D), as vectors of length 1 without what all have in common."""
    raw = np.stack([_aggregated(unit(frame.descriptors), centres) for frame in frames])
    raw = raw - raw.mean(axis=0)
    return np.asarray(raw / np.maximum(np.linalg.norm(raw, axis=1, keepdims=True), 1e-9))


def _aggregated(vectors: Float32Array, centres: Float32Array) -> Float32Array:
    nearest = _nearest(vectors, centres)
    sums = np.zeros_like(centres)
    np.add.at(sums, nearest, vectors - centres[nearest])
    sums /= np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-9)
    return np.asarray(sums.ravel() / np.sqrt(len(centres)), np.float32)


def _nearest(vectors: Float32Array, centres: Float32Array) -> NDArray[np.int64]:
    score = vectors @ centres.T - 0.5 * (centres**2).sum(axis=1)
    return np.asarray(score.argmax(axis=1), np.int64)


def alike(
    similarity: NDArray[np.floating], allowed: NDArray[np.bool_], count: int, apart: int
) -> NDArray[np.int64]:
    """Up to `count` columns of each row that are most similar, `apart` or more columns apart.

    Args:
        similarity: (N, K).
        allowed: (N, K) which may be chosen.
        count: How many.
        apart: Neighbours show the same place: none closer is chosen.

    Returns:
        (L, 2) rows and columns.
    """
    left = np.where(allowed, similarity, -np.inf)
    columns, rows = np.arange(left.shape[1]), np.arange(len(left))
    chosen = []
    for _ in range(count):
        best = left.argmax(axis=1) if left.shape[1] else np.zeros(0, np.int64)
        found = np.isfinite(left[rows, best]) if len(best) else np.zeros(0, bool)
        if not found.any():
            break
        chosen.append(np.stack([rows[found], best[found]], axis=1))
        left[np.abs(columns[None] - best[:, None]) < apart] = -np.inf
    return np.concatenate(chosen) if chosen else np.zeros((0, 2), np.int64)
