import pytest
import torch
from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck

from fgsn_ros.segmentation.cpu_workers import CpuWorkers
from fgsn_ros.segmentation.pointwise import InPlaceBottleneck, PointwiseConv

TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 2e-2}
"""bfloat16: two factors and a product rounded by up to 2^-9, a few of them of one sign."""


def images(channels: int) -> Tensor:
    return torch.randn(2, channels, 31, 20).to(memory_format=torch.channels_last)


def relative_error(values: Tensor, expected: Tensor) -> float:
    return float((values - expected).norm() / expected.norm())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("relu", [False, True])
def test_it_is_the_convolution(dtype: torch.dtype, stride: int, relu: bool) -> None:
    torch.manual_seed(0)
    direct = nn.Conv2d(48, 40, 1, stride, bias=relu).requires_grad_(False)
    given = images(48)
    expected = direct(given).relu() if relu else direct(given)
    convolved = PointwiseConv(direct, CpuWorkers(), dtype)(given, relu)
    assert convolved.is_contiguous(memory_format=torch.channels_last)
    assert relative_error(convolved, expected) < TOLERANCE[dtype]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_adds_in_place(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    direct = nn.Conv2d(48, 40, 1).requires_grad_(False)
    given, total = images(48), images(40)
    expected = (total + direct(given)).relu()
    PointwiseConv(direct, CpuWorkers(), dtype).add_to(total, given)
    assert relative_error(total, expected) < TOLERANCE[dtype]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("stride", [0, 1, 2])
def test_a_block_is_the_bottleneck(dtype: torch.dtype, stride: int) -> None:
    torch.manual_seed(0)
    shortcut = nn.Sequential(nn.Conv2d(64, 64, 1, stride), nn.Identity()) if stride else None
    block = Bottleneck(64, 16, max(stride, 1), shortcut, norm_layer=lambda _: nn.Identity())
    block.requires_grad_(False)
    given = images(64)
    expected = block(given)
    made = InPlaceBottleneck(block, CpuWorkers(), dtype)(given)
    assert relative_error(made, expected) < TOLERANCE[dtype]
