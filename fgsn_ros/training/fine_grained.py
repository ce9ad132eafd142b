"""Training of a fine-grained segmentation network (Larsson et al., ICCV 2019, section 3)."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fgsn_ros.correspondences.correspondence_sets import read_correspondence_sets
from fgsn_ros.correspondences.images import ImageCache
from fgsn_ros.correspondences.pairs import References, training_pairs, validation_pairs
from fgsn_ros.segmentation.label_network import fold_batch_norm
from fgsn_ros.segmentation.networks import FgsnNetwork
from fgsn_ros.training.clustering import set_classifier
from fgsn_ros.training.heads import Head, heads_of, with_auxiliary
from fgsn_ros.training.losses import cell_losses, hinge_losses, point_losses
from fgsn_ros.training.model import Model
from fgsn_ros.training.objective import SampleSeed
from fgsn_ros.training.pair_batches import PairBatch, random_pairs
from fgsn_ros.training.pictures import pair_pictures
from fgsn_ros.training.processes import Processes
from fgsn_ros.training.reference_labels import ReferenceLabels
from fgsn_ros.training.settings import TrainSettings
from fgsn_ros.training.statistics import label_pairs, spread

_PICTURES = 4
_RANDOM_STD = 0.01


@dataclass(frozen=True)
class FineGrainedBatch:
    """Crops of pairs, and which of them give gradients."""

    pairs: PairBatch
    learnt: Tensor  # (2B,) bool


class FineGrainedObjective:
    """L = L_class + L_corr (their equations 1 to 3) with labels from repeated clustering."""

    kind = "fgsn"
    score = "information"
    label_names: tuple[str, ...] | None = None

    def __init__(self, settings: TrainSettings, processes: Processes) -> None:
        self._settings = settings
        sets = read_correspondence_sets(settings.data)
        self._pairs = training_pairs(sets)
        self._validation = spread(validation_pairs(sets), settings.validation_images)
        self._cache = ImageCache(settings.cache_mb, settings.short_side_px)
        references = References(self._pairs)
        self._labels = ReferenceLabels(settings, references, self._cache, processes)
        self._first_cell_px = 0.0

    @property
    def label_count(self) -> int:
        """Number of clusters."""
        return self._settings.label_count

    def prepare(self, model: Model, iteration: int) -> Sequence[nn.Module]:
        """Cluster anew when it is time; the classifiers, if they were."""
        network = model.network
        self._first_cell_px = network.first_cell_px
        if iteration not in self._clusterings():
            return ()
        seed = self._settings.seed + iteration
        frozen = replace(model, network=fold_batch_norm(copy.deepcopy(network).eval()))
        clusters, features = self._labels.renew(frozen, iteration, seed)
        kind = self._settings.clustering.last_layer
        if kind == "kept" and iteration > 0:
            return ()
        layers = [network.classifier, network.auxiliary_classifier]
        changed = [layer for layer in layers if layer is not None]
        generator = torch.Generator().manual_seed(seed)
        for layer in changed:
            _randomise(layer, generator)
        if kind != "random":
            inputs = _classifier_inputs(frozen.network, features)
            set_classifier(network.classifier, clusters, features, inputs)
        return changed

    def prepared_until(self, iteration: int) -> int:
        """The step of the next clustering."""
        later = [step for step in self._clusterings() if step > iteration]
        return later[0] if later else self._settings.iterations

    def batch(self, seeds: Sequence[SampleSeed]) -> FineGrainedBatch:
        """A pair of crops for each seed."""
        rngs = [np.random.default_rng(seed) for seed in seeds]
        settings, maps = self._settings, self._labels.maps
        pairs = random_pairs(self._pairs, maps, settings, self._cache, rngs, self._first_cell_px)
        references = torch.tensor([bool(rng.random() < 0.5) for rng in rngs])
        if settings.loss.propagate == "both":
            return FineGrainedBatch(pairs, torch.ones(2 * len(rngs), dtype=torch.bool))
        return FineGrainedBatch(pairs, torch.cat([references, ~references]))

    def losses(self, model: Model, batch: FineGrainedBatch) -> dict[str, Tensor]:
        """L_class on the reference crops' cells and L_corr at correspondences, of both heads."""
        pairs, learnt = batch.pairs.to(model.device), batch.learnt.to(model.device)
        hinge = self._settings.loss.on_hinge > 0.0
        heads = heads_of(model.network, model.normalised(pairs.images), learnt, others=hinge)
        terms = [self._terms(pairs, learnt, head) for head in heads]
        return with_auxiliary(terms, self._settings.loss.auxiliary)

    def validate(self, model: Model) -> dict[str, float]:
        """Consistency and use of the labels on held-out pairs."""
        segmenter = model.segmenter(self.kind)
        return label_pairs(segmenter, self._validation, self._cache).summary()

    def pictures(self, model: Model) -> dict[str, NDArray[np.uint8]]:
        """Held-out pairs above their labels."""
        pairs = spread(self._validation, _PICTURES)
        return {"pairs": pair_pictures(model.segmenter(self.kind), pairs, self._cache)}

    def state(self) -> dict[str, Tensor]:
        """Label maps of the reference images."""
        return self._labels.state()

    def restore(self, state: dict[str, Tensor]) -> None:
        """Take back what `state` gave.

        Raises:
            TrainingError: it is of other data.
        """
        self._labels.restore(state)

    def _clusterings(self) -> list[int]:
        """Steps before which is clustered: not in the last, shorter part, which would not repay."""
        every, iterations = self._settings.clustering.every, self._settings.iterations
        return [0, *range(every, iterations - every + 1, every)]

    def _terms(self, pairs: PairBatch, learnt: Tensor, head: Head) -> dict[str, Tensor]:
        """Weighted losses of one head."""
        weights, count = self._settings.loss, len(pairs.cells)
        references = torch.nonzero(learnt[:count])[:, 0]
        on_cells = cell_losses(head.logits(references), pairs.cells[references])
        kept = learnt[pairs.crop]
        crop = pairs.crop[kept]
        logits = head.logits_at(crop, pairs.points[kept])
        on_points = point_losses(logits, pairs.labels[kept], pairs.weights[kept], crop, 2 * count)
        terms = {
            "class": weights.on_class * on_cells.sum() / count,
            "correspondence": weights.on_correspondence * on_points.sum() / count,
        }
        if weights.on_hinge:
            terms["hinge"] = weights.on_hinge * hinge(pairs, head, weights.margin)
        return terms


def hinge(pairs: PairBatch, head: Head, margin: float) -> Tensor:
    """Mean of the pairs' hinge losses."""
    crops, points = pairs.crop[pairs.matches], pairs.points[pairs.matches]  # [match, side]
    reference, target = (head.features_at(crops[:, side], points[:, side]) for side in (0, 1))
    weights = pairs.weights[pairs.matches[:, 0]]
    losses = hinge_losses(reference, target, weights, crops[:, 0], len(pairs.cells), margin)
    return losses.mean()


@torch.no_grad()
def _classifier_inputs(network: FgsnNetwork, features: Tensor) -> Tensor:
    """What enters the classifier (N, C) for features (N, D): after the ReLU where there is one."""
    seen: list[Tensor] = []
    hook = network.classifier.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    network.classify(features[:, :, None, None])
    hook.remove()
    return seen[0][:, :, 0, 0]


@torch.no_grad()
def _randomise(layer: nn.Conv2d, generator: torch.Generator) -> None:
    """Small random weights and no bias, as published."""
    weight = torch.normal(0.0, _RANDOM_STD, layer.weight.shape, generator=generator)
    layer.weight.copy_(weight)
    assert layer.bias is not None
    layer.bias.zero_()
