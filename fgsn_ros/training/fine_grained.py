"""Training of a fine-grained segmentation network (Larsson et al., ICCV 2019, section 3)."""

import copy
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from fgsn_ros.errors import TrainingError
from fgsn_ros.segmentation.checkpoint import Checkpoint
from fgsn_ros.segmentation.networks import STRIDE, FgsnNetwork
from fgsn_ros.segmentation.segmenter import Segmenter, fold_batch_norm
from fgsn_ros.segmentation.settings import SegmenterSettings
from fgsn_ros.training.clustering import Clusters, cluster
from fgsn_ros.training.correspondence_sets import read_correspondence_sets
from fgsn_ros.training.grid import IGNORED, Labels
from fgsn_ros.training.images import ImageCache
from fgsn_ros.training.losses import sample_cells, weighted_cross_entropy
from fgsn_ros.training.normalisation import normalised
from fgsn_ros.training.pair_batches import random_pairs
from fgsn_ros.training.pairs import Pair, References, training_pairs, validation_pairs
from fgsn_ros.training.settings import TrainSettings
from fgsn_ros.training.statistics import label_pairs

_CLUSTERED_IMAGES = 300  # enough features for 1000 clusters; more only costs time
_VALIDATION_PAIRS = 60


class FineGrainedObjective:
    """L = L_class + L_corr (their equations 1 to 3) with labels from repeated clustering."""

    kind = "fgsn"
    label_names: tuple[str, ...] | None = None

    def __init__(self, settings: TrainSettings, device: torch.device) -> None:
        self._settings = settings
        self._device = device
        sets = read_correspondence_sets(settings.data)
        self._pairs = training_pairs(sets)
        self._validation = _spread(validation_pairs(sets), _VALIDATION_PAIRS)
        self._cache = ImageCache(settings.cache_mb, settings.short_side_px)
        self._points = References(self._pairs)
        self._references = self._points.images
        self._labels: dict[Path, Labels] = {}

    @property
    def label_count(self) -> int:
        """Number of clusters."""
        return self._settings.label_count

    def prepare(self, network: FgsnNetwork, iteration: int) -> bool:
        """Cluster anew when it is time; true if the classifier was replaced by the clusters."""
        settings = self._settings
        left = settings.iterations - iteration
        too_late = iteration > 0 and left < settings.recluster_every
        if iteration % settings.recluster_every or too_late:
            return False
        seed = settings.seed + iteration
        frozen = fold_batch_norm(copy.deepcopy(network).eval())
        features = self._clustered_features(frozen, np.random.default_rng((seed, 1)))
        clusters = cluster(
            features.cpu().numpy(), self.label_count, settings.pca_dimensions, seed
        ).to(self._device)
        clusters.initialise(network.classifier, features)
        self._label_references(frozen, clusters)
        return True

    def losses(self, network: FgsnNetwork, rng: np.random.Generator) -> dict[str, Tensor]:
        """L_class on the reference crops' cells and L_corr at correspondences of both crops."""
        seeds = rng.integers(2**62, size=self._settings.batch_size)
        rngs = [np.random.default_rng(seed) for seed in seeds]
        batch = random_pairs(self._pairs, self._labels, self._settings, self._cache, rngs)
        logits = network(normalised(batch.images, self._device))
        cells = batch.cells.to(self._device)
        on_cells = functional.cross_entropy(
            logits[: len(cells)], cells, ignore_index=IGNORED, reduction="sum"
        ) / (cells != IGNORED).sum().clamp(min=1)
        at_points = sample_cells(
            logits, batch.crop.to(self._device), batch.points.to(self._device), STRIDE
        )
        on_points = weighted_cross_entropy(
            at_points, batch.labels.to(self._device), batch.weights.to(self._device)
        )
        return {"class": on_cells, "correspondence": on_points}

    def validate(self, network: FgsnNetwork) -> dict[str, float]:
        """Consistency and use of the labels on held-out pairs."""
        device = "cuda" if self._device.type == "cuda" else "cpu"
        segmenter = Segmenter(Checkpoint(network), SegmenterSettings(device=device, stride=STRIDE))
        return label_pairs(segmenter, self._validation, self._cache).summary()

    def state(self) -> dict[str, Tensor]:
        """Label maps of the reference images, by the images' order."""
        return {
            str(index): torch.from_numpy(self._labels[path].astype(np.int32))
            for index, path in enumerate(self._references)
        }

    def restore(self, state: dict[str, Tensor]) -> None:
        """Take back what `state` gave.

        Raises:
            TrainingError: it is of other data.
        """
        if state.keys() != {str(index) for index in range(len(self._references))}:
            raise TrainingError("the state to resume is of other data; use another output")
        self._labels = {
            path: state[str(index)].numpy().astype(np.uint16)
            for index, path in enumerate(self._references)
        }

    def _clustered_features(self, network: FgsnNetwork, rng: np.random.Generator) -> Tensor:
        """Features (N, 128) at correspondences and, as many, at random pixels of references."""
        count = min(_CLUSTERED_IMAGES, len(self._references))
        chosen = sorted(rng.choice(len(self._references), count, replace=False))
        samples = []
        for index in tqdm(chosen, desc="features", delay=2.0, leave=False):
            path = self._references[index]
            grid = self._features(network, path)
            height, width = self._cache.colour(path).shape[:2]
            half = (self._settings.features_per_image + 1) // 2
            points = self._points.points(path, self._cache)
            known = points[rng.integers(len(points), size=half)]
            anywhere = rng.uniform((-0.5, -0.5), (width - 0.5, height - 0.5), (half, 2))
            pixels = torch.from_numpy(np.concatenate([known, anywhere])).float().to(self._device)
            first = torch.zeros(len(pixels), dtype=torch.long, device=self._device)
            samples.append(sample_cells(grid, first, pixels, STRIDE))
        return torch.cat(samples)

    def _label_references(self, network: FgsnNetwork, clusters: Clusters) -> None:
        for path in tqdm(self._references, desc="labels", delay=2.0, leave=False):
            grid = self._features(network, path)[0]
            labels = clusters.assign(grid.flatten(1).T).reshape(grid.shape[1:])
            self._labels[path] = labels.cpu().numpy().astype(np.uint16)

    @torch.no_grad()
    def _features(self, network: FgsnNetwork, path: Path) -> Tensor:
        image = torch.from_numpy(self._cache.colour(path)).permute(2, 0, 1)[None]
        return network.features(normalised(image, self._device))


def _spread(pairs: tuple[Pair, ...], count: int) -> tuple[Pair, ...]:
    """At most `count` pairs, spread over the list."""
    indices = np.linspace(0, len(pairs) - 1, min(count, len(pairs))).round().astype(int)
    return tuple(pairs[index] for index in indices)
