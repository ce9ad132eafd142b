"""Labels of reference images, from clusters of their features (ICCV 2019, section 3.1)."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from fgsn_ros.correspondences.images import ImageCache
from fgsn_ros.correspondences.pairs import References
from fgsn_ros.errors import TrainingError
from fgsn_ros.segmentation.networks import FgsnNetwork
from fgsn_ros.training.clustering import Clusters, cluster, match
from fgsn_ros.training.feature_store import FeatureStore
from fgsn_ros.training.grid import Labels
from fgsn_ros.training.losses import sample_cells
from fgsn_ros.training.model import Model
from fgsn_ros.training.processes import Processes
from fgsn_ros.training.settings import TrainSettings

_MATCHED = 50_000  # features that old and new labels are compared on


class ReferenceLabels:
    """Label maps of all reference images, on the network's grid over the resized image."""

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
        silent = not self._processes.first
        return tqdm(items, desc=name, delay=2.0, leave=False, disable=silent)


@torch.no_grad()
def _matched(clusters: Clusters, network: FgsnNetwork, features: Tensor) -> Clusters:
    """The clusters numbered as the labels that the network gives to most of their features."""
    device = network.classifier.weight.device
    logits = network.classify(features.to(device)[:, :, None, None])[:, :, 0, 0]
    new = clusters.assign(features).numpy()
    return clusters.reordered(match(logits.argmax(dim=1).cpu().numpy(), new, len(clusters.centres)))
