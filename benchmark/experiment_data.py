"""The correspondences that the experiments learn from and are judged on."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from experiment_variants import Form

from fgsn_ros.correspondences.files import (
    CLASS_NAMES_FILE,
    TRAIN_LIST,
    VALIDATION_LIST,
    CorrespondenceFolder,
    read_correspondence_header,
    write_list,
)
from fgsn_ros.correspondences.sets import read_correspondence_set
from fgsn_ros.correspondences.simulated import CorrespondenceDriveSettings, write_correspondences
from fgsn_ros.errors import SettingsError
from fgsn_ros.outputs import Layout, whole_folder
from fgsn_ros.training.objective import spread

_WATCHED = 4  # held-out pairs that training itself looks at
_LAYOUT = Layout(TRAIN_LIST, "", ("*",))


def digest_of(*values: object) -> str:
    """Short name of values, by their repr."""
    return hashlib.sha256(repr(values).encode()).hexdigest()[:10]


def simulated_data(work: Path, settings: CorrespondenceDriveSettings) -> Path:
    """Correspondences of simulated towns, rendered where `work` does not hold them yet."""
    path = work / f"simulated-{digest_of(settings)}"
    if not path.exists():
        write_correspondences(path, settings)
    return path


def own_streets(work: Path, form: Form) -> Path:
    """Correspondences of the localized towns, from other drives than the localized ones."""
    first, count = form.towns[0], len(form.towns)
    if form.towns != tuple(range(first, first + count)):
        raise SettingsError("towns must be consecutive numbers to be trained on themselves")
    settings = replace(form.own, first_town=first, towns=count, validation_towns=0)
    return simulated_data(work, settings)


def training_folder(work: Path, source: Path, references: int) -> Path:
    """Folder with the pairs of at most `references` reference images, spread over the list.

    Its validation list is short: training only reports on it.
    """
    each = read_correspondence_set(source)
    headers = {file: read_correspondence_header(file) for file in each.train_files()}
    kept = set(spread(sorted({h.reference_image for h in headers.values()}), references))
    files = [file for file, header in headers.items() if header.reference_image in kept]
    watched = _validation_or(source, files)
    return _subset(work, "training", source, files, spread(watched, _WATCHED))


def held_out_folder(work: Path, source: Path, pairs: int) -> Path:
    """Folder whose validation list has at most `pairs` of the source's, spread over them."""
    files = spread(read_correspondence_set(source).validation_files(), pairs)
    return _subset(work, "held-out", source, files, files)


def has_classes(source: Path) -> bool:
    """Whether a correspondence folder has images of semantic classes."""
    return CorrespondenceFolder(source).classes.is_dir()


def _validation_or(source: Path, files: list[Path]) -> list[Path]:
    path = read_correspondence_set(source).validation_list
    listed = path.is_file() and bool(path.read_text().split())
    return read_correspondence_set(source).validation_files() if listed else files


def _subset(
    work: Path, kind: str, source: Path, training: Sequence[Path], validation: Sequence[Path]
) -> Path:
    """Folder in our own layout that links to the source's, with lists of its own."""
    each = read_correspondence_set(source)
    names = [
        [str(file.relative_to(each.correspondences)) for file in files]
        for files in (training, validation)
    ]
    path = work / f"{kind}-{digest_of(str(source.resolve()), names)}"
    if path.exists():
        return path
    with whole_folder(path, _LAYOUT) as temporary:
        layout, whole = CorrespondenceFolder(temporary), CorrespondenceFolder(source)
        layout.images.symlink_to(each.images.resolve())
        layout.files.symlink_to(each.correspondences.resolve())
        if has_classes(source):
            layout.classes.symlink_to(whole.classes.resolve())
            (temporary / CLASS_NAMES_FILE).symlink_to((source / CLASS_NAMES_FILE).resolve())
        for name, listed in zip((TRAIN_LIST, VALIDATION_LIST), names, strict=True):
            write_list(temporary / name, listed)
    return path
