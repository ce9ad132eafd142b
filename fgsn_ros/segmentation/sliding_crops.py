"""Crops that slide over an image, and the weights with which their labels are blended."""

import math

import torch
from torch import Tensor

from fgsn_ros.segmentation.fgsn_network import STRIDE

OVERLAP = 1.0 / 3.0
"""Share of a crop that its neighbour covers too, at least: as in the published FGSN code."""


def crop_starts(size: int, crop: int) -> list[int]:
    """First pixels of the crops along an axis, as the published FGSN code places them.

    As few as cover `size` pixels with at least the overlap between neighbours, at equal
    distances, rounded down; where the image is smaller, one crop that extends beyond it.
    """
    if size <= crop:
        return [0]
    gaps = math.ceil((size - crop) / math.ceil(crop * (1.0 - OVERLAP)))
    return [int(index * ((size - crop) / gaps)) for index in range(gaps)] + [size - crop]


def ramp(crop: int) -> Tensor:
    """Weight (crop,) of a crop's pixels along an axis: linear from each end over the overlap."""
    length = round(crop * OVERLAP)
    rise = (torch.arange(crop) + 1.0).clamp(max=length) / length
    return rise * rise.flip(0)


def blending(size: int, crop: int, first_cell_px: float) -> tuple[list[int], Tensor]:
    """Crops along an axis, and what each of their cells adds to each pixel.

    Args:
        size: Of the image along the axis [px].
        crop: [px].
        first_cell_px: Of the network: its cell i is centred on first_cell_px + 8 i of the crop.

    Returns:
        First pixels of the n crops; (size, n x cells), the crops' cells one after the other: linear
        interpolation times the ramp. Its rows do not sum to 1, which changes no label.
    """
    starts = crop_starts(size, crop)
    cells = -(-crop // STRIDE)
    positions = ((torch.arange(crop) - first_cell_px) / STRIDE).clamp(0, cells - 1)
    shares = (1.0 - (positions[:, None] - torch.arange(cells)).abs()).clamp(min=0.0)
    shares *= ramp(crop)[:, None]
    basis = torch.zeros(size, len(starts), cells)
    for index, start in enumerate(starts):
        inside = min(crop, size - start)
        basis[start : start + inside, index] = shares[:inside]
    return starts, basis.flatten(1)
