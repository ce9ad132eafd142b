"""Labels of every pixel of a large image, from crops that slide over it."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fgsn_ros.config import require
from fgsn_ros.segmentation.checkpoint import Checkpoint
from fgsn_ros.segmentation.cpu_inference import prepared_for_cpu
from fgsn_ros.segmentation.cpu_workers import CpuWorkers
from fgsn_ros.segmentation.fgsn_network import STRIDE
from fgsn_ros.segmentation.folding import folded_copy
from fgsn_ros.segmentation.input_images import InputImages, require_image
from fgsn_ros.segmentation.labels import LabelMap
from fgsn_ros.segmentation.pixel_labels import pixel_labels
from fgsn_ros.segmentation.resnet_networks import ResnetNetwork
from fgsn_ros.segmentation.segmenter import choose_device
from fgsn_ros.segmentation.sliding_crops import blending

Item = TypeVar("Item")
Precision = Literal["float32", "mixed"]


@dataclass(frozen=True)
class SlidingSettings:
    """Crops, and where and how exactly they are labelled."""

    device: str = "auto"
    """"auto" (a GPU where there is one), "cpu" or "cuda"."""
    crop_px: int = 713
    """Side of the square crops [px]: best that of training."""
    precision: Precision = "float32"
    """On a CPU: float32; or mixed, of a ResNet: faster where there is AVX512-BF16 or AMX, but up to
    one label in a hundred differs. A GPU computes with float16."""

    def __post_init__(self) -> None:
        require(self.device in ("auto", "cpu", "cuda"), "device must be auto, cpu or cuda")
        require(self.crop_px >= STRIDE, f"crop_px must be at least {STRIDE}")
        require(self.precision in ("float32", "mixed"), "precision must be float32 or mixed")


class SlidingSegmenter:
    """Labels each pixel by crops of the size of training, blended where they overlap.

    Crops and weights are those of the published FGSN code, and so are the labels: the arg-max of
    the crops' logits, interpolated to pixels and averaged with weights that fall to a crop's edge.
    Never are K channels of the whole image held at once.

    Args:
        checkpoint: Of which nothing is kept, so that it can be let go.
        settings: How to label.
    """

    stride = 1

    def __init__(self, checkpoint: Checkpoint, settings: SlidingSettings | None = None) -> None:
        self._settings = settings or SlidingSettings()
        self.label_count = checkpoint.label_count
        self.device = choose_device(self._settings.device)
        self._images = InputImages(checkpoint, self.device)
        self._workers = CpuWorkers()
        mixed = self._settings.precision == "mixed"
        network = checkpoint.network
        fits = not mixed or isinstance(network, ResnetNetwork)
        require(fits, f"precision mixed is not for {network.architecture}; take float32")
        if self.device.type == "cuda":
            network = folded_copy(network).half().to(self.device)
        else:
            network = prepared_for_cpu(network, self._workers, mixed)
        self._network = network.to(memory_format=torch.channels_last)
        self._dtype = self._network.classifier.weight.dtype

    def segment(self, image: NDArray[np.uint8]) -> LabelMap:
        """Label map of stride 1 of an RGB image uint8 (H, W, 3), without confidence: 1 everywhere.

        A side smaller than the crop is filled up with black, as published.

        Raises:
            RecordingError: the image is of another type or shape.
        """
        require_image(image)
        crop, first_cell_px = self._settings.crop_px, self._network.first_cell_px
        tops, rows = blending(image.shape[0], crop, first_cell_px)
        lefts, columns = blending(image.shape[1], crop, first_cell_px)
        cells = -(-crop // STRIDE)
        logits = torch.empty(len(tops), cells, len(lefts), cells, self.label_count)
        with self._workers:
            for (i, top), (j, left) in itertools.product(enumerate(tops), enumerate(lefts)):
                of_crop = self._logits(image[top : top + crop, left : left + crop])
                logits[i, :, j] = of_crop
        labels = pixel_labels(logits.flatten(2, 3).flatten(0, 1), rows, columns)
        return LabelMap(labels, np.ones(labels.shape, np.float32), 1, self.label_count)

    def segment_each(
        self, items: Iterable[Item], image_of: Callable[[Item], NDArray[np.uint8]]
    ) -> Iterator[tuple[Item, LabelMap]]:
        """Items, one by one, with the label maps of their images, as by `segment`."""
        for item in items:
            yield item, self.segment(image_of(item))

    @torch.inference_mode()
    def _logits(self, part: NDArray[np.uint8]) -> Tensor:
        """Logits (cells, cells, K) of a crop, of which `part` is in the image."""
        crop = self._settings.crop_px
        missing = (0, crop - part.shape[1], 0, crop - part.shape[0])
        if any(missing):
            part = np.pad(part, ((0, missing[3]), (0, missing[1]), (0, 0)))
        logits: Tensor = self._network(self._images.batch(part).to(self._dtype))[0]
        return logits.permute(1, 2, 0)
