"""A network in training, and how its images are made ready."""

from dataclasses import dataclass

import torch
from torch import Tensor

from fgsn_ros.segmentation.checkpoint import Checkpoint
from fgsn_ros.segmentation.networks import STRIDE, FgsnNetwork
from fgsn_ros.segmentation.segmenter import Segmenter, SegmenterSettings


@dataclass(frozen=True)
class Model:
    """A network on its device, and the normalisation of its images."""

    network: FgsnNetwork
    mean: tuple[float, float, float]  # RGB, of images scaled to [0, 1]
    std: tuple[float, float, float]

    @property
    def device(self) -> torch.device:
        """That the network is on."""
        return self.network.classifier.weight.device

    def normalised(self, images: Tensor) -> Tensor:
        """Float images (B, 3, H, W), channels last, on the device, of RGB uint8 ones."""
        mean, std = (
            torch.tensor(values, device=self.device).view(1, 3, 1, 1)
            for values in (self.mean, self.std)
        )
        scaled = images.to(self.device).float().div_(255.0)
        return ((scaled - mean) / std).contiguous(memory_format=torch.channels_last)

    def checkpoint(self, kind: str, label_names: tuple[str, ...] | None) -> Checkpoint:
        """The network as a checkpoint without statistics; its weights are not copied."""
        return Checkpoint(
            self.network, kind=kind, mean=self.mean, std=self.std, label_names=label_names
        )

    def segmenter(self, kind: str, stride: int = STRIDE) -> Segmenter:
        """Labels images with a copy of the network, on its device."""
        # eager: a network that is about to change is not worth a graph
        settings = SegmenterSettings(self.device.type, stride, backend="eager")
        return Segmenter(self.checkpoint(kind, None), settings)
