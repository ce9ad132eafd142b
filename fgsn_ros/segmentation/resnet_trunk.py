"""ResNet with output stride 8: its last two stages are dilated instead of strided."""

from typing import Any

from torch import Tensor, nn
from torchvision.models import resnet50, resnet101

_RESNETS = {"resnet50": resnet50, "resnet101": resnet101}


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
