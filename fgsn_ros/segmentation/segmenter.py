"""Segmenter: image in, label map out."""

import copy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from fgsn_ros.config import require
from fgsn_ros.errors import RecordingError
from fgsn_ros.segmentation.checkpoint import Checkpoint
from fgsn_ros.segmentation.grids import on_grid
from fgsn_ros.segmentation.labels import LabelMap
from fgsn_ros.segmentation.networks import FgsnNetwork
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


def fold_batch_norm(network: FgsnNetwork) -> FgsnNetwork:
    """Fold each batch norm into the convolution before it, in place; evaluation mode only."""
    for module in list(network.modules()):
        children = dict(module.named_children())
        if isinstance(module, nn.Sequential):
            _fold_pairs(module, list(children)[:-1], list(children)[1:])
        else:  # a ResNet's block: conv1, bn1, conv2, bn2, ...
            norms = [name for name in children if name.startswith("bn")]
            _fold_pairs(module, [name.replace("bn", "conv") for name in norms], norms)
    return network


def _fold_pairs(parent: nn.Module, convolutions: list[str], norms: list[str]) -> None:
    for first, second in zip(convolutions, norms, strict=True):
        convolution, norm = getattr(parent, first, None), getattr(parent, second)
        if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            setattr(parent, first, fuse_conv_bn_eval(convolution, norm))
            setattr(parent, second, nn.Identity())
