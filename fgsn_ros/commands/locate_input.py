"""What `fgsn locate` locates: image files, lists of queries, a recording, a benchmark's folder."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.config import require
from fgsn_ros.errors import RecordingError
from fgsn_ros.geometry.cameras import T_BASE_OPTICAL, CameraMount
from fgsn_ros.messages.images import IMAGE_SUFFIXES, check_size
from fgsn_ros.recordings.benchmark_lists import (
    FloatArray,
    ListedQuery,
    read_query_list,
    submitted_name,
)
from fgsn_ros.recordings.camera_files import read_camera
from fgsn_ros.recordings.cmu_seasons import WORLD as CMU_WORLD
from fgsn_ros.recordings.cmu_seasons import cmu_queries, is_cmu_slice, open_cmu_slice
from fgsn_ros.recordings.folder_recording import read_image
from fgsn_ros.recordings.open import open_recording
from fgsn_ros.recordings.recording import Recording, RecordingSettings
from fgsn_ros.recordings.robotcar_seasons import WORLD as ROBOTCAR_WORLD
from fgsn_ros.recordings.robotcar_seasons import open_robotcar, robotcar_queries, robotcar_root


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
    T_map_world: FloatArray = field(default_factory=lambda: np.eye(4))
    """(4, 4) of the world that poses.txt is in"""


def open_queries(
    inputs: tuple[Path, ...], camera: Path | None, images: Path | None, settings: RecordingSettings
) -> LocateInput:
    """Open image files, with the camera.yaml of their camera, lists of queries, or a recording.

    Args:
        inputs: Image files, lists of the long-term visual localization benchmark (.txt), or one
            recording, slice of Extended CMU Seasons, or (condition of) RobotCar Seasons.
        camera: Of image files.
        images: Folder that names of lists are relative to; None: that of each list.
        settings: Of a recording.

    Raises:
        FgsnError: there is no such input, or a camera is missing or too many.
    """
    require(len(inputs) > 0, "name the images to locate, or a recording")
    listed = all(path.suffix.lower() == ".txt" for path in inputs)
    require(images is None or listed, "--images is of use with lists of queries alone")
    if listed:
        _require_cameras_known(camera, settings)
        return _of_lists(inputs, images)
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
    benchmark = _of_benchmark(inputs[0], settings)
    if benchmark is not None:
        return benchmark
    recording = open_recording(inputs[0], settings)
    return LocateInput(_of_recording(recording), recording.frame_count, recording)


def _require_cameras_known(camera: Path | None, settings: RecordingSettings) -> None:
    require(camera is None, "a list of queries has their cameras; leave out --camera")
    require(settings == RecordingSettings(), "a list is no recording; leave out --recording.*")


def _of_lists(lists: tuple[Path, ...], images: Path | None) -> LocateInput:
    """Cameras are taken as level: their mounting is not in a list."""
    queries = [
        (listed, (images or path.parent) / listed.name, T_BASE_OPTICAL)
        for path in lists
        for listed in read_query_list(path)
    ]
    return _of_listed(queries, np.eye(4))


def _of_benchmark(path: Path, settings: RecordingSettings) -> LocateInput | None:
    """Queries of a data set whose folder the path is; None: it is none."""
    root = robotcar_root(path)
    if root is not None:
        require(
            settings == RecordingSettings(), "queries are no recording; leave out --recording.*"
        )
        mounts = open_robotcar(root, settings).cameras
        listed, folder, world = robotcar_queries(root, path), root / "images", ROBOTCAR_WORLD
    elif is_cmu_slice(path):
        require(
            settings == RecordingSettings(), "queries are no recording; leave out --recording.*"
        )
        mounts = open_cmu_slice(path, settings).cameras
        listed, folder, world = cmu_queries(path), path / "query", CMU_WORLD
    else:
        return None
    mounted = {name: mount.T_base_camera for name, mount in mounts.items()}
    queries = [(q, folder / q.name, mounted.get(q.rig_camera, T_BASE_OPTICAL)) for q in listed]
    return _of_listed(queries, world)


def _of_listed(
    queries: list[tuple[ListedQuery, Path, FloatArray]], T_map_world: FloatArray
) -> LocateInput:
    """Of listed images, by the names that the benchmark asks for where these tell them apart."""
    known = Counter(submitted_name(listed.name) for listed, _, _ in queries)

    def opened() -> Iterator[Query]:
        for listed, path, T_base_camera in queries:
            name = submitted_name(listed.name)
            mount = CameraMount(listed.camera, T_base_camera, "camera")
            yield _query(name if known[name] == 1 else listed.name, path, mount)

    return LocateInput(opened(), len(queries), T_map_world=T_map_world)


def _of_files(paths: tuple[Path, ...], mount: CameraMount) -> Iterator[Query]:
    """A file that is no usable image is one that is not located."""
    known = Counter(path.name for path in paths)
    for path in paths:
        yield _query(path.name if known[path.name] == 1 else path.as_posix(), path, mount)


def _query(name: str, path: Path, mount: CameraMount) -> Query:
    try:
        image = read_image(path)
        check_size(image, mount.camera, str(path))
    except RecordingError as error:
        return Query(name, str(error), mount)
    return Query(name, image, mount)


def _of_recording(recording: Recording) -> Iterator[Query]:
    several = len(recording.cameras) > 1
    for frame in recording.frames():
        name = f"{frame.stamp:.6f}"
        if several:
            name = f"{frame.camera}/{name}"
        yield Query(name, frame.image, recording.cameras[frame.camera], frame.stamp)
