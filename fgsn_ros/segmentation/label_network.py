"""From the bytes of an image to logits and labels, as one graph in PyTorch."""

import copy
from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from fgsn_ros.segmentation.architectures import STRIDE
from fgsn_ros.segmentation.checkpoint import Checkpoint
from fgsn_ros.segmentation.networks import FgsnNetwork
from fgsn_ros.segmentation.networks.base import Normalisation
from fgsn_ros.segmentation.networks.lraspp import Lraspp
from fgsn_ros.segmentation.networks.resnet import ResnetNetwork

_COVERING_PX = (STRIDE - 1) / 2  # centre of a first cell that covers the first pixels
_EARLY_LAYERS = 7
"""Of MobileNetV3: up to stride 8, whose output the head reads, too."""


class LogitNetwork(nn.Module):
    """Normalisation, network and classifier, batch norm folded.

    A linear classifier and a linear interpolation may change places: the logits are then at the
    stride of the features, and so is the classifier's work, a quarter of that at stride 4. Else
    (PSPNet has a ReLU before its classifier) they are on the grid of the labels.

    Args:
        checkpoint: Its network is copied.
        stride: Of the labels [px]; none: the logits are at the stride of the features.
        half: In half precision, where it changes few labels; for GPUs.
    """

    def __init__(self, checkpoint: Checkpoint, stride: int | None, half: bool = False) -> None:
        super().__init__()
        self.network = folded_copy(checkpoint.network)
        self.stride = stride
        self.at_features = stride is None or self.network.traits.classifies_linearly
        """Whether the logits are at the stride of the features, not at that of the labels."""
        self.normalised = Normalisation(checkpoint.mean, checkpoint.std)
        if half:
            use_half_precision(self.network)
        self.network.to(memory_format=torch.channels_last)
        self.requires_grad_(False)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (1, h, w, K) of an RGB image uint8 (1, H, W, 3)."""
        features = self.network.features(self.normalised(image)).float()
        if not self.at_features:
            features = self.on_label_grid(features, image)
        return self.network.classify(features).permute(0, 2, 3, 1)

    def on_label_grid(self, features: Tensor, image: Tensor) -> Tensor:
        """Features or logits (1, D, h, w) of an image (1, H, W, 3) on the grid of the labels."""
        assert self.stride is not None
        height, width = map(int, image.shape[1:3])
        return on_grid(features, self.network.first_cell_px, self.stride, height, width)


class AnySizeLogits(nn.Module):
    """The same as a graph without sizes, of networks that have one (see `Traits`).

    Args:
        logits: The network.
    """

    def __init__(self, logits: LogitNetwork) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, image: Tensor) -> Tensor:
        """Logits (1, h, w, K) of an RGB image uint8 that is filled up to the network's multiple."""
        network = self.logits.network
        features = network.filled_features(self.logits.normalised(image))
        return network.classify(features.float()).permute(0, 2, 3, 1)


class LabelNetwork(nn.Module):
    """The same up to the labels.

    Args:
        logits: The network; with a stride.
    """

    def __init__(self, logits: LogitNetwork) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Labels int32 and confidence float32, (1, h, w), of an RGB image uint8 (1, H, W, 3)."""
        logits = self.logits(image).permute(0, 3, 1, 2)
        if self.logits.at_features:
            logits = self.logits.on_label_grid(logits, image)
        highest, labels = logits.max(dim=1, keepdim=True)
        confidence = 1.0 / (logits - highest).exp().sum(dim=1)
        return labels[:, 0].to(torch.int32), confidence


def on_grid(features: Tensor, first_cell_px: float, stride: int, height: int, width: int) -> Tensor:
    """Features (B, D, ceil(H/stride), ceil(W/stride)), cell i centred on (stride - 1)/2 + stride i.

    Args:
        features: (B, D, ceil(H/8), ceil(W/8)) with cell i centred on first_cell_px + 8 i.
        first_cell_px: Of the network.
        stride: 1 or 4 (interpolated), 8 or 16 (means of 2 x 2 cells).
        height: H [px].
        width: W [px].
    """
    if first_cell_px != _COVERING_PX or stride < STRIDE // 2:
        fine = min(stride, STRIDE)
        features = _resampled(features, 2, first_cell_px, fine, height)
        features = _resampled(features, 3, first_cell_px, fine, width)
    elif stride < STRIDE:
        fine_grid = functional.interpolate(features, scale_factor=2, mode="bilinear")
        return fine_grid[..., : -(-height // stride), : -(-width // stride)]
    if stride > STRIDE:
        return functional.avg_pool2d(features, 2, ceil_mode=True, count_include_pad=False)
    return features


def _resampled(features: Tensor, axis: int, first_cell_px: float, stride: int, size: int) -> Tensor:
    """Linear interpolation along an axis of `size` pixels; beyond the last cell, that cell."""
    centres = (stride - 1) / 2 + stride * torch.arange(-(-size // stride), device=features.device)
    cells = ((centres - first_cell_px) / STRIDE).clamp(0, features.shape[axis] - 1)
    before = cells.floor().long()
    after = (before + 1).clamp(max=features.shape[axis] - 1)
    share = (cells - before).to(features.dtype)
    share = share.view(-1, 1) if axis == 2 else share
    return features.index_select(axis, before).lerp(features.index_select(axis, after), share)


def folded_copy(network: FgsnNetwork) -> FgsnNetwork:
    """A copy in evaluation mode whose batch norms are folded into the convolutions before them.

    Weights are never there twice on the way.
    """
    shared = {id(p): nn.Parameter(p.detach(), requires_grad=False) for p in network.parameters()}
    folded = fold_batch_norm(copy.deepcopy(network, dict(shared)).eval())
    left = {id(parameter) for parameter in shared.values()}
    for parameter in folded.parameters():
        if id(parameter) in left:  # one would keep the whole file in memory that it was read from
            parameter.data = parameter.data.clone()
    return folded


def fold_batch_norm(network: FgsnNetwork) -> FgsnNetwork:
    """The same in place, of a network in evaluation mode."""
    for module, first, second in norms_after_convolutions(network):
        convolution, norm = getattr(module, first), getattr(module, second)
        setattr(module, first, fuse_conv_bn_eval(convolution, norm))
        setattr(module, second, nn.Identity())
    return network


def norms_after_convolutions(network: nn.Module) -> list[tuple[nn.Module, str, str]]:
    """Modules, and the names in them of each convolution that a batch norm follows, and of that."""
    return [
        (module, first, second)
        for module in network.modules()
        for first, second in _successors(module)
        if isinstance(getattr(module, first, None), nn.Conv2d)
        and isinstance(getattr(module, second), nn.BatchNorm2d)
    ]


def _successors(module: nn.Module) -> Iterator[tuple[str, str]]:
    names = [name for name, _ in module.named_children()]
    if isinstance(module, nn.Sequential):
        return pairwise(names)
    # a ResNet's block: conv1, bn1, conv2, bn2, ...
    return ((name.replace("bn", "conv"), name) for name in names if name.startswith("bn"))


class _Half(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.half()


def use_half_precision(network: FgsnNetwork) -> FgsnNetwork:
    """float16 in place, but for the layers up to stride 8 and the classifier; for GPUs.

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
