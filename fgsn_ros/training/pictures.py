"""Pictures of labels for TensorBoard."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from fgsn_ros.correspondences.images import Image, ImageCache
from fgsn_ros.correspondences.pairs import Pair
from fgsn_ros.segmentation.labels import colourize, palette
from fgsn_ros.segmentation.segmenter import Segmenter

_WIDTH = 320  # [px] of one image


def pair_pictures(segmenter: Segmenter, pairs: Sequence[Pair], cache: ImageCache) -> Image:
    """A row for each pair: reference and target, and the labels of both."""
    rows = []
    for pair in pairs:
        images = [cache.colour(path) for path in (pair.reference, pair.target)]
        labels = [colourize(segmenter.segment(image)) for image in images]
        rows.append(_row([*images, *labels]))
    return np.concatenate(rows)


def scene_pictures(
    scenes: Sequence[tuple[Image, Image, NDArray[np.int64]]], class_count: int
) -> Image:
    """A row for each scene: the image, its true classes and those found."""
    colours = np.vstack([palette(class_count), np.zeros((256 - class_count, 3), np.uint8)])
    return np.concatenate(
        [_row([image, colours[true], colours[found]]) for image, true, found in scenes]
    )


def _row(images: Sequence[Image]) -> Image:
    """Images side by side, each _WIDTH wide and as high as the first one asks for."""
    height = round(images[0].shape[0] * _WIDTH / images[0].shape[1])
    size = (_WIDTH, height)
    resized = [cv2.resize(image, size, interpolation=cv2.INTER_AREA) for image in images]
    return np.concatenate(resized, axis=1)
