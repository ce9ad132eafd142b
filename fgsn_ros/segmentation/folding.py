"""Batch norm folded into the convolutions before it, for inference."""

import copy
from collections.abc import Callable

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from fgsn_ros.segmentation.networks import FgsnNetwork

Replacement = Callable[[str, nn.Module], nn.Module]


def _same(name: str, module: nn.Module) -> nn.Module:
    return module


def folded_copy(network: FgsnNetwork, replacement: Replacement = _same) -> FgsnNetwork:
    """A copy in evaluation mode, folded; weights are never there twice on the way.

    Args:
        network: What to copy.
        replacement: What to take for a module of the network, given its name, once it is folded.
    """
    shared = {id(p): nn.Parameter(p.detach(), requires_grad=False) for p in network.parameters()}
    folded = copy.deepcopy(network, dict(shared)).eval()
    _fold(folded, "", replacement)
    left = {id(parameter) for parameter in shared.values()}
    for parameter in folded.parameters():
        if id(parameter) in left:  # one would keep the whole file in memory that it was read from
            parameter.data = parameter.data.clone()
    return folded


def fold_batch_norm(network: FgsnNetwork) -> FgsnNetwork:
    """The same in place, of a network in evaluation mode."""
    _fold(network, "", _same)
    return network


def _fold(module: nn.Module, prefix: str, replacement: Replacement) -> None:
    children = dict(module.named_children())
    if isinstance(module, nn.Sequential):
        pairs = list(zip(children, list(children)[1:], strict=False))
    else:  # a ResNet's block: conv1, bn1, conv2, bn2, ...
        pairs = [(name.replace("bn", "conv"), name) for name in children if name.startswith("bn")]
    for first, second in pairs:
        convolution, norm = children.get(first), children[second]
        if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            setattr(module, first, fuse_conv_bn_eval(convolution, norm))
            setattr(module, second, nn.Identity())
    for name, child in list(module.named_children()):
        _fold(child, f"{prefix}{name}.", replacement)
        setattr(module, name, replacement(prefix + name, child))
