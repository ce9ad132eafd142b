"""Pyramid pooling (Zhao et al., CVPR 2017, section 3.2), without the up-sampled pyramid."""

import torch
from torch import Tensor, nn
from torch.nn import functional

_CELLS = (6, 3, 2, 1)
_TRUNK_CHANNELS, _POOLED_CHANNELS, _CHANNELS = 2048, 512, 512


class PyramidHead(nn.Module):
    """Trunk's and pooled channels to 512 features, before their ReLU.

    The 3x3 convolution reads the trunk's 2048 channels beside 4 x 512 that were pooled to p x p
    cells and interpolated back. Both of the last steps are linear, so the interpolated channels are
    never made: the convolution's taps are applied to the p x p cells and what comes of them is
    interpolated, each tap moved by its offset. The same to rounding, with half the operations.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.ModuleList(_pooled(cells) for cells in _CELLS)
        inputs = _TRUNK_CHANNELS + len(_CELLS) * _POOLED_CHANNELS
        self.conv = nn.Conv2d(inputs, _CHANNELS, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(_CHANNELS)

    def forward(self, trunk: Tensor) -> Tensor:
        """Features (B, 512, h, w) of the trunk's channels (B, 2048, h, w)."""
        of_trunk = functional.conv2d(trunk, self.trunk_weight, self.conv.bias, padding=1)
        features: Tensor = self.bn(of_trunk + self.of_pools(trunk))
        return features

    @property
    def trunk_weight(self) -> Tensor:
        """Weight (512, 2048, 3, 3) of the trunk's channels."""
        return self.conv.weight[:, :_TRUNK_CHANNELS]

    @property
    def pools_weight(self) -> Tensor:
        """Weight (512, 4 x 512, 3, 3) of the pooled channels."""
        return self.conv.weight[:, -len(_CELLS) * _POOLED_CHANNELS :]

    def of_pools(self, trunk: Tensor) -> Tensor:
        """What the pooled channels add to the convolution, (B, 512, h, w)."""
        height, width = trunk.shape[-2:]
        weights = self.pools_weight.chunk(len(_CELLS), dim=1)
        lines, bases = [], []
        for stage, weight in zip(self.stages, weights, strict=True):
            pooled = stage(trunk)
            lines.append(_lines(pooled, weight, width))
            bases.append(_shifted_bases(pooled.shape[-2], height, pooled).flatten(0, 1))
        # all stages at once, and channels last: each of them would be as large as the sum
        rows = torch.cat(bases).t().expand(len(trunk), -1, -1)
        spread = torch.bmm(rows, torch.cat(lines, dim=1).flatten(2))
        return spread.view(len(trunk), height, width, -1).permute(0, 3, 1, 2)


def _pooled(cells: int) -> nn.Sequential:
    return nn.Sequential(
        nn.AdaptiveAvgPool2d(cells),
        nn.Conv2d(_TRUNK_CHANNELS, _POOLED_CHANNELS, 1, bias=False),
        nn.BatchNorm2d(_POOLED_CHANNELS),
        nn.ReLU(inplace=True),
    )


def _lines(pooled: Tensor, weight: Tensor, width: int) -> Tensor:
    """A 3x3 convolution (O, C, 3, 3) of cells (B, C, p, p), along x: (B, 3 p, width, O).

    For each tap and cell along y, what is to be spread along y.
    """
    taps = torch.einsum("bcij,ocyx->boyixj", pooled, weight)
    columns = _shifted_bases(pooled.shape[-1], width, pooled)
    return torch.einsum("boyixj,xjw->byiwo", taps, columns).flatten(1, 2)


def _shifted_bases(cells: int, size: int, like: Tensor) -> Tensor:
    """(3, p, n): share of each cell in each of n corner-aligned positions, moved by -1, 0, 1.

    Zero where a moved position is off the grid, as the convolution pads it.
    """
    identity = torch.eye(cells, device=like.device)[None]
    bases = functional.interpolate(identity, size=size, mode="linear", align_corners=True)[0]
    padded = functional.pad(bases, (1, 1))
    return torch.stack([padded[:, shift : shift + size] for shift in range(3)]).to(like.dtype)
