"""Weights in the files of other programs: `.pth`, or `.safetensors` without our header."""

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from fgsn_ros.errors import CheckpointError
from fgsn_ros.segmentation.label_statistics import require_checkpoint

_WRAPPINGS = ("state_dict", "model")
_PARALLEL = "module."  # what torch.nn.DataParallel puts before each name


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


def is_checkpoint(path: Path) -> bool:
    """Whether a file claims to be a checkpoint of this package."""
    if path.suffix != ".safetensors":
        return False
    try:
        with safe_open(path, framework="np") as file:
            return "fgsn" in (file.metadata() or {})
    except (OSError, SafetensorError):
        return True  # reading it as one says what is wrong with it


def _load(path: Path) -> object:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can raise almost anything in torch.load
        reason = " ".join(str(error).split())[:150]
        raise CheckpointError(f"cannot read weights {path}: {reason}") from error
