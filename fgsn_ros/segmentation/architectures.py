"""Names of the networks, for those who read a checkpoint's header without PyTorch."""

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
