"""Supervised training on semantic classes."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from fgsn_ros.errors import TrainingError
from fgsn_ros.segmentation.networks import STRIDE, FgsnNetwork
from fgsn_ros.training.images import ImageCache
from fgsn_ros.training.losses import class_loss
from fgsn_ros.training.normalisation import normalised
from fgsn_ros.training.scene_folders import read_scenes
from fgsn_ros.training.scenes import (
    Scenes,
    class_weights,
    mean_intersection_over_union,
    random_batch,
)
from fgsn_ros.training.settings import TrainSettings

_VALIDATION_SCENES = 150  # all of CamVid's


class SemanticObjective:
    """Class-weighted cross entropy on random crops; labels are the data's classes."""

    kind = "semantic"

    def __init__(self, settings: TrainSettings, device: torch.device) -> None:
        self._settings = settings
        self._device = device
        self._scenes: Scenes = read_scenes(settings.data, settings.road_marking, settings.coarse)
        self._cache = ImageCache(settings.cache_mb, settings.short_side_px)
        weights = class_weights(self._scenes.training, self.label_count, self._cache)
        self._weights = torch.tensor(weights, dtype=torch.float32, device=device)

    @property
    def label_count(self) -> int:
        """Number of classes."""
        return len(self._scenes.class_names)

    @property
    def label_names(self) -> tuple[str, ...] | None:
        """Names of the classes."""
        return self._scenes.class_names

    def prepare(self, network: FgsnNetwork, iteration: int) -> bool:
        """Nothing to prepare: the labels are given."""
        return False

    def losses(self, network: FgsnNetwork, rng: np.random.Generator) -> dict[str, Tensor]:
        """Loss of one random batch, by name."""
        seeds = rng.integers(2**62, size=self._settings.batch_size)
        rngs = [np.random.default_rng(seed) for seed in seeds]
        images, classes = random_batch(self._scenes.training, self._settings, self._cache, rngs)
        logits = network(normalised(images, self._device))
        return {"class": class_loss(logits, classes.to(self._device), self._weights, STRIDE)}

    def validate(self, network: FgsnNetwork) -> dict[str, float]:
        """Mean and per-class intersection over union on whole validation images."""

        def predict(image: NDArray[np.uint8]) -> NDArray[np.int64]:
            batch = torch.from_numpy(image).permute(2, 0, 1)[None]
            logits = network(normalised(batch, self._device))
            size = [length * STRIDE for length in logits.shape[-2:]]
            full = functional.interpolate(logits, size=size, mode="bilinear")[0].argmax(0)
            return full[: image.shape[0], : image.shape[1]].cpu().numpy()

        scenes = self._scenes.validation
        step = -(-len(scenes) // _VALIDATION_SCENES)
        mean, per_class = mean_intersection_over_union(
            predict, scenes[::step], self.label_count, self._cache
        )
        names = zip(self._scenes.class_names, per_class, strict=True)
        return {"mean_iou": mean} | {f"iou/{name}": float(value) for name, value in names}

    def state(self) -> dict[str, Tensor]:
        """Nothing beside the network."""
        return {}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Take back what `state` gave.

        Raises:
            TrainingError: it is another objective's.
        """
        if state:
            raise TrainingError("the state to resume is another objective's; use another output")
