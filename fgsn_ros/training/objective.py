"""What a network is trained for, and what all objectives show of it."""

from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from fgsn_ros.correspondences.images import Image, ImageCache
from fgsn_ros.correspondences.sets import Pair
from fgsn_ros.segmentation.labels import colourize, palette
from fgsn_ros.segmentation.segmenter import Segmenter
from fgsn_ros.training.model import Model

Item = TypeVar("Item")

SampleSeed = tuple[int, int, int]
"""Seed of the run, step, and number of the sample in the step: seeds the sample's generator."""
PICTURES = 4
"""Rows of a picture for TensorBoard."""
_WIDTH = 320  # [px] of one image in it


class Objective(Protocol):
    """Batches, losses and scores of one kind of training."""

    kind: str
    """Of the checkpoints: "semantic" or "fgsn"."""
    score: str
    """Name of the validation score, higher is better, that decides which checkpoint is best."""

    @property
    def label_count(self) -> int:
        """Number of labels K."""

    @property
    def label_names(self) -> tuple[str, ...] | None:
        """Names of the labels, if they are classes."""

    def prepare(self, model: Model, iteration: int) -> Sequence[nn.Module]:
        """Make what the batches from `iteration` on need; the layers whose meaning changed."""

    def prepared_until(self, iteration: int) -> int:
        """First iteration after `iteration` whose batches need another preparation."""

    def batch(self, seeds: Sequence[SampleSeed]) -> Any:
        """One sample for each seed; called in other threads."""

    def losses(self, model: Model, batch: Any) -> dict[str, Tensor]:
        """Weighted losses by name, each the mean of the samples'."""

    def validate(self, model: Model) -> dict[str, float]:
        """Scores by name, on data that is not trained on."""

    def pictures(self, model: Model) -> dict[str, NDArray[np.uint8]]:
        """Pictures (H, W, 3) by name, for TensorBoard."""

    def state(self) -> dict[str, Tensor]:
        """What is needed, beside network and optimizer, to continue."""

    def restore(self, state: dict[str, Tensor]) -> None:
        """Take back what `state` gave.

        Raises:
            TrainingError: it is another objective's, or of other data.
        """


def progress_within(items: Sequence[Item], title: str, silent: bool = False) -> "tqdm[Item]":
    """Items under a bar that takes the line of the run's own bar, and gives it back at its end."""
    return tqdm(items, desc=title, position=0, delay=2.0, leave=False, disable=silent)


def spread(items: Sequence[Item], count: int) -> tuple[Item, ...]:
    """At most `count` items, spread over the sequence."""
    indices = np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int)
    return tuple(items[index] for index in indices)


def pair_pictures(segmenter: Segmenter, pairs: Sequence[Pair], cache: ImageCache) -> Image:
    """A row for each pair: reference and target, and the labels of both."""
    rows = []
    for pair in pairs:
        images = [cache.colour(path) for path in (pair.reference, pair.target)]
        labels = [colourize(segmenter.segment(image)) for image in images]
        rows.append(_row([*images, *labels]))
    return np.concatenate(rows)


def scene_pictures(
    scenes: Sequence[tuple[Image, Image, NDArray[np.int64]]], class_count: int
) -> Image:
    """A row for each scene: the image, its true classes and those found."""
    colours = np.vstack([palette(class_count), np.zeros((256 - class_count, 3), np.uint8)])
    return np.concatenate(
        [_row([image, colours[true], colours[found]]) for image, true, found in scenes]
    )


def _row(images: Sequence[Image]) -> Image:
    """Images side by side, each _WIDTH wide and as high as the first one asks for."""
    height = round(images[0].shape[0] * _WIDTH / images[0].shape[1])
    size = (_WIDTH, height)
    resized = [cv2.resize(image, size, interpolation=cv2.INTER_AREA) for image in images]
    return np.concatenate(resized, axis=1)
