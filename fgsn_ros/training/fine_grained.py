"""Training of a fine-grained segmentation network (Larsson et al., ICCV 2019, section 3)."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from fgsn_ros.correspondences.images import ImageCache
from fgsn_ros.correspondences.sets import (
    References,
    read_correspondence_sets,
    training_pairs,
    validation_pairs,
)
from fgsn_ros.errors import TrainingError
from fgsn_ros.segmentation.label_network import fold_batch_norm
from fgsn_ros.segmentation.networks import FgsnNetwork
from fgsn_ros.training.clustering import (
    Clusters,
    FeatureStore,
    cluster,
    match,
    set_classifier,
)
from fgsn_ros.training.grid import Labels, sample_cells
from fgsn_ros.training.losses import cell_losses, hinge_losses, point_losses
from fgsn_ros.training.model import Head, Model, heads_of, with_auxiliary
from fgsn_ros.training.objective import (
    PICTURES,
    SampleSeed,
    pair_pictures,
    progress_within,
    spread,
)
from fgsn_ros.training.pair_batches import PairBatch, random_pairs
from fgsn_ros.training.processes import Processes
from fgsn_ros.training.settings import TrainSettings
from fgsn_ros.training.statistics import label_pairs

_RANDOM_STD = 0.01
_MATCHED = 50_000  # features that old and new labels are compared on


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
        return label_pairs(segmenter, self._validation, self._cache, title="validation").summary()

    def pictures(self, model: Model) -> dict[str, NDArray[np.uint8]]:
        """Held-out pairs above their labels."""
        pairs = spread(self._validation, PICTURES)
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


class ReferenceLabels:
    """Label maps of all reference images, from clusters of their features (section 3.1).

    They are on the network's grid over the resized image.
    """

    def __init__(
        self,
        settings: TrainSettings,
        references: References,
        cache: ImageCache,
        processes: Processes,
    ) -> None:
        self._settings = settings
        self._references = references
        self._cache = cache
        self._processes = processes
        self.maps: dict[Path, Labels] = {}
        """Label map (h, w) of each image; none before the first clustering."""

    def renew(self, model: Model, iteration: int, seed: int) -> tuple[Clusters, Tensor]:
        """Cluster features of the network and label all reference images with the clusters.

        Returns:
            The clusters, and some of the features (N, D), the same in every process.
        """
        clusters, features = self._processes.from_first(self._clusters(model, seed))
        if self._processes.first:
            clusters.save(self._settings.output / f"clusters_{iteration}.safetensors")
        clusters = clusters.to(model.device)
        images = self._references.images
        mine = {
            number: self._labelled(model, clusters, images[number])
            for number in self._progress(self._processes.share(len(images)), "labels")
        }
        maps = self._processes.all_items(mine, len(images))
        self.maps = dict(zip(images, maps, strict=True))
        return clusters, torch.from_numpy(features).to(model.device)

    def state(self) -> dict[str, Tensor]:
        """The label maps by number of the image."""
        return {
            str(number): torch.from_numpy(self.maps[image].astype(np.int32))
            for number, image in enumerate(self._references.images)
        }

    def restore(self, state: dict[str, Tensor]) -> None:
        """Take back what `state` gave.

        Raises:
            TrainingError: it is of other data.
        """
        images = self._references.images
        if len(state) != len(images):
            raise TrainingError("the state to resume is of other data; use another output")
        self.maps = {
            image: state[str(number)].numpy().astype(np.uint16)
            for number, image in enumerate(images)
        }

    def _clusters(self, model: Model, seed: int) -> tuple[Clusters, NDArray[np.float32]] | None:
        """At the first process, the clusters and some of the features."""
        settings = self._settings.clustering
        with FeatureStore(self._settings.output) as store:
            self._extract(model, seed, store)
            if not self._processes.first:
                return None
            count = self._settings.label_count
            clusters = cluster(store, count, settings.pca_dimensions, seed, settings.smallest)
            step = max(1, len(store) // _MATCHED)
            some = np.array(store.rows()[::step])
        if settings.last_layer == "kept" and self.maps:
            clusters = _matched(clusters, model.network, torch.from_numpy(some))
        return clusters, some

    def _extract(self, model: Model, seed: int, store: FeatureStore) -> None:
        """Add features of reference images to the first process's store, image by image."""
        images = self._references.images
        count = self._settings.clustering.images or len(images)
        draw = np.random.default_rng(seed)
        chosen = sorted(draw.choice(len(images), min(count, len(images)), replace=False).tolist())
        mine = self._processes.share(len(chosen))
        for turn in self._progress(range(-(-len(chosen) // self._processes.count)), "features"):
            rows = None
            if turn < len(mine):
                number = chosen[mine[turn]]
                rows = self._rows(model, images[number], np.random.default_rng((seed, number)))
            for part in self._processes.gathered(rows):
                store.add(part)

    def _rows(self, model: Model, reference: Path, rng: np.random.Generator) -> NDArray[np.float32]:
        """Features (N, D) at correspondences and at random pixels of an image."""
        grid = self._features(model, reference)
        points = torch.from_numpy(self._pixels(reference, rng)).float().to(grid.device)
        first = torch.zeros(len(points), dtype=torch.long, device=grid.device)
        rows = sample_cells(grid, first, points, model.network.first_cell_px)
        return np.asarray(rows.cpu().numpy(), np.float32)

    def _pixels(self, reference: Path, rng: np.random.Generator) -> NDArray[np.float64]:
        """Pixels (N, 2) (u, v) that give features; repeated where correspondences are few."""
        settings = self._settings.clustering
        height, width = self._cache.colour(reference).shape[:2]
        known = self._references.points(reference, self._cache)
        count = round(settings.correspondence_share * settings.features_per_image)
        anywhere = rng.uniform(
            (-0.5, -0.5), (width - 0.5, height - 0.5), (settings.features_per_image - count, 2)
        )
        return np.concatenate([known[rng.integers(len(known), size=count)], anywhere])

    def _labelled(self, model: Model, clusters: Clusters, reference: Path) -> Labels:
        grid = self._features(model, reference)[0]
        labels = clusters.assign(grid.flatten(1).T).reshape(grid.shape[1:])
        return labels.cpu().numpy().astype(np.uint16)

    @torch.no_grad()
    def _features(self, model: Model, reference: Path) -> Tensor:
        batch = torch.from_numpy(self._cache.colour(reference)).permute(2, 0, 1)[None]
        return model.network.features(model.normalised(batch)).float()

    def _progress(self, items: range, name: str) -> "tqdm[int]":
        return progress_within(items, name, silent=not self._processes.first)


@torch.no_grad()
def _matched(clusters: Clusters, network: FgsnNetwork, features: Tensor) -> Clusters:
    """The clusters numbered as the labels that the network gives to most of their features."""
    device = network.classifier.weight.device
    logits = network.classify(features.to(device)[:, :, None, None])[:, :, 0, 0]
    new = clusters.assign(features).numpy()
    return clusters.reordered(match(logits.argmax(dim=1).cpu().numpy(), new, len(clusters.centres)))
