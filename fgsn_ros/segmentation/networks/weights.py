"""Weights as named arrays: of a network, and of a file that fits one."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from fgsn_ros.segmentation.checkpoint import require_checkpoint
from fgsn_ros.segmentation.networks import FgsnNetwork, make_network

_COUNTER = "num_batches_tracked"  # of no use with a fixed momentum


def network_weights(network: nn.Module) -> dict[str, Tensor]:
    """All weights and batch-norm statistics, on the CPU as float32."""
    return {
        name: tensor.detach().cpu().float().contiguous()
        for name, tensor in network.state_dict().items()
        if not name.endswith(_COUNTER)
    }


def network_with(
    path: Path, architecture: str, label_count: int, weights: Mapping[str, Tensor]
) -> FgsnNetwork:
    """The network of these weights, in evaluation mode; it takes the arrays over.

    Raises:
        CheckpointError: an array of `path` is missing, of another shape, or of no use.
    """
    with torch.device("meta"):  # no memory before the arrays are known to fit
        network = make_network(architecture, label_count)
    require_same_weights(path, network, weights)
    counters = {name: torch.tensor(0) for name in network.state_dict() if name.endswith(_COUNTER)}
    network.load_state_dict(dict(weights) | counters, assign=True)
    return network.eval()


def require_same_weights(path: Path, module: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Raise CheckpointError, with the first name that is wrong, unless the arrays fit a module."""
    shapes = {n: t.shape for n, t in module.state_dict().items() if not n.endswith(_COUNTER)}
    for name, shape in shapes.items():
        found = tuple(weights[name].shape) if name in weights else "nothing"
        require_checkpoint(
            path, found == shape, f"set of weights ({name} should be {tuple(shape)}, is {found})"
        )
    unknown = next((name for name in weights if name not in shapes), None)
    require_checkpoint(path, unknown is None, f"set of weights ({unknown} is of no use)")
