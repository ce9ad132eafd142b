"""The networks by name, and what can be said of each without PyTorch."""

from dataclasses import dataclass

STRIDE = 8
"""Pixels between neighbouring cells of any network's features."""

LRASPP = "lraspp_mobilenet_v3_large"
ARCHITECTURES = (
    LRASPP,
    "pspnet_resnet50",
    "pspnet_resnet101",
    "pspnet_resnet50_v1",
    "pspnet_resnet101_v1",
    "pspnet_resnet50_caffe",
    "pspnet_resnet101_caffe",
    "fcn_resnet50",
    "fcn_resnet101",
    "deeplabv3_resnet50",
    "deeplabv3_resnet101",
)
"""Head and trunk. A ResNet alone is torchvision's; "v1" has its strides on the 1x1 convolutions,
"caffe" a stem of three 3x3 convolutions besides: the two trunks of the published FGSN weights."""


@dataclass(frozen=True)
class Traits:
    """What images a network takes, and where its cells are."""

    first_cell_px: float
    """Cell (i, j) of the features is centred on pixel first_cell_px + 8 (j, i)."""
    side_multiple: int
    """Images are filled up to multiples of this [px], by repeating their border."""
    classifies_linearly: bool
    """Whether its classifier is linear: logits may then be interpolated instead of features."""
    any_size: bool
    """Whether one graph does for images of any size: not where it pools to a number of cells."""


def traits_of(architecture: str) -> Traits:
    """The traits of one of ARCHITECTURES."""
    if architecture == LRASPP:
        # cells cover 8 pixels each; its branches at stride 8 and 16 are to cover the same pixels
        return Traits((STRIDE - 1) / 2, 2 * STRIDE, classifies_linearly=True, any_size=True)
    pyramid = architecture.startswith("pspnet")  # has a ReLU before its classifier, besides
    return Traits(0.0, 1, classifies_linearly=not pyramid, any_size=not pyramid)


def cells_of(size_px: int) -> int:
    """Cells of features along an axis of an image."""
    return -(-size_px // STRIDE)
