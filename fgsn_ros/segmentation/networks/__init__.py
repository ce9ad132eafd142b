"""The segmentation networks, by name, and their weights as named arrays."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from fgsn_ros.config import require
from fgsn_ros.segmentation.architectures import ARCHITECTURES, LRASPP, STRIDE
from fgsn_ros.segmentation.checkpoint import require_checkpoint
from fgsn_ros.segmentation.networks.base import FgsnNetwork, seeded
from fgsn_ros.segmentation.networks.lraspp import Lraspp
from fgsn_ros.segmentation.networks.resnet import ResnetNetwork

__all__ = [
    "ARCHITECTURES",
    "LRASPP",
    "STRIDE",
    "FgsnNetwork",
    "make_network",
    "network_weights",
    "network_with",
    "require_same_weights",
]

_COUNTER = "num_batches_tracked"  # of no use with a fixed momentum


def make_network(
    architecture: str, label_count: int, generator: torch.Generator | None = None
) -> FgsnNetwork:
    """A network with random weights from `generator`; nothing is downloaded.

    Raises:
        SettingsError: there is no such architecture.
    """
    known = ", ".join(ARCHITECTURES)
    require(architecture in ARCHITECTURES, f"no architecture {architecture}; take one of {known}")
    with seeded(generator):
        if architecture == LRASPP:
            return Lraspp(label_count)
        return ResnetNetwork(architecture, label_count)


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
