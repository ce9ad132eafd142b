"""Training data from one half of Nordland's line: points that both seasons show, by the poses.

Local features of the half's images, matched within each season alone, are triangulated with the
reference poses; each point is projected into the image of either season that shows its place. So a
correspondence needs no feature that looks alike in both seasons.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from fgsn_ros.correspondences.files import (
    Correspondence,
    CorrespondenceFolder,
    file_name,
    new_correspondence_folder,
    write_correspondence,
)
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.cameras import CameraMount
from fgsn_ros.mapping.builder import MapSettings
from fgsn_ros.mapping.descriptors import RATIOS, Extractor
from fgsn_ros.mapping.feature_tracks import FeatureTracks
from fgsn_ros.mapping.map_records import MapPoints
from fgsn_ros.recordings.recording import Frame, Recording, require_ground_truth
from fgsn_ros.segmentation.labels import LabelMap

FloatArray = NDArray[np.float64]
_SHRINK = 2
"""Images are written so many times smaller: as the network will see them."""
_RANGE_FACTOR, _VIEW_DEG = 1.25, 15.0
"""A point is taken for seen a little outside the ranges and directions that it was mapped from."""
_VALIDATION_EVERY = 5
"""One pair in so many is left to the label statistics, which must not come from trained pairs."""


@dataclass(frozen=True)
class Half:
    """Half of the line."""

    name: str
    frames: tuple[int, int]
    """the first and the last"""

    @property
    def other(self) -> "Half":
        """The half that this one is not."""
        return HALVES[1 - HALVES.index(self)]

    def has(self, frame: Frame) -> bool:
        """Whether a frame, stamped with its number, is of the half."""
        return self.frames[0] <= round(frame.stamp) <= self.frames[1]


HALVES = Half("first", (1, 30)), Half("second", (31, 60))


def write_half(
    root: Path,
    half: Half,
    recordings: Mapping[str, Recording],
    extract: Extractor,
    settings: MapSettings,
) -> None:
    """Write correspondences of two seasons' frames of the same number, in a half of the line."""
    reference, target = recordings.values()
    points = [_points(each, half, extract, settings) for each in (reference, target)]
    joined = MapPoints.joined(points)
    with new_correspondence_folder(root) as folder:
        names = []
        for one, other in zip(_frames(reference, half), _frames(target, half), strict=True):
            pair = _pair(one, other, (reference, target), joined)
            names.append(file_name(0, (0, 1), (round(one.stamp), round(other.stamp))))
            write_correspondence(folder.files / names[-1], pair)
            _write_image(folder, pair.reference_image, one)
            _write_image(folder, pair.target_image, other)
        validation = names[_VALIDATION_EVERY // 2 :: _VALIDATION_EVERY]
        folder.write_lists([name for name in names if name not in validation], validation)


def _frames(recording: Recording, half: Half) -> Iterator[Frame]:
    return (frame for frame in recording.frames() if half.has(frame))


def _mount(recording: Recording) -> CameraMount:
    return next(iter(recording.cameras.values()))


def _T_map_camera(recording: Recording, stamp: float) -> FloatArray:
    T_map_base = require_ground_truth(recording).at(stamp)
    return poses.compose(T_map_base, _mount(recording).T_base_camera)


def _points(
    recording: Recording, half: Half, extract: Extractor, settings: MapSettings
) -> MapPoints:
    """Points of a season's features in the half's images."""
    camera = _mount(recording).camera
    tracks = FeatureTracks(
        1,
        RATIOS["xfeat"],
        settings.structure.tracks.min_views,
        settings.structure.triangulation,
        settings.local_features.guided_px,
    )
    shape = camera.height // 4, camera.width // 4
    unlabelled = LabelMap(np.zeros(shape, np.uint16), np.ones(shape, np.float32), 4, 1)
    for frame in _frames(recording, half):
        T = _T_map_camera(recording, frame.stamp)
        tracks.add(extract(frame.image), camera, T, unlabelled)
    described = tracks.take_ended(all_of_them=True)
    if described is None:
        raise SystemExit(f"error: no points in the {half.name} half of {recording.name}")
    return described[0].points


def _pair(
    one: Frame, other: Frame, recordings: tuple[Recording, Recording], points: MapPoints
) -> Correspondence:
    seen = np.ones(len(points), bool)
    pixels = []
    for frame, recording in zip((one, other), recordings, strict=True):
        T_map_camera = _T_map_camera(recording, frame.stamp)
        projected, visible = _projected(points, T_map_camera, _mount(recording))
        pixels.append((projected + 0.5) / _SHRINK - 0.5)
        seen &= visible
    names = [f"{recording.name}/{round(one.stamp):02d}.jpg" for recording in recordings]
    kept = [np.asarray(each[seen], np.float64) for each in pixels]
    return Correspondence(names[0], names[1], *kept, np.zeros(int(seen.sum())))


def _projected(
    points: MapPoints, T_map_camera: FloatArray, mount: CameraMount
) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Pixels (N, 2), and which points (N,) are seen there as they were mapped."""
    camera = mount.camera
    sight = points.points - T_map_camera[:3, 3]
    ranges = np.linalg.norm(sight, axis=1)
    pixels, valid = camera.project(sight @ T_map_camera[:3, :3])
    along = np.einsum("ni,ni->n", sight, points.directions)
    valid &= along >= np.cos(np.radians(_VIEW_DEG)) * ranges
    valid &= ranges >= points.min_range / _RANGE_FACTOR
    valid &= ranges <= points.max_range * _RANGE_FACTOR
    valid &= ((pixels >= 0.0) & (pixels <= [camera.width - 1, camera.height - 1])).all(axis=1)
    return np.where(valid[:, None], pixels, 0.0), valid


def _write_image(folder: CorrespondenceFolder, name: str, frame: Frame) -> None:
    path = folder.images / name
    path.parent.mkdir(exist_ok=True)
    height, width = frame.image.shape[:2]
    size = width // _SHRINK, height // _SHRINK
    small = cv2.resize(frame.image, size, interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(path), small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
