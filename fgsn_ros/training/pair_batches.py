"""Batches of image pairs: crops around a correspondence, and the labels that they show."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fgsn_ros.correspondences.images import Image, ImageCache
from fgsn_ros.correspondences.sets import Pair
from fgsn_ros.segmentation.networks import STRIDE
from fgsn_ros.training.crops import Crop, disturb, random_crop, random_scale
from fgsn_ros.training.grid import CENTRED, IGNORED, Labels, cell_centres, labels_at
from fgsn_ros.training.settings import TrainSettings

Points = NDArray[np.float64]


@dataclass(frozen=True)
class PairBatch:
    """Crops of reference images, then of target images, with their labels."""

    images: Tensor  # (2B, 3, h, w) uint8
    cells: Tensor  # (B, ceil(h / 8), ceil(w / 8)) labels of the reference crops, or IGNORED
    crop: Tensor  # (M,) index of the crop that each point is in
    points: Tensor  # (M, 2) pixels (u, v) in that crop
    labels: Tensor  # (M,) label at the reference point; IGNORED where none are given
    weights: Tensor  # (M,)
    matches: Tensor  # (P, 2) rows of the points that show one 3D point in reference and target

    def to(self, device: torch.device) -> "PairBatch":
        """The batch on a device."""
        return PairBatch(**{name: tensor.to(device) for name, tensor in vars(self).items()})


@dataclass(frozen=True)
class _Drawn:
    """Crops of one pair, as reference and target."""

    crops: tuple[Crop, Crop]
    images: tuple[Image, Image]
    points: tuple[Points, Points]  # (N, 2) pixels (u, v) of the whole images
    weights: NDArray[np.float64]  # (N,)


def random_pairs(
    pairs: tuple[Pair, ...],
    labels: dict[Path, Labels] | None,
    settings: TrainSettings,
    cache: ImageCache,
    rngs: Sequence[np.random.Generator],
    first_cell_px: float = CENTRED,
) -> PairBatch:
    """Disturbed crops of random pairs, each pair around one of its correspondences.

    A point that a crop does not show is no point of that crop; it may be one of the other.

    Args:
        pairs: To choose from.
        labels: Label map of each reference image as `cache` gives it; points without a label are
            left out. Without any maps all points are kept.
        settings: Sizes and disturbance.
        cache: Reads the images.
        rngs: One for each pair of the batch; chooses it and its crops.
        first_cell_px: Centre of the first cell of the label maps and of the crops' cells [px].
    """
    images: tuple[list[Image], list[Image]] = ([], [])
    cells, samples = [], _Samples(len(rngs))
    for index, rng in enumerate(rngs):
        pair = pairs[rng.integers(len(pairs))]
        drawn = _draw(pair, settings, cache, rng)
        for side in (0, 1):
            images[side].append(drawn.images[side])
        maps = None if labels is None else labels[pair.reference]
        cells.append(_cells(maps, drawn.crops[0], first_cell_px))
        samples.add(index, drawn, _point_labels(maps, drawn.points[0], first_cell_px))
    return samples.batch(_stacked(images[0] + images[1]), torch.from_numpy(np.stack(cells)))


def _draw(
    pair: Pair, settings: TrainSettings, cache: ImageCache, rng: np.random.Generator
) -> _Drawn:
    """Disturbed crops of both images around the same correspondence."""
    whole = cache.colour(pair.reference), cache.colour(pair.target)
    points = (
        cache.pixels(pair.reference, pair.reference_points),
        cache.pixels(pair.target, pair.target_points),
    )
    crops = _crops(points, (whole[0].shape, whole[1].shape), settings, rng)
    reference, target = (
        disturb(crop.image(image), rng, settings.grey_share, settings.photometric)
        for crop, image in zip(crops, whole, strict=True)
    )
    return _Drawn(crops, (reference, target), points, pair.weights)


def _crops(
    points: tuple[Points, Points],
    shapes: tuple[tuple[int, ...], tuple[int, ...]],
    settings: TrainSettings,
    rng: np.random.Generator,
) -> tuple[Crop, Crop]:
    """One crop of each image that show the same correspondence; mirrored both or neither.

    Mirroring is off unless asked for: a label may tell a left edge from a right one, and a map
    needs that.
    """
    centre = rng.integers(len(points[0]))
    flipped = bool(rng.random() < settings.flip_share)
    reference, target = (
        random_crop(
            image_size=(shape[0], shape[1]),
            crop_size=(settings.crop_height, settings.crop_width),
            scale=random_scale(settings.scale_min, settings.scale_max, rng),
            rng=rng,
            around=of_image[centre],
            flipped=flipped,
        )
        for shape, of_image in zip(shapes, points, strict=True)
    )
    return reference, target


def _cells(labels: Labels | None, crop: Crop, first_cell_px: float) -> NDArray[np.int64]:
    """Labels (ceil(h / 8), ceil(w / 8)) under the centres of a crop's cells."""
    grid = (-(-crop.height // STRIDE), -(-crop.width // STRIDE))
    if labels is None:
        return np.full(grid, IGNORED, np.int64)
    centres = crop.source_points(cell_centres(grid, first_cell_px))
    return labels_at(labels, centres, first_cell_px).reshape(grid)


def _point_labels(
    labels: Labels | None, points: Points, first_cell_px: float
) -> NDArray[np.int64] | None:
    return None if labels is None else labels_at(labels, points, first_cell_px)


class _Samples:
    """Gathers the points of a batch's crops."""

    def __init__(self, batch_size: int) -> None:
        self._batch_size = batch_size
        self._crop: list[NDArray[np.int64]] = []
        self._points: list[NDArray[np.float32]] = []
        self._labels: list[NDArray[np.int64]] = []
        self._weights: list[NDArray[np.float64]] = []
        self._matches: list[NDArray[np.int64]] = []
        self._count = 0

    def add(self, index: int, drawn: _Drawn, labels: NDArray[np.int64] | None) -> None:
        """Points of the pair of crops `index`; with labels (N,), those that have one."""
        known = np.ones(len(drawn.weights), bool) if labels is None else labels != IGNORED
        labels = np.full(len(known), IGNORED, np.int64) if labels is None else labels
        rows = np.full((len(known), 2), -1, np.int64)
        for side in (0, 1):
            # rounded before the border is tested: no rounding can carry a point over it after
            points = drawn.crops[side].points(drawn.points[side]).astype(np.float32)
            kept = np.flatnonzero(drawn.crops[side].shows(points) & known)
            rows[kept, side] = self._count + np.arange(len(kept))
            self._count += len(kept)
            self._crop.append(np.full(len(kept), index + side * self._batch_size, np.int64))
            self._points.append(points[kept])
            self._labels.append(labels[kept])
            self._weights.append(drawn.weights[kept])
        self._matches.append(rows[(rows >= 0).all(axis=1)])

    def batch(self, images: Tensor, cells: Tensor) -> PairBatch:
        """The batch of all that was added."""
        return PairBatch(
            images=images,
            cells=cells,
            crop=torch.from_numpy(np.concatenate(self._crop)),
            points=torch.from_numpy(np.concatenate(self._points)),
            labels=torch.from_numpy(np.concatenate(self._labels)),
            weights=torch.from_numpy(np.concatenate(self._weights)).float(),
            matches=torch.from_numpy(np.concatenate(self._matches)),
        )


def _stacked(images: list[Image]) -> Tensor:
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
