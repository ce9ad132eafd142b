"""Images with semantic classes: CamVid and correspondence folders."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fgsn_ros.errors import TrainingError
from fgsn_ros.sequences.correspondences import CorrespondenceFolder, read_correspondence
from fgsn_ros.training.images import Crop, ImageCache, disturb, random_crop
from fgsn_ros.training.settings import TrainSettings

CAMVID_CLASSES = (
    "sky", "building", "pole", "road", "pavement", "tree",
    "sign", "fence", "car", "pedestrian", "bicyclist",
)  # fmt: skip


@dataclass(frozen=True)
class Scene:
    """An image and the image of its class ids; ids from the number of classes on are ignored."""

    image: Path
    classes: Path


@dataclass(frozen=True)
class Scenes:
    """Images to learn classes from."""

    training: tuple[Scene, ...]
    validation: tuple[Scene, ...]
    class_names: tuple[str, ...]


def read_scenes(folder: Path) -> Scenes:
    """A correspondence folder with classes, or a folder in the SegNet form of CamVid.

    Raises:
        FgsnError: it is neither, or a list or image is missing.
    """
    if (folder / "train.txt").is_file():
        return read_camvid(folder)
    return read_labelled_correspondences(folder)


def read_labelled_correspondences(root: Path) -> Scenes:
    """The images of a correspondence folder's lists that have class images.

    Raises:
        FgsnError: a list or class image is missing.
    """
    folder = CorrespondenceFolder(root)
    names = folder.class_names()
    training = _labelled(folder, folder.train_files())
    validation = _labelled(folder, folder.validation_files())
    return Scenes(training, validation, names)


def _labelled(folder: CorrespondenceFolder, files: list[Path]) -> tuple[Scene, ...]:
    pairs = [read_correspondence(path) for path in files]
    images = sorted({name for p in pairs for name in (p.reference_image, p.target_image)})
    missing = [name for name in images if not folder.class_path(name).is_file()]
    if missing:
        raise TrainingError(f"{folder.classes} lacks classes of {missing[0]}; make them again")
    return tuple(Scene(folder.images / name, folder.class_path(name)) for name in images)


def read_camvid(folder: Path) -> Scenes:
    """The SegNet form of CamVid: train.txt, val.txt, and for each split images and annotations.

    Raises:
        TrainingError: a list or image is missing.
    """
    return Scenes(_camvid_split(folder, "train"), _camvid_split(folder, "val"), CAMVID_CLASSES)


def _camvid_split(folder: Path, split: str) -> tuple[Scene, ...]:
    scenes = []
    for line in _lines(folder / f"{split}.txt"):
        stem = Path(line.split()[0]).stem  # lists name .png where the images may be .jpg
        images = sorted((folder / split).glob(f"{stem}.*"))
        if not images:
            raise TrainingError(f"{folder / split} lacks image {stem}; restore it")
        scenes.append(Scene(images[0], folder / f"{split}annot" / f"{stem}.png"))
    return tuple(scenes)


def _lines(path: Path) -> list[str]:
    try:
        lines = [line.strip() for line in path.read_text().splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise TrainingError(f"cannot read list {path}: {error}") from error
    if not any(lines):
        raise TrainingError(f"list {path} is empty; name at least one image")
    return [line for line in lines if line]


def class_weights(scenes: tuple[Scene, ...], count: int, cache: ImageCache) -> NDArray[np.float64]:
    """Weight (K,) of each class: one over the square root of its share of pixels, at most 5."""
    pixels = np.ones(count)
    for scene in scenes[:: max(1, len(scenes) // 200)]:
        classes = cache.classes(scene.classes)
        pixels += np.bincount(classes.ravel(), minlength=256)[:count]
    share = pixels / pixels.sum()
    return np.asarray(np.minimum(1.0 / np.sqrt(share * count), 5.0))


def random_batch(
    scenes: tuple[Scene, ...], settings: TrainSettings, cache: ImageCache, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Disturbed crops: images uint8 (B, 3, h, w) and class ids uint8 (B, h, w)."""
    images, classes = [], []
    for index in rng.integers(len(scenes), size=settings.batch_size):
        scene = scenes[index]
        image = cache.colour(scene.image)
        crop = _random_crop(image, settings, rng)
        images.append(disturb(crop.image(image), rng, settings.grey_share))
        classes.append(crop.classes(cache.classes(scene.classes)))
    stacked = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
    return stacked, torch.from_numpy(np.stack(classes))


def _random_crop(
    image: NDArray[np.uint8], settings: TrainSettings, rng: np.random.Generator
) -> Crop:
    low, high = np.log(settings.scale_min), np.log(settings.scale_max)
    return random_crop(
        image_size=(image.shape[0], image.shape[1]),
        crop_size=(settings.crop_height, settings.crop_width),
        scale=float(np.exp(rng.uniform(low, high))),
        rng=rng,
        flipped=bool(rng.random() < 0.5),
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
        truth = cache.classes(scene.classes)
        predicted = predict(cache.colour(scene.image))
        known = truth < count
        pairs = truth[known].astype(np.int64) * count + predicted[known]
        confusion += np.bincount(pairs, minlength=count * count).reshape(count, count)
    hits = np.diag(confusion)
    union = confusion.sum(0) + confusion.sum(1) - hits
    per_class = np.divide(hits, union, out=np.full(count, np.nan), where=union > 0)
    return float(np.nanmean(per_class)), per_class
