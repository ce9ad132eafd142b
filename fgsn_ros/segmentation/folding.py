"""Batch norm folded into the convolutions before it, for inference."""

import copy
from collections.abc import Callable

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from fgsn_ros.segmentation.networks import FgsnNetwork

Replacement = Callable[[nn.Module, nn.Conv2d], nn.Module]


def _same(parent: nn.Module, convolution: nn.Conv2d) -> nn.Module:
    return convolution


def folded_copy(network: FgsnNetwork, replacement: Replacement = _same) -> FgsnNetwork:
    """A copy in evaluation mode, folded; weights are never there twice on the way.

    Args:
        network: What to copy.
        replacement: What to take for a child that is a convolution with its norm folded in.
    """
    shared = {id(p): nn.Parameter(p.detach(), requires_grad=False) for p in network.parameters()}
    folded = fold_batch_norm(copy.deepcopy(network, dict(shared)).eval(), replacement)
    left = {id(parameter) for parameter in shared.values()}
    for parameter in folded.parameters():
        if id(parameter) in left:  # one would keep the whole file in memory that it was read from
            parameter.data = parameter.data.clone()
    return folded


def fold_batch_norm(network: FgsnNetwork, replacement: Replacement = _same) -> FgsnNetwork:
    """The same in place, of a network in evaluation mode."""
    for module in list(network.modules()):
        children = dict(module.named_children())
        if isinstance(module, nn.Sequential):
            pairs = list(zip(children, list(children)[1:], strict=False))
        else:  # a ResNet's block: conv1, bn1, conv2, bn2, ...
            pairs = [(n.replace("bn", "conv"), n) for n in children if n.startswith("bn")]
        for first, second in pairs:
            convolution, norm = children.get(first), children[second]
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(module, first, replacement(module, fuse_conv_bn_eval(convolution, norm)))
                setattr(module, second, nn.Identity())
    return network
