"""Local features of an image: where they are, and what they look like, in bytes."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from fgsn_ros.config import require

Float32Array = NDArray[np.float32]
Indices = NDArray[np.int64]
Bytes = NDArray[np.uint8] | NDArray[np.int8]
Kind = Literal["sift", "xfeat"]
KINDS: tuple[Kind, ...] = ("sift", "xfeat")
SIZES: dict[Kind, int] = {"sift": 128, "xfeat": 64}
"""Bytes of a descriptor."""
TYPES: dict[Kind, str] = {"sift": "u1", "xfeat": "i1"}
"""Their type: with a sign where descriptors have one."""
RATIOS: dict[Kind, float] = {"sift": 0.8, "xfeat": 0.95}
"""Largest ratio of the distances to the best and the next descriptor, from image to image of a
drive; XFeat's tracks break at SIFT's."""

OPPOSITE = -1.0
"""Cosine of descriptors that nothing is further from: as if a pair were not there."""
_LEVELS = {"u1": 512.0, "i1": 127.0}
"""Level of a component of 1, of a descriptor of length 1. RootSIFT's is that of COLMAP, which cuts
what is above a half."""


@dataclass(frozen=True)
class FeatureSettings:
    """Which local features an image has."""

    features: int = 2000
    """Most features of an image, the strongest; >= 16."""
    contrast: float = 0.01
    """SIFT's contrast threshold; low, so that dark images have features too. >= 0."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.features >= 16, "features must be at least 16")
        require(self.contrast >= 0.0, "contrast must be at least 0")


@dataclass(frozen=True, eq=False)
class ImageFeatures:
    """Local features of one image."""

    pixels: Float32Array
    """(M, 2) u, v [px]."""
    descriptors: Bytes
    """(M, D)."""

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, chosen: NDArray[np.integer] | NDArray[np.bool_]) -> "ImageFeatures":
        return ImageFeatures(self.pixels[chosen], self.descriptors[chosen])


Extractor = Callable[[NDArray[np.uint8]], ImageFeatures]
"""Features of an RGB image (H, W, 3), the strongest first; from one thread at a time."""


def feature_extractor(kind: Kind, settings: FeatureSettings | None = None) -> Extractor:
    """What finds the features of a kind.

    Raises:
        SettingsError: the kind needs an extra that is not installed.
    """
    if kind == "xfeat":
        from fgsn_ros.mapping.xfeat import XFeatures  # an extra brings what it needs

        return XFeatures((settings or FeatureSettings()).features)
    return Sift(settings or FeatureSettings())


@dataclass
class Sift:
    """Finds SIFT features: RootSIFT (Arandjelovic & Zisserman, CVPR 2012), in bytes."""

    settings: FeatureSettings
    _detector: Any = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._detector = cv2.SIFT_create(  # type: ignore[attr-defined]
            nfeatures=self.settings.features, contrastThreshold=self.settings.contrast
        )

    def __call__(self, image: NDArray[np.uint8]) -> ImageFeatures:
        """Features of an RGB image (H, W, 3)."""
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        keypoints, raw = self._detector.detectAndCompute(grey, None)
        if raw is None:
            return ImageFeatures(np.zeros((0, 2), np.float32), np.zeros((0, 128), np.uint8))
        pixels = np.array([keypoint.pt for keypoint in keypoints], np.float32)
        strength = np.array([keypoint.response for keypoint in keypoints])
        order = np.argsort(-strength, kind="stable")[: self.settings.features]
        root = np.sqrt(raw / np.maximum(raw.sum(axis=1, keepdims=True), 1e-9))
        return ImageFeatures(pixels[order], in_bytes(root[order], TYPES["sift"]))


def unit(descriptors: NDArray[np.generic]) -> Float32Array:
    """Descriptors (M, D) as vectors of length 1."""
    vectors = descriptors.astype(np.float32)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-9), np.float32)


def in_bytes(vectors: NDArray[np.floating], kind: str) -> Bytes:
    """Descriptors as they are stored, of vectors (M, D) in the same direction as `unit` gives.

    Args:
        vectors: Of any length.
        kind: "u1" or "i1", see `TYPES`.
    """
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled = vectors * (_LEVELS[kind] / np.maximum(length, 1e-9))
    least, most = (0, 255) if kind == "u1" else (-127, 127)
    levels: Bytes = np.clip(np.rint(scaled), least, most).astype(kind)
    return levels


def mutual_matches(
    first: NDArray[np.generic],
    second: NDArray[np.generic],
    ratio: float,
    excluded: NDArray[np.bool_] | None = None,
) -> tuple[Indices, Indices]:
    """Indices (N,), (N,) of descriptors that are each other's best and pass the ratio test.

    The test is Lowe's (IJCV 2004), both ways: the distance to the best is below `ratio` times
    that to the second. Pairs that are excluded (M, L) neither match nor rival others.
    """
    if min(len(first), len(second)) < 2:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    cosines = unit(first) @ unit(second).T
    if excluded is not None:
        cosines[excluded] = OPPOSITE
    forth, clear = _best(cosines, ratio)
    back, clear_back = _best(cosines.T, ratio)
    mutual = clear & (back[forth] == np.arange(len(forth))) & clear_back[forth]
    if excluded is not None:
        mutual &= ~excluded[np.arange(len(forth)), forth]
    return np.flatnonzero(mutual), forth[mutual]


def _best(cosines: Float32Array, ratio: float) -> tuple[Indices, NDArray[np.bool_]]:
    """Best column of each row, and whether it passes the ratio test."""
    columns, values = highest(cosines, 2)
    nearest, second = distances(values).T
    return columns[:, 0], nearest < ratio * second


def highest(cosines: Float32Array, count: int) -> tuple[Indices, Float32Array]:
    """Columns and values (M, count) of each row's highest, in descending order."""
    # Some passes of argmax are much faster than a partition of every row.
    rows, left = np.arange(len(cosines)), cosines.copy()
    columns = np.empty((len(cosines), count), np.int64)
    for rank in range(count):
        columns[:, rank] = left.argmax(axis=1)
        left[rows, columns[:, rank]] = -np.inf
    return columns, np.take_along_axis(cosines, columns, axis=1)


def distances(cosine: Float32Array) -> Float32Array:
    """Distances of unit vectors of these cosines."""
    return np.asarray(np.sqrt(np.maximum(2.0 - 2.0 * cosine, 0.0)), np.float32)
