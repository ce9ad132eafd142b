"""Classes that keep through the seasons (Larsson et al., CVPR 2019)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fgsn_ros.correspondences.images import ImageCache
from fgsn_ros.correspondences.sets import read_correspondence_sets, training_pairs, validation_pairs
from fgsn_ros.training.losses import hinge_losses, point_losses
from fgsn_ros.training.model import Head, Model, heads_of, with_auxiliary
from fgsn_ros.training.objective import PICTURES, SampleSeed, pair_pictures, spread
from fgsn_ros.training.pair_batches import PairBatch, random_pairs
from fgsn_ros.training.processes import Processes
from fgsn_ros.training.semantic import SceneBatch, SemanticObjective
from fgsn_ros.training.settings import LossSettings, TrainSettings
from fgsn_ros.training.statistics import is_stationary, label_pairs


@dataclass(frozen=True)
class CrossSeasonBatch:
    """Labelled crops, and crops of pairs."""

    scenes: SceneBatch
    pairs: PairBatch


class CrossSeasonObjective:
    """Cross entropy with given classes, and corresponding points alike.

    The reference image, taken in good conditions, tells what the target image's points should be:
    it gives no gradients. Points that it shows on a class that moves are left out.
    """

    kind = "semantic"
    score = "mean_iou"

    def __init__(self, settings: TrainSettings, processes: Processes) -> None:
        self._settings = settings
        self._semantic = SemanticObjective(settings, processes, settings.scenes)
        sets = read_correspondence_sets(settings.data)
        self._pairs = training_pairs(sets)
        self._validation = spread(validation_pairs(sets), settings.validation_images)
        self._cache = ImageCache(settings.cache_mb, settings.short_side_px)
        stays = [is_stationary(name) for name in self._semantic.label_names]
        self._stationary = torch.tensor(stays, device=processes.device)
        self._first_cell_px = 0.0

    @property
    def label_count(self) -> int:
        """Number of classes."""
        return self._semantic.label_count

    @property
    def label_names(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self._semantic.label_names

    def prepare(self, model: Model, iteration: int) -> Sequence[nn.Module]:
        """Nothing to prepare: the labels are given."""
        self._first_cell_px = model.network.first_cell_px
        return ()

    def prepared_until(self, iteration: int) -> int:
        """The last step."""
        return self._settings.iterations

    def batch(self, seeds: Sequence[SampleSeed]) -> CrossSeasonBatch:
        """A labelled crop and a pair of crops for each seed."""
        rngs = [np.random.default_rng((*seed, 1)) for seed in seeds]
        settings, first = self._settings, self._first_cell_px
        pairs = random_pairs(self._pairs, None, settings, self._cache, rngs, first)
        return CrossSeasonBatch(self._semantic.batch(seeds), pairs)

    def losses(self, model: Model, batch: CrossSeasonBatch) -> dict[str, Tensor]:
        """Cross entropy of labelled crops, and the loss at correspondences, of both heads."""
        pairs = batch.pairs.to(model.device)
        count = len(pairs.images) // 2
        targets = torch.arange(2 * count, device=model.device) >= count
        heads = heads_of(model.network, model.normalised(pairs.images), targets, others=True)
        weights = self._settings.loss
        losses = [alike_loss(pairs, head, weights, self._stationary) for head in heads]
        terms = [{"correspondence": loss} for loss in losses]
        alike = with_auxiliary(terms, weights.auxiliary)
        classes = self._semantic.losses(model, batch.scenes)
        names = sorted(alike.keys() | classes.keys())
        zero = torch.zeros((), device=model.device)
        return {
            name: weights.on_correspondence * alike.get(name, zero) + classes.get(name, zero)
            for name in names
        }

    def validate(self, model: Model) -> dict[str, float]:
        """Intersection over union, and consistency of the classes on held-out pairs."""
        segmenter = model.segmenter(self.kind)
        counted = label_pairs(segmenter, self._validation, self._cache, title="validation of pairs")
        return self._semantic.validate(model) | counted.summary()

    def pictures(self, model: Model) -> dict[str, NDArray[np.uint8]]:
        """Validation images and held-out pairs above their classes."""
        pairs = spread(self._validation, PICTURES)
        shown = pair_pictures(model.segmenter(self.kind), pairs, self._cache)
        return self._semantic.pictures(model) | {"pairs": shown}

    def state(self) -> dict[str, Tensor]:
        """Nothing beside the network."""
        return self._semantic.state()

    def restore(self, state: dict[str, Tensor]) -> None:
        """Take back what `state` gave.

        Raises:
            TrainingError: it is another objective's.
        """
        self._semantic.restore(state)


def alike_loss(pairs: PairBatch, head: Head, settings: LossSettings, stationary: Tensor) -> Tensor:
    """Mean loss of the pairs' points, which in the target shall be as in the reference.

    Args:
        pairs: Crops and their matches; labels are not needed.
        head: With the features of all crops.
        settings: Whether features or classes shall be alike, and the margin.
        stationary: (K,) bool: points that the reference shows on other classes are left out.
    """
    count = len(pairs.images) // 2
    crops, points = pairs.crop[pairs.matches], pairs.points[pairs.matches]  # [match, side]
    classes = head.logits_at(crops[:, 0], points[:, 0]).detach().argmax(dim=1)
    weights = pairs.weights[pairs.matches[:, 0]] * stationary[classes]
    if settings.alike == "classes":
        found = head.logits_at(crops[:, 1], points[:, 1])
        return point_losses(found, classes, weights, crops[:, 0], count).mean()
    reference = head.features_at(crops[:, 0], points[:, 0]).detach()
    target = head.features_at(crops[:, 1], points[:, 1])
    margin = settings.margin
    return hinge_losses(reference, target, weights, crops[:, 0], count, margin).mean()
