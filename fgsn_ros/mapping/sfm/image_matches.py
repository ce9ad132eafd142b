"""Images of one camera, one after the other: those that moved, and the features that they share."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from fgsn_ros.errors import RecordingError
from fgsn_ros.lookahead import map_ahead
from fgsn_ros.mapping.descriptors import FeatureSettings, ImageFeatures, Sift, mutual_matches
from fgsn_ros.recordings.recording import Frame

FloatArray = NDArray[np.float64]
Indices = NDArray[np.int64]
Matches = tuple[Indices, Indices]

_CELL_PX = 8
_STILL_PX = 1.5
"""Motion of a feature that is burnt into the images, at most."""
_BURNT_SHARE = 0.3
"""Share of following images in which a place stands still, that makes it burnt in."""
_AHEAD = 4


@dataclass(frozen=True, eq=False)
class ImageSequence:
    """Images of one camera that each moved against the one before, and their features."""

    stamps: FloatArray
    """(N,) [s]."""
    features: tuple[ImageFeatures, ...]
    """of each; nothing that is burnt into the images."""
    size: tuple[int, int]
    """(width, height) [px]."""
    frame_count: int
    """images that were read."""

    def __len__(self) -> int:
        return len(self.features)


def read_images(
    frames: Iterable[Frame], name: str, ratio: float, least_motion: float, settings: FeatureSettings
) -> ImageSequence:
    """Read images and find the features of those that moved.

    Args:
        frames: Of one camera, by time.
        name: Of the recording.
        ratio: Of the ratio test, see `mutual_matches`.
        least_motion: Median motion of the features against the image before, as a share of the
            width; an image that moved less is left out.
        settings: Of the features.

    Raises:
        RecordingError: the images are of several sizes.
    """
    extract, count = Sift(settings), 0
    stamps: list[float] = []
    features: list[ImageFeatures] = []
    size = (0, 0)
    for frame in frames:
        own = (frame.image.shape[1], frame.image.shape[0])
        if count and own != size:
            raise RecordingError(
                f"{name} has images of {size[0]}x{size[1]} and {own[0]}x{own[1]} pixels; "
                "one camera has one size"
            )
        size, count = own, count + 1
        found = extract(frame.image)
        if not features or _moved(features[-1], found, ratio, least_motion * size[0]):
            stamps.append(frame.stamp)
            features.append(found)
    burnt = burnt_in(features, ratio, size)
    kept = tuple(each[~_within(burnt, each.pixels)] for each in features)
    return ImageSequence(np.array(stamps), kept, size, count)


def _moved(first: ImageFeatures, second: ImageFeatures, ratio: float, least_px: float) -> bool:
    """Whether the image moved, or cannot be compared."""
    a, b = mutual_matches(first.descriptors, second.descriptors, ratio)
    apart = np.linalg.norm(first.pixels[a] - second.pixels[b], axis=1)
    return len(apart) == 0 or float(np.median(apart)) >= least_px


def burnt_in(
    features: Sequence[ImageFeatures], ratio: float, size: tuple[int, int]
) -> NDArray[np.bool_]:
    """Cells (H, W) of 8 pixels where a logo, a clock or dirt stands in the images.

    What is far ahead stands still too, but not at one place for long: a place counts where it does
    in nearly a third of all pairs of following images.
    """
    shape = size[1] // _CELL_PX + 1, size[0] // _CELL_PX + 1
    still = np.zeros(shape, np.int64)
    for first, second in pairwise(features):
        a, b = mutual_matches(first.descriptors, second.descriptors, ratio)
        stays = np.linalg.norm(first.pixels[a] - second.pixels[b], axis=1) < _STILL_PX
        rows, columns = _cells(first.pixels[a[stays]], shape)
        hit = np.zeros(shape, bool)
        hit[rows, columns] = True
        still += hit
    burnt = still >= max(3.0, _BURNT_SHARE * (len(features) - 1))
    wide = np.pad(burnt, 1)
    height, width = shape
    around = [wide[i : i + height, j : j + width] for i in range(3) for j in range(3)]
    return np.asarray(np.any(around, axis=0))


def _cells(pixels: NDArray[np.float32], shape: tuple[int, int]) -> tuple[Indices, Indices]:
    columns, rows = (np.clip(pixels, 0.0, None) // _CELL_PX).astype(np.int64).T
    return np.minimum(rows, shape[0] - 1), np.minimum(columns, shape[1] - 1)


def _within(burnt: NDArray[np.bool_], pixels: NDArray[np.float32]) -> NDArray[np.bool_]:
    rows, columns = _cells(pixels, (burnt.shape[0], burnt.shape[1]))
    return np.asarray(burnt[rows, columns])


def sequence_matches(
    sequence: ImageSequence, offsets: Sequence[int], ratio: float, name: str
) -> dict[tuple[int, int], Matches]:
    """Matches of each image with those that follow it by the offsets, by pair."""
    count, features = len(sequence), sequence.features
    pairs = [(i, i + offset) for i in range(count) for offset in offsets if i + offset < count]
    found = map_ahead(
        lambda pair: mutual_matches(
            features[pair[0]].descriptors, features[pair[1]].descriptors, ratio
        ),
        pairs,
        _AHEAD,
        os.cpu_count() or 1,
    )
    bar = tqdm(found, f"{name}: matching", len(pairs), unit="pair")
    return dict(zip(pairs, bar, strict=True))
