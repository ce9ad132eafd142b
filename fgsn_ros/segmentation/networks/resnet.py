"""PSPNet, FCN and DeepLabV3 on a dilated ResNet, each with an auxiliary head."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import resnet50, resnet101
from torchvision.models.segmentation.deeplabv3 import DeepLabHead
from torchvision.models.segmentation.fcn import FCNHead

from fgsn_ros.segmentation.networks.base import FgsnNetwork

_RESNETS = {"resnet50": resnet50, "resnet101": resnet101}
_THIRD_STAGE, _FOURTH_STAGE = 1024, 2048
_POOLED_CELLS, _POOLED_CHANNELS = (6, 3, 2, 1), 512
_PSPNET_DIM, _AUXILIARY_DIM = 512, 256


class ResnetNetwork(FgsnNetwork):
    """A head on the trunk's fourth stage, an auxiliary one on its third.

    PSPNet (Zhao et al., CVPR 2017): 512 features, before their ReLU, as published FGSN cluster them
    (Larsson et al., ICCV 2019); those of the auxiliary head too. FCN (Long et al., CVPR 2015; 512)
    and DeepLabV3 (Chen et al., 2017; 256) are torchvision's, their features after the ReLU.

    Args:
        architecture: One of ARCHITECTURES that names a ResNet.
        label_count: K.
    """

    def __init__(self, architecture: str, label_count: int) -> None:
        super().__init__()
        self.architecture = architecture
        family, resnet, *form = architecture.split("_")
        self.trunk = DilatedResnet(resnet, *form)
        self.head, self.feature_dim = _head(family)
        self.auxiliary = _layers(FCNHead(_THIRD_STAGE, 1), 2 if family == "pspnet" else 3)
        self.end, self.auxiliary_end = _end(family), _end("pspnet" if family == "pspnet" else "fcn")
        self.classifier = nn.Conv2d(self.feature_dim, label_count, 1)
        self.auxiliary_classifier = nn.Conv2d(_AUXILIARY_DIM, label_count, 1)

    def filled_features(self, images: Tensor) -> Tensor:
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


class DilatedResnet(nn.Module):
    """torchvision's bottleneck ResNet, dilated (Yu et al., CVPR 2017); cell i is centred on 8 i px.

    Args:
        name: "resnet50" or "resnet101".
        form: "" for torchvision's: a 3x3 convolution that has lost its stride keeps the dilation
            of what it reads, so that weights of classification fit exactly. "v1" for the strides
            on the first 1x1 convolution of a stage, and the stage's dilation in all of its blocks;
            "caffe" for a stem of three 3x3 convolutions besides (Zhao et al., CVPR 2017).
    """

    def __init__(self, name: str, form: str = "") -> None:
        super().__init__()
        resnet = _RESNETS[name](weights=None, replace_stride_with_dilation=[False, True, True])
        self.stem = nn.Sequential(resnet.conv1, resnet.bn1, resnet.relu)
        self.pool: nn.MaxPool2d = resnet.maxpool
        self.layer1: nn.Sequential = resnet.layer1
        self.layer2: nn.Sequential = resnet.layer2
        self.layer3: nn.Sequential = resnet.layer3
        self.layer4: nn.Sequential = resnet.layer4
        if form:
            _stride_on_1x1(self.layer2[0])
            _dilate(self.layer3[0], 2)
            _dilate(self.layer4[0], 4)
        if form == "caffe":
            self.stem = nn.Sequential(
                *_convolution(3, 64, 3, 2), *_convolution(64, 64, 3), *_convolution(64, 128, 3)
            )
            _widen_input(self.layer1[0])

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Third and fourth stage, (B, 1024, h, w) and (B, 2048, h, w), of images (B, 3, H, W)."""
        third = self._third(images)
        return third, self.layer4(third)

    def fourth(self, images: Tensor) -> Tensor:
        """Fourth stage alone; the third is not kept until it is there."""
        x = self._third(images)
        for block in self.layer4:
            x = block(x)
        return x

    def _third(self, images: Tensor) -> Tensor:
        x: Tensor = self.layer3(self.layer2(self.layer1(self.pool(self.stem(images)))))
        return x


def _convolution(inputs: int, outputs: int, size: int, stride: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return [convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]


def _stride_on_1x1(bottleneck: Any) -> None:
    bottleneck.conv1.stride, bottleneck.conv2.stride = (2, 2), (1, 1)


def _widen_input(bottleneck: Any) -> None:
    bottleneck.conv1 = _convolution(128, 64, 1)[0]
    bottleneck.downsample[0] = _convolution(128, 256, 1)[0]


def _dilate(bottleneck: Any, dilation: int) -> None:
    bottleneck.conv2.dilation = bottleneck.conv2.padding = (dilation, dilation)


class PyramidHead(nn.Module):
    """Trunk's and pooled channels to 512 features, before their ReLU.

    The 3x3 convolution reads the trunk's 2048 channels beside 4 x 512 that were pooled to p x p
    cells and interpolated back. Both of the last steps are linear, so the interpolated channels are
    never made: the convolution's taps are applied to the p x p cells and what comes of them is
    interpolated, each tap moved by its offset. The same to rounding, with half the operations.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.ModuleList(_pooled(cells) for cells in _POOLED_CELLS)
        inputs = _FOURTH_STAGE + len(_POOLED_CELLS) * _POOLED_CHANNELS
        self.conv = nn.Conv2d(inputs, _PSPNET_DIM, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(_PSPNET_DIM)

    def forward(self, trunk: Tensor) -> Tensor:
        """Features (B, 512, h, w) of the trunk's channels (B, 2048, h, w)."""
        weight = self.conv.weight[:, :_FOURTH_STAGE]
        of_trunk = functional.conv2d(trunk, weight, self.conv.bias, padding=1)
        features: Tensor = self.bn(of_trunk + self._of_pools(trunk))
        return features

    def _of_pools(self, trunk: Tensor) -> Tensor:
        """What the pooled channels add to the convolution, (B, 512, h, w)."""
        height, width = trunk.shape[-2:]
        weights = self.conv.weight[:, _FOURTH_STAGE:].chunk(len(_POOLED_CELLS), dim=1)
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
        nn.Conv2d(_FOURTH_STAGE, _POOLED_CHANNELS, 1, bias=False),
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
