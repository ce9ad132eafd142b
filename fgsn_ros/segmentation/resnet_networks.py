"""PSPNet, FCN and DeepLabV3 on a dilated ResNet, each with an auxiliary head."""

from torch import Tensor, nn
from torchvision.models.segmentation.deeplabv3 import DeepLabHead
from torchvision.models.segmentation.fcn import FCNHead

from fgsn_ros.segmentation.fgsn_network import FgsnNetwork
from fgsn_ros.segmentation.pyramid_head import PyramidHead
from fgsn_ros.segmentation.resnet_trunk import DilatedResnet

_THIRD_STAGE, _FOURTH_STAGE = 1024, 2048
_AUXILIARY_DIM = 256


class ResnetNetwork(FgsnNetwork):
    """A head on the trunk's fourth stage, an auxiliary one on its third.

    PSPNet (Zhao et al., CVPR 2017): 512 features, before their ReLU, as published FGSN cluster them
    (Larsson et al., ICCV 2019); those of the auxiliary head too. FCN (Long et al., CVPR 2015; 512)
    and DeepLabV3 (Chen et al., 2017; 256) are torchvision's, their features after the ReLU.

    Args:
        architecture: One of ARCHITECTURES that names a ResNet.
        label_count: K.
    """

    first_cell_px = 0.0

    def __init__(self, architecture: str, label_count: int) -> None:
        super().__init__()
        self.architecture = architecture
        family, resnet, *form = architecture.split("_")
        self.trunk = DilatedResnet(resnet, *form)
        self.head, self.feature_dim = _head(family)
        self.auxiliary = _layers(FCNHead(_THIRD_STAGE, 1), 2 if family == "pspnet" else 3)
        self.classifies_linearly = family != "pspnet"
        self.end, self.auxiliary_end = _end(family), _end("pspnet" if family == "pspnet" else "fcn")
        self.classifier = nn.Conv2d(self.feature_dim, label_count, 1)
        self.auxiliary_classifier = nn.Conv2d(_AUXILIARY_DIM, label_count, 1)

    def features(self, images: Tensor) -> Tensor:
        """Features (B, D, ceil(H/8), ceil(W/8)) of normalised images (B, 3, H, W)."""
        features: Tensor = self.head(self.trunk.fourth(images))
        return features

    def features_and_auxiliary(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features (B, D, h, w) and those of the auxiliary head (B, 256, h, w)."""
        third, fourth = self.trunk(images)
        return self.head(fourth), self.auxiliary(third)

    def classify(self, features: Tensor) -> Tensor:
        """Logits (B, K, h, w) of features (B, D, h, w)."""
        return super().classify(self.end(features))

    def classify_auxiliary(self, features: Tensor) -> Tensor:
        """Logits (B, K, h, w) of features of the auxiliary head (B, 256, h, w)."""
        return super().classify_auxiliary(self.auxiliary_end(features))


def _head(family: str) -> tuple[nn.Module, int]:
    """All before the features, and their number."""
    if family == "pspnet":
        return PyramidHead(), 512
    if family == "fcn":
        return _layers(FCNHead(_FOURTH_STAGE, 1), 3), 512
    return _layers(DeepLabHead(_FOURTH_STAGE, 1), 4), 256


def _end(family: str) -> nn.Module:
    """What is between features and classifier."""
    if family == "pspnet":
        return nn.Sequential(nn.ReLU(), nn.Dropout2d(0.1))
    return nn.Dropout(0.1) if family == "fcn" else nn.Identity()


def _layers(head: nn.Sequential, count: int) -> nn.Sequential:
    return nn.Sequential(*list(head)[:count])
