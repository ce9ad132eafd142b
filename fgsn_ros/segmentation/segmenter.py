"""Segmenter: image in, label map out."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from fgsn_ros.config import require
from fgsn_ros.errors import RecordingError
from fgsn_ros.lookahead import in_order
from fgsn_ros.segmentation.architectures import traits_of
from fgsn_ros.segmentation.checkpoint import Checkpoint, OnnxNetwork
from fgsn_ros.segmentation.label_grid import grid_taps, no_taps, soft_max_labels
from fgsn_ros.segmentation.labels import LabelMap
from fgsn_ros.segmentation.runtime import (
    BackendName,
    Labelled,
    OnnxLabels,
    Runtime,
    choose_runtime,
    logits_by,
)

Item = TypeVar("Item")
_MOST_THREADS = 1024
_MOST_SHRINK = 64


@dataclass(frozen=True)
class SegmenterSettings:
    """Where, by what, and how finely images are labelled."""

    device: str = "auto"
    """"auto" (a GPU where there is one), "cpu" or "cuda"."""
    stride: int = 4
    """Pixels per label cell: 4 (features interpolated), 8 (the network's own grid) or 16."""
    backend: BackendName = "auto"
    """What runs the network: eager (PyTorch), compile (torch.compile; needs a C++ compiler), onnx
    (ONNX Runtime), or auto: onnx on a CPU and for an .onnx file, else eager. The labels are the
    same."""
    threads: int = 0
    """CPU threads of the network, >= 0; 0: one for each core. For eager and compile, those of
    PyTorch in the whole process."""
    shrink: int = 1
    """Images are made so many times smaller before they are labelled, >= 1, and a label's cell has
    as many times more pixels: 3 takes about a ninth of the time."""

    def __post_init__(self) -> None:
        require(self.device in ("auto", "cpu", "cuda"), "device must be auto, cpu or cuda")
        require(self.stride in (4, 8, 16), "stride must be 4, 8 or 16")
        known = ("auto", "eager", "compile", "onnx")
        require(self.backend in known, f"backend must be one of {', '.join(known)}")
        require(0 <= self.threads <= _MOST_THREADS, f"threads must be in [0, {_MOST_THREADS}]")
        require(1 <= self.shrink <= _MOST_SHRINK, f"shrink must be in [1, {_MOST_SHRINK}]")


class Segmenter:
    """Labels images with a checkpoint's network; PyTorch's in half precision on a GPU.

    Sees nothing but the image.

    Raises:
        SettingsError: there is no such device, the backend or the stride is not for the
            checkpoint, or what the backend needs is not installed.
        CheckpointError: the checkpoint needs PyTorch, which is not installed.
    """

    def __init__(self, checkpoint: Checkpoint, settings: SegmenterSettings | None = None) -> None:
        settings = settings or SegmenterSettings()
        self.checkpoint = checkpoint
        self.stride = settings.stride * settings.shrink
        """Pixels of the given images per label cell."""
        self._shrink = settings.shrink
        runtime = choose_runtime(checkpoint, settings.device, settings.backend, settings.threads)
        self.device = runtime.device
        """"cpu" or "cuda"."""
        self.backend = runtime.backend
        self._labels = _labels_by(runtime, checkpoint, settings.stride)

    @property
    def label_count(self) -> int:
        """Number of labels K."""
        return self.checkpoint.label_count

    def warm_up(self, height: int = 480, width: int = 640) -> None:
        """Label a blank image: the first one of a size takes longer than those after it.

        A network for images of one size labels one of that size.
        """
        model = self.checkpoint.model
        if isinstance(model, OnnxNetwork) and model.size is not None:
            height, width = (side * self._shrink for side in model.size)
        self.segment(np.zeros((height, width, 3), np.uint8))

    def segment(self, image: NDArray[np.uint8]) -> LabelMap:
        """Label map of an RGB image uint8 (H, W, 3), on the grid of `Camera.at_stride(stride)`.

        Raises:
            RecordingError: the image is of another type or shape.
        """
        return self._begin(image)()

    def segment_each(
        self, items: Iterable[Item], image_of: Callable[[Item], NDArray[np.uint8]]
    ) -> Iterator[tuple[Item, LabelMap]]:
        """Items, one by one, with the label maps of their images, as by `segment`.

        A GPU has the next image before the labels of one are fetched, and is never without work.
        """
        begun = (partial(_with, item, self._begin(image_of(item))) for item in items)
        yield from in_order(begun, ahead=1)

    def _begin(self, image: NDArray[np.uint8]) -> Callable[[], LabelMap]:
        """Begin with an image; what comes back gives its label map, and waits for it on a GPU."""
        require_image(image)
        finish = self._labels.begin(np.ascontiguousarray(shrunk(image, self._shrink)))

        def label_map() -> LabelMap:
            labels, confidence = finish()
            return LabelMap(labels, confidence, self.stride, self.label_count)

        return label_map


def _with(item: Item, finish: Callable[[], LabelMap]) -> tuple[Item, LabelMap]:
    return item, finish()


def require_image(image: NDArray[np.uint8]) -> None:
    """Raise RecordingError unless an image is uint8 (H, W, 3) and not empty."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise RecordingError(f"image must be uint8 (H, W, 3), not {image.dtype} {image.shape}")


def shrunk(image: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """An image so many times smaller, each pixel the mean of factor x factor.

    Where a side is no multiple, its last pixels are repeated. So a cell of `stride` pixels of the
    result lies where one of `factor * stride` pixels of the image does, as by `Camera.at_stride`.
    """
    if factor == 1:
        return image
    height, width = image.shape[:2]
    below, right = -height % factor, -width % factor
    padded: NDArray[Any] = image
    if below or right:
        padded = cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_REPLICATE)
    size = padded.shape[1] // factor, padded.shape[0] // factor
    return np.asarray(cv2.resize(padded, size, interpolation=cv2.INTER_AREA), np.uint8)


class _Labels(Protocol):
    def begin(self, image: NDArray[np.uint8]) -> Callable[[], Labelled]:
        """Begin with an image (H, W, 3); what comes back gives its labels."""


def _labels_by(runtime: Runtime, checkpoint: Checkpoint, stride: int) -> _Labels:
    model = checkpoint.model
    if isinstance(model, OnnxNetwork) and model.stride is not None:
        require(
            stride == model.stride,
            f"{model.path} labels at stride {model.stride}, not {stride}: set segmenter.stride",
        )
        return OnnxLabels(model, runtime)
    if runtime.device == "cpu" or runtime.backend == "onnx":
        return _GridLabels(runtime, checkpoint, stride)
    from fgsn_ros.segmentation.torch_runtime import CudaLabels

    return CudaLabels(checkpoint, stride, runtime)


class _GridLabels:
    """Labels of the logits of whatever computes them; the soft-max is ours."""

    def __init__(self, runtime: Runtime, checkpoint: Checkpoint, stride: int) -> None:
        self._traits = traits_of(checkpoint.architecture)
        self._stride = stride
        self._logits = logits_by(runtime, checkpoint, stride)

    def begin(self, image: NDArray[np.uint8]) -> Callable[[], Labelled]:
        """What gives the labels of an image (H, W, 3): nothing is done before."""
        return lambda: self._label(image)

    def _label(self, image: NDArray[np.uint8]) -> Labelled:
        logits = self._logits(image)
        if not self._traits.classifies_linearly:
            return soft_max_labels(logits, *(no_taps(cells) for cells in logits.shape[:2]))
        rows, columns = (
            grid_taps(self._traits.first_cell_px, self._stride, size) for size in image.shape[:2]
        )
        return soft_max_labels(logits, rows, columns)
