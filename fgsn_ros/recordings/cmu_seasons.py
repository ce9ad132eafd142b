"""Extended CMU Seasons: a slice as a recording of its database images, and its queries.

    intrinsics.txt                     c0 OPENCV 1024 768 fx fy cx cy k1 k2 p1 p2, and c1
    sliceX/ground-truth-database-images-sliceX.txt    name qw qx qy qz, centre
    sliceX/database/*.jpg, sliceX/query/*.jpg
    sliceX/test-images-sliceX.txt      names of the queries
    sliceX/camera-poses/*.txt          poses of some of them, as those of the database

Names such as img_00122_c0_1303398475046031us.jpg hold the camera and the time. The world's z points
up.
"""

import datetime
import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

import numpy as np

from fgsn_ros.errors import RecordingError
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.cameras import Camera
from fgsn_ros.recordings.benchmark_lists import (
    FloatArray,
    KnownPose,
    ListedQuery,
    listed_lines,
    read_pose_list,
    read_query_list,
)
from fgsn_ros.recordings.posed_images import PosedImage, PosedImages, posed_recording
from fgsn_ros.recordings.recording import RecordingSettings

WORLD = np.eye(4)
"""T_map_world."""
_SLICE = re.compile(r"slice(\d+)")
_NAME = re.compile(r"img_\d+_(c\d+)_(\d+)us(_rect)?\.\w+")
_SCENES = {"urban": range(2, 9), "suburban": range(9, 18), "park": range(18, 26)}
_CONDITIONS = {
    "2010-09-01": "sunny, foliage",
    "2010-09-15": "sunny, foliage",
    "2010-10-01": "cloudy, foliage",
    "2010-10-19": "sunny, foliage",
    "2010-10-28": "overcast, mixed foliage",
    "2010-11-03": "low sun, mixed foliage",
    "2010-11-12": "low sun, mixed foliage",
    "2010-11-22": "cloudy, mixed foliage",
    "2010-12-21": "low sun, no foliage, snow",
    "2011-03-04": "low sun, no foliage",
    "2011-04-04": "sunny, no foliage",
    "2011-04-21": "sunny, no foliage",
    "2011-07-28": "overcast, foliage",
}
"""By the day of recording."""


def is_cmu_slice(path: Path) -> bool:
    """Whether the path looks like a slice."""
    return _SLICE.fullmatch(path.resolve().name) is not None and _database_list(path).is_file()


def open_cmu_slice(path: Path, settings: RecordingSettings) -> PosedImages:
    """The database images of a slice, with their poses, as a recording of cameras c0 and c1.

    Raises:
        RecordingError: a file is missing or cannot be used.
    """
    known = read_pose_list(_database_list(path), of_centres=True)
    cameras = _cameras(path)
    for name in known:
        _camera_of(path, cameras, name)
    images = list(_posed(path / "database", known))
    return posed_recording(path, images, cameras, None, settings)


def cmu_queries(path: Path) -> list[ListedQuery]:
    """The slice's queries; names are relative to its folder `query`.

    Raises:
        RecordingError: a list is missing or cannot be used, or names another camera.
    """
    cameras = _cameras(path)
    names = [words[0] for _, words in listed_lines(path / f"test-images-{_slice(path)}.txt")]
    return [
        ListedQuery(PurePosixPath(n).name, _camera_of(path, cameras, n), _parts(n)[0])
        for n in names
    ]


def cmu_query_poses(path: Path) -> list[KnownPose]:
    """The poses that the slice gives of its queries; conditions: scene, foliage and light.

    Raises:
        RecordingError: there are none, or they cannot be used.
    """
    folder = path / "camera-poses"
    files = sorted(file for file in folder.glob("*.txt") if file.stat().st_size > 0)
    if not files:
        raise RecordingError(f"{folder} holds no poses of the slice's queries")
    return [known for file in files for known in cmu_poses(file)]


def cmu_poses(file: Path) -> list[KnownPose]:
    """The poses of a file in the form of the data set's: name, quaternion, centre.

    Raises:
        RecordingError: it cannot be used.
    """
    found = _SLICE.search(str(file))
    scene = _scene(int(found[1])) if found else ()
    return [
        KnownPose(name, T, (*scene, condition(name)))
        for name, T in read_pose_list(file, of_centres=True).items()
    ]


def condition(name: str) -> str:
    """Light and foliage when an image was taken; the day where that is not known."""
    day = datetime.datetime.fromtimestamp(_parts(name)[1], datetime.timezone.utc).date()
    return _CONDITIONS.get(day.isoformat(), day.isoformat())


def _scene(number: int) -> tuple[str, ...]:
    return tuple(name for name, numbers in _SCENES.items() if number in numbers)


def _slice(path: Path) -> str:
    return path.resolve().name


def _database_list(path: Path) -> Path:
    return path / f"ground-truth-database-images-{_slice(path)}.txt"


def _cameras(path: Path) -> Mapping[str, Camera]:
    file = path.resolve().parent / "intrinsics.txt"
    return {listed.name: listed.camera for listed in read_query_list(file)}


def _camera_of(path: Path, cameras: Mapping[str, Camera], name: str) -> Camera:
    camera, _ = _parts(name)
    if camera not in cameras:
        raise RecordingError(f"{path}: {name} is of camera {camera}, not of {', '.join(cameras)}")
    return cameras[camera]


def _parts(name: str) -> tuple[str, float]:
    """Camera and time [s] of an image by its name."""
    match = _NAME.fullmatch(PurePosixPath(name).name)
    if match is None:
        raise RecordingError(f"{name} is no name such as img_00122_c0_1303398475046031us.jpg")
    return match[1], int(match[2]) / 1e6


def _posed(folder: Path, known: Mapping[str, FloatArray]) -> Iterator[PosedImage]:
    for name, T_camera_world in known.items():
        camera, stamp = _parts(name)
        file = folder / PurePosixPath(name).name
        yield PosedImage(stamp, camera, file, poses.compose(WORLD, poses.invert(T_camera_world)))
