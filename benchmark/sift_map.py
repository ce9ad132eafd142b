"""A map of SIFT points: what is matched from image to image of a drive, triangulated."""

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from fgsn_ros.geometry import poses
from fgsn_ros.geometry.cameras import Camera
from fgsn_ros.localization.selection import SelectionSettings
from fgsn_ros.mapping.builder import MapSettings
from fgsn_ros.mapping.structure import MotionGate, posed_frames
from fgsn_ros.mapping.triangulation import TriangulationSettings, Views, range_bounds, triangulate
from fgsn_ros.recordings.recording import Recording

FloatArray = NDArray[np.float64]
Float32Array = NDArray[np.float32]
Indices = NDArray[np.int64]

_LEVELS = 512.0  # RootSIFT in bytes, as COLMAP stores it


@dataclass(frozen=True)
class SiftSettings:
    """Settings of the baseline."""

    features: int = 2000
    """strongest features of an image"""
    contrast: float = 0.01
    """SIFT's contrast threshold; low, so that dark images have features too"""
    ratio: float = 0.8
    """largest ratio of the distances to the best and to the second descriptor"""
    same_point_m: float = 0.5
    """map points this close may be one point mapped twice, and do not compete [m]"""
    margin_deg: float = 10.0
    """map points up to this far outside the image at the predicted pose are matched too [deg]"""
    inlier_px: float = 4.0
    """largest reprojection error of an inlier [px]"""
    min_inliers: int = 12
    """a pose with fewer is no measurement"""
    std_m: float = 0.15
    """standard deviation of a measured pose in x and in y [m]"""
    std_deg: float = 0.5
    """standard deviation of a measured pose's heading [deg]"""
    floor: float = 1e-3
    """likelihood of a pose far off the measured one, against 1 at it"""
    selection: SelectionSettings = field(default_factory=SelectionSettings)
    """which map points are expected in view"""


@dataclass(frozen=True)
class Features:
    """SIFT features of one image that the camera model has rays for."""

    rays: FloatArray
    """(M, 2) x, y of the viewing ray at z = 1"""
    descriptors: NDArray[np.uint8]
    """(M, 128) RootSIFT"""


class Extractor:
    """Finds SIFT features."""

    def __init__(self, settings: SiftSettings) -> None:
        self._sift = cv2.SIFT_create(
            nfeatures=settings.features,
            contrastThreshold=settings.contrast,
            enable_precise_upscale=True,
        )

    def features(self, image: NDArray[np.uint8], camera: Camera) -> Features:
        """Features of an RGB image (H, W, 3)."""
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        keypoints, raw = self._sift.detectAndCompute(grey, None)
        if raw is None:
            return Features(np.zeros((0, 2)), np.zeros((0, 128), np.uint8))
        rays, valid = camera.unproject(np.array([keypoint.pt for keypoint in keypoints]))
        root = np.sqrt(raw / np.maximum(raw.sum(axis=1, keepdims=True), 1e-9))
        descriptors = np.minimum(np.rint(root * _LEVELS), 255).astype(np.uint8)
        return Features(rays[valid, :2], descriptors[valid])


def unit(descriptors: NDArray[np.generic]) -> Float32Array:
    """Descriptors (M, 128) of length 1."""
    vectors = descriptors.astype(np.float32)
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9))


def mutual_matches(first: Features, second: Features, ratio: float) -> tuple[Indices, Indices]:
    """Indices of features that are each other's best and pass the ratio test both ways."""
    if min(len(first.rays), len(second.rays)) < 2:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    cosines = unit(first.descriptors) @ unit(second.descriptors).T
    forth, clear = _best(cosines, ratio)
    back, clear_back = _best(cosines.T, ratio)
    mutual = clear & (back[forth] == np.arange(len(forth))) & clear_back[forth]
    return np.flatnonzero(mutual), forth[mutual]


def _best(cosines: Float32Array, ratio: float) -> tuple[Indices, NDArray[np.bool_]]:
    """Best column of each row, and whether it passes the ratio test."""
    columns, values = highest(cosines, 2)
    nearest, second = distances(values).T
    return columns[:, 0], nearest < ratio * second


def highest(cosines: Float32Array, count: int) -> tuple[Indices, Float32Array]:
    """Columns and values (M, count) of each row's highest, in descending order."""
    # Some passes of argmax are much faster than a partition of every row.
    rows, left = np.arange(len(cosines)), cosines.copy()
    columns = np.empty((len(cosines), count), np.int64)
    for rank in range(count):
        columns[:, rank] = left.argmax(axis=1)
        left[rows, columns[:, rank]] = -np.inf
    return columns, np.take_along_axis(cosines, columns, axis=1)


def distances(cosine: Float32Array) -> Float32Array:
    """Distances of unit vectors of these cosines."""
    return np.asarray(np.sqrt(np.maximum(2.0 - 2.0 * cosine, 0.0)))


@dataclass(frozen=True, eq=False)
class SiftMap:
    """Triangulated SIFT points."""

    points: FloatArray
    """(P, 3) in the map [m]"""
    descriptors: Float32Array
    """(P, 128) mean of the views, of length 1"""
    directions: FloatArray
    """(P, 3) mean unit viewing direction, camera to point"""
    min_range: FloatArray
    """(P,) shortest distance of a view [m]"""
    max_range: FloatArray
    """(P,) longest distance of a view [m]"""
    keyframe_poses: FloatArray
    """(F, 4, 4) T_map_base at the semantic map's key frames"""


def build_sift_map(
    recording: Recording, sift: SiftSettings, settings: MapSettings | None = None
) -> SiftMap:
    """SIFT map of a recording of one camera, from the same images as the semantic map."""
    settings = settings or MapSettings()
    extractor, chain = Extractor(sift), _Chain(sift.ratio)
    gate = MotionGate(settings.keyframe_spacing_m, settings.keyframe_turn_deg)
    keyframe_poses: list[FloatArray] = []
    mount = next(iter(recording.cameras.values()))
    spacing = (settings.structure.frame_spacing_m, settings.structure.frame_turn_deg)
    for posed in posed_frames(recording, *spacing, "SIFT map"):
        T_map_camera = poses.compose(posed.T_map_base, mount.T_base_camera)
        chain.add(extractor.features(posed.frame.image, mount.camera), T_map_camera)
        if gate.passes(posed.T_map_base):
            keyframe_poses.append(posed.T_map_base)
    structure = settings.structure
    views, descriptors = chain.views(mount.camera, structure.tracks.min_views)
    return _triangulated(
        views,
        descriptors,
        structure.triangulation,
        structure.tracks.min_views,
        np.array(keyframe_poses),
    )


class _Chain:
    """Chains matches of successive images to tracks."""

    def __init__(self, ratio: float) -> None:
        self._ratio = ratio
        self._features: list[Features] = []
        self._ids: list[Indices] = []
        self._T_camera_map: list[FloatArray] = []
        self._next_id = 0

    def add(self, features: Features, T_map_camera: FloatArray) -> None:
        """Match an image to the one before; what has no match begins a track."""
        ids = np.full(len(features.rays), -1, np.int64)
        if self._features:
            before, now = mutual_matches(self._features[-1], features, self._ratio)
            ids[now] = self._ids[-1][before]
        new = np.flatnonzero(ids < 0)
        ids[new] = self._next_id + np.arange(len(new))
        self._next_id += len(new)
        self._features.append(features)
        self._ids.append(ids)
        self._T_camera_map.append(poses.invert(T_map_camera))

    def views(self, camera: Camera, min_views: int) -> tuple[Views, NDArray[np.uint8]]:
        """Views of the tracks of at least `min_views` images, and their descriptors."""
        ids = np.concatenate(self._ids)
        frames = np.repeat(np.arange(len(self._ids)), [len(each) for each in self._ids])
        long_enough = np.bincount(ids, minlength=self._next_id) >= min_views
        kept = np.flatnonzero(long_enough[ids])
        order = kept[np.lexsort((frames[kept], ids[kept]))]
        track = (np.cumsum(long_enough) - 1)[ids[order]]
        rays = np.concatenate([each.rays for each in self._features])[order]
        descriptors = np.concatenate([each.descriptors for each in self._features])[order]
        T_camera_map = np.array(self._T_camera_map)[frames[order]]
        focal_px = np.broadcast_to(np.array([camera.fx, camera.fy]), rays.shape)
        return Views(track, T_camera_map, rays, focal_px), descriptors


def _triangulated(
    views: Views,
    descriptors: NDArray[np.uint8],
    settings: TriangulationSettings,
    min_views: int,
    keyframe_poses: FloatArray,
) -> SiftMap:
    result = triangulate(views, settings, min_views)
    sight = result.points[views.track] - views.centres
    ranges = np.linalg.norm(sight, axis=1)
    shortest, longest = range_bounds(ranges, result.agreeing, views.starts)
    agreeing = result.agreeing[:, None]
    directions = np.add.reduceat(np.where(agreeing, sight / ranges[:, None], 0.0), views.starts)
    sums = np.add.reduceat(np.where(agreeing, descriptors, 0).astype(np.float32), views.starts)
    kept = result.accepted
    mean = directions[kept]
    return SiftMap(
        result.points[kept],
        unit(sums[kept]),
        mean / np.linalg.norm(mean, axis=1, keepdims=True),
        shortest[kept],
        longest[kept],
        keyframe_poses,
    )
