"""What `fgsn segment` labels: images, a video, or a recording, as named images one by one."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.config import require
from fgsn_ros.errors import RecordingError
from fgsn_ros.left_out import LeftOut
from fgsn_ros.recordings.bag_paths import bags_within, is_bag
from fgsn_ros.recordings.folder_recording import read_image
from fgsn_ros.recordings.image_names import natural
from fgsn_ros.recordings.kitti import is_kitti
from fgsn_ros.recordings.open import open_images
from fgsn_ros.recordings.recording import RecordedImages, RecordingSettings
from fgsn_ros.recordings.video import Video, open_video

_SUFFIXES = {".png", ".jpg", ".jpeg", ".ppm", ".pgm", ".bmp", ".tif", ".tiff", ".webp"}


@dataclass(frozen=True)
class NamedImage:
    """An image and where its labels go."""

    name: Path
    """of its outputs, relative and without suffix"""
    image: NDArray[np.uint8]
    """RGB (H, W, 3)"""
    stamp: float = 0.0
    """[s]; of videos from their start"""
    camera: str = ""
    """its name, where a recording has several"""


@dataclass(frozen=True)
class SegmentInput:
    """The images of an input."""

    images: Callable[[int, int], Iterator[NamedImage]]
    """of a first number and a step: every step-th image from there on"""
    count: int
    """about how many; 0 where it is not known"""
    moving: bool
    """whether each camera's images make a film: of one size, in order of time"""


def open_input(path: Path, settings: RecordingSettings, output: Path) -> SegmentInput:
    """Open an image, a folder of images, a video, a bag or a KITTI folder.

    Args:
        path: What to open.
        settings: How, if it is a recording.
        output: Folder to leave out of a search for images.

    Raises:
        FgsnError: the path is none of them, or is damaged or empty.
    """
    if not path.exists():
        raise RecordingError(f"there is no {path}; name an image, a folder, a video or a bag")
    if is_bag(path) or (path.is_dir() and is_kitti(path)):
        return _of_recording(open_images(path, settings))
    require(settings == RecordingSettings(), f"{path} is no recording; leave out --recording.*")
    if path.is_dir():
        return _of_files(path, _image_paths(path, output))
    if path.suffix.lower() in _SUFFIXES:
        return _of_files(path.parent, [path])
    return _of_video(open_video(path))


def _of_recording(recording: RecordedImages) -> SegmentInput:
    several = len(recording.camera_names) > 1
    images = (
        NamedImage(
            Path(frame.camera if several else "", f"{frame.stamp:.6f}"),
            frame.image,
            frame.stamp,
            frame.camera if several else "",
        )
        for frame in recording.frames()
    )
    return SegmentInput(
        lambda first, step: islice(images, first, None, step), recording.frame_count, moving=True
    )


def _of_video(video: Video) -> SegmentInput:
    images = (
        NamedImage(Path(f"{index:06d}"), image, time_s)
        for index, (time_s, image) in enumerate(video.frames())
    )
    return SegmentInput(
        lambda first, step: islice(images, first, None, step), video.frame_count, moving=True
    )


def _of_files(root: Path, paths: list[Path]) -> SegmentInput:
    def images(first: int, step: int) -> Iterator[NamedImage]:
        mine = paths[first::step]
        with LeftOut(str(root), "images", len(mine)) as left_out:
            for path in mine:
                try:
                    image = read_image(path)
                except RecordingError as error:
                    if len(paths) == 1:
                        raise
                    left_out.drop(getattr(error, "reason", "damaged"), path.name)
                    continue
                left_out.keep()
                yield NamedImage(path.relative_to(root).with_suffix(""), image)

    return SegmentInput(images, len(paths), moving=False)


def _image_paths(folder: Path, output: Path) -> list[Path]:
    """Images in a folder and its subfolders, but for hidden ones and those of an earlier output."""
    paths = sorted(
        (
            path
            for path in folder.rglob("*")
            if path.suffix.lower() in _SUFFIXES
            and path.is_file()
            and not any(part.startswith(".") for part in path.relative_to(folder).parts)
            and output.resolve() not in path.resolve().parents
        ),
        key=natural,
    )
    if not paths:
        bags = ", ".join(bag.name for bag in bags_within(folder)[:5])
        raise RecordingError(
            f"{folder} holds no image ({', '.join(sorted(_SUFFIXES))})"
            + (f"; name one of the bags in it: {bags}" if bags else "")
        )
    names = Counter(path.with_suffix("") for path in paths)
    twice = next((name for name, count in names.items() if count > 1), None)
    if twice is not None:
        raise RecordingError(f"{folder} holds several images named {twice.name}; rename one")
    return paths
