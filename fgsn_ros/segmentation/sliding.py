"""Labels of every pixel of a large image, from crops that slide over it."""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.config import require
from fgsn_ros.segmentation.architectures import STRIDE, cells_of, traits_of
from fgsn_ros.segmentation.checkpoint import Checkpoint
from fgsn_ros.segmentation.label_grid import grid_shares, soft_max_labels, taps_of
from fgsn_ros.segmentation.labels import LabelMap
from fgsn_ros.segmentation.runtime import choose_runtime, logits_by
from fgsn_ros.segmentation.segmenter import SegmenterSettings, require_image

OVERLAP = 1.0 / 3.0
"""Share of a crop that its neighbour covers too, at least: as in the published FGSN code."""
Item = TypeVar("Item")


class SlidingSegmenter:
    """Labels each pixel by crops of the size of training, blended where they overlap.

    Crops and weights are those of the published FGSN code, and so are the labels: the arg-max of
    the crops' logits, interpolated to pixels and averaged with weights that fall to a crop's edge.
    Never are K channels of the whole image held at once.

    Args:
        checkpoint: Whose labels.
        crop_px: Side of the square crops [px]: best that of training.
        settings: What computes; of no use is their stride.

    Raises:
        SettingsError: the crop is too small, or as of `Segmenter`.
        CheckpointError: it is an ONNX file for images of one size, or as of `Segmenter`.
    """

    stride = 1

    def __init__(
        self, checkpoint: Checkpoint, crop_px: int = 713, settings: SegmenterSettings | None = None
    ) -> None:
        require(crop_px >= STRIDE, f"a crop must have at least {STRIDE} pixels")
        settings = settings or SegmenterSettings()
        runtime = choose_runtime(checkpoint, settings.device, settings.backend, settings.threads)
        self.device, self.backend = runtime.device, runtime.backend
        self.label_count = checkpoint.label_count
        self._crop_px = crop_px
        self._first_cell_px = traits_of(checkpoint.architecture).first_cell_px
        self._logits = logits_by(runtime, checkpoint, stride=None)

    def segment(self, image: NDArray[np.uint8]) -> LabelMap:
        """Label map of stride 1 of an RGB image uint8 (H, W, 3).

        A side smaller than the crop is filled up with black, as published.

        Raises:
            RecordingError: the image is of another type or shape.
        """
        require_image(image)
        crop, cells = self._crop_px, cells_of(self._crop_px)
        tops, rows = blending(image.shape[0], crop, self._first_cell_px)
        lefts, columns = blending(image.shape[1], crop, self._first_cell_px)
        logits = np.empty((len(tops), cells, len(lefts), cells, self.label_count), np.float32)
        for (i, top), (j, left) in itertools.product(enumerate(tops), enumerate(lefts)):
            part = image[top : top + crop, left : left + crop]
            logits[i, :, j] = self._logits(_filled_up(part, crop))
        every = logits.reshape(len(tops) * cells, len(lefts) * cells, self.label_count)
        labels, confidence = soft_max_labels(every, taps_of(rows), taps_of(columns))
        return LabelMap(labels, confidence, 1, self.label_count)

    def segment_each(
        self, items: Iterable[Item], image_of: Callable[[Item], NDArray[np.uint8]]
    ) -> Iterator[tuple[Item, LabelMap]]:
        """Items, one by one, with the label maps of their images, as by `segment`."""
        for item in items:
            yield item, self.segment(image_of(item))


def _filled_up(part: NDArray[np.uint8], crop: int) -> NDArray[np.uint8]:
    """A crop (crop, crop, 3), of which `part` is in the image."""
    missing = [(0, crop - size) for size in part.shape[:2]]
    return np.ascontiguousarray(np.pad(part, (*missing, (0, 0))))


def crop_starts(size: int, crop: int) -> list[int]:
    """First pixels of the crops along an axis, as the published FGSN code places them.

    As few as cover `size` pixels with at least the overlap between neighbours, at equal
    distances, rounded down; where the image is smaller, one crop that extends beyond it.
    """
    if size <= crop:
        return [0]
    gaps = math.ceil((size - crop) / math.ceil(crop * (1.0 - OVERLAP)))
    return [int(index * ((size - crop) / gaps)) for index in range(gaps)] + [size - crop]


def ramp(crop: int) -> NDArray[np.float32]:
    """Weight (crop,) of a crop's pixels along an axis: linear from each end over the overlap."""
    length = round(crop * OVERLAP)
    rise: NDArray[np.float32] = np.minimum(
        np.arange(1, crop + 1, dtype=np.float32), length
    ) / np.float32(length)
    return rise * rise[::-1]


def blending(size: int, crop: int, first_cell_px: float) -> tuple[list[int], NDArray[np.float32]]:
    """Crops along an axis, and the share of each of their cells in each pixel.

    Args:
        size: Of the image along the axis [px].
        crop: [px].
        first_cell_px: Of the network: its cell i is centred on first_cell_px + 8 i of the crop.

    Returns:
        First pixels of the n crops; (size, n x cells), the crops' cells one after the other: linear
        interpolation times the ramp, in rows that sum to 1.
    """
    starts, cells = crop_starts(size, crop), cells_of(crop)
    shares = grid_shares(first_cell_px, 1, crop) * ramp(crop)[:, None]
    blended = np.zeros((size, len(starts), cells), np.float32)
    for index, start in enumerate(starts):
        inside = min(crop, size - start)
        blended[start : start + inside, index] = shares[:inside]
    blended /= blended.sum(axis=(1, 2), keepdims=True)
    return starts, blended.reshape(size, -1)
