"""Images with semantic classes: batches, class weights and scores."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fgsn_ros.correspondences.images import Image, ImageCache, disturb
from fgsn_ros.errors import TrainingError
from fgsn_ros.training.crops import Crop, random_crop, random_scale
from fgsn_ros.training.settings import TrainSettings

_LONGEST_COUNT = 200  # scenes whose pixels are counted: more would only cost time


@dataclass(frozen=True)
class Scene:
    """An image and the image of its classes; ids from the number of classes on are ignored."""

    image: Path
    classes: Path
    ids: bytes | None = None
    """class id of each of the 256 values in `classes`; None: they are the ids"""

    def read(self, cache: ImageCache) -> tuple[Image, Image]:
        """The image (H, W, 3) and its class ids (H, W).

        Raises:
            TrainingError: one cannot be read, or their sizes differ.
        """
        image, classes = cache.colour(self.image), cache.classes(self.classes, self.ids)
        if image.shape[:2] != classes.shape:
            raise TrainingError(
                f"{self.image} is {image.shape[:2]} and its classes {self.classes} are "
                f"{classes.shape} (rows, columns); one of them was resized or turned"
            )
        return image, classes


@dataclass(frozen=True)
class Scenes:
    """Images to learn classes from."""

    training: tuple[Scene, ...]
    validation: tuple[Scene, ...]
    class_names: tuple[str, ...]
    test: tuple[Scene, ...] = ()


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


def mean_intersection_over_union(
    predict: Callable[[NDArray[np.uint8]], NDArray[np.int64]],
    scenes: tuple[Scene, ...],
    count: int,
    cache: ImageCache,
) -> tuple[float, NDArray[np.float64]]:
    """Mean and per-class (K,) intersection over union; classes that are nowhere are left out.

    Args:
        predict: RGB image (H, W, 3) to class ids (H, W).
        scenes: Images to compare on.
        count: Number of classes K.
        cache: Reads the images.
    """
    confusion = np.zeros((count, count))
    for scene in scenes:
        image, truth = scene.read(cache)
        predicted = predict(image)
        known = truth < count
        pairs = truth[known].astype(np.int64) * count + predicted[known]
        confusion += np.bincount(pairs, minlength=count * count).reshape(count, count)
    hits = np.diag(confusion)
    union = confusion.sum(0) + confusion.sum(1) - hits
    per_class = np.divide(hits, union, out=np.full(count, np.nan), where=union > 0)
    return float(np.nanmean(per_class)), per_class
