"""1x1 convolutions and residual blocks as matrix products, for inference on a CPU."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from fgsn_ros.segmentation.cpu_workers import CpuWorkers

_PIXELS = 512  # at once: a product is still in the cache when it is added to
_Part = tuple[Tensor, Tensor]


class PointwiseConv(nn.Module):
    """A 1x1 convolution; of float32 images, whatever type its products are of.

    Args:
        convolution: Of any stride; its weights are shared if the type is theirs.
        workers: Shared with others of the network.
        dtype: Of the factors: float32 or bfloat16.
    """

    weight: Tensor  # (C, O)
    bias: Tensor  # (O,), float32

    def __init__(
        self, convolution: nn.Conv2d, workers: CpuWorkers, dtype: torch.dtype = torch.float32
    ) -> None:
        super().__init__()
        self.stride = int(convolution.stride[0])
        self._workers = workers
        weight = convolution.weight.detach().flatten(1).t()
        self.register_buffer("weight", weight.to(dtype))
        bias = torch.zeros(weight.shape[1])
        self.register_buffer(
            "bias", bias if convolution.bias is None else convolution.bias.detach()
        )

    def forward(self, images: Tensor, relu: bool = False) -> Tensor:
        """Convolved (B, O, h, w) of images (B, C, H, W), channels last, if asked with a ReLU."""
        images = images[..., :: self.stride, :: self.stride]
        batch, _, *size = images.shape
        convolved = torch.empty(batch, *size, len(self.bias)).permute(0, 3, 1, 2)

        def convolve(part: _Part) -> None:
            pixels, result = part
            if self.weight.dtype == torch.float32:
                torch.mm(pixels, self.weight, out=result)
            else:
                result.copy_(torch.mm(pixels.to(self.weight.dtype), self.weight))
            result.add_(self.bias)
            if relu:
                result.relu_()

        self._workers.share(convolve, _parts(images, convolved))
        return convolved

    def add_to(self, total: Tensor, images: Tensor) -> None:
        """ReLU of `total` (B, O, H, W) plus what is convolved, in place of `total`; stride 1."""

        def add(part: _Part) -> None:
            pixels, result = part
            if self.weight.dtype == torch.float32:
                result.addmm_(pixels, self.weight)
            else:
                result.add_(torch.mm(pixels.to(self.weight.dtype), self.weight).float())
            result.add_(self.bias).relu_()

        self._workers.share(add, _parts(images, total))


class InPlaceBottleneck(nn.Module):
    """A ResNet's bottleneck block, its batch norm folded, that adds to its input in place.

    Args:
        block: Of torchvision.
        workers: Shared with others of the network.
        dtype: Of the factors of its 1x1 convolutions.
    """

    def __init__(self, block: Any, workers: CpuWorkers, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.reduce = PointwiseConv(block.conv1, workers, dtype)
        self.middle: nn.Module = block.conv2
        self.expand = PointwiseConv(block.conv3, workers, dtype)
        other = block.downsample
        self.shortcut = None if other is None else PointwiseConv(other[0], workers, dtype)

    def forward(self, images: Tensor) -> Tensor:
        """What the block makes (B, O, h, w) of images (B, C, H, W), which it may overwrite."""
        inner = self.middle(self.reduce(images, relu=True)).relu_()
        total = images if self.shortcut is None else self.shortcut(images)
        self.expand.add_to(total, inner)
        return total


def _parts(images: Tensor, results: Tensor) -> Iterator[_Part]:
    """Some pixels (n, C) of images, and the same of the results (n, O) to write to."""
    sources, targets = (x.permute(0, 2, 3, 1).flatten(0, 2) for x in (images, results))
    for first in range(0, len(sources), _PIXELS):
        yield sources[first : first + _PIXELS], targets[first : first + _PIXELS]
