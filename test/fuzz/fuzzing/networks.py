"""Valid checkpoints and weight files, small as their formats allow; damages; what reads them."""

import base64
import collections
import io
import json
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.numpy import save

from fgsn_ros.segmentation.architectures import LRASPP
from fgsn_ros.segmentation.checkpoint import _fingerprint, load_checkpoint, read_label_statistics
from fgsn_ros.segmentation.networks.start_weights import initial_network, is_published
from fgsn_ros.segmentation.networks.weight_files import read_state_dict
from fgsn_ros.segmentation.onnx_file import with_metadata
from fuzzing import formats
from fuzzing.oracle import Files

K = 5


@cache
def checkpoint_files() -> list[Files]:
    """A checkpoint's arrays and settings; its network is as small as the format allows."""

    rng = np.random.default_rng(0)
    weights = {
        "classifier.weight": rng.normal(size=(K, 4, 1, 1)).astype(np.float32),
        "stem.0.weight": rng.normal(size=(4, 3, 3, 3)).astype(np.float32),
    }
    arrays = {f"network.{name}": array for name, array in weights.items()}
    arrays["statistics.log_ratio"] = rng.normal(size=(K, K)).astype(np.float32)
    arrays["statistics.stationary"] = rng.random(K).astype(np.float32)
    header = {
        "format_version": 1,
        "architecture": "lraspp_mobilenet_v3_large",
        "kind": "semantic",
        "label_count": K,
        "mean": [0.4, 0.4, 0.4],
        "std": [0.2, 0.2, 0.2],
        "training": {"seed": 3, "nested": {"a": [1, 2]}},
        "label_names": [f"class {i}" for i in range(K)],
        "fingerprint": _fingerprint(weights),
    }
    return [{"network.safetensors": save(arrays, {"fgsn": json.dumps(header)})}]


def read_checkpoint(folder: Path) -> None:
    """Read a checkpoint, its statistics, and make its network."""
    (path,) = folder.iterdir()
    read_label_statistics(path)
    load_checkpoint(path)


def read_weights(folder: Path) -> None:
    """Read other programs' weights."""

    is_published(read_state_dict(folder / "weights.pth"))


@cache
def training_states() -> list[Files]:
    """The weights, and the state of a training run."""
    # takes seconds: here once, not in each process that reads
    from fgsn_ros.training import run_files  # noqa: F401

    state = {"iteration": 3, "best": 0.5, "network": {"a": torch.ones(2)}}
    return [*weight_files(), {"weights.pth": _saved(state)}]


def resume_training(folder: Path) -> None:
    """Read the state of a training run."""
    from fgsn_ros.training.run_files import RunFiles

    settings: Any = SimpleNamespace(state=folder / "weights.pth")
    RunFiles(settings, writes=False).restore()


def start_from_weights(folder: Path) -> None:
    """Begin a network with other programs' weights."""

    generator = torch.Generator().manual_seed(0)
    initial_network(LRASPP, K, folder / "weights.pth", generator)


@cache
def onnx_files() -> list[Files]:
    """An exported network without a graph: its metadata."""

    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "a.safetensors")
        path.write_bytes(checkpoint_files()[0]["network.safetensors"])
        with safe_open(path, framework="np") as file:
            header = json.loads(file.metadata()["fgsn"])
            arrays = {
                name: base64.b64encode(file.get_tensor(name).tobytes()).decode()
                for name in ("statistics.log_ratio", "statistics.stationary")
            }
    found = []
    for size in ((None, None, None), (120, 160, 4)):
        grid = dict(zip(("height", "width", "stride"), size, strict=True))
        metadata = {"fgsn": json.dumps(header | grid), **arrays}
        found.append({"network.onnx": with_metadata(b"", metadata)})
    return found


@cache
def weight_files() -> list[Files]:
    """Weights as other programs store them."""
    tensors = {"conv1.weight": torch.ones(2, 3, 3, 3), "bn1.weight": torch.ones(2)}
    contents: list[Any] = [tensors, {"state_dict": tensors, "epoch": 3}, {"model": tensors}]
    contents.append({f"module.{name}": tensor for name, tensor in tensors.items()})
    return [{"weights.pth": _saved(content)} for content in contents]


def _saved(content: Any, **options: Any) -> bytes:
    made = io.BytesIO()
    torch.save(content, made, **options)
    return made.getvalue()


def mutated_weights(rng: Random, files: Files, seeds: list[Files]) -> Files:
    """A weight file of other content, or damaged in its archive."""
    if rng.random() < 0.5:
        other = rng.choice(seeds)["weights.pth"]
        return {"weights.pth": formats.mutated_zip(rng, files["weights.pth"], other)}
    content = _odd_weights(rng)
    return {"weights.pth": _saved(content, _use_new_zipfile_serialization=rng.random() < 0.9)}


def _odd_weights(rng: Random) -> Any:

    makers: tuple[Callable[[], Any], ...] = (
        lambda: torch.ones(2).to_sparse(),
        lambda: torch.eye(3).to_sparse_csr(),
        lambda: torch.empty(2, device="meta"),
        lambda: torch.ones(3, dtype=torch.bfloat16),
        lambda: torch.ones(3).to(torch.float8_e4m3fn),
        lambda: torch.ones(3, dtype=torch.complex64),
        lambda: torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8),
        lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
        lambda: torch.ones(1).expand(2 ** rng.choice((10, 29, 40))),
        lambda: torch.tensor([1.0, float("nan")]),
        lambda: torch.ones(0),
        lambda: torch.tensor(1.0),
        lambda: torch.nn.Parameter(torch.ones(2)),
        lambda: torch.ones(2, 3).t(),
        lambda: torch.ones(2, requires_grad=True),
        lambda: 1.5,
        lambda: None,
        lambda: "x" * 1000,
        lambda: [torch.ones(2)],
        lambda: {"a": torch.ones(2)},
        lambda: collections.OrderedDict(a=torch.ones(1)),
        lambda: np.float64(1.0),
        lambda: 10**400,
    )
    names = (
        "conv1.weight",
        "bn1.weight",
        "classifier.weight",
        "",
        "\x1b[2J",
        "A" * 100_000,
        "module.x",
        "classifier.4.weight",
        "classifier.4.weight",
    )
    odd = {rng.choice(names): rng.choice(makers)() for _ in range(rng.choice((1, 2, 4)))}
    if rng.random() < 0.05:
        odd[rng.choice((3, None, (1, 2)))] = rng.choice(makers)()
    if rng.random() < 0.1:
        return rng.choice((odd, [odd], rng.choice(makers)()))
    wrapping = rng.choice((None, None, "state_dict", "model", "model_state_dict"))
    return odd if wrapping is None else {wrapping: odd}
