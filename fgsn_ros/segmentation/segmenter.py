"""Segmenter: image in, label map out."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from fgsn_ros.config import require
from fgsn_ros.lookahead import in_order
from fgsn_ros.segmentation.backends import CpuLabels, CudaLabels, choose_backend
from fgsn_ros.segmentation.checkpoint import Checkpoint
from fgsn_ros.segmentation.input_images import require_image
from fgsn_ros.segmentation.labels import LabelMap
from fgsn_ros.segmentation.settings import SegmenterSettings

Item = TypeVar("Item")


class Segmenter:
    """Labels images with a checkpoint's network, in half precision on a GPU.

    Sees nothing but the image.

    Raises:
        SettingsError: there is no such device, or what the backend needs is not installed.
    """

    def __init__(self, checkpoint: Checkpoint, settings: SegmenterSettings | None = None) -> None:
        settings = settings or SegmenterSettings()
        self.checkpoint = checkpoint
        self.stride = settings.stride
        self.device = choose_device(settings.device)
        self.backend = choose_backend(settings.backend, self.device)
        self._labels: CpuLabels | CudaLabels
        if self.device.type == "cpu":
            self._labels = CpuLabels(checkpoint, self.stride, self.backend, settings.threads)
        else:
            self._labels = CudaLabels(checkpoint, self.stride, self.backend, self.device)

    @property
    def label_count(self) -> int:
        """Number of labels K."""
        return self.checkpoint.label_count

    def warm_up(self, height: int = 480, width: int = 640) -> None:
        """Label a blank image: the first one of a size takes longer than those after it."""
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
        finish = self._labels.begin(np.ascontiguousarray(image))

        def label_map() -> LabelMap:
            labels, confidence = finish()
            return LabelMap(labels, confidence, self.stride, self.label_count)

        return label_map


def _with(item: Item, finish: Callable[[], LabelMap]) -> tuple[Item, LabelMap]:
    return item, finish()


def choose_device(name: str) -> torch.device:
    """The named device; "auto" takes a GPU where there is one.

    Raises:
        SettingsError: "cuda" is asked for and there is none.
    """
    available = torch.cuda.is_available()
    require(name != "cuda" or available, "no CUDA device here; use device cpu or auto")
    return torch.device("cuda" if name != "cpu" and available else "cpu")
