"""A COLMAP model, checked: cameras, posed images, points, and where images show the points."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.errors import CameraError, RecordingError
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.cameras import Camera
from fgsn_ros.left_out import LeftOut
from fgsn_ros.recordings.benchmark_lists import CORNER_PX, colmap_camera
from fgsn_ros.recordings.colmap_files import Form, ImageRow, PointRows

FloatArray = NDArray[np.float64]
Indices = NDArray[np.int64]

_FILES = ("cameras", "images", "points3D")
_FORMS = (Form(".bin"), Form(".txt"))
_FARTHEST, _FARTHEST_PX = 1e12, 1e6
"""Coordinates beyond are taken as not finite."""
_MAX_MEDIAN_PX = 8.0
"""Of the points' distances from where images show them; COLMAP itself keeps those within 4."""


@dataclass(frozen=True, eq=False)
class Sightings:
    """Where images show points, ordered by image."""

    image: Indices
    """(M,) index of the image."""
    point: Indices
    """(M,) index of the point."""
    pixels: FloatArray
    """(M, 2) u, v [px]; (0, 0) is the centre of the first pixel."""

    def __getitem__(self, chosen: NDArray[np.bool_] | Indices | slice) -> "Sightings":
        return Sightings(*(values[chosen] for values in vars(self).values()))


@dataclass(frozen=True, eq=False)
class ColmapModel:
    """A model in its own world, of whatever scale and axes."""

    path: Path
    names: tuple[str, ...]
    """(N,) of the images: paths within their folder"""
    T_world_camera: FloatArray
    """(N, 4, 4)"""
    camera: Indices
    """(N,) number of each image's camera"""
    cameras: Mapping[int, Camera]
    """by number: those that took images"""
    T_rig_camera: Mapping[int, FloatArray]
    """(4, 4), of cameras of a rig that are not its first, in the coordinates of that one"""
    points: FloatArray
    """(P, 3)"""
    sightings: Sightings

    def with_images(self, chosen: Indices) -> "ColmapModel":
        """The model with some of its images alone, by their index, in that order; all points."""
        place = np.full(len(self.names), -1)
        place[chosen] = np.arange(len(chosen))
        order = np.argsort(place[self.sightings.image], kind="stable")
        seen = self.sightings[order[place[self.sightings.image[order]] >= 0]]
        return ColmapModel(
            self.path,
            tuple(self.names[i] for i in chosen),
            self.T_world_camera[chosen],
            self.camera[chosen],
            {number: self.cameras[number] for number in np.unique(self.camera[chosen]).tolist()},
            self.T_rig_camera,
            self.points,
            Sightings(place[seen.image], seen.point, seen.pixels),
        )


def read_colmap_model(folder: Path) -> ColmapModel:
    """Read a model, binary (which counts where both are there) or text.

    Images and points that cannot be used are left out, counted and said.

    Raises:
        RecordingError: a file is missing, damaged or of another form, too much of it cannot be
            used, or an image's camera has no equivalent here.
    """
    form = _form(folder)
    suffix = form.suffix
    try:
        name = f"cameras{suffix}"
        listed = _unique(form.cameras(folder))
        name = f"images{suffix}"
        listed_images = list(form.images(folder))
        images = _usable_images(folder / name, listed_images, listed)
        name = f"points3D{suffix}"
        rows = form.points(folder)
        name = f"rigs{suffix}"
        T_rig_camera = {number: _rig_pose(pose) for number, pose in form.rigs(folder)}
    except (OSError, ValueError, IndexError) as error:
        reason = " ".join(str(error).split()) or "damaged"
        raise RecordingError(f"{folder / name} is no file of a COLMAP model: {reason}") from error
    cameras = _cameras(folder / f"cameras{suffix}", listed, {row.camera for row in images})
    numbers = [row.number for row in listed_images if not isinstance(row, str)]
    points, sightings = _points(folder / f"points3D{suffix}", rows, images, np.array(numbers))
    model = ColmapModel(
        folder,
        tuple(row.name for row in images),
        poses.invert(_poses([row.pose for row in images])),
        np.array([row.camera for row in images]),
        cameras,
        T_rig_camera,
        points,
        sightings,
    )
    _check_errors(model)
    return model


def _form(folder: Path) -> Form:
    for form in _FORMS:
        if all((folder / f"{name}{form.suffix}").is_file() for name in _FILES):
            return form
    inner = next((path for path in (folder / "0", folder / "sparse/0") if path.is_dir()), None)
    hint = f"; is it {inner}?" if inner is not None else ""
    raise RecordingError(
        f"{folder} is no COLMAP model: it lacks cameras, images and points3D, all .bin or all "
        f".txt{hint}"
    )


def _unique(cameras: Iterator[tuple[int, list[str]]]) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for number, words in cameras:
        if number in found:
            raise ValueError(f"camera {number} is there twice")
        found[number] = words
    return found


def _cameras(path: Path, listed: Mapping[int, list[str]], used: set[int]) -> dict[int, Camera]:
    """Those of images: others may be of any model."""
    cameras = {}
    for number in sorted(used):
        try:
            cameras[number] = colmap_camera(listed[number])
        except CameraError as error:
            raise RecordingError(f"{path}, camera {number}: {error}") from error
    return cameras


def _usable_images(
    path: Path, rows: list[ImageRow | str], cameras: Mapping[int, list[str]]
) -> list[ImageRow]:
    """Images with a pose, a camera and a name of their own."""
    if not rows:
        raise ValueError("it holds no images")
    usable: list[ImageRow] = []
    names: set[str] = set()
    numbers: set[int] = set()
    with LeftOut(str(path), "images", len(rows)) as left_out:
        for row in rows:
            if isinstance(row, str):
                left_out.drop("of another form", row)
                continue
            fault = _fault(row, cameras, names, numbers)
            if fault:
                left_out.drop(fault, row.name)
                continue
            names.add(row.name)
            numbers.add(row.number)
            usable.append(row)
            left_out.keep()
    return usable


def _fault(
    row: ImageRow, cameras: Mapping[int, list[str]], names: set[str], numbers: set[int]
) -> str:
    """Why an image cannot be used, as an attribute; empty if it can."""
    if row.name in names or row.number in numbers:
        return "with a name or number that was there before"
    if row.camera not in cameras:
        return "of a camera that is not listed"
    if "\0" in row.name or Path(row.name).is_absolute() or ".." in Path(row.name).parts:
        return "with a name outside the folder of images"
    if not (np.abs(row.pixels) <= _FARTHEST_PX).all():
        return "with keypoints that are not finite"
    return _pose_fault(row.pose)


def _pose_fault(pose: tuple[float, ...]) -> str:
    """Why qw qx qy qz tx ty tz is no pose, as an attribute; empty if it is one."""
    fault = str(poses.faults(_xyz_xyzw(pose)))
    if fault == poses.NOT_FINITE or (not fault and max(map(abs, pose)) > _FARTHEST):
        return "with a pose that is not finite"
    return fault


def _xyz_xyzw(pose: tuple[float, ...]) -> tuple[float, ...]:
    w, x, y, z, *position = pose
    return (*position, x, y, z, w)


def _poses(rows: list[tuple[float, ...]]) -> FloatArray:
    """Poses (N, 4, 4) of qw qx qy qz tx ty tz."""
    values = np.array([_xyz_xyzw(row) for row in rows])
    return poses.from_quaternion(values[:, :3], values[:, 3:])


def _rig_pose(pose: tuple[float, ...]) -> FloatArray:
    fault = _pose_fault(pose)
    if fault:
        raise ValueError(f"it has a camera {fault}")
    T_rig_camera: FloatArray = poses.invert(_poses([pose]))[0]
    return T_rig_camera


def _points(
    path: Path, rows: PointRows, images: list[ImageRow], listed: Indices
) -> tuple[FloatArray, Sightings]:
    """Points whose track is that of the images, and where these show them.

    Args:
        path: Of the points, for errors.
        rows: As they are in the file.
        images: Those that can be used.
        listed: Numbers of all images, those that cannot be used too.
    """
    _check_tracks(path, rows.track_images, listed)
    order = np.argsort(rows.ids, kind="stable")
    ids, positions = rows.ids[order], rows.positions[order]
    seen = _sightings(ids, images)
    counts = np.bincount(seen.point, minlength=len(ids))
    faults = {
        "not finite": ~(np.abs(positions) <= _FARTHEST).all(axis=1),
        "with an id that was there before": np.diff(ids, prepend=-1) == 0,
        "with a track that the images do not show": counts != _known_lengths(rows, images)[order],
        "shown by no image": counts == 0,
    }
    kept = _kept(path, ids, faults)
    numbers = np.cumsum(kept) - 1
    seen = seen[kept[seen.point]]
    return positions[kept], Sightings(seen.image, numbers[seen.point], seen.pixels)


def _check_tracks(path: Path, track_images: Indices, listed: Indices) -> None:
    """Count what tracks have of images that are not listed."""
    foreign = track_images[~np.isin(track_images, listed)]
    with LeftOut(str(path), "views in tracks", len(track_images)) as left_out:
        if len(foreign):
            left_out.drop("of an image that is not listed", f"image {foreign[0]}", len(foreign))
        left_out.keep(len(track_images) - len(foreign))


def _sightings(ids: Indices, images: list[ImageRow]) -> Sightings:
    """Where images show points of these ids, ascending; those of no such point are left out."""
    counts = [len(row.points) for row in images]
    image = np.repeat(np.arange(len(images)), counts)
    shown = np.concatenate([row.points for row in images])
    pixels = np.concatenate([row.pixels for row in images]) - CORNER_PX
    point = np.minimum(np.searchsorted(ids, shown), max(len(ids) - 1, 0))
    known = ids[point] == shown if len(ids) else np.zeros(len(shown), bool)
    return Sightings(image[known], point[known], pixels[known])


def _known_lengths(rows: PointRows, images: list[ImageRow]) -> Indices:
    """Images in the track of each point (P,) but for those that are left out."""
    owner = np.repeat(np.arange(len(rows.ids)), rows.track_lengths)
    known = np.isin(rows.track_images, np.array([row.number for row in images]))
    lengths: Indices = np.bincount(owner[known], minlength=len(rows.ids))
    return lengths


def _kept(path: Path, ids: Indices, faults: Mapping[str, NDArray[np.bool_]]) -> NDArray[np.bool_]:
    kept = np.ones(len(ids), bool)
    with LeftOut(str(path), "points", len(ids)) as left_out:
        for reason, faulty in faults.items():
            new = faulty & kept
            if new.any():
                left_out.drop(reason, f"number {ids[new][0]}", int(new.sum()))
            kept &= ~faulty
        left_out.keep(int(kept.sum()))
    if not len(ids):
        raise RecordingError(
            f"{path} holds no points; triangulate them (colmap point_triangulator), or make the "
            "map from the images with poses as a recording"
        )
    return kept


def _check_errors(model: ColmapModel) -> None:
    """Refuse a model that contradicts itself."""
    median = float(np.median(reprojection_errors(model)))
    if not median <= _MAX_MEDIAN_PX:
        raise RecordingError(
            f"{model.path}: points lie {median:.3g} px from where images show them (median); its "
            "cameras, images and points are not of one model"
        )


def reprojection_errors(model: ColmapModel) -> FloatArray:
    """Distance (M,) of each point from where an image shows it [px]; infinite out of view."""
    T_camera_world, seen = poses.invert(model.T_world_camera), model.sightings
    bounds = np.searchsorted(seen.image, np.arange(len(model.names) + 1))
    errors = np.full(len(seen.image), np.inf)
    for i, (first, last) in enumerate(pairwise(bounds)):
        own = slice(first, last)
        with np.errstate(over="ignore", invalid="ignore"):
            points = poses.transform(T_camera_world[i], model.points[seen.point[own]])
            pixels, valid = model.cameras[int(model.camera[i])].project(points)
            distance = np.linalg.norm(pixels - seen.pixels[own], axis=1)
        errors[own] = np.where(valid, distance, np.inf)
    return errors
