"""Weights as named arrays: of a network, and from the files of other programs."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from fgsn_ros.errors import CheckpointError
from fgsn_ros.segmentation.checkpoint import require_checkpoint
from fgsn_ros.segmentation.networks import FgsnNetwork, make_network

_COUNTER = "num_batches_tracked"  # of no use with a fixed momentum
_WRAPPINGS = ("state_dict", "model")
_PARALLEL = "module."  # what torch.nn.DataParallel puts before each name


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


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Weights and batch-norm statistics by name, float32; no code in the file is run.

    Raises:
        CheckpointError: the file is missing, damaged, or holds something else.
    """
    content = _load(path)
    for wrapping in _WRAPPINGS:
        if isinstance(content, dict) and isinstance(content.get(wrapping), dict):
            content = content[wrapping]
    named = isinstance(content, dict) and all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in content.items()
    )
    require_checkpoint(path, named and bool(content), "content (it is no table of weights)")
    assert isinstance(content, dict)
    weights = {
        name.removeprefix(_PARALLEL): tensor.float().contiguous()
        for name, tensor in content.items()
        if tensor.is_floating_point()
    }
    finite = all(bool(torch.isfinite(tensor).all()) for tensor in weights.values())
    require_checkpoint(path, finite, "weights that are not finite")
    return weights


def _load(path: Path) -> object:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can raise almost anything in torch.load
        reason = " ".join(str(error).split())[:150]
        raise CheckpointError(f"cannot read weights {path}: {reason}") from error
