"""Weights from the files of other programs: .pth, .pt, .ckpt of PyTorch, and .safetensors.

Programs put them under a name among other things, and put words before each name. Nothing of a file
is run: of what is beside the weights, numbers and arrays are read, and objects are refused.
"""

import re
import shlex
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from fgsn_ros.errors import CheckpointError, one_line
from fgsn_ros.segmentation.checkpoint import require_checkpoint
from fgsn_ros.text_files import open_file

_WRAPPINGS = (
    *("state_dict", "model_state_dict", "model", "net", "network", "weights", "params", "module"),
    *("ema", "model_ema", "ema_state_dict", "state_dict_ema"),  # where there is nothing else
)
_DEEPEST = 4
_WRAPPERS = ("module.", "_orig_mod.")  # of DataParallel and of torch.compile
_OWNERS = ("model.", "net.", "network.", "backbone.")  # what a network is called in another class
_LOSSES = ("criterion.", "loss.", "loss_fn.")  # beside it there
_STRIP = (
    "python -c \"import sys, torch; c = torch.load(sys.argv[1], 'cpu', weights_only=False); "
    "torch.save(c.state_dict() if hasattr(c, 'state_dict') else "
    '{k: v for k, v in c.items() if isinstance(v, (dict, torch.Tensor))}, sys.argv[2])"'
)
_HEADS = (
    (b"<", "it is a web page; download the file again"),
    (
        b"version https://git-lfs",
        "it is a pointer of Git LFS; fetch the file: git lfs pull",
    ),
    (b"\x89HDF", "it is HDF5, as Keras writes it; PyTorch's weights are needed"),
    (b"\x08", "it looks like ONNX; PyTorch's weights are needed"),
)


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Weights and batch-norm statistics by name, float32; no code in the file is run.

    Raises:
        CheckpointError: the file is missing, damaged, or holds something else.
    """
    table = _table(path, _load(path))
    weights = {}
    for name, tensor in _plain_names(path, table).items():
        _require_plain(path, name, tensor)
        if tensor.is_floating_point():
            weights[name] = _as_float(path, name, tensor)
    finite = all(bool(torch.isfinite(tensor).all()) for tensor in weights.values())
    require_checkpoint(path, finite, "weights that are not finite")
    return weights


def _table(path: Path, content: object) -> dict[str, Tensor]:
    """The tensors by name, from under the names that they are wrapped in."""
    for _ in range(_DEEPEST):
        table = content if isinstance(content, dict) else {}
        inner = (table[name] for name in _WRAPPINGS if isinstance(table.get(name), dict))
        content = next((found for found in inner if found), content)
    held = content if isinstance(content, dict) else {}
    tensors = {
        name: tensor
        for name, tensor in held.items()
        if isinstance(name, str) and isinstance(tensor, Tensor)
    }
    if not tensors:
        kind = type(content).__name__
        names = ", ".join(map(str, held)) if held else f"a value of type {kind}"
        raise CheckpointError(
            f"{path} holds no table of weights but {one_line(names, 200)}; "
            "save the network's state_dict()"
        )
    return tensors


def _plain_names(path: Path, table: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors by their names within the network."""
    names = {name: name for name in table if not name.startswith(_LOSSES)}
    before: object = None
    while names != before:
        before = names
        for wrapper in _WRAPPERS:
            names = {old: new.removeprefix(wrapper) for old, new in names.items()}
        names = {old: new.replace("._orig_mod.", ".") for old, new in names.items()}
        for owner in _OWNERS:
            if all(new.startswith(owner) for new in names.values()):
                names = {old: new.removeprefix(owner) for old, new in names.items()}
    plain = {new: table[old] for old, new in names.items()}
    require_checkpoint(path, len(plain) == len(names), "set of weights (one is there twice)")
    return plain


def _require_plain(path: Path, name: str, tensor: Tensor) -> None:
    """Raise CheckpointError unless a tensor is numbers that the file holds, one by one."""
    wrong = None
    if tensor.is_nested or tensor.layout != torch.strided:
        wrong = "sparse"
    elif tensor.is_meta:
        wrong = "without values"
    elif tensor.is_quantized:
        wrong = "quantized"
    elif tensor.is_complex():
        wrong = "complex"
    elif tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        wrong = "larger than what the file holds of it"
    if wrong is not None:
        raise CheckpointError(
            f"{path}: the weights {one_line(name, 100)} are {wrong}; "
            "save the network's state_dict() with plain tensors"
        )


def _as_float(path: Path, name: str, tensor: Tensor) -> Tensor:
    try:
        return tensor.detach().float().contiguous()
    except RuntimeError as error:  # of a type that PyTorch cannot convert
        raise CheckpointError(
            f"{path}: the weights {one_line(name, 100)} are {tensor.dtype}; save them as float32"
        ) from error


def _load(path: Path) -> object:
    head = _head(path)
    if head[8:9] == b"{" and head[:2] != b"PK":
        return _load_safetensors(path)
    for start, message in _HEADS:
        if head.startswith(start):
            raise CheckpointError(f"cannot read weights {path}: {message}")
    _require_stored(path)
    try:
        with warnings.catch_warnings(), _numbers_allowed():
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can raise almost anything in torch.load
        raise CheckpointError(f"cannot read weights {path}: {_reason(path, error)}") from error


def _head(path: Path) -> bytes:
    try:
        with open_file(path) as file:
            head = file.read(64)
    except OSError as error:
        raise CheckpointError(f"cannot read weights {path}: {error.strerror}") from error
    if not head:
        raise CheckpointError(f"cannot read weights {path}: it is empty")
    return head


def _load_safetensors(path: Path) -> object:
    try:
        return load_file(path)
    except Exception as error:
        raise CheckpointError(f"cannot read weights {path}: {one_line(error, 150)}") from error


def _require_stored(path: Path) -> None:
    """Refuse a zip file that holds more than its size, as PyTorch's never does."""
    try:
        with zipfile.ZipFile(path) as file:
            items = file.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return  # of PyTorch before 1.6, or damaged: PyTorch says so
    script = any("/code/" in item.filename for item in items)  # refused as TorchScript
    if not script and sum(item.file_size for item in items) > path.stat().st_size:
        raise CheckpointError(
            f"cannot read weights {path}: it is a compressed zip file; PyTorch's are not"
        )


@contextmanager
def _numbers_allowed() -> Iterator[None]:
    """Let PyTorch read NumPy's numbers and arrays, which are data."""
    allow = getattr(torch.serialization, "safe_globals", None)
    if allow is None:  # before PyTorch 2.5
        yield
        return
    functions = [  # that make a pickled number and a pickled array again
        (np.float64().__reduce__()[0], "scalar"),
        (np.empty(0).__reduce__()[0], "_reconstruct"),
    ]
    named = [
        (function, f"numpy.{core}.multiarray.{name}")
        for function, name in functions
        for core in ("core", "_core")  # before and since NumPy 2
    ]
    kinds = {type(np.dtype(code)) for code in "?bBhHiIlLqQefdgFDGSU"}
    with allow([*named, np.ndarray, np.dtype, *kinds]):
        yield


def _reason(path: Path, error: Exception) -> str:
    """Why PyTorch does not read a file, in a line, and what to do."""
    text = re.sub(r"\x1b\[\d*m", "", str(error))
    if "TorchScript" in text:
        return (
            'it is a TorchScript archive; take its weights out: python -c "import sys, torch; '
            "torch.save(torch.jit.load(sys.argv[1], 'cpu').state_dict(), sys.argv[2])\" "
            f"{shlex.quote(str(path))} weights.pth"
        )
    found = re.search(r"(?:GLOBAL|[Uu]nsupported class) ([\w.]+)", text)
    if found and "is blocked" in text:
        return f"loading it would run {found[1]}; do not use it"
    if found:
        return (
            f"it holds an object of {found[1]}, which only running its code would read; if you "
            f"trust the file, take the weights out: {_STRIP} {shlex.quote(str(path))} weights.pth"
        )
    detail = text.split("WeightsUnpickler error:")[-1].split("Check the documentation")[0]
    return one_line(detail or type(error).__name__, 150)
