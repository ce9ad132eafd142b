"""A network made faster for inference on a CPU."""

import torch
from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck

from fgsn_ros.segmentation.cpu_workers import CpuWorkers
from fgsn_ros.segmentation.folding import folded_copy
from fgsn_ros.segmentation.networks import FgsnNetwork
from fgsn_ros.segmentation.pointwise import InPlaceBottleneck
from fgsn_ros.segmentation.pyramid_head import PyramidHead
from fgsn_ros.segmentation.resnet_networks import ResnetNetwork
from fgsn_ros.segmentation.winograd import WinogradConv, is_winograd


def prepared_for_cpu(
    network: FgsnNetwork, workers: CpuWorkers, mixed_precision: bool
) -> FgsnNetwork:
    """A copy whose batch norm is folded and whose wide 3x3 convolutions are Winograd's.

    Without the auxiliary head, which labels nothing.

    Args:
        network: Left as it is.
        workers: What is to share its operations.
        mixed_precision: Of a ResNet only: bfloat16 in most 1x1 convolutions of its dilated stages.
    """
    rounded = _rounded_blocks(network) if mixed_precision else []

    def replaced(name: str, module: nn.Module) -> nn.Module:
        if name == "auxiliary":
            return nn.Sequential()
        if isinstance(module, PyramidHead):
            return _WinogradPyramidHead(module, workers)
        if isinstance(module, Bottleneck):
            dtype = torch.bfloat16 if name in rounded else torch.float32
            return InPlaceBottleneck(module, workers, dtype)
        if isinstance(module, nn.Conv2d) and is_winograd(module) and name != "head.conv":
            return WinogradConv(module, workers)
        return module

    return folded_copy(network, replaced)


def _rounded_blocks(network: FgsnNetwork) -> list[str]:
    """Names of the blocks whose 1x1 convolutions multiply with bfloat16: most of the dilated ones.

    There is the time once Winograd's convolutions are in. All else stays in float32: the sum that
    the blocks add to, the head, and what comes first, whose rounding would be amplified the most.
    """
    assert isinstance(network, ResnetNetwork)
    third, fourth = len(network.trunk.layer3), len(network.trunk.layer4)
    names = [f"trunk.layer3.{index}" for index in range(third // 4, third)]
    return names + [f"trunk.layer4.{index}" for index in range(fourth)]


class _WinogradPyramidHead(nn.Module):
    def __init__(self, head: PyramidHead, workers: CpuWorkers) -> None:
        super().__init__()
        outputs, inputs = head.trunk_weight.shape[:2]
        with torch.device("meta"):
            convolution = nn.Conv2d(inputs, outputs, 3, padding=1)
        convolution.weight, convolution.bias = nn.Parameter(head.trunk_weight), head.conv.bias
        self.of_trunk = WinogradConv(convolution, workers)
        head.conv.weight = nn.Parameter(head.pools_weight.clone())  # the rest is not needed here
        self.head = head

    def forward(self, trunk: Tensor) -> Tensor:
        features: Tensor = self.of_trunk(trunk)
        return features.add_(self.head.of_pools(trunk))
