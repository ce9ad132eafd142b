"""A network in training: how its images are made ready, and what its heads say of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from fgsn_ros.segmentation.checkpoint import Checkpoint
from fgsn_ros.segmentation.networks import STRIDE, FgsnNetwork
from fgsn_ros.segmentation.networks.base import Normalisation
from fgsn_ros.segmentation.segmenter import Segmenter, SegmenterSettings
from fgsn_ros.training.grid import sample_cells


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
        normalised: Tensor = self._normalisation(images.to(self.device).permute(0, 2, 3, 1))
        return normalised

    @cached_property
    def _normalisation(self) -> Normalisation:
        return Normalisation(self.mean, self.std).to(self.device)

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


@dataclass(frozen=True)
class Head:
    """The main or the auxiliary head's features of the images of a batch."""

    features: Tensor  # (R, D, h, w)
    rows: Tensor  # (N,) row of `features` of each of the batch's images
    classify: Callable[[Tensor], Tensor]  # features to logits
    first_cell_px: float

    def logits(self, images: Tensor) -> Tensor:
        """Logits (n, K, h, w) of the images with the numbers `images` (n,)."""
        return self.all_logits[self.rows[images]]

    def logits_at(self, images: Tensor, points: Tensor) -> Tensor:
        """Logits (n, K) at pixels (n, 2) (u, v) of the images with the numbers `images` (n,)."""
        return sample_cells(self.all_logits, self.rows[images], points, self.first_cell_px)

    def features_at(self, images: Tensor, points: Tensor) -> Tensor:
        """Features (n, D) at pixels (n, 2) (u, v) of the images with the numbers `images` (n,)."""
        return sample_cells(self.features, self.rows[images], points, self.first_cell_px)

    @cached_property
    def all_logits(self) -> Tensor:
        """Logits (R, K, h, w) of all rows."""
        return self.classify(self.features)


def heads_of(
    network: FgsnNetwork, images: Tensor, learnt: Tensor, others: bool
) -> tuple[Head, ...]:
    """Main and, if there is one, auxiliary head.

    Args:
        network: In training mode.
        images: (N, 3, H, W) normalised.
        learnt: (N,) bool: images that give gradients.
        others: Whether the other images' features are needed too.
    """
    main, auxiliary = network.features_and_auxiliary(images[learnt])
    rows = torch.cumsum(learnt, dim=0) - 1
    if others and not bool(learnt.all()):
        with torch.no_grad():
            known = network.features_and_auxiliary(images[~learnt])
        rows = torch.where(learnt, rows, len(main) + torch.cumsum(~learnt, dim=0) - 1)
        main = torch.cat([main, known[0]])
        if auxiliary is not None and known[1] is not None:
            auxiliary = torch.cat([auxiliary, known[1]])
    heads = [Head(main, rows, network.classify, network.first_cell_px)]
    if auxiliary is not None:
        heads.append(Head(auxiliary, rows, network.classify_auxiliary, network.first_cell_px))
    return tuple(heads)


def with_auxiliary(terms: Sequence[dict[str, Tensor]], weight: float) -> dict[str, Tensor]:
    """The main head's losses, and `weight` times the sum of the auxiliary head's."""
    main, *auxiliary = terms
    if not auxiliary:
        return main
    return main | {"auxiliary": weight * torch.stack(list(auxiliary[0].values())).sum()}
