"""What a network is trained on: sets of correspondences as a user names them, and their pairs."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from fgsn_ros.config import user_path
from fgsn_ros.correspondences.files import (
    TRAIN_LIST,
    VALIDATION_LIST,
    Correspondence,
    CorrespondenceFolder,
    read_correspondence,
    read_correspondence_header,
    read_list,
)
from fgsn_ros.correspondences.images import ImageCache
from fgsn_ros.documents import MOST_YAML_CHARACTERS, parse_yaml
from fgsn_ros.errors import SettingsError, TrainingError
from fgsn_ros.text_files import read_text

_REQUIRED, _OPTIONAL = ("correspondences", "images"), ("train_list", "validation_list")
_YAML_SUFFIXES = (".yaml", ".yml")
_OTHER_SUFFIXES = {".png": (".jpg", ".jpeg"), ".jpg": (".png",), ".jpeg": (".png",)}


@dataclass(frozen=True)
class CorrespondenceSet:
    """Correspondence files, their lists, and the images that they name.

    Its fields are the names in a YAML file of a set; there, the lists may be left out where they
    are `corr_train.txt` and `corr_val.txt`, beside the correspondence files or one folder above.
    """

    correspondences: Path
    """folder of the .mat files"""
    images: Path
    """folder that the image paths in the .mat files are relative to"""
    train_list: Path
    validation_list: Path

    def train_files(self) -> list[Path]:
        """Files of the training list, in its order, each once.

        Raises:
            FgsnError: the list or one of its files is missing.
        """
        return _listed(self.correspondences, self.train_list)

    def validation_files(self) -> list[Path]:
        """Files of the validation list, in its order, each once.

        Raises:
            FgsnError: the list or one of its files is missing.
        """
        return _listed(self.correspondences, self.validation_list)


def read_correspondence_sets(path: Path) -> tuple[CorrespondenceSet, ...]:
    """The sets that a path names: one, or those that a YAML file lists.

    A list's entries are paths (relative to the YAML file) or mappings, as `read_correspondence_set`
    takes them:

        - cmu.yaml
        - {correspondences: robotcar/corr, images: robotcar/images}

    Raises:
        TrainingError: one of them is no set.
    """
    content = _yaml(path) if path.suffix in _YAML_SUFFIXES else None
    if not isinstance(content, list):
        return (read_correspondence_set(path),)
    if not content:
        raise TrainingError(f"{path} lists no correspondence sets; name at least one")
    return tuple(_entry(entry, path) for entry in content)


def read_correspondence_set(path: Path) -> CorrespondenceSet:
    """The set in a folder, or the one that a YAML file describes.

    The folder is our own (images/, correspondence/ and the lists), or holds the published .mat
    files, with the lists and images/ in it or one folder above. Where images or lists are
    elsewhere, a YAML file says so, with paths relative to it:

        correspondences: cmu/correspondence_data
        images: cmu/images
        train_list: cmu/corr_train.txt
        validation_list: cmu/corr_val.txt

    Raises:
        TrainingError: it is neither.
    """
    if path.suffix in _YAML_SUFFIXES:
        return _described(_yaml(path), path)
    own = CorrespondenceFolder(path)
    files = own.files if own.files.is_dir() else path
    images = _first(own.images, files.parent / own.images.name)
    missing = [lacking for lacking in (files, images) if not lacking.is_dir()]
    if missing:
        raise TrainingError(
            f"{path} is no correspondence set: there is no folder {missing[0]}; name the folders "
            f"in a YAML file ({', '.join((*_REQUIRED, *_OPTIONAL))})"
        )
    return CorrespondenceSet(files, images, *_lists(files))


def _first(*paths: Path) -> Path:
    """The first path that exists, else the first."""
    return next((path for path in paths if path.exists()), paths[0])


def _lists(files: Path) -> tuple[Path, Path]:
    """The lists beside the correspondence files or above them."""
    train, validation = (
        _first(files / name, files.parent / name) for name in (TRAIN_LIST, VALIDATION_LIST)
    )
    return train, validation


def _entry(entry: object, source: Path) -> CorrespondenceSet:
    if isinstance(entry, str):
        return read_correspondence_set(_placed(entry, source))
    return _described(entry, source)


def _described(content: object, source: Path) -> CorrespondenceSet:
    """The set that a YAML mapping describes."""
    known = ", ".join((*_REQUIRED, *_OPTIONAL))
    if not isinstance(content, dict) or not all(isinstance(v, str) for v in content.values()):
        raise TrainingError(f"{source} describes no correspondence set; give the paths {known}")
    unknown = sorted(str(name) for name in content.keys() - {*_REQUIRED, *_OPTIONAL})
    missing = [name for name in _REQUIRED if name not in content]
    if unknown or missing:
        wrong = f"does not know {unknown[0]}" if unknown else f"lacks {missing[0]}"
        raise TrainingError(f"{source} {wrong}; a correspondence set has {known}")
    paths = {name: _placed(value, source) for name, value in content.items()}
    for name in _REQUIRED:
        if not paths[name].is_dir():
            raise TrainingError(f"{source}: {name}: there is no folder {paths[name]}")
    lists = dict(zip(_OPTIONAL, _lists(paths["correspondences"]), strict=True))
    return CorrespondenceSet(**(lists | paths))


def _placed(name: str, source: Path) -> Path:
    """A path that a YAML file names, relative to it."""
    try:
        path = source.parent / user_path(name)
        path.exists()
    except SettingsError as error:
        raise TrainingError(f"{source}: {error}") from error
    except OSError as error:  # longer than any
        raise TrainingError(
            f"{source} names the path {name}: {error.strerror}; correct it"
        ) from error
    return path


def _is_file(path: Path) -> bool:
    """Whether a path that a file names is one of a file; one that is none is missing."""
    try:
        return path.is_file()
    except OSError:
        return False


def _yaml(path: Path) -> object:
    try:
        content: object = parse_yaml(read_text(path, MOST_YAML_CHARACTERS))
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise TrainingError(f"cannot read correspondence sets from {path}: {reason}") from error
    return content


def _listed(folder: Path, list_path: Path) -> list[Path]:
    """The listed files, each once: the published list was drawn with replacement.

    An entry may lack ".mat", and may hold folders of the machine that the list was made on.
    """
    files: dict[Path, None] = {}
    lacking = []
    for name in read_list(list_path):
        whole = name if name.endswith(".mat") else f"{name}.mat"
        found = next((p for p in (folder / whole, folder / Path(whole).name) if _is_file(p)), None)
        if found is None:
            lacking.append(name)
        else:
            files[found] = None
    if lacking:
        raise TrainingError(
            f"{list_path} names {len(lacking)} files that {folder} lacks, such as {lacking[0]}; "
            "restore them or take them off the list"
        )
    return list(files)


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
    return _pairs([(each.images, each.train_files()) for each in sets], "training pairs")


def validation_pairs(sets: tuple[CorrespondenceSet, ...]) -> tuple[Pair, ...]:
    """The validation pairs of all sets, one set after the other.

    Raises:
        FgsnError: a list, file or image is missing, a file is damaged, or none holds a point.
    """
    return _pairs([(each.images, each.validation_files()) for each in sets], "validation pairs")


def _pairs(listed: list[tuple[Path, list[Path]]], title: str) -> tuple[Pair, ...]:
    """Pairs of the files (folder of images, files) of each set, under one progress bar."""
    total = sum(len(files) for _, files in listed)
    with tqdm(total=total, desc=title, unit="pair", delay=2.0, leave=False) as progress:
        return tuple(pair for item in listed for pair in index_pairs(*item, progress.update))


def index_pairs(
    images: Path, files: list[Path], seen: Callable[[], object] = lambda: None
) -> tuple[Pair, ...]:
    """Pairs that hold at least one point; of each file, only the images' names are read.

    An image that is missing may lie there as .jpg instead of .png, or the other way: RobotCar's
    models and images disagree.

    Args:
        images: Folder that the names of images are relative to.
        files: Correspondence files.
        seen: Called for each file that is read.

    Raises:
        FgsnError: a file or image is missing, a file is damaged, or none holds a point.
    """
    found: dict[str, Path] = {}
    pairs = []
    for path in files:
        header = read_correspondence_header(path)
        seen()
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
        if _is_file(image.with_suffix(suffix)):
            return image.with_suffix(suffix)
    raise TrainingError(f"{file} names image {image}, which is missing; restore it")


@lru_cache(maxsize=256)
def _read(file: Path) -> Correspondence:
    read = read_correspondence(file)
    for array in (read.reference_points, read.target_points, read.distance):
        array.setflags(write=False)  # shared by all who ask
    return read
