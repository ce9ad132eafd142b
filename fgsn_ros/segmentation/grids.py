"""Features of any network on the grid of `Camera.at_stride`."""

import torch
from torch import Tensor
from torch.nn import functional

from fgsn_ros.segmentation.fgsn_network import STRIDE

_COVERING_PX = (STRIDE - 1) / 2  # centre of a first cell that covers the first pixels


def on_grid(features: Tensor, first_cell_px: float, stride: int, height: int, width: int) -> Tensor:
    """Features (B, D, ceil(H/stride), ceil(W/stride)), cell i centred on (stride - 1)/2 + stride i.

    Args:
        features: (B, D, ceil(H/8), ceil(W/8)) with cell i centred on first_cell_px + 8 i.
        first_cell_px: Of the network.
        stride: 1 or 4 (interpolated), 8 or 16 (means of 2 x 2 cells).
        height: H [px].
        width: W [px].
    """
    if first_cell_px != _COVERING_PX or stride < STRIDE // 2:
        fine = min(stride, STRIDE)
        features = _resampled(features, 2, first_cell_px, fine, height)
        features = _resampled(features, 3, first_cell_px, fine, width)
    elif stride < STRIDE:
        fine_grid = functional.interpolate(features, scale_factor=2, mode="bilinear")
        return fine_grid[..., : -(-height // stride), : -(-width // stride)]
    if stride > STRIDE:
        return functional.avg_pool2d(features, 2, ceil_mode=True, count_include_pad=False)
    return features


def _resampled(features: Tensor, axis: int, first_cell_px: float, stride: int, size: int) -> Tensor:
    """Linear interpolation along an axis of `size` pixels; beyond the last cell, that cell."""
    centres = (stride - 1) / 2 + stride * torch.arange(-(-size // stride), device=features.device)
    cells = ((centres - first_cell_px) / STRIDE).clamp(0, features.shape[axis] - 1)
    before = cells.floor().long()
    after = (before + 1).clamp(max=features.shape[axis] - 1)
    share = (cells - before).to(features.dtype)
    share = share.view(-1, 1) if axis == 2 else share
    return features.index_select(axis, before).lerp(features.index_select(axis, after), share)
