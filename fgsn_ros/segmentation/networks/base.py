"""What every segmentation network has: features at stride 8 and a linear classifier on them."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from fgsn_ros.segmentation.architectures import Traits, cells_of, traits_of


class Normalisation(nn.Module):
    """What a network takes of images as a camera gives them.

    Args:
        mean: Of R, G and B, of images scaled to [0, 1].
        std: Likewise.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        means, deviations = (np.asarray(values, np.float32) for values in (mean, std))
        # what the bytes of R, G and B are multiplied with, and what is added then
        self.register_buffer("scale", torch.from_numpy(1.0 / (255.0 * deviations)))
        self.register_buffer("shift", torch.from_numpy(-means / deviations))

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images (B, 3, H, W), channels last, of RGB uint8 (B, H, W, 3)."""
        # a float before all else: TensorRT takes bytes in for nothing but this
        scaled = torch.addcmul(self.shift, images.float(), self.scale)
        return scaled.permute(0, 3, 1, 2)


class FgsnNetwork(nn.Module, ABC):
    """A segmentation network whose features are clustered into fine-grained labels.

    Its `classifier` is the last convolution, 1x1; the features are what enters it, before the ReLU
    where that is between them.
    """

    architecture: str
    feature_dim: int
    """D."""
    classifier: nn.Conv2d
    auxiliary_classifier: nn.Conv2d | None

    @property
    def traits(self) -> Traits:
        """What images it takes, and where its cells are."""
        return traits_of(self.architecture)

    @property
    def first_cell_px(self) -> float:
        """Cell (i, j) of the features is centred on pixel first_cell_px + 8 (j, i)."""
        return self.traits.first_cell_px

    @property
    def label_count(self) -> int:
        """Number of labels K."""
        return self.classifier.out_channels

    def features(self, images: Tensor) -> Tensor:
        """Features (B, D, ceil(H/8), ceil(W/8)) of normalised images (B, 3, H, W)."""
        height, width = map(int, images.shape[-2:])  # numbers where a graph is traced, too
        multiple = self.traits.side_multiple
        padding = (0, -width % multiple, 0, -height % multiple)
        if not any(padding):
            return self.filled_features(images)
        features = self.filled_features(functional.pad(images, padding, mode="replicate"))
        return features[..., : cells_of(height), : cells_of(width)]

    @abstractmethod
    def filled_features(self, images: Tensor) -> Tensor:
        """Features of images whose sides are multiples of `traits.side_multiple`."""

    def features_and_auxiliary(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Features as `features`, and those of the auxiliary head if there is one: for training."""
        return self.features(images), None

    def classify(self, features: Tensor) -> Tensor:
        """Logits (B, K, h, w) of features (B, D, h, w)."""
        logits: Tensor = self.classifier(features)
        return logits

    def classify_auxiliary(self, features: Tensor) -> Tensor:
        """Logits (B, K, h, w) of features of the auxiliary head."""
        assert self.auxiliary_classifier is not None, f"{self.architecture} has no auxiliary head"
        logits: Tensor = self.auxiliary_classifier(features)
        return logits

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, K, ceil(H/8), ceil(W/8)) of normalised images (B, 3, H, W)."""
        return self.classify(self.features(images))

    def reset_classifiers(self, label_count: int, generator: torch.Generator | None = None) -> None:
        """Replace the classifiers by random ones for `label_count` labels."""
        with seeded(generator):
            self.classifier = _for_labels(self.classifier, label_count)
            if self.auxiliary_classifier is not None:
                self.auxiliary_classifier = _for_labels(self.auxiliary_classifier, label_count)


@contextmanager
def seeded(generator: torch.Generator | None) -> Iterator[None]:
    """Weights drawn in the block follow from the generator (none: seed 0); global state is kept."""
    seed = 0
    if generator is not None:
        seed = int(torch.randint(2**62, (1,), generator=generator).item())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def _for_labels(classifier: nn.Conv2d, label_count: int) -> nn.Conv2d:
    weight = classifier.weight
    return nn.Conv2d(classifier.in_channels, label_count, 1).to(weight.device, weight.dtype)
