"""Labels at the resolution of their image, and pictures that people read."""

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.segmentation.labels import LabelMap, overlay

_EDGE_BRIGHTNESS = 0.35


def every_pixel(label_map: LabelMap, height: int, width: int) -> LabelMap:
    """The label map of stride 1 that gives each pixel of an image (H, W) the label of its cell."""
    rows, columns = (np.arange(size) // label_map.stride for size in (height, width))
    cells = np.ix_(rows, columns)
    return LabelMap(label_map.labels[cells], label_map.confidence[cells], 1, label_map.label_count)


def outlined_overlay(
    image: NDArray[np.uint8], label_map: LabelMap, alpha: float = 0.5
) -> NDArray[np.uint8]:
    """Blend of an RGB image (H, W, 3) and its labels' colours, with a dark line between labels."""
    pixels = every_pixel(label_map, image.shape[0], image.shape[1])
    blended = overlay(image, pixels, alpha)
    edges = label_edges(pixels.labels)
    blended[edges] = np.rint(blended[edges] * _EDGE_BRIGHTNESS).astype(np.uint8)
    return blended


def label_edges(labels: NDArray[np.uint16]) -> NDArray[np.bool_]:
    """Pixels (H, W) whose label differs from that of the pixel to the right or below."""
    edges = np.zeros(labels.shape, np.bool_)
    edges[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    edges[:-1] |= labels[:-1] != labels[1:]
    return edges
