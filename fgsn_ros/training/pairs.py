"""Image pairs with correspondences: reading, cropping, looking labels up."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from fgsn_ros.errors import TrainingError
from fgsn_ros.segmentation.labels import UNLABELLED
from fgsn_ros.segmentation.networks import STRIDE
from fgsn_ros.sequences.correspondences import CorrespondenceFolder, read_correspondence
from fgsn_ros.training.images import Crop, Image, ImageCache, disturb, random_crop
from fgsn_ros.training.settings import TrainSettings

Labels = NDArray[np.uint16]
IGNORED = -1
"""Label of a cell that is in no loss."""


@dataclass(frozen=True)
class Pair:
    """Two images and the pixels of both that show the same 3D points."""

    reference: Path
    target: Path
    reference_points: NDArray[np.float64]  # (N, 2) pixels (u, v)
    target_points: NDArray[np.float64]  # (N, 2) pixels (u, v)
    weights: NDArray[np.float64]  # (N,) exp(-distance), Larsson et al., CVPR 2019


@dataclass(frozen=True)
class PairBatch:
    """Crops of reference images, then of target images, with their labels."""

    images: Tensor  # (2B, 3, h, w) uint8
    cells: Tensor  # (B, h / 8, w / 8) labels of the reference crops, or IGNORED
    crop: Tensor  # (M,) index of the crop that each point is in
    points: Tensor  # (M, 2) pixels (u, v) in that crop
    labels: Tensor  # (M,) label at the reference point
    weights: Tensor  # (M,)


def read_pairs(root: Path, files: list[Path]) -> tuple[Pair, ...]:
    """Pairs of a correspondence folder that hold at least one point.

    Raises:
        FgsnError: a file is missing or damaged, or none holds a point.
    """
    images = CorrespondenceFolder(root).images
    pairs = []
    for path in tqdm(files, desc="correspondences", delay=2.0):
        read = read_correspondence(path)
        weights = np.exp(-read.distance)
        if len(weights):
            pairs.append(
                Pair(
                    reference=images / read.reference_image,
                    target=images / read.target_image,
                    reference_points=read.reference_points,
                    target_points=read.target_points,
                    weights=weights,
                )
            )
    if not pairs:
        raise TrainingError(f"no correspondences listed in {root} hold a point; make them again")
    return tuple(pairs)


def labels_at(labels: Labels, points: NDArray[np.float64]) -> NDArray[np.int64]:
    """Labels (N,) of the cells that pixels (N, 2) (u, v) lie in; IGNORED outside and unlabelled."""
    cells = np.floor((points + 0.5) / STRIDE)
    height, width = labels.shape
    u, v = cells[:, 0], cells[:, 1]
    inside = (u >= 0) & (v >= 0) & (u < width) & (v < height)
    found = np.full(len(points), IGNORED, np.int64)
    found[inside] = labels[v[inside].astype(np.int64), u[inside].astype(np.int64)]
    found[found == UNLABELLED] = IGNORED
    return found


def random_pairs(
    pairs: tuple[Pair, ...],
    labels: dict[Path, Labels],
    settings: TrainSettings,
    cache: ImageCache,
    rng: np.random.Generator,
) -> PairBatch:
    """Disturbed crops of random pairs, each pair around one of its correspondences.

    Args:
        pairs: To choose from.
        labels: Label map of each reference image at its own size.
        settings: Sizes and disturbance.
        cache: Reads the images.
        rng: Chooses.
    """
    references, targets, cells, samples = [], [], [], []
    for index, chosen in enumerate(rng.integers(len(pairs), size=settings.batch_size)):
        pair = pairs[chosen]
        images = cache.colour(pair.reference), cache.colour(pair.target)
        crops = _crops(pair, (images[0].shape, images[1].shape), settings, rng)
        references.append(disturb(crops[0].image(images[0]), rng, settings.grey_share))
        targets.append(disturb(crops[1].image(images[1]), rng, settings.grey_share))
        reference_labels = labels[pair.reference]
        cells.append(_cells(reference_labels, crops[0]))
        point_labels = labels_at(reference_labels, pair.reference_points)
        samples.append(_inside(crops[0], index, pair.reference_points, point_labels, pair.weights))
        second = index + settings.batch_size
        samples.append(_inside(crops[1], second, pair.target_points, point_labels, pair.weights))
    crop, points, point_labels, weights = (np.concatenate(x) for x in zip(*samples, strict=True))
    return PairBatch(
        images=_stacked(references + targets),
        cells=torch.from_numpy(np.stack(cells)),
        crop=torch.from_numpy(crop),
        points=torch.from_numpy(points).float(),
        labels=torch.from_numpy(point_labels),
        weights=torch.from_numpy(weights).float(),
    )


def _stacked(images: list[Image]) -> Tensor:
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)


def _crops(
    pair: Pair,
    shapes: tuple[tuple[int, ...], tuple[int, ...]],
    settings: TrainSettings,
    rng: np.random.Generator,
) -> tuple[Crop, Crop]:
    """One crop of each image that show the same correspondence.

    Neither is mirrored: a label may tell a left edge from a right one, and a map needs that.
    """
    centre = rng.integers(len(pair.weights))
    low, high = np.log(settings.scale_min), np.log(settings.scale_max)
    crops = [
        random_crop(
            image_size=(shape[0], shape[1]),
            crop_size=(settings.crop_height, settings.crop_width),
            scale=float(np.exp(rng.uniform(low, high))),
            rng=rng,
            around=points[centre],
        )
        for shape, points in zip(shapes, (pair.reference_points, pair.target_points), strict=True)
    ]
    return crops[0], crops[1]


def _cells(labels: Labels, crop: Crop) -> NDArray[np.int64]:
    """Labels (h / 8, w / 8) under the centres of a crop's cells."""
    rows, columns = crop.height // STRIDE, crop.width // STRIDE
    grid = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=-1).reshape(-1, 2)
    centres = crop.source_points(np.asarray(grid * STRIDE + (STRIDE - 1) / 2, np.float64))
    return labels_at(labels, centres).reshape(rows, columns)


def _inside(
    crop: Crop,
    index: int,
    points: NDArray[np.float64],
    labels: NDArray[np.int64],
    weights: NDArray[np.float64],
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
    """Crop index, pixels, labels and weights of the labelled points that a crop shows."""
    moved = crop.points(points)
    size = np.array([crop.width, crop.height])
    kept = ((moved >= -0.5) & (moved < size - 0.5)).all(axis=1) & (labels != IGNORED)
    return np.full(int(kept.sum()), index), moved[kept], labels[kept], weights[kept]
