"""What `fgsn locate` locates: image files of one camera, or the frames of a recording."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.config import require
from fgsn_ros.errors import RecordingError
from fgsn_ros.geometry.cameras import T_BASE_OPTICAL, CameraMount
from fgsn_ros.messages.images import IMAGE_SUFFIXES, check_size
from fgsn_ros.recordings.camera_files import read_camera
from fgsn_ros.recordings.folder_recording import read_image
from fgsn_ros.recordings.open import open_recording
from fgsn_ros.recordings.recording import Recording, RecordingSettings


@dataclass(frozen=True, eq=False)
class Query:
    """An image that shall be located."""

    name: str
    image: NDArray[np.uint8] | str
    """RGB (H, W, 3), or why there is none"""
    mount: CameraMount
    stamp: float | None = None
    """[s], of a recording's frame"""


@dataclass(frozen=True, eq=False)
class LocateInput:
    """Images one by one."""

    queries: Iterator[Query]
    count: int
    recording: Recording | None = None
    """what they are of, if anything"""


def open_queries(
    inputs: tuple[Path, ...], camera: Path | None, settings: RecordingSettings
) -> LocateInput:
    """Open image files, with the camera.yaml of their camera, or a recording.

    Raises:
        FgsnError: there is no such input, or a camera is missing or too many.
    """
    require(len(inputs) > 0, "name the images to locate, or a recording")
    if all(path.suffix.lower() in IMAGE_SUFFIXES and not path.is_dir() for path in inputs):
        require(
            camera is not None,
            "the camera of the images is unknown: name its camera.yaml with --camera",
        )
        require(settings == RecordingSettings(), "images are no recording; leave out --recording.*")
        assert camera is not None
        calibrated, mounting = read_camera(camera)
        T_base_camera = T_BASE_OPTICAL if mounting is None else mounting
        mount = CameraMount(calibrated, T_base_camera, "camera")
        return LocateInput(_of_files(inputs, mount), len(inputs))
    require(
        len(inputs) == 1,
        "name image files, or one recording: "
        f"{next(path for path in inputs if path.suffix.lower() not in IMAGE_SUFFIXES)} is no image",
    )
    require(camera is None, "a recording has its own camera; leave out --camera")
    recording = open_recording(inputs[0], settings)
    return LocateInput(_of_recording(recording), recording.frame_count, recording)


def _of_files(paths: tuple[Path, ...], mount: CameraMount) -> Iterator[Query]:
    """A file that is no usable image is one that is not located."""
    known = Counter(path.name for path in paths)
    for path in paths:
        name = path.name if known[path.name] == 1 else path.as_posix()
        try:
            image = read_image(path)
            check_size(image, mount.camera, str(path))
        except RecordingError as error:
            yield Query(name, str(error), mount)
        else:
            yield Query(name, image, mount)


def _of_recording(recording: Recording) -> Iterator[Query]:
    several = len(recording.cameras) > 1
    for frame in recording.frames():
        name = f"{frame.stamp:.6f}"
        if several:
            name = f"{frame.camera}/{name}"
        yield Query(name, frame.image, recording.cameras[frame.camera], frame.stamp)
