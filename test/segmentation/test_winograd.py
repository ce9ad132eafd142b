import pytest
import torch
from torch import nn

from fgsn_ros.segmentation.cpu_workers import CpuWorkers
from fgsn_ros.segmentation.winograd import WinogradConv, is_winograd


def convolution(inputs: int, outputs: int, dilation: int, bias: bool = True) -> nn.Conv2d:
    torch.manual_seed(0)
    module = nn.Conv2d(inputs, outputs, 3, padding=dilation, dilation=dilation, bias=bias)
    return module.requires_grad_(False)


@pytest.mark.parametrize(
    ("inputs", "outputs", "dilation", "size"),
    [
        (64, 64, 1, (33, 50)),
        (64, 80, 1, (1, 1)),
        (65, 64, 2, (31, 17)),
        (300, 260, 4, (18, 41)),  # enough weights to transform them once
        (64, 64, 4, (90, 90)),
        (64, 64, 12, (40, 7)),  # image narrower than the dilation
    ],
)
@pytest.mark.parametrize("shared", [False, True])
def test_it_is_the_convolution_to_rounding(
    inputs: int, outputs: int, dilation: int, size: tuple[int, int], shared: bool
) -> None:
    direct, workers = convolution(inputs, outputs, dilation), CpuWorkers()
    images = torch.randn(2, inputs, *size).to(memory_format=torch.channels_last)
    winograd = WinogradConv(direct, workers)
    if shared:
        with workers:
            convolved = winograd(images)
    else:
        convolved = winograd(images)
    torch.testing.assert_close(convolved, direct(images), atol=1e-4, rtol=0)
    assert convolved.is_contiguous(memory_format=torch.channels_last)


def test_it_needs_no_bias() -> None:
    direct = convolution(64, 64, 1, bias=False)
    images = torch.randn(1, 64, 9, 14).to(memory_format=torch.channels_last)
    convolved = WinogradConv(direct, CpuWorkers())(images)
    torch.testing.assert_close(convolved, direct(images), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    "other",
    [
        nn.Conv2d(64, 64, 1),
        nn.Conv2d(64, 64, 3, padding=1, stride=2),
        nn.Conv2d(64, 64, 3),
        nn.Conv2d(64, 64, 3, padding=1, groups=2),
        nn.Conv2d(3, 64, 3, padding=1),
        nn.Conv2d(64, 64, 3, padding=36, dilation=36),
    ],
)
def test_other_convolutions_are_left(other: nn.Conv2d) -> None:
    assert not is_winograd(other)
    assert is_winograd(convolution(64, 64, 2))
