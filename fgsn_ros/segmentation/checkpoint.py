"""Checkpoints: one safetensors file with the network, its labels' statistics and a JSON header."""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from fgsn_ros.errors import CheckpointError
from fgsn_ros.outputs import whole_file
from fgsn_ros.segmentation.labels import UNLABELLED
from fgsn_ros.segmentation.networks import ARCHITECTURE, FgsnNetwork

FORMAT_VERSION = 1
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
_KINDS = ("semantic", "fgsn")
_NETWORK, _LOG_RATIO, _STATIONARY = "network.", "statistics.log_ratio", "statistics.stationary"


@dataclass(frozen=True)
class Checkpoint:
    """A trained network and what its labels mean."""

    network: FgsnNetwork
    kind: str = "fgsn"  # "semantic" (labels are classes) or "fgsn" (labels are clusters)
    architecture: str = ARCHITECTURE
    mean: tuple[float, float, float] = IMAGENET_MEAN  # RGB, images scaled to [0, 1]
    std: tuple[float, float, float] = IMAGENET_STD
    training: dict[str, Any] = field(default_factory=dict)  # settings, JSON
    label_names: tuple[str, ...] | None = None
    log_ratio: NDArray[np.float32] | None = None
    """(K, K) log p(observed label | map label) - log p(observed label), [observed, map]."""
    stationary: NDArray[np.float32] | None = None  # (K,) share on stationary structure, [0, 1]

    @property
    def label_count(self) -> int:
        """Number of labels K."""
        return self.network.label_count

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the weights: names the label set."""
        return _fingerprint(_weights(self.network))


def save_checkpoint(path: Path, checkpoint: Checkpoint, half: bool = False) -> None:
    """Write a checkpoint; `half` rounds the weights to float16, which makes another fingerprint.

    Raises:
        OutputError: the file cannot be written.
    """
    weights = _weights(checkpoint.network)
    if half:
        weights = {name: tensor.half() for name, tensor in weights.items()}
    tensors = {_NETWORK + name: tensor for name, tensor in weights.items()}
    if checkpoint.log_ratio is not None:
        tensors[_LOG_RATIO] = torch.from_numpy(np.ascontiguousarray(checkpoint.log_ratio))
    if checkpoint.stationary is not None:
        tensors[_STATIONARY] = torch.from_numpy(np.ascontiguousarray(checkpoint.stationary))
    header = {
        "format_version": FORMAT_VERSION,
        "architecture": checkpoint.architecture,
        "kind": checkpoint.kind,
        "label_count": checkpoint.label_count,
        "mean": checkpoint.mean,
        "std": checkpoint.std,
        "training": checkpoint.training,
        "label_names": checkpoint.label_names,
        "fingerprint": _fingerprint(weights),
    }
    with whole_file(path) as temporary:
        try:
            save_file(tensors, temporary, metadata={"fgsn": json.dumps(header)})
        except SafetensorError as error:  # how safetensors reports a full disk
            raise OSError(" ".join(str(error).split())) from error


def load_checkpoint(path: Path) -> Checkpoint:
    """Read and check a checkpoint; its network is in evaluation mode, on the CPU.

    Raises:
        CheckpointError: the file is missing, damaged, or not of this format.
    """
    header, tensors = _read(path)
    label_count = _checked_header(path, header)
    weights = {
        name.removeprefix(_NETWORK): tensor.float()
        for name, tensor in tensors.items()
        if name.startswith(_NETWORK)
    }
    classifier = weights.get("classifier.weight")
    # before a network of that size is built: the header could name any
    _require(path, classifier is not None and classifier.shape[0] == label_count, "label count")
    finite = all(bool(torch.isfinite(tensor).all()) for tensor in weights.values())
    _require(path, finite, "weights that are not finite")
    _require(path, _fingerprint(weights) == header["fingerprint"], "fingerprint of the weights")
    return Checkpoint(
        network=_network(path, label_count, weights),
        kind=header["kind"],
        mean=tuple(header["mean"]),
        std=tuple(header["std"]),
        training=header["training"],
        label_names=None if header["label_names"] is None else tuple(header["label_names"]),
        log_ratio=_statistic(path, tensors.get(_LOG_RATIO), (label_count, label_count)),
        stationary=_statistic(path, tensors.get(_STATIONARY), (label_count,), 0.0, 1.0),
    )


def _weights(network: FgsnNetwork) -> dict[str, Tensor]:
    return {
        name: tensor.detach().cpu().float().contiguous()
        for name, tensor in network.state_dict().items()
        if not name.endswith("num_batches_tracked")  # of no use with a fixed momentum
    }


def _fingerprint(weights: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(f"{name}{tuple(weights[name].shape)}".encode())
        digest.update(weights[name].float().contiguous().numpy().astype("<f4").tobytes())
    return digest.hexdigest()


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {})["fgsn"])
            names = list(file.keys())
            tensors = {name: file.get_tensor(name) for name in names}
    except (OSError, SafetensorError, KeyError, ValueError, RecursionError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"cannot read checkpoint {path}: {reason}") from error
    _require(path, isinstance(header, dict), "header")
    allowed = (torch.float16, torch.float32)
    _require(path, all(t.dtype in allowed for t in tensors.values()), "tensor type")
    return header, tensors


def _checked_header(path: Path, header: dict[str, Any]) -> int:
    _require(path, header.get("format_version") == FORMAT_VERSION, "format version")
    _require(path, header.get("architecture") == ARCHITECTURE, "architecture")
    _require(path, header.get("kind") in _KINDS, "kind")
    label_count = header.get("label_count")
    whole = type(label_count) is int and 1 <= label_count < UNLABELLED
    _require(path, whole, "label count")
    assert isinstance(label_count, int)
    for name in ("mean", "std"):
        _require(path, _are_numbers(header.get(name), 3), name)
    _require(path, min(header["std"]) > 0.0, "std")
    _require(path, isinstance(header.get("training"), dict), "training settings")
    names = header.get("label_names", ())
    listed = isinstance(names, list) and all(isinstance(name, str) for name in names)
    _require(path, names is None or (listed and len(names) == label_count), "label names")
    _require(path, isinstance(header.get("fingerprint"), str), "fingerprint")
    return label_count


def _are_numbers(values: object, count: int) -> bool:
    return (
        isinstance(values, list)
        and len(values) == count
        and all(type(value) in (int, float) and bool(np.isfinite(value)) for value in values)
    )


def _network(path: Path, label_count: int, weights: dict[str, Tensor]) -> FgsnNetwork:
    network = FgsnNetwork(label_count)
    known = _weights(network)
    same = known.keys() == weights.keys() and all(
        known[name].shape == weights[name].shape for name in known
    )
    _require(path, same, "set of weights")
    network.load_state_dict(weights, strict=False)
    return network.eval()


def _statistic(
    path: Path,
    tensor: Tensor | None,
    shape: tuple[int, ...],
    low: float = -1e4,
    high: float = 1e4,
) -> NDArray[np.float32] | None:
    if tensor is None:
        return None
    values = tensor.float().numpy()
    inside = values.shape == shape and bool(((values >= low) & (values <= high)).all())
    _require(path, inside, "label statistics")
    return np.asarray(values, np.float32)


def _require(path: Path, condition: bool, what: str) -> None:
    if not condition:
        raise CheckpointError(
            f"checkpoint {path} has a wrong {what}; make it again or take another"
        )
