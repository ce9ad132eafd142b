"""What computes a network: ONNX Runtime, or PyTorch (`torch_runtime`), which is not needed here."""

import os
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.config import require
from fgsn_ros.errors import CheckpointError, RecordingError
from fgsn_ros.segmentation.architectures import cells_of, traits_of
from fgsn_ros.segmentation.checkpoint import Checkpoint, OnnxNetwork

BackendName = Literal["auto", "eager", "compile", "onnx"]
Logits = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""Logits (h, w, K) of an image (H, W, 3)."""
Labelled = tuple[NDArray[np.uint16], NDArray[np.float32]]
"""Labels and confidence, (h, w) each."""

IMAGE, LOGITS, LABELS, CONFIDENCE = "image", "logits", "labels", "confidence"
"""What a graph takes, (1, H, W, 3), and what it gives: logits (1, h, w, K), or the other two."""
SIDES = ("height", "width")
"""Names of H and W in a graph for images of any size."""
_CUDA = "CUDAExecutionProvider"
_SIZES_KEPT = 4
"""Sizes of images whose sessions are kept; each holds the weights."""


@dataclass(frozen=True)
class Runtime:
    """What computes, and where."""

    device: Literal["cpu", "cuda"]
    backend: BackendName
    """any but "auto" """
    threads: int
    """of a CPU; 0: as many as there are cores"""


def choose_runtime(
    checkpoint: Checkpoint, device: str, backend: BackendName, threads: int
) -> Runtime:
    """What computes the network of a checkpoint: "auto" takes the fastest that is there.

    Raises:
        SettingsError: there is no such device, or the backend is not for it or the checkpoint.
        CheckpointError: the checkpoint needs PyTorch, which is not installed.
    """
    if isinstance(checkpoint.model, OnnxNetwork):
        require(
            backend in ("auto", "onnx"),
            f"backend {backend} is PyTorch's, which does not run {checkpoint.model.path}; take "
            "backend onnx, or the .safetensors file that it was exported from",
        )
        return Runtime(_onnx_device(device), "onnx", threads)
    assert checkpoint.network  # where there is no PyTorch, this says so
    from fgsn_ros.segmentation.torch_runtime import choose_device

    on_cpu = choose_device(device).type == "cpu"
    if backend == "auto":
        backend = "onnx" if on_cpu else "eager"
    require(
        backend != "onnx" or on_cpu,
        "backend onnx runs a .safetensors file on the CPU: set device to cpu; "
        "for a GPU, ONNX Runtime's or TensorRT, `fgsn export` writes the network",
    )
    return Runtime("cpu" if on_cpu else "cuda", backend, threads)


def _onnx_runtime() -> Any:
    """ONNX Runtime, which else would write an identifier into the home, and report to its maker."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    return onnxruntime


def _onnx_device(name: str) -> Literal["cpu", "cuda"]:
    onnxruntime = _onnx_runtime()
    offered = _CUDA in onnxruntime.get_available_providers()
    require(
        name != "cuda" or offered,
        "the ONNX Runtime here computes on no GPU: install onnxruntime-gpu in its place, take "
        "device cpu, or the .safetensors file with PyTorch",
    )
    return "cuda" if name != "cpu" and offered else "cpu"


def logits_by(runtime: Runtime, checkpoint: Checkpoint, stride: int | None) -> Logits:
    """What gives logits: at the stride of the features, but for PSPNet's, on the labels' grid.

    Args:
        runtime: What computes.
        checkpoint: Of which network.
        stride: Of the labels [px]; none: PSPNet's, too, are at the stride of the features.

    Raises:
        CheckpointError: it is an ONNX file for images of one size.
        SettingsError: what the backend needs is not installed.
    """
    if runtime.backend == "onnx":
        return _OnnxLogits(checkpoint, stride, runtime)
    from fgsn_ros.segmentation.torch_runtime import TorchLogits

    return TorchLogits(checkpoint, stride, runtime)


class _OnnxLogits:
    """Logits by ONNX Runtime: the first image of a size takes longer.

    A session is for one size, also of a graph for any: it computes in advance what the size tells.
    """

    def __init__(self, checkpoint: Checkpoint, stride: int | None, runtime: Runtime) -> None:
        self._graph_for = _graphs(checkpoint, stride)
        self._multiple = traits_of(checkpoint.architecture).side_multiple
        self._runtime, self._label_count = runtime, checkpoint.label_count
        self._path = _path_of(checkpoint)
        self._sessions: OrderedDict[tuple[int, int], Any] = OrderedDict()

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The logits."""
        filled = _filled(image, self._multiple)
        session = self._session((filled.shape[0], filled.shape[1]))
        (logits,) = run_session(self._path, session, (LOGITS,), filled)
        _require_array(self._path, logits, np.float32, (*logits.shape[:2], self._label_count))
        if filled is image:
            return logits
        return logits[: cells_of(image.shape[0]), : cells_of(image.shape[1])]

    def _session(self, size: tuple[int, int]) -> Any:
        if size not in self._sessions:
            graph = self._graph_for(*size)
            self._sessions[size] = onnx_session(self._path, graph, self._runtime, size)
        self._sessions.move_to_end(size)
        if len(self._sessions) > _SIZES_KEPT:
            self._sessions.popitem(last=False)
        return self._sessions[size]


def _graphs(checkpoint: Checkpoint, stride: int | None) -> Callable[[int, int], bytes]:
    """The graph of the logits of images (H, W) that are filled up."""
    model = checkpoint.model
    if isinstance(model, OnnxNetwork):
        if model.size is not None:
            raise CheckpointError(
                f"{model.path} gives labels of images of one size; export it without --width and "
                "--height, or take the .safetensors file"
            )
        return lambda height, width: model.file
    require_onnx("backend onnx")
    from fgsn_ros.segmentation.onnx_export import any_size_graph, logit_graph

    if not traits_of(checkpoint.architecture).any_size:
        return lambda height, width: logit_graph(checkpoint, stride, height, width)
    graphs: list[bytes] = []  # one, when the first image is there

    def any_size(height: int, width: int) -> bytes:
        graphs.extend([] if graphs else [any_size_graph(checkpoint)])
        return graphs[0]

    return any_size


class OnnxLabels:
    """Labels by an ONNX file that labels images of one size."""

    def __init__(self, model: OnnxNetwork, runtime: Runtime) -> None:
        assert model.size is not None
        assert model.stride is not None
        self._model, self._size = model, model.size
        self._shape = tuple(-(-size // model.stride) for size in model.size)
        self._session = onnx_session(model.path, model.file, runtime, None)

    def begin(self, image: NDArray[np.uint8]) -> Callable[[], Labelled]:
        """What gives the labels of an image (H, W, 3): nothing is done before.

        Raises:
            RecordingError: the image is of another size.
        """
        (height, width), (given_height, given_width) = self._size, image.shape[:2]
        if (height, width) != (given_height, given_width):
            raise RecordingError(
                f"{self._model.path} labels images of {width}x{height}, not {given_width}x"
                f"{given_height}; export the network without --width and --height"
            )
        return lambda: self._label(image)

    def _label(self, image: NDArray[np.uint8]) -> Labelled:
        path = self._model.path
        labels, confidence = run_session(path, self._session, (LABELS, CONFIDENCE), image)
        _require_array(path, labels, np.int32, self._shape)
        _require_array(path, confidence, np.float32, self._shape)
        if labels.min() < 0 or labels.max() >= self._model.label_count:
            raise CheckpointError(f"{path} gives labels that it says it does not have")
        return labels.astype(np.uint16), confidence


def onnx_session(path: Path, graph: bytes, runtime: Runtime, size: tuple[int, ...] | None) -> Any:
    """A session of ONNX Runtime.

    Args:
        path: Named where the graph is wrong.
        graph: ONNX.
        runtime: Where it is to compute.
        size: H and W of the images, where the graph leaves them open.

    Raises:
        CheckpointError: the graph is none.
    """
    onnxruntime = _onnx_runtime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = runtime.threads or core_count()
    options.log_severity_level = 3  # errors
    # a thread that waits leaves its core to the filter
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    for name, pixels in zip(SIDES, size or (), strict=False):
        options.add_free_dimension_override_by_name(name, pixels)
    providers = [_CUDA] if runtime.device == "cuda" else []
    try:
        return onnxruntime.InferenceSession(
            graph, options, providers=[*providers, "CPUExecutionProvider"]
        )
    except Exception as error:  # whose classes are ONNX Runtime's own
        raise _refused(path, error) from error


def run_session(
    path: Path, session: Any, outputs: tuple[str, ...], image: NDArray[np.uint8]
) -> list[NDArray[Any]]:
    """Outputs of an image (H, W, 3), without their first axis.

    Raises:
        CheckpointError: the graph of `path` does not take it, or gives something else.
    """
    try:
        return [np.asarray(output[0]) for output in session.run(outputs, {IMAGE: image[None]})]
    except Exception as error:  # whose classes are ONNX Runtime's own
        raise _refused(path, error) from error


def _refused(path: Path, error: Exception) -> CheckpointError:
    reason = " ".join(str(error).split())[:200]
    return CheckpointError(f"ONNX Runtime does not run {path}: {reason}; export it again")


def _require_array(path: Path, array: NDArray[Any], dtype: type, shape: tuple[int, ...]) -> None:
    if array.dtype != dtype or array.shape != shape:
        raise CheckpointError(
            f"the graph of {path} gives {array.dtype} {array.shape}, not {np.dtype(dtype)} {shape}"
        )


def _path_of(checkpoint: Checkpoint) -> Path:
    """Of its file, for messages."""
    return getattr(checkpoint.model, "path", Path(checkpoint.architecture))


def _filled(image: NDArray[np.uint8], multiple: int) -> NDArray[np.uint8]:
    """The image (H, W, 3) with its last row and column repeated up to multiples, as PyTorch's."""
    rows, columns = (-size % multiple for size in image.shape[:2])
    if not (rows or columns):
        return image
    return np.pad(image, ((0, rows), (0, columns), (0, 0)), "edge")


def core_count() -> int:
    """Cores that this process may use, or OMP_NUM_THREADS: as many threads as PyTorch takes."""
    told = os.environ.get("OMP_NUM_THREADS", "")
    if told.isdecimal() and int(told):
        return int(told)
    siblings = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
    usable = os.sched_getaffinity(0)
    try:
        return len({Path(siblings.format(cpu)).read_text() for cpu in usable})
    except OSError:
        return len(usable)


def require_onnx(what: str) -> None:
    """Raise SettingsError unless onnx is installed, which writes graphs."""
    require(
        find_spec("onnx") is not None,
        f"{what} needs onnx to write the network; pip install 'fgsn_ros[torch]'",
    )
