"""Supervised training on semantic classes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fgsn_ros.correspondences.files import NO_CLASS
from fgsn_ros.correspondences.images import Image, ImageCache
from fgsn_ros.errors import TrainingError
from fgsn_ros.evaluation.segmentation_metrics import (
    Contingency,
    Counts,
    class_scores,
    segmentation_score,
)
from fgsn_ros.segmentation.label_network import on_grid
from fgsn_ros.training.crops import Crop, disturb, random_crop, random_scale
from fgsn_ros.training.losses import class_losses
from fgsn_ros.training.model import Model, heads_of, with_auxiliary
from fgsn_ros.training.objective import (
    PICTURES,
    SampleSeed,
    progress_within,
    scene_pictures,
    spread,
)
from fgsn_ros.training.processes import Processes
from fgsn_ros.training.scenes import Scene, read_scenes
from fgsn_ros.training.settings import TrainSettings

_LONGEST_COUNT = 200  # scenes whose pixels are counted: more would only cost time


@dataclass(frozen=True)
class SceneBatch:
    """Crops of images, and of their class ids."""

    images: Tensor  # (B, 3, h, w) uint8
    classes: Tensor  # (B, h, w) uint8


class SemanticObjective:
    """Cross entropy with the data's classes on random crops."""

    kind = "semantic"
    score = "mean_iou"

    def __init__(
        self, settings: TrainSettings, processes: Processes, folder: Path | None = None
    ) -> None:
        """Read the scenes in `folder`, without it in the settings' `data`."""
        self._settings = settings
        self._scenes = read_scenes(folder or settings.data, settings.road_marking, settings.coarse)
        self._cache = ImageCache(settings.cache_mb, settings.short_side_px)
        weights = np.ones(self.label_count)
        if settings.class_weights:
            weights = class_weights(self._scenes.training, self.label_count, self._cache)
        self._weights = torch.tensor(weights, dtype=torch.float32, device=processes.device)

    @property
    def label_count(self) -> int:
        """Number of classes."""
        return len(self._scenes.class_names)

    @property
    def label_names(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self._scenes.class_names

    def prepare(self, model: Model, iteration: int) -> Sequence[nn.Module]:
        """Nothing to prepare: the labels are given."""
        return ()

    def prepared_until(self, iteration: int) -> int:
        """The last step."""
        return self._settings.iterations

    def batch(self, seeds: Sequence[SampleSeed]) -> SceneBatch:
        """A crop for each seed."""
        rngs = [np.random.default_rng(seed) for seed in seeds]
        return SceneBatch(*random_batch(self._scenes.training, self._settings, self._cache, rngs))

    def losses(self, model: Model, batch: SceneBatch) -> dict[str, Tensor]:
        """The cross entropy of both heads."""
        images, classes = model.normalised(batch.images), batch.classes.to(model.device)
        every = torch.ones(len(images), dtype=torch.bool, device=model.device)
        weights, first = self._weights, model.network.first_cell_px
        terms = []
        for head in heads_of(model.network, images, every, others=False):
            losses = class_losses(head.all_logits, classes, weights, first)
            terms.append({"class": self._settings.loss.on_class * losses.mean()})
        return with_auxiliary(terms, self._settings.loss.auxiliary)

    def validate(self, model: Model) -> dict[str, float]:
        """Mean and per-class intersection over union on whole validation images."""
        scenes = spread(self._scenes.validation, self._settings.validation_images)

        def predict(image: Image) -> NDArray[np.int64]:
            return class_ids(model, image)

        confusion = confusion_on(scenes, predict, self.label_count, self._cache)
        of_class = zip(self.label_names, class_scores(confusion).iou.tolist(), strict=True)
        mean = segmentation_score(confusion).mean_iou
        return {"mean_iou": mean} | {f"iou/{name}": value for name, value in of_class}

    def pictures(self, model: Model) -> dict[str, Image]:
        """Validation images above their classes, true and found."""
        scenes = spread(self._scenes.validation, PICTURES)
        shown = [scene.read(self._cache) for scene in scenes]
        found = [(image, truth, class_ids(model, image)) for image, truth in shown]
        return {"classes": scene_pictures(found, self.label_count)}

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


@torch.no_grad()
def class_ids(model: Model, image: Image) -> NDArray[np.int64]:
    """Class id (H, W) of each pixel of an RGB image (H, W, 3), from logits between the cells."""
    logits = model.network(model.normalised(torch.from_numpy(image).permute(2, 0, 1)[None]))
    height, width = image.shape[:2]
    pixels = on_grid(logits.float(), model.network.first_cell_px, 1, height, width)
    return np.asarray(pixels[0].argmax(0).cpu().numpy())


def confusion_on(
    scenes: Sequence[Scene],
    predict: Callable[[Image], NDArray[np.int64]],
    count: int,
    cache: ImageCache,
) -> Counts:
    """Confusion matrix (K, K) [true class, label] over the pixels of scenes that have a class.

    Args:
        scenes: Images to compare on.
        predict: RGB image (H, W, 3) to class ids (H, W), below K.
        count: Number of classes K.
        cache: Reads the images.
    """
    table = Contingency()
    for scene in progress_within(scenes, "validation"):
        image, truth = scene.read(cache)
        table.add(predict(image), truth, unlabelled=NO_CLASS)
    return table.confusion(count)


def class_weights(scenes: tuple[Scene, ...], count: int, cache: ImageCache) -> NDArray[np.float64]:
    """Weight (K,) of each class: one over the square root of its share of pixels, at most 5."""
    pixels = np.ones(count)
    for scene in scenes[:: max(1, len(scenes) // _LONGEST_COUNT)]:
        classes = cache.classes(scene.classes, scene.ids)
        pixels += np.bincount(classes.ravel(), minlength=256)[:count]
    share = pixels / pixels.sum()
    return np.asarray(np.minimum(1.0 / np.sqrt(share * count), 5.0))


def random_batch(
    scenes: tuple[Scene, ...],
    settings: TrainSettings,
    cache: ImageCache,
    rngs: Sequence[np.random.Generator],
) -> tuple[Tensor, Tensor]:
    """Disturbed crops: images uint8 (B, 3, h, w) and class ids uint8 (B, h, w).

    Args:
        scenes: To choose from.
        settings: Sizes and disturbance.
        cache: Reads the images.
        rngs: One for each crop of the batch; chooses its image and the crop.
    """
    images, classes = [], []
    for rng in rngs:
        image, ids = scenes[rng.integers(len(scenes))].read(cache)
        crop = _random_crop(image, settings, rng)
        cropped = crop.image(image)
        images.append(disturb(cropped, rng, settings.grey_share, settings.photometric))
        classes.append(crop.classes(ids))
    stacked = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
    return stacked, torch.from_numpy(np.stack(classes))


def _random_crop(image: Image, settings: TrainSettings, rng: np.random.Generator) -> Crop:
    """A crop anywhere; what a rotation brings in from outside the image has no class."""
    scale = random_scale(settings.scale_min, settings.scale_max, rng)
    flipped = bool(rng.random() < settings.flip_share)
    most = np.deg2rad(settings.rotation_deg)
    return random_crop(
        image_size=(image.shape[0], image.shape[1]),
        crop_size=(settings.crop_height, settings.crop_width),
        scale=scale,
        rng=rng,
        flipped=flipped,
        rotation=float(rng.uniform(-most, most)),
    )
