"""Segmenter: image in, label map out."""

import numpy as np
import torch
from numpy.typing import NDArray

from fgsn_ros.config import require
from fgsn_ros.segmentation.checkpoint import Checkpoint
from fgsn_ros.segmentation.folding import folded_copy
from fgsn_ros.segmentation.grids import on_grid
from fgsn_ros.segmentation.input_images import InputImages
from fgsn_ros.segmentation.labels import LabelMap
from fgsn_ros.segmentation.settings import SegmenterSettings


class Segmenter:
    """Labels images with a checkpoint's network, in half precision on a GPU.

    Sees nothing but the image.
    """

    def __init__(self, checkpoint: Checkpoint, settings: SegmenterSettings | None = None) -> None:
        settings = settings or SegmenterSettings()
        self.checkpoint = checkpoint
        self.stride = settings.stride
        self.device = choose_device(settings.device)
        self._dtype = torch.float16 if self.device.type == "cuda" else torch.float32
        network = folded_copy(checkpoint.network)
        self._network = network.to(self.device, self._dtype).to(memory_format=torch.channels_last)
        self._images = InputImages(checkpoint, self.device)

    @property
    def label_count(self) -> int:
        """Number of labels K."""
        return self.checkpoint.label_count

    def warm_up(self, height: int = 480, width: int = 640) -> None:
        """Label a blank image: the first one takes longer than those after it."""
        self.segment(np.zeros((height, width, 3), np.uint8))

    @torch.inference_mode()
    def segment(self, image: NDArray[np.uint8]) -> LabelMap:
        """Label map of an RGB image uint8 (H, W, 3), on the grid of `Camera.at_stride(stride)`.

        Raises:
            RecordingError: the image is of another type or shape.
        """
        batch = self._images.batch(image)
        features = self._network.features(batch.to(self._dtype))
        features = on_grid(features, self._network.first_cell_px, self.stride, *image.shape[:2])
        logits = self._network.classify(features)[0].float()
        highest, labels = logits.max(dim=0)
        confidence = 1.0 / (logits - highest).exp_().sum(dim=0)
        return LabelMap(
            labels=labels.cpu().numpy().astype(np.uint16),
            confidence=confidence.cpu().numpy(),
            stride=self.stride,
            label_count=self.label_count,
        )


def choose_device(name: str) -> torch.device:
    """The named device; "auto" takes a GPU where there is one.

    Raises:
        SettingsError: "cuda" is asked for and there is none.
    """
    available = torch.cuda.is_available()
    require(name != "cuda" or available, "no CUDA device here; use device cpu or auto")
    return torch.device("cuda" if name != "cpu" and available else "cpu")
