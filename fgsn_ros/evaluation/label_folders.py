"""A folder of label images against a folder of class images."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from fgsn_ros.errors import RecordingError
from fgsn_ros.evaluation.segmentation_metrics import Contingency
from fgsn_ros.segmentation.id_images import read_id_image
from fgsn_ros.segmentation.labels import LABEL_SET_FILE, UNLABELLED, LabelSet, read_label_set

_STRIDES = (1, 2, 4, 8, 16, 32)
MOST_CLASSES = 4096

Ids = NDArray[np.uint16]


@dataclass(frozen=True)
class LabelFolder:
    """Label images, and what their numbers mean where that is known."""

    root: Path
    """the folder that holds the images"""
    label_set: LabelSet | None


@dataclass(frozen=True)
class ImagePairs:
    """Label images with the class images of the same names."""

    pairs: tuple[tuple[Path, Path], ...]
    """(label image, class image)"""
    without_classes: int
    """label images that have no class image"""
    without_labels: int
    """class images that have no label image"""


def open_label_folder(folder: Path) -> LabelFolder:
    """The output of `fgsn segment`, its subfolder `labels`, or any folder of label images.

    Raises:
        RecordingError: there is no such folder, or its labels.json is damaged.
    """
    if not folder.is_dir():
        raise RecordingError(f"{folder} is no folder of label images")
    if (folder / LABEL_SET_FILE).is_file():
        return LabelFolder(folder / "labels", read_label_set(folder / LABEL_SET_FILE))
    beside = folder.resolve().parent / LABEL_SET_FILE
    return LabelFolder(folder, read_label_set(beside) if beside.is_file() else None)


def pair_images(
    labels: Path, classes: Path, label_suffix: str = "", class_suffix: str = ""
) -> ImagePairs:
    """Pair the PNGs of two folders and their subfolders by their paths.

    Args:
        labels: Folder of label images.
        classes: Folder of class images.
        label_suffix: How the names of label images end beyond what a pair has in common, such as
            `_leftImg8bit`; others are left out.
        class_suffix: The same of class images, such as `_gtFine_labelTrainIds`.

    Raises:
        RecordingError: nothing is paired.
    """
    of_label, of_class = _by_name(labels, label_suffix), _by_name(classes, class_suffix)
    common = sorted(of_label.keys() & of_class.keys())
    if not common:
        raise RecordingError(
            f"no PNG in {labels} ({len(of_label)}) has the name of one in {classes} "
            f"({len(of_class)}); name what differs by --label-suffix and --class-suffix"
        )
    return ImagePairs(
        tuple((of_label[name], of_class[name]) for name in common),
        len(of_label) - len(common),
        len(of_class) - len(common),
    )


def count_pairs(
    pairs: ImagePairs, stride: int | None = None, ignored: Collection[int] = ()
) -> Contingency:
    """Pixels by class and label over pairs; a label image on a grid is spread to its image's size.

    Args:
        pairs: What to read.
        stride: Pixels of a class image for each of its label image; None finds it by their sizes.
        ignored: Class ids to leave out.

    Raises:
        RecordingError: an image is damaged or holds no ids, or sizes do not fit.
    """
    table = Contingency()
    for label_path, class_path in tqdm(pairs.pairs, desc="compare", unit="image", delay=2.0):
        classes = read_ids(class_path)
        labels = _spread(read_ids(label_path), classes.shape, stride, label_path)
        highest = int(classes[classes != UNLABELLED].max(initial=0))
        if highest >= MOST_CLASSES:
            raise RecordingError(f"{class_path} holds ids up to {highest}; are they classes?")
        try:
            table.add(labels, classes, ignored=ignored)
        except ValueError as error:
            raise RecordingError(f"{label_path}: {error}") from error
    return table


def read_ids(path: Path) -> Ids:
    """Ids (H, W) of a PNG of 8 or 16 bits, of an image with a palette the indices.

    The highest value of the PNG's bits becomes UNLABELLED.

    Raises:
        RecordingError: the image is damaged, or has colours.
    """
    try:
        stored = read_id_image(path)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise RecordingError(f"cannot read label image {path}: {reason}") from error
    ids = stored.astype(np.uint16)
    ids[stored == np.iinfo(stored.dtype).max] = UNLABELLED
    return ids


def _by_name(folder: Path, suffix: str) -> dict[str, Path]:
    return {
        path.relative_to(folder).as_posix().removesuffix(f"{suffix}.png"): path
        for path in folder.rglob(f"*{suffix}.png")
        if not path.name.startswith(".")
    }


def _spread(labels: Ids, shape: tuple[int, ...], stride: int | None, path: Path) -> Ids:
    """The label (H, W) of each pixel of an image from a grid (ceil(H / s), ceil(W / s))."""
    height, width = shape
    for step in _STRIDES if stride is None else (stride,):
        if labels.shape == (-(-height // step), -(-width // step)):
            return labels[np.ix_(np.arange(height) // step, np.arange(width) // step)]
    raise RecordingError(
        f"{path} is {labels.shape[1]}x{labels.shape[0]}, which is no grid of its class image of "
        f"{width}x{height}; label images of the size of the class images"
    )
