"""A trunk pretrained on image-level classes, where no ImageNet weights are at hand.

The stand-in for ImageNet: the trunk, pooled, learns which semantic classes cover more than a share
of a crop. It sees the same images, in as many steps, as the segmentation pretraining, and never
where in the crop a class is.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from fgsn_ros.correspondences.images import ImageCache
from fgsn_ros.outputs import whole_file
from fgsn_ros.segmentation.checkpoint import IMAGENET_MEAN, IMAGENET_STD
from fgsn_ros.segmentation.networks.lraspp import Lraspp
from fgsn_ros.training.loop import learning_rate
from fgsn_ros.training.model import Model
from fgsn_ros.training.scenes import read_scenes
from fgsn_ros.training.semantic import random_batch
from fgsn_ros.training.settings import TrainSettings

_COVERED = 0.02
"""Share of a crop from which a class counts as seen."""


class _Classifier(nn.Module):
    """An LR-ASPP's trunk with a linear layer on its pooled features."""

    def __init__(self, network: Lraspp, class_count: int) -> None:
        super().__init__()
        self.features = network.backbone  # the name that torchvision gives it
        self.classifier = nn.Linear(network.high[0].in_channels, class_count)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.features(images).mean(dim=(2, 3)))
        return logits


def train_classifier(settings: TrainSettings, path: Path) -> None:
    """Train LR-ASPP's trunk on the classes in `settings.data`; write it as torchvision names it."""
    scenes = read_scenes(settings.data)
    torch.manual_seed(settings.seed)
    if settings.threads:
        torch.set_num_threads(settings.threads)
    network = Lraspp(len(scenes.class_names))
    classifier = _Classifier(network, len(scenes.class_names)).train()
    model = Model(network, IMAGENET_MEAN, IMAGENET_STD)
    optimizer = torch.optim.AdamW(
        classifier.parameters(), weight_decay=settings.optimizer.weight_decay
    )
    cache = ImageCache(settings.cache_mb, settings.short_side_px)
    for step in tqdm(range(settings.iterations), desc="classification", mininterval=2):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(settings.optimizer, step, settings.iterations)
        rngs = [np.random.default_rng((settings.seed, step, n)) for n in range(settings.batch_size)]
        images, classes = random_batch(scenes.training, settings, cache, rngs)
        seen = _seen(classes, len(scenes.class_names))
        loss = functional.binary_cross_entropy_with_logits(
            classifier(model.normalised(images)), seen
        )
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    with whole_file(path) as temporary:
        torch.save(classifier.state_dict(), temporary)


def _seen(classes: Tensor, count: int) -> Tensor:
    """Which classes (B, K) cover enough of crops of class ids (B, h, w)."""
    shares = [(classes == number).float().mean(dim=(1, 2)) for number in range(count)]
    return (torch.stack(shares, dim=1) > _COVERED).float()
