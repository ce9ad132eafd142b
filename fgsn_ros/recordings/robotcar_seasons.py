"""RobotCar Seasons: its reference drive as a recording, and the images of other conditions.

    images/CONDITION/CAMERA/TIME.jpg             left, rear, right; overcast-reference is mapped
    intrinsics/CAMERA_intrinsics.txt             lines fx, fy, cx, cy
    extrinsics/CAMERA_extrinsics.txt             4x4, camera to car, numbers apart by commas
    3D-models/all-merged/all.nvm                 poses of the reference images: quaternion, centre
    robotcar_v2_train.txt                        CONDITION/CAMERA/TIME.png and 4x4, camera to world

The world's z points down; the map's points up.
"""

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path, PurePosixPath

import numpy as np

from fgsn_ros.errors import RecordingError
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.cameras import Camera
from fgsn_ros.left_out import LeftOut
from fgsn_ros.recordings.benchmark_lists import (
    FloatArray,
    KnownPose,
    ListedQuery,
    colmap_camera,
    listed_lines,
    turned_at,
)
from fgsn_ros.recordings.posed_images import PosedImage, PosedImages, posed_recording
from fgsn_ros.recordings.recording import RecordingSettings
from fgsn_ros.text_files import open_file

WORLD = np.diag([1.0, -1.0, -1.0, 1.0])
"""T_map_world."""
REFERENCE = "overcast-reference"
NIGHT = ("night", "night-rain")
TRAINING_POSES = "robotcar_v2_train.txt"
_CAMERAS = ("rear", "left", "right")
_SIDE_PX = 1024
_MODEL = "3D-models/all-merged/all.nvm"


def robotcar_root(path: Path) -> Path | None:
    """The data set's folder, of itself or of a condition's folder of images; None: it is none."""
    for root in (path, path.resolve().parents[1] if len(path.resolve().parents) > 1 else path):
        if (root / "intrinsics" / "rear_intrinsics.txt").is_file() and (root / "images").is_dir():
            return root
    return None


def open_robotcar(path: Path, settings: RecordingSettings) -> PosedImages:
    """The reference images that have poses, as a recording of the cameras rear, left and right.

    Raises:
        RecordingError: a file is missing or cannot be used.
    """
    T_car_camera = {name: _extrinsics(path, name) for name in _CAMERAS}
    images = [
        PosedImage(_stamp(name), _known_camera(name), path / "images" / name, poses.invert(T))
        for name, T in _model_poses(path / _MODEL)
    ]
    in_map = [
        PosedImage(i.stamp, i.camera, i.path, poses.compose(WORLD, i.T_map_camera)) for i in images
    ]
    return posed_recording(path, in_map, _intrinsics(path), T_car_camera, settings)


def robotcar_queries(root: Path, within: Path) -> list[ListedQuery]:
    """Images of a condition's folder, or of all conditions; names are relative to `images`.

    Raises:
        RecordingError: there are none, or a calibration cannot be used.
    """
    cameras, images = _intrinsics(root), root.resolve() / "images"
    folder = images if within.resolve() == root.resolve() else within.resolve()
    names = [file.relative_to(images).as_posix() for file in sorted(folder.rglob("*.jpg"))]
    chosen = [
        name for name in names if name.split("/")[0] != REFERENCE and _camera(name) in cameras
    ]
    if not chosen:
        raise RecordingError(f"{folder} holds no images CONDITION/CAMERA/TIME.jpg to locate")
    return [ListedQuery(name, cameras[_camera(name)], _camera(name)) for name in chosen]


def robotcar_training_poses(root: Path) -> list[KnownPose]:
    """The poses that robotcar_v2_train.txt gives; conditions: day or night, and the folder.

    Raises:
        RecordingError: the file is missing or cannot be used.
    """
    lines = listed_lines(root / TRAINING_POSES)
    found = []
    with LeftOut(str(root / TRAINING_POSES), "lines 'name, 4x4 matrix'", len(lines)) as left_out:
        for number, (name, *words) in lines:
            try:
                T_world_camera = _rigid(np.array(words, np.float64).reshape(4, 4))
            except ValueError:
                left_out.drop("of another form", f"line {number}")
                continue
            left_out.keep()
            found.append(KnownPose(_jpg(name), poses.invert(T_world_camera), _groups(name)))
    return found


def _groups(name: str) -> tuple[str, str]:
    condition = name.removeprefix("./").split("/")[0]
    return ("night, all" if condition in NIGHT else "day, all", condition)


def _jpg(name: str) -> str:
    """Models name the PNG files that the JPEG files were made of."""
    return PurePosixPath(name).with_suffix(".jpg").as_posix()


def _camera(name: str) -> str:
    return PurePosixPath(name).parent.name


def _known_camera(name: str) -> str:
    if _camera(name) not in _CAMERAS:
        raise RecordingError(f"{name} is of none of the cameras {', '.join(_CAMERAS)}")
    return _camera(name)


def _stamp(name: str) -> float:
    try:
        return int(PurePosixPath(name).stem) / 1e6
    except ValueError as error:
        raise RecordingError(f"{name} is no name CONDITION/CAMERA/MICROSECONDS") from error


def _intrinsics(root: Path) -> Mapping[str, Camera]:
    cameras = {}
    for name in _CAMERAS:
        file = root / "intrinsics" / f"{name}_intrinsics.txt"
        values = {words[0].rstrip(":"): words[-1] for _, words in listed_lines(file)}
        if not {"fx", "fy", "cx", "cy"} <= set(values):
            raise RecordingError(f"{file} lacks one of fx, fy, cx, cy, each in a line of its own")
        numbers = [values[key] for key in ("fx", "fy", "cx", "cy")]
        cameras[name] = colmap_camera(["PINHOLE", str(_SIDE_PX), str(_SIDE_PX), *numbers])
    return cameras


def _extrinsics(root: Path, name: str) -> FloatArray:
    """T_car_camera (4, 4)."""
    file = root / "extrinsics" / f"{name}_extrinsics.txt"
    text = " ".join(word for _, words in listed_lines(file) for word in words)
    try:
        return _rigid(np.array(text.replace(",", " ").split(), np.float64).reshape(4, 4))
    except ValueError as error:
        raise RecordingError(f"{file} is no 4x4 matrix of a pose, numbers apart by ','") from error


def _rigid(matrix: FloatArray) -> FloatArray:
    R = matrix[:3, :3]
    if not np.isfinite(matrix).all() or np.abs(R @ R.T - np.eye(3)).max() > 0.02:
        raise ValueError("no pose")
    u, _, v = np.linalg.svd(R)
    return poses.from_rotation_translation(u @ v, matrix[:3, 3])


def _model_poses(path: Path) -> Iterator[tuple[str, FloatArray]]:
    """Name and T_camera_world (4, 4) of the images of an NVM model, without its points."""
    try:
        with open_file(path) as file:
            lines = (line.decode("utf-8", "replace").split() for line in file)
            said = (words for words in lines if words)
            head = next(said, [""])
            count = next(said, ["0"])[0]
            if head[0] != "NVM_V3" or not count.isdecimal():
                raise RecordingError(f"{path} is no NVM model: it does not begin with NVM_V3")
            cameras = list(islice(said, int(count)))
    except OSError as error:
        raise RecordingError(f"cannot read {path}: {error}") from error
    if len(cameras) < int(count):
        raise RecordingError(f"{path} ends after {len(cameras)} of {count} cameras")
    for words in cameras:
        try:
            name, numbers = words[0], np.array(words[2:9], np.float64)
            w, x, y, z = numbers[:4]
            R = poses.from_quaternion(np.zeros(3), (x, y, z, w))[:3, :3]
            yield _jpg(name.removeprefix("./")), turned_at(R, numbers[4:7])
        except (ValueError, IndexError) as error:
            raise RecordingError(f"{path}: {' '.join(words)[:60]} is no camera") from error
