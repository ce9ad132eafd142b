"""Checkpoints: one safetensors file with the network, its labels' statistics and a JSON header."""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from fgsn_ros.outputs import whole_file
from fgsn_ros.segmentation.label_statistics import (
    FORMAT_VERSION,
    LOG_RATIO,
    STATIONARY,
    checked_header,
    checked_statistic,
    read_arrays,
    require_checkpoint,
)
from fgsn_ros.segmentation.network_weights import network_weights, network_with
from fgsn_ros.segmentation.networks import FgsnNetwork

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
_NETWORK = "network."


@dataclass(frozen=True)
class Checkpoint:
    """A trained network and what its labels mean."""

    network: FgsnNetwork
    kind: str = "fgsn"  # "semantic" (labels are classes) or "fgsn" (labels are clusters)
    mean: tuple[float, float, float] = IMAGENET_MEAN  # RGB, images scaled to [0, 1]
    std: tuple[float, float, float] = IMAGENET_STD
    training: dict[str, Any] = field(default_factory=dict)  # settings, JSON
    label_names: tuple[str, ...] | None = None
    log_ratio: NDArray[np.float32] | None = None
    """(K, K) log p(observed label | map label) - log p(observed label), [observed, map]."""
    stationary: NDArray[np.float32] | None = None  # (K,) share on stationary structure, [0, 1]

    @property
    def architecture(self) -> str:
        """Name of the network, one of ARCHITECTURES."""
        return self.network.architecture

    @property
    def label_count(self) -> int:
        """Number of labels K."""
        return self.network.label_count

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the weights: names the label set."""
        return _fingerprint(network_weights(self.network))


def save_checkpoint(path: Path, checkpoint: Checkpoint, half: bool = False) -> None:
    """Write a checkpoint; `half` rounds the weights to float16, which makes another fingerprint.

    Raises:
        OutputError: the file cannot be written.
    """
    weights = network_weights(checkpoint.network)
    if half:
        weights = {name: tensor.half() for name, tensor in weights.items()}
    tensors = {_NETWORK + name: tensor for name, tensor in weights.items()}
    if checkpoint.log_ratio is not None:
        tensors[LOG_RATIO] = torch.from_numpy(np.ascontiguousarray(checkpoint.log_ratio))
    if checkpoint.stationary is not None:
        tensors[STATIONARY] = torch.from_numpy(np.ascontiguousarray(checkpoint.stationary))
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
    label_count = checked_header(path, header)
    weights = {
        name.removeprefix(_NETWORK): tensor.float()
        for name, tensor in tensors.items()
        if name.startswith(_NETWORK)
    }
    classifier = weights.get("classifier.weight")
    # before a network of that size is built: the header could name any
    require_checkpoint(
        path, classifier is not None and classifier.shape[0] == label_count, "label count"
    )
    finite = all(bool(torch.isfinite(tensor).all()) for tensor in weights.values())
    require_checkpoint(path, finite, "weights that are not finite")
    require_checkpoint(
        path, _fingerprint(weights) == header["fingerprint"], "fingerprint of the weights"
    )
    return Checkpoint(
        network=network_with(path, header["architecture"], label_count, weights),
        kind=header["kind"],
        mean=tuple(header["mean"]),
        std=tuple(header["std"]),
        training=header["training"],
        label_names=None if header["label_names"] is None else tuple(header["label_names"]),
        log_ratio=_statistic(path, tensors.get(LOG_RATIO), (label_count, label_count)),
        stationary=_statistic(path, tensors.get(STATIONARY), (label_count,), 0.0, 1.0),
    )


def _fingerprint(weights: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(f"{name}{tuple(weights[name].shape)}".encode())
        digest.update(weights[name].float().contiguous().numpy().astype("<f4").tobytes())
    return digest.hexdigest()


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    header, tensors = read_arrays(path, "pt")
    allowed = (torch.float16, torch.float32)
    require_checkpoint(path, all(t.dtype in allowed for t in tensors.values()), "tensor type")
    return header, tensors


def _statistic(
    path: Path, tensor: Tensor | None, shape: tuple[int, ...], low: float = -1e4, high: float = 1e4
) -> NDArray[np.float32] | None:
    array = None if tensor is None else tensor.float().numpy()
    return checked_statistic(path, array, shape, low, high)
