"""What a place looks like by its labels: shares in regions of the image, as a short code."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.segmentation.labels import LabelMap

Float32Array = NDArray[np.float32]
CODE_SIZE = 128
_ROWS, _COLUMNS = 3, 8


def pooled_size(label_count: int) -> int:
    """Numbers in the pooled labels of an image."""
    return _ROWS * _COLUMNS * label_count


def pooled_labels(label_map: LabelMap) -> Float32Array:
    """(pooled_size,) root of each label's share in each region of the image, of length 1.

    The root makes a dot product of two the Bhattacharyya coefficient of their histograms. All 0
    where the image has no labels.
    """
    height, width = label_map.labels.shape
    rows, columns = np.arange(height) * _ROWS // height, np.arange(width) * _COLUMNS // width
    region = rows[:, None] * _COLUMNS + columns
    labelled = label_map.labels < label_map.label_count
    cells = region[labelled] * label_map.label_count + label_map.labels[labelled]
    counts = np.bincount(cells, minlength=pooled_size(label_map.label_count))
    roots = np.sqrt(counts).reshape(_ROWS * _COLUMNS, -1)
    roots = roots / np.maximum(np.linalg.norm(roots, axis=1, keepdims=True), 1e-9)
    pooled: Float32Array = _unit(roots.reshape(1, -1))[0]
    return pooled


@dataclass(frozen=True, eq=False)
class PlaceCodes:
    """Makes short codes of pooled labels; the cosine of two codes says how alike places look.

    A projection to the principal components, each divided by the root of its spread: what all
    images of a drive share (road below, sky above) says little about the place.
    """

    mean: Float32Array
    """(pooled_size,)."""
    projection: Float32Array
    """(pooled_size, C)."""

    @staticmethod
    def fitted(pooled: NDArray[np.floating]) -> "PlaceCodes":
        """Codes of at most CODE_SIZE numbers for images (N, pooled_size) such as these, N >= 1."""
        mean = pooled.mean(axis=0, dtype=np.float64)
        offsets = pooled - mean
        squares, left = np.linalg.eigh(offsets @ offsets.T)
        size = max(1, min(CODE_SIZE, len(pooled) - 1))
        spread = np.sqrt(np.maximum(squares[::-1][:size], 0.0))  # singular values
        kept = spread > 1e-6 * max(float(spread[0]), 1e-12)
        kept[0] = True
        scale = np.maximum(spread[kept], 1e-9) ** -1.5
        projection = offsets.T @ left[:, ::-1][:, :size][:, kept] * scale
        return PlaceCodes(mean.astype(np.float32), projection.astype(np.float32))

    def of(self, pooled: NDArray[np.floating]) -> Float32Array:
        """Codes (N, C) of length 1 (or 0) of pooled labels (N, pooled_size)."""
        return _unit((pooled.astype(np.float32) - self.mean) @ self.projection)


def _unit(vectors: NDArray[np.floating]) -> Float32Array:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-9), np.float32)
