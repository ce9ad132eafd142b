"""Image pairs with correspondences: a list in memory, points read when they are needed."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from fgsn_ros.correspondences.correspondence_sets import CorrespondenceSet
from fgsn_ros.correspondences.files import (
    Correspondence,
    read_correspondence,
    read_correspondence_header,
)
from fgsn_ros.correspondences.images import ImageCache
from fgsn_ros.errors import TrainingError

_OTHER_SUFFIXES = {".png": (".jpg", ".jpeg"), ".jpg": (".png",), ".jpeg": (".png",)}


@dataclass(frozen=True)
class Pair:
    """Two images and the file of the pixels of both that show the same 3D points.

    The points, pixels (u, v) of the images as stored, are read from the file when asked for; those
    of the last few hundred pairs are kept.
    """

    reference: Path
    target: Path
    file: Path

    @property
    def reference_points(self) -> NDArray[np.float64]:
        """(N, 2) pixels (u, v)."""
        return _read(self.file).reference_points

    @property
    def target_points(self) -> NDArray[np.float64]:
        """(N, 2) pixels (u, v)."""
        return _read(self.file).target_points

    @property
    def weights(self) -> NDArray[np.float64]:
        """(N,) exp(-distance), Larsson et al., CVPR 2019."""
        return np.asarray(np.exp(-_read(self.file).distance))


def training_pairs(sets: tuple[CorrespondenceSet, ...]) -> tuple[Pair, ...]:
    """The training pairs of all sets, one set after the other.

    Drawn uniformly, a set's share is that of its pairs, as in the published training on several
    sets; a set that is named twice is drawn twice as often.

    Raises:
        FgsnError: a list, file or image is missing, a file is damaged, or none holds a point.
    """
    return tuple(pair for each in sets for pair in index_pairs(each.images, each.train_files()))


def validation_pairs(sets: tuple[CorrespondenceSet, ...]) -> tuple[Pair, ...]:
    """The validation pairs of all sets, one set after the other.

    Raises:
        FgsnError: a list, file or image is missing, a file is damaged, or none holds a point.
    """
    return tuple(
        pair for each in sets for pair in index_pairs(each.images, each.validation_files())
    )


def index_pairs(images: Path, files: list[Path]) -> tuple[Pair, ...]:
    """Pairs that hold at least one point; of each file, only the images' names are read.

    An image that is missing may lie there as .jpg instead of .png, or the other way: RobotCar's
    models and images disagree.

    Raises:
        FgsnError: a file or image is missing, a file is damaged, or none holds a point.
    """
    found: dict[str, Path] = {}
    pairs = []
    for path in tqdm(files, desc="correspondences", delay=2.0):
        header = read_correspondence_header(path)
        if not header.count:
            continue
        for name in (header.reference_image, header.target_image):
            if name not in found:
                found[name] = _existing(images / name, path)
        pairs.append(Pair(found[header.reference_image], found[header.target_image], path))
    if not pairs:
        raise TrainingError(f"no listed correspondences of {images} hold a point; make them again")
    return tuple(pairs)


class References:
    """The reference images of pairs, and all correspondences of each: of every pair it is in.

    Only the pairs are kept; points are read again each time, in memory bounded by one image's.
    """

    def __init__(self, pairs: tuple[Pair, ...]) -> None:
        self._pairs: dict[Path, list[Pair]] = {}
        for pair in pairs:
            self._pairs.setdefault(pair.reference, []).append(pair)
        self.images = tuple(sorted(self._pairs))

    def points(self, image: Path, cache: ImageCache) -> NDArray[np.float64]:
        """Distinct pixels (N, 2) (u, v) with a correspondence, in the image as `cache` gives it."""
        points = [read_correspondence(pair.file).reference_points for pair in self._pairs[image]]
        return cache.pixels(image, np.unique(np.concatenate(points), axis=0))


def _existing(image: Path, file: Path) -> Path:
    """The image's path, or that of the same image with another suffix."""
    for suffix in (image.suffix, *_OTHER_SUFFIXES.get(image.suffix.lower(), ())):
        if image.with_suffix(suffix).is_file():
            return image.with_suffix(suffix)
    raise TrainingError(f"{file} names image {image}, which is missing; restore it")


@lru_cache(maxsize=256)
def _read(file: Path) -> Correspondence:
    read = read_correspondence(file)
    for array in (read.reference_points, read.target_points, read.distance):
        array.setflags(write=False)  # shared by all who ask
    return read
