"""3x3 convolutions by Winograd's minimal filtering, for inference on a CPU."""

import torch
from torch import Tensor, nn

from fgsn_ros.segmentation.cpu_workers import CpuWorkers
from fgsn_ros.segmentation.winograd_kernel import PATCH, TILE, transform_input, transform_output

_TILES = 96  # at once, about: enough for the products, few enough for the cache
_MOST_DILATION = 24  # above, too much of a tile is beyond the image
_LARGE = 9 * 256 * 256  # weights
_LEAST_CHANNELS = 64  # below, the transforms cost more than they spare

_OF_WEIGHT = (
    (1 / 4, 0.0, 0.0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0.0, 0.0, 1.0),
)


class WinogradConv(nn.Module):
    """A 3x3 convolution of stride 1 with a quarter of the multiplications; the same to rounding.

    A dilated convolution is one convolution on each of the dilation^2 grids of every dilation-th
    pixel. Of float32, on a CPU.

    Args:
        convolution: Of which `is_winograd` holds.
        workers: Shared with others of the network.
    """

    taps: Tensor  # (9, C, O), or (36, C, O) if they are transformed already
    bias: Tensor  # (O,)

    def __init__(self, convolution: nn.Conv2d, workers: CpuWorkers) -> None:
        super().__init__()
        outputs, inputs = convolution.weight.shape[:2]
        self.dilation = int(convolution.dilation[0])
        self._workers = workers
        taps = convolution.weight.detach().permute(2, 3, 1, 0).reshape(9, inputs, outputs)
        # those of a small one are transformed anew each time: they are many, and it takes no time
        if taps.numel() > _LARGE:
            factors = torch.empty(PATCH**2, inputs, outputs)
            _transform(taps, factors)
            taps = factors
        self.register_buffer("taps", taps)
        bias = torch.zeros(outputs) if convolution.bias is None else convolution.bias.detach()
        self.register_buffer("bias", bias)

    def forward(self, images: Tensor) -> Tensor:
        """Convolved (B, O, H, W) of images (B, C, H, W), channels last."""
        convolved = torch.empty(len(images), *images.shape[2:], len(self.bias))
        weight = self._transformed()
        for image, result in zip(images, convolved, strict=True):
            self._convolve(image.permute(1, 2, 0), weight, result)
        return convolved.permute(0, 3, 1, 2)

    def _transformed(self) -> Tensor:
        """Weights (36, C, O)."""
        if len(self.taps) == PATCH**2:
            return self.taps
        factors = self._workers.scratch("weight", PATCH**2, *self.taps.shape[1:])
        parts = (weight.chunk(self._workers.count, dim=1) for weight in (self.taps, factors))
        self._workers.share(lambda part: _transform(*part), zip(*parts, strict=True))
        return factors

    def _convolve(self, image: Tensor, weight: Tensor, result: Tensor) -> None:
        """An image (H, W, C) to `result` (H, W, O), some rows of tiles at a time."""
        height, width = image.shape[:2]
        side = TILE * self.dilation
        columns, lines = (-(-size // side) * self.dilation for size in (width, height))

        def convolve(top: int) -> None:
            tiles = min(step, lines - top) * columns
            inputs, outputs = (
                self._workers.scratch(name, PATCH**2, tiles, channels)
                for name, channels in zip(("inputs", "outputs"), weight.shape[1:], strict=True)
            )
            padded = self._padded(image, TILE * top, TILE * (top + tiles // columns), columns)
            transform_input(padded.numpy(), inputs.numpy(), self.dilation)
            torch.bmm(inputs, weight, out=outputs)
            rows = result[TILE * top : TILE * top + step * TILE].numpy()
            transform_output(outputs.numpy(), self.bias.numpy(), rows, self.dilation)

        parts = self._workers.count * -(-lines * columns // (_TILES * self._workers.count))
        step = -(-lines // (parts * self.dilation)) * self.dilation
        self._workers.share(convolve, range(0, lines, step))

    def _padded(self, image: Tensor, top: int, bottom: int, columns: int) -> Tensor:
        """Rows of an image (H, W, C) and `dilation` around, with zeros beyond the image."""
        height, width, channels = image.shape
        first, last = max(top - self.dilation, 0), min(bottom + self.dilation, height)
        size = bottom - top + 2 * self.dilation, TILE * columns + 2 * self.dilation, channels
        padded = self._workers.scratch("padded", *size).zero_()
        above = first - top + self.dilation
        rows = padded[above : above + last - first]
        rows[:, self.dilation : self.dilation + width] = image[first:last]
        return padded


def is_winograd(module: nn.Conv2d) -> bool:
    """Whether a module is a convolution that `WinogradConv` can do, and faster."""
    return (
        module.kernel_size == (3, 3)
        and module.stride == (1, 1)
        and module.groups == 1
        and module.padding == module.dilation
        and int(module.dilation[0]) <= _MOST_DILATION
        and min(module.in_channels, module.out_channels) >= _LEAST_CHANNELS
    )


def _transform(taps: Tensor, factors: Tensor) -> None:
    """Weights (9, C, O) to `factors` (36, C, O)."""
    along_one = torch.tensor(_OF_WEIGHT)
    torch.mm(torch.kron(along_one, along_one), taps.flatten(1), out=factors.flatten(1))
