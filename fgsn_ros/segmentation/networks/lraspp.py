"""LR-ASPP on MobileNetV3-Large: the small network that a robot runs."""

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import mobilenet_v3_large
from torchvision.models.segmentation.lraspp import LRASPPHead

from fgsn_ros.segmentation.architectures import LRASPP
from fgsn_ros.segmentation.networks.base import FgsnNetwork

_FEATURE_DIM = 128
_LOW_LAYER, _LOW_CHANNELS = 6, 40  # last layer of the backbone at stride 8
_HIGH_CHANNELS = 960


# torchvision's momentum of 0.01 is for ImageNet's hundreds of thousands of steps: in the first
# thousand, the statistics lag behind the weights and spoil the network outside of training
_norm = partial(nn.BatchNorm2d, eps=0.001, momentum=0.1)


class Lraspp(FgsnNetwork):
    """LR-ASPP on MobileNetV3-Large (Howard et al., ICCV 2019), linear classifier on 128 features.

    The features are those after the last ReLU. No auxiliary head.
    """

    architecture = LRASPP
    feature_dim = _FEATURE_DIM

    def __init__(self, label_count: int) -> None:
        super().__init__()
        trunk = mobilenet_v3_large(weights=None, dilated=True, norm_layer=_norm)
        self.backbone: nn.Sequential = trunk.features
        head = LRASPPHead(_LOW_CHANNELS, _HIGH_CHANNELS, 1, _FEATURE_DIM)
        self.high, self.gate = head.cbr, head.scale
        self.fuse = nn.Sequential(
            nn.Conv2d(_FEATURE_DIM + _LOW_CHANNELS, _FEATURE_DIM, 1, bias=False),
            nn.BatchNorm2d(_FEATURE_DIM),
            nn.ReLU(inplace=True),
        )
        self.classifier = nn.Conv2d(_FEATURE_DIM, label_count, 1)
        self.auxiliary_classifier = None

    def filled_features(self, images: Tensor) -> Tensor:
        """Features (B, 128, H/8, W/8) of normalised images (B, 3, H, W)."""
        x = low = images
        for index, layer in enumerate(self.backbone):
            x = layer(x)
            if index == _LOW_LAYER:
                low = x
        high = self.high(x) * self.gate(x)
        high = functional.interpolate(high, scale_factor=2.0, mode="bilinear")
        fused: Tensor = self.fuse(torch.cat([high, low], dim=1))
        return fused
