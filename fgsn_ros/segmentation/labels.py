"""Label maps and their colours."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from fgsn_ros.errors import RecordingError

UNLABELLED = 65535
"""Label of a cell that has none."""
BYTE_LABELS = 255
"""Up to this many labels fit a byte, beside the value for unlabelled."""


@dataclass(frozen=True)
class LabelMap:
    """Labels of an image on a grid; cell (i, j) covers stride x stride pixels from (j, i) * stride.

    Raises:
        ValueError: shapes or types disagree.
    """

    labels: NDArray[np.uint16]  # (H, W), below label_count or UNLABELLED
    confidence: NDArray[np.float32]  # (H, W), in [0, 1]
    stride: int  # [px]
    label_count: int

    def __post_init__(self) -> None:
        if self.labels.ndim != 2 or self.labels.dtype != np.uint16:
            raise ValueError("labels must be a uint16 array (H, W)")
        if self.confidence.shape != self.labels.shape or self.confidence.dtype != np.float32:
            raise ValueError("confidence must be a float32 array of the shape of labels")
        if self.stride < 1 or not 1 <= self.label_count < UNLABELLED:
            raise ValueError("stride must be positive and label_count in [1, 65534]")


def label_pixels(label_map: LabelMap) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Labels (H, W) as an image: uint8 (unlabelled 255) up to 255 labels, else uint16 (65535)."""
    if label_map.label_count > BYTE_LABELS:
        return label_map.labels
    return label_map.labels.astype(np.uint8)  # 65535 wraps to 255


def label_map_of(
    pixels: NDArray[np.uint8] | NDArray[np.uint16], label_count: int, stride: int
) -> LabelMap:
    """Label map of `label_pixels`; they carry no confidence, so it is 1 where there is a label.

    Raises:
        RecordingError: the pixels are of another type than the label count asks, or above it.
    """
    expected = np.uint8 if label_count <= BYTE_LABELS else np.uint16
    if pixels.dtype != expected:
        raise RecordingError(
            f"{label_count} labels are {np.dtype(expected)} pixels, not {pixels.dtype}"
        )
    labels = pixels.astype(np.uint16)
    labels[pixels == np.iinfo(expected).max] = UNLABELLED
    labelled = labels != UNLABELLED
    if labels[labelled].max(initial=0) >= label_count:
        raise RecordingError(
            f"the label image holds label {labels[labelled].max()}, but there are {label_count}; "
            "is it of another checkpoint?"
        )
    return LabelMap(labels, labelled.astype(np.float32), stride, label_count)


def palette(label_count: int) -> NDArray[np.uint8]:
    """Distinct RGB colours (K, 3), the same for a label whatever K is: hues by the golden ratio."""
    index = np.arange(label_count)
    hue = (index * 0.6180339887) % 1.0 * 6.0
    saturation = 1.0 - (index % 3) * 0.25
    value = 1.0 - (index // 3 % 4) * 0.18
    sector = (np.array([5.0, 3.0, 1.0]) + hue[:, None]) % 6.0
    ramp = np.clip(np.minimum(sector, 4.0 - sector), 0.0, 1.0)
    rgb = value[:, None] * (1.0 - saturation[:, None] * ramp)
    return np.asarray(np.rint(rgb * 255.0), np.uint8)


def colourize(label_map: LabelMap) -> NDArray[np.uint8]:
    """RGB image (H, W, 3) of a label map at its own grid; unlabelled cells are black."""
    colours = np.vstack([palette(label_map.label_count), np.zeros((1, 3), np.uint8)])
    return colours[np.minimum(label_map.labels, label_map.label_count)]


def overlay(image: NDArray[np.uint8], label_map: LabelMap, alpha: float = 0.5) -> NDArray[np.uint8]:
    """Blend of an RGB image (H, W, 3) and its labels' colours; unlabelled pixels stay."""
    height, width = image.shape[:2]
    rows = np.arange(height) // label_map.stride
    columns = np.arange(width) // label_map.stride
    colours = colourize(label_map)[rows][:, columns]
    blended = cv2.addWeighted(image, 1.0 - alpha, colours, alpha, 0.0)
    labelled = (label_map.labels < label_map.label_count)[rows][:, columns, None]
    return np.where(labelled, blended, image).astype(np.uint8)
