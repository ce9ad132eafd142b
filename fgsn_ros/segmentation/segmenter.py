"""Segmenter: image in, label map out."""

import copy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from fgsn_ros.config import require
from fgsn_ros.errors import RecordingError
from fgsn_ros.segmentation.checkpoint import Checkpoint
from fgsn_ros.segmentation.labels import LabelMap
from fgsn_ros.segmentation.networks import STRIDE, FgsnNetwork
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
        network = fold_batch_norm(copy.deepcopy(checkpoint.network).eval())
        self._network = network.to(self.device, self._dtype).to(memory_format=torch.channels_last)
        scale = 1.0 / (255.0 * np.asarray(checkpoint.std, np.float32))
        shift = -np.asarray(checkpoint.mean, np.float32) / np.asarray(checkpoint.std, np.float32)
        self._scale = torch.tensor(scale, device=self.device).view(1, 3, 1, 1)
        self._shift = torch.tensor(shift, device=self.device).view(1, 3, 1, 1)

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
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
            raise RecordingError(f"image must be uint8 (H, W, 3), not {image.dtype} {image.shape}")
        pixels = torch.from_numpy(np.ascontiguousarray(image)).to(self.device)
        batch = pixels.permute(2, 0, 1)[None] * self._scale + self._shift
        features = self._network.features(batch.to(self._dtype))
        features = self._on_grid(features, image.shape[0], image.shape[1])
        logits = self._network.classify(features)[0].float()
        highest, labels = logits.max(dim=0)
        confidence = 1.0 / (logits - highest).exp_().sum(dim=0)
        return LabelMap(
            labels=labels.cpu().numpy().astype(np.uint16),
            confidence=confidence.cpu().numpy(),
            stride=self.stride,
            label_count=self.label_count,
        )

    def _on_grid(self, features: Tensor, height: int, width: int) -> Tensor:
        """Features at the chosen stride: re-sampled before K channels are made of them."""
        if self.stride > STRIDE:
            return functional.avg_pool2d(features, 2, ceil_mode=True, count_include_pad=False)
        if self.stride < STRIDE:
            fine = functional.interpolate(features, scale_factor=2, mode="bilinear")
            return fine[..., : -(-height // self.stride), : -(-width // self.stride)]
        return features


def choose_device(name: str) -> torch.device:
    """The named device; "auto" takes a GPU where there is one.

    Raises:
        SettingsError: "cuda" is asked for and there is none.
    """
    available = torch.cuda.is_available()
    require(name != "cuda" or available, "no CUDA device here; use device cpu or auto")
    return torch.device("cuda" if name != "cpu" and available else "cpu")


def fold_batch_norm(network: FgsnNetwork) -> FgsnNetwork:
    """Fold each batch norm into the convolution before it, in place; evaluation mode only."""
    for module in list(network.modules()):
        if isinstance(module, nn.Sequential):
            _fold_pairs(module)
    return network


def _fold_pairs(sequence: nn.Sequential) -> None:
    for index in range(len(sequence) - 1):
        convolution, norm = sequence[index], sequence[index + 1]
        if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            sequence[index] = fuse_conv_bn_eval(convolution, norm)
            sequence[index + 1] = nn.Identity()
