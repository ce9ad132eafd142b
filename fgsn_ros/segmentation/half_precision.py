"""Networks in half precision, where it changes few labels: for GPUs."""

from torch import Tensor, nn

from fgsn_ros.segmentation.fgsn_network import FgsnNetwork
from fgsn_ros.segmentation.lraspp import Lraspp
from fgsn_ros.segmentation.resnet_networks import ResnetNetwork

_EARLY_LAYERS = 7
"""Of MobileNetV3: up to stride 8, whose output the head reads, too."""


class _Half(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.half()


def use_half_precision(network: FgsnNetwork) -> FgsnNetwork:
    """float16 in place, but for the layers up to stride 8 and the classifier.

    Their rounding is what changes labels: of the packaged network, 0.15 % with all in float16, and
    0.05 % like this. The features are float16, the classifier takes float32.
    """
    network.half()
    network.classifier.float()
    if isinstance(network, Lraspp):
        for layer in network.backbone[:_EARLY_LAYERS]:
            layer.float()
        last = network.backbone[_EARLY_LAYERS - 1]
        network.backbone[_EARLY_LAYERS - 1] = nn.Sequential(last, _Half())
    elif isinstance(network, ResnetNetwork):
        trunk = network.trunk
        for early in (trunk.stem, trunk.layer1, trunk.layer2):
            early.float()
        trunk.layer2 = nn.Sequential(trunk.layer2, _Half())
    return network
