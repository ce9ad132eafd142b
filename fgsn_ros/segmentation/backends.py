"""What runs the network: PyTorch as it is or compiled, ONNX Runtime."""

import shutil
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fgsn_ros.config import require
from fgsn_ros.errors import SettingsError
from fgsn_ros.segmentation.checkpoint import Checkpoint
from fgsn_ros.segmentation.label_network import LabelNetwork, LogitNetwork
from fgsn_ros.segmentation.onnx_backend import OnnxLogits
from fgsn_ros.segmentation.settings import BackendName
from fgsn_ros.segmentation.soft_max import grid_taps, no_taps, soft_max_labels

Labelled = tuple[NDArray[np.uint16], NDArray[np.float32]]
"""Labels and confidence, (h, w) each."""
Logits = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""Logits (h, w, K) of an image (H, W, 3)."""


def choose_backend(name: BackendName, device: torch.device) -> BackendName:
    """The backend; "auto" takes the fastest for the device.

    Raises:
        SettingsError: onnx is asked for on a GPU.
    """
    if name == "auto":
        return "onnx" if device.type == "cpu" else "eager"
    require(
        name != "onnx" or device.type == "cpu",
        "backend onnx runs on the CPU: set device to cpu; "
        "for TensorRT, `fgsn export` writes the network",
    )
    return name


class CpuLabels:
    """Labels by a backend on the CPU; the soft-max is ours."""

    def __init__(self, checkpoint: Checkpoint, stride: int, backend: BackendName, threads: int):
        self._first_cell_px = checkpoint.network.first_cell_px
        self._at_features = checkpoint.network.classifies_linearly
        self._stride = stride
        self._logits: Logits
        if backend == "onnx":
            self._logits = OnnxLogits(checkpoint, stride, threads)
            return
        if threads:
            torch.set_num_threads(threads)
        self._logits = _TorchLogits(_run_by(LogitNetwork(checkpoint, stride), backend))

    def begin(self, image: NDArray[np.uint8]) -> Callable[[], Labelled]:
        """What gives the labels of an image (H, W, 3): nothing is done before."""
        return lambda: self._label(image)

    def _label(self, image: NDArray[np.uint8]) -> Labelled:
        logits = self._logits(image)
        if not self._at_features:
            return soft_max_labels(logits, *(no_taps(cells) for cells in logits.shape[:2]))
        rows, columns = (
            grid_taps(self._first_cell_px, self._stride, size) for size in image.shape[:2]
        )
        return soft_max_labels(logits, rows, columns)


class _TorchLogits:
    def __init__(self, network: Callable[[Tensor], Tensor]) -> None:
        self._network = network

    @torch.inference_mode()
    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        logits: NDArray[np.float32] = self._network(torch.from_numpy(image)[None])[0].numpy()
        return logits


class CudaLabels:
    """Labels on a GPU in half precision, channels last; images go there while others are labelled.

    Args:
        checkpoint: Whose labels.
        stride: Of the labels [px].
        backend: "eager" or "compile".
        device: The GPU.
    """

    def __init__(
        self, checkpoint: Checkpoint, stride: int, backend: BackendName, device: torch.device
    ) -> None:
        network = LabelNetwork(LogitNetwork(checkpoint, stride, half=True)).to(device)
        self._network = _run_by(network, backend)
        self._device = device
        self._uploads = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    @torch.inference_mode()
    def begin(self, image: NDArray[np.uint8]) -> Callable[[], Labelled]:
        """Send an image (H, W, 3) and set the GPU to work; what gives the labels waits for it."""
        compute = torch.cuda.current_stream(self._device)
        with torch.cuda.stream(self._uploads):
            pinned = torch.from_numpy(image)[None].pin_memory()
            sent = pinned.to(self._device, non_blocking=True)
        compute.wait_stream(self._uploads)
        sent.record_stream(compute)
        labels, confidence = (_fetched(result[0]) for result in self._network(sent))
        done = compute.record_event()

        def finish() -> Labelled:
            done.synchronize()
            return labels.numpy().astype(np.uint16), confidence.numpy().copy()

        return finish


def _fetched(result: Tensor) -> Tensor:
    """A copy in pinned memory, complete when the stream has come to it."""
    pinned = torch.empty(result.shape, dtype=result.dtype, pin_memory=True)
    return pinned.copy_(result, non_blocking=True)


def _run_by(network: nn.Module, backend: BackendName) -> Callable[[Tensor], Any]:
    if backend != "compile":
        return network
    require_compiler(next(network.buffers()).device)
    from torch._dynamo import exc

    # a whole graph or an error: never a part of it that is not compiled, unnoticed
    compiled = torch.compile(network, fullgraph=True, dynamic=False)
    too_many_sizes: Any = getattr(exc, "FailOnRecompileLimitHit", ())

    def run(image: Tensor) -> Any:
        try:
            return compiled(image)
        except too_many_sizes as error:
            raise SettingsError(
                "backend compile is for images of few sizes; take backend onnx or eager"
            ) from error

    return run


def require_compiler(device: torch.device) -> None:
    """Compile something small.

    Raises:
        SettingsError: torch.compile does not work here.
    """
    found = any(shutil.which(name) for name in ("g++", "clang++", "c++"))
    try:
        require(found or device.type != "cpu", "there is no g++")
        torch.compile(lambda x: x + 1, fullgraph=True)(torch.zeros(64, device=device))
    except (SettingsError, RuntimeError, OSError, ImportError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise SettingsError(
            "backend compile needs a C++ compiler and Python's headers (g++, python3-dev), on a "
            f"GPU triton too, but: {reason}; install them, or take backend eager or onnx"
        ) from error
