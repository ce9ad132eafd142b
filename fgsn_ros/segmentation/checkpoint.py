"""Checkpoints: a network, what its labels mean, and what they say of one another, in one file.

A `.safetensors` file holds the network's weights, for training and for whatever runs it; an `.onnx`
file, which `fgsn export` writes, the network as a graph. All else in them is the same, and read
without PyTorch.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from fgsn_ros.documents import parse_json
from fgsn_ros.errors import CheckpointError
from fgsn_ros.outputs import whole_file
from fgsn_ros.segmentation.architectures import ARCHITECTURES
from fgsn_ros.segmentation.labels import UNLABELLED, LabelSet
from fgsn_ros.segmentation.onnx_file import metadata_of, with_metadata
from fgsn_ros.text_files import open_file

if TYPE_CHECKING:
    from fgsn_ros.segmentation.networks import FgsnNetwork

FORMAT_VERSION = 1
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
LOG_RATIO, STATIONARY = "statistics.log_ratio", "statistics.stationary"
"""Names of the statistics' arrays in the file."""
_HEADER, _NETWORK = "fgsn", "network."
_KINDS = ("semantic", "fgsn")
_LARGEST_PX = 16384
_LARGEST_NUMBER = 1e6
_LARGEST_ONNX = 2**31  # no protobuf message is longer
_STORED = {"F16": np.float16, "F32": np.float32}

Arrays = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True, eq=False)
class StoredNetwork:
    """The weights of a network; PyTorch makes a network of them when one is asked for."""

    path: Path
    architecture: str
    label_count: int
    fingerprint: str
    weights: Arrays


@dataclass(frozen=True, eq=False)
class OnnxNetwork:
    """A network as a graph: uint8 RGB images (1, H, W, 3) to logits, or to labels at one size."""

    path: Path
    architecture: str
    label_count: int
    fingerprint: str
    file: bytes
    size: tuple[int, int] | None
    """H and W of the images [px], if it labels those of one size; none: it gives the logits of
    images of any size, once they are filled up to multiples of the architecture's."""
    stride: int | None
    """of the labels [px], if it labels images of one size"""


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A trained network and what its labels mean."""

    model: "FgsnNetwork | StoredNetwork | OnnxNetwork"
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
        return self.model.architecture

    @property
    def label_count(self) -> int:
        """Number of labels K."""
        return self.model.label_count

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the weights when it is first asked for: names the label set."""
        if isinstance(self.model, StoredNetwork | OnnxNetwork):
            return self.model.fingerprint
        return _fingerprint(_weights(self.model))

    @cached_property
    def network(self) -> "FgsnNetwork":
        """The network in PyTorch; of a file in evaluation mode, on the CPU.

        Raises:
            CheckpointError: PyTorch is not installed, the weights are not those of the
                architecture, or the file is ONNX, which has none.
        """
        if isinstance(self.model, OnnxNetwork):
            raise CheckpointError(
                f"{self.model.path} is for ONNX Runtime alone; "
                "take the .safetensors file that it was exported from"
            )
        return _built(self.model) if isinstance(self.model, StoredNetwork) else self.model

    def label_set(self, stride: int) -> LabelSet:
        """The label set of images that it labels."""
        return LabelSet(self.kind, self.label_count, stride, self.label_names, self.fingerprint)


def _built(stored: StoredNetwork) -> "FgsnNetwork":
    if find_spec("torch") is None or find_spec("torchvision") is None:
        raise CheckpointError(
            f"{stored.path} needs PyTorch: pip install 'fgsn_ros[torch]'; or export it where that "
            f"is, and take the ONNX file: fgsn export --checkpoint {stored.path} --output X.onnx"
        )
    import torch

    from fgsn_ros.segmentation.networks import network_with

    weights = {name: torch.from_numpy(array) for name, array in stored.weights.items()}
    return network_with(stored.path, stored.architecture, stored.label_count, weights)


def save_checkpoint(path: Path, checkpoint: Checkpoint, half: bool = False) -> None:
    """Write a checkpoint; `half` rounds the weights to float16, which makes another fingerprint.

    Raises:
        CheckpointError: it was read from an ONNX file.
        OutputError: the file cannot be written.
    """
    weights: dict[str, NDArray[Any]] = dict(_weights(checkpoint.network))
    if half:
        weights = {name: array.astype(np.float16) for name, array in weights.items()}
    arrays = {_NETWORK + name: array for name, array in weights.items()} | _statistics(checkpoint)
    header = _header(checkpoint, _fingerprint(weights))
    with whole_file(path) as temporary:
        try:
            save_file(arrays, temporary, metadata={_HEADER: json.dumps(header)})
        except SafetensorError as error:  # how safetensors reports a full disk
            raise OSError(" ".join(str(error).split())) from error


def onnx_checkpoint(
    checkpoint: Checkpoint, graph: bytes, size: tuple[int, int] | None, stride: int | None
) -> bytes:
    """An ONNX file that is a checkpoint: the graph of its network, and all else in the metadata.

    Args:
        checkpoint: Of which the graph is.
        graph: ONNX, as `OnnxNetwork` says.
        size: H and W of the images it takes [px]; none: any.
        stride: Of its labels [px]; none: it gives logits.
    """
    height, width = size or (None, None)
    grid = {"height": height, "width": width, "stride": stride}
    header = _header(checkpoint, checkpoint.fingerprint) | grid
    arrays = {
        name: base64.b64encode(array.astype("<f4").tobytes()).decode()
        for name, array in _statistics(checkpoint).items()
    }
    return with_metadata(graph, {_HEADER: json.dumps(header), **arrays})


def _header(checkpoint: Checkpoint, fingerprint: str) -> dict[str, Any]:
    return {
        "format_version": FORMAT_VERSION,
        "architecture": checkpoint.architecture,
        "kind": checkpoint.kind,
        "label_count": checkpoint.label_count,
        "mean": checkpoint.mean,
        "std": checkpoint.std,
        "training": checkpoint.training,
        "label_names": checkpoint.label_names,
        "fingerprint": fingerprint,
    }


def _statistics(checkpoint: Checkpoint) -> dict[str, NDArray[Any]]:
    given = {LOG_RATIO: checkpoint.log_ratio, STATIONARY: checkpoint.stationary}
    return {n: np.ascontiguousarray(array) for n, array in given.items() if array is not None}


def _weights(network: "FgsnNetwork") -> Arrays:
    from fgsn_ros.segmentation.networks import network_weights

    return {name: tensor.numpy() for name, tensor in network_weights(network).items()}


def _fingerprint(weights: Mapping[str, NDArray[Any]]) -> str:
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(f"{name}{weights[name].shape}".encode())
        digest.update(np.ascontiguousarray(weights[name], "<f4").tobytes())
    return digest.hexdigest()


def load_checkpoint(path: Path) -> Checkpoint:
    """Read and check a checkpoint, `.safetensors` or `.onnx`.

    Raises:
        CheckpointError: the file is missing, damaged, or not of this format.
    """
    if path.suffix == ".onnx":
        file, header, arrays = _read_onnx(path)
        model: StoredNetwork | OnnxNetwork = _onnx_network(path, header, file)
    else:
        header, arrays = _read_safetensors(path)
        model = _stored_network(path, header, arrays)
    return Checkpoint(
        model,
        kind=header["kind"],
        mean=tuple(header["mean"]),
        std=tuple(header["std"]),
        training=header["training"],
        label_names=None if header["label_names"] is None else tuple(header["label_names"]),
        log_ratio=_log_ratio(path, header, arrays),
        stationary=_statistic(path, arrays.get(STATIONARY), (model.label_count,), 0.0, 1.0),
    )


@dataclass(frozen=True, eq=False)
class LabelStatistics:
    """The label set of a checkpoint and what its labels say of one another."""

    fingerprint: str
    """Names the label set: a hash of the network's weights."""
    label_count: int
    """K."""
    log_ratio: NDArray[np.float32] | None
    """(K, K) log p(observed label | map label) - log p(observed label), [observed, map]."""


def read_label_statistics(path: Path) -> LabelStatistics:
    """Label statistics of a checkpoint, all that a localizer needs; its network is not read.

    Raises:
        CheckpointError: the file is missing, damaged, or not of this format.
    """
    if path.suffix == ".onnx":
        _, header, arrays = _read_onnx(path)
    else:
        header, arrays = _read_safetensors(path, (LOG_RATIO,))
    log_ratio = _log_ratio(path, header, arrays)
    return LabelStatistics(header["fingerprint"], header["label_count"], log_ratio)


def is_checkpoint(path: Path) -> bool:
    """Whether a file claims to be a checkpoint of this package."""
    if path.suffix != ".safetensors":
        return path.suffix == ".onnx"
    try:
        open_file(path).close()
        with safe_open(path, framework="np") as file:
            return _HEADER in (file.metadata() or {})
    except (OSError, SafetensorError):
        return True  # reading it as one says what is wrong with it


def _read_safetensors(
    path: Path, only: Collection[str] | None = None
) -> tuple[dict[str, Any], Arrays]:
    """Header, checked, and arrays; `only` the named ones that are there."""
    try:
        open_file(path).close()
        with safe_open(path, framework="np") as file:
            header = parse_json((file.metadata() or {})[_HEADER], only_finite=False)
            names = [name for name in file.keys() if only is None or name in only]  # noqa: SIM118
            types = {file.get_slice(name).get_dtype() for name in names} - _STORED.keys()
            wrong = f"tensor type: {', '.join(sorted(types))}, not {' or '.join(_STORED)}"
            require_checkpoint(path, not types, wrong)
            arrays = {name: file.get_tensor(name) for name in names}
    except (OSError, SafetensorError, KeyError, ValueError, RecursionError, RuntimeError) as error:
        raise _unreadable(path, error) from error
    _require_header(path, header)
    return header, {name: array.astype(np.float32, copy=False) for name, array in arrays.items()}


def _stored_network(path: Path, header: dict[str, Any], arrays: Arrays) -> StoredNetwork:
    weights = {
        name.removeprefix(_NETWORK): array
        for name, array in arrays.items()
        if name.startswith(_NETWORK)
    }
    label_count, classifier = header["label_count"], weights.get("classifier.weight")
    # before a network of that size is built: the header could name any
    fits = classifier is not None and classifier.shape[:1] == (label_count,)
    require_checkpoint(path, fits, "label count")
    finite = all(bool(np.isfinite(array).all()) for array in weights.values())
    require_checkpoint(path, finite, "weights that are not finite")
    fingerprint = _fingerprint(weights)
    require_checkpoint(path, fingerprint == header["fingerprint"], "fingerprint of the weights")
    return StoredNetwork(path, header["architecture"], label_count, fingerprint, weights)


def _read_onnx(path: Path) -> tuple[bytes, dict[str, Any], Arrays]:
    """The file, its header, checked, and its statistics."""
    try:
        with open_file(path) as opened:
            file = opened.read(_LARGEST_ONNX + 1)
        if len(file) > _LARGEST_ONNX:
            raise ValueError("it is larger than any ONNX file")
        metadata = metadata_of(file)
        header = parse_json(metadata[_HEADER], only_finite=False)
        arrays = {
            name: np.frombuffer(base64.b64decode(metadata[name], validate=True), "<f4").copy()
            for name in (LOG_RATIO, STATIONARY)
            if name in metadata
        }
    except (OSError, KeyError, ValueError, binascii.Error, RecursionError) as error:
        raise _unreadable(path, error) from error
    _require_header(path, header)
    if LOG_RATIO in arrays:
        square = (header["label_count"],) * 2
        require_checkpoint(path, arrays[LOG_RATIO].size == np.prod(square), "label statistics")
        arrays[LOG_RATIO] = arrays[LOG_RATIO].reshape(square)
    return file, header, arrays


def _onnx_network(path: Path, header: dict[str, Any], file: bytes) -> OnnxNetwork:
    grid = tuple(header.get(name) for name in ("height", "width", "stride"))
    fixed = all(type(value) is int and 1 <= value <= _LARGEST_PX for value in grid)
    require_checkpoint(path, fixed or grid == (None,) * 3, "size of images or stride")
    return OnnxNetwork(
        path,
        header["architecture"],
        header["label_count"],
        header["fingerprint"],
        file,
        size=(header["height"], header["width"]) if fixed else None,
        stride=header["stride"] if fixed else None,
    )


def _require_header(path: Path, header: Any) -> None:
    """Raise CheckpointError unless every field of a header is right."""
    require_checkpoint(path, isinstance(header, dict), "header")
    require_checkpoint(path, header.get("format_version") == FORMAT_VERSION, "format version")
    require_checkpoint(path, header.get("architecture") in ARCHITECTURES, "architecture")
    require_checkpoint(path, header.get("kind") in _KINDS, "kind")
    label_count = header.get("label_count")
    whole = type(label_count) is int and 1 <= label_count < UNLABELLED
    require_checkpoint(path, whole, "label count")
    for name in ("mean", "std"):
        require_checkpoint(path, _are_numbers(header.get(name), 3), name)
    require_checkpoint(path, min(header["std"]) > 0.0, "std")
    require_checkpoint(path, isinstance(header.get("training"), dict), "training settings")
    names = header.get("label_names", ())
    listed = isinstance(names, list) and all(isinstance(name, str) for name in names)
    require_checkpoint(path, names is None or (listed and len(names) == label_count), "label names")
    require_checkpoint(path, isinstance(header.get("fingerprint"), str), "fingerprint")


def _are_numbers(values: object, count: int) -> bool:
    return (
        isinstance(values, list)
        and len(values) == count
        and all(type(value) in (int, float) and abs(value) < _LARGEST_NUMBER for value in values)
    )


def _log_ratio(path: Path, header: dict[str, Any], arrays: Arrays) -> NDArray[np.float32] | None:
    return _statistic(path, arrays.get(LOG_RATIO), (header["label_count"],) * 2, -1e4, 1e4)


def _statistic(
    path: Path, array: NDArray[np.float32] | None, shape: tuple[int, ...], low: float, high: float
) -> NDArray[np.float32] | None:
    """A statistic, if it is there and has its shape and values in [low, high]."""
    if array is None:
        return None
    inside = array.shape == shape and bool(((array >= low) & (array <= high)).all())
    require_checkpoint(path, inside, "label statistics")
    return array


def require_checkpoint(path: Path, condition: bool, what: str) -> None:
    """Raise CheckpointError that names what is wrong unless the condition holds."""
    if not condition:
        raise CheckpointError(
            f"checkpoint {path} has a wrong {what}; make it again or take another"
        )


def _unreadable(path: Path, error: Exception) -> CheckpointError:
    reason = " ".join(str(error).split())[:200]
    return CheckpointError(f"cannot read checkpoint {path}: {reason}")
