"""Networks by PyTorch, as it is or compiled: logits on a CPU or a GPU, and labels on a GPU."""

import shutil
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fgsn_ros.caches import provide
from fgsn_ros.config import require
from fgsn_ros.errors import SettingsError
from fgsn_ros.segmentation.checkpoint import Checkpoint
from fgsn_ros.segmentation.label_network import LabelNetwork, LogitNetwork
from fgsn_ros.segmentation.runtime import BackendName, Labelled, Runtime


def choose_device(name: str) -> torch.device:
    """The named device; "auto" takes a GPU where there is one.

    Raises:
        SettingsError: "cuda" is asked for and there is none.
    """
    available = torch.cuda.is_available()
    require(name != "cuda" or available, "no CUDA device here; use device cpu or auto")
    return torch.device("cuda" if name != "cpu" and available else "cpu")


class TorchLogits:
    """Logits as of `LogitNetwork`, on a GPU in half precision.

    Args:
        checkpoint: Of which network.
        stride: Of the labels [px], or none.
        runtime: Its threads, if any, become those of PyTorch in the whole process.
    """

    def __init__(self, checkpoint: Checkpoint, stride: int | None, runtime: Runtime) -> None:
        if runtime.threads:
            torch.set_num_threads(runtime.threads)
        self._device = torch.device(runtime.device)
        network = LogitNetwork(checkpoint, stride, half=runtime.device == "cuda")
        self._network = _run_by(network.to(self._device), runtime.backend)

    @torch.inference_mode()
    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Logits (h, w, K) of an RGB image (H, W, 3)."""
        given = torch.from_numpy(image)[None].to(self._device)
        logits: NDArray[np.float32] = self._network(given)[0].cpu().numpy()
        return logits


class CudaLabels:
    """Labels on a GPU in half precision, channels last; images go there while others are labelled.

    Args:
        checkpoint: Whose labels.
        stride: Of the labels [px].
        runtime: A GPU's.
    """

    def __init__(self, checkpoint: Checkpoint, stride: int, runtime: Runtime) -> None:
        self._device = torch.device(runtime.device)
        network = LabelNetwork(LogitNetwork(checkpoint, stride, half=True)).to(self._device)
        self._network = _run_by(network, runtime.backend)
        self._uploads = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]

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
    provide("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR")
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
