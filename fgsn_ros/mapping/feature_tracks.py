"""Local features matched from image to image of a drive, chained to tracks and triangulated."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.geometry import poses
from fgsn_ros.geometry.cameras import Camera
from fgsn_ros.mapping.descriptors import Bytes, ImageFeatures, in_bytes, mutual_matches, unit
from fgsn_ros.mapping.labelling import LabelVotes
from fgsn_ros.mapping.map_records import MapPoints
from fgsn_ros.mapping.structure import focal_px
from fgsn_ros.mapping.triangulation import (
    Triangulation,
    TriangulationSettings,
    Views,
    range_bounds,
    triangulate,
)
from fgsn_ros.segmentation.labels import LabelMap

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FeaturePoints:
    """Labelled points with descriptors."""

    points: MapPoints
    descriptors: Bytes
    """(N, D)."""

    def __len__(self) -> int:
        return len(self.descriptors)

    def __getitem__(self, chosen: NDArray[np.integer] | NDArray[np.bool_]) -> "FeaturePoints":
        return FeaturePoints(self.points[chosen], self.descriptors[chosen])


Described = tuple[FeaturePoints, NDArray[np.int64]]
"""Points, and how many images agree with each (N,)."""


@dataclass(frozen=True, eq=False)
class _Observations:
    """Features of one or more images, each with the track that it is of."""

    track: NDArray[np.int64]
    """(M,)."""
    frame: NDArray[np.int64]
    """(M,) index of its camera's pose."""
    pixels: NDArray[np.float32]
    """(M, 2)."""
    descriptors: Bytes
    """(M, D)."""
    labels: NDArray[np.int64]
    """(M,) label seen there; the label count where there is none."""
    confidence: NDArray[np.float64]
    """(M,) the network's."""

    def __getitem__(self, chosen: NDArray[np.integer] | NDArray[np.bool_]) -> "_Observations":
        return _Observations(*(values[chosen] for values in vars(self).values()))


def _joined(parts: list[_Observations]) -> _Observations:
    columns = zip(*(vars(part).values() for part in parts), strict=True)
    return _Observations(*(np.concatenate(column) for column in columns))


@dataclass
class FeatureTracks:
    """Tracks of the features of one camera, or of several by turns."""

    label_count: int
    ratio: float
    """Of the ratio test from image to image."""
    min_views: int
    settings: TriangulationSettings
    guided_px: float | None = None
    """As `LocalFeatureSettings.guided_px`."""
    _last: ImageFeatures | None = None
    _ids: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    _next_id: int = 0
    _held: list[_Observations] = field(default_factory=list)
    _T_camera_map: dict[int, FloatArray] = field(default_factory=dict)
    _cameras: dict[int, Camera] = field(default_factory=dict)
    _frame: int = 0
    _seen_by: tuple[Camera, FloatArray] | None = None
    """Camera and T_map_camera of the last image."""

    def add(
        self,
        features: ImageFeatures,
        camera: Camera,
        T_map_camera: FloatArray,
        label_map: LabelMap | None,
    ) -> None:
        """Match an image's features to those of the image before; the others begin tracks."""
        ids = np.full(len(features), -1, np.int64)
        if self._last is not None:
            before, now = mutual_matches(
                self._last.descriptors,
                features.descriptors,
                self.ratio,
                self._excluded(self._last, features, camera, T_map_camera),
            )
            ids[now] = self._ids[before]
        new = np.flatnonzero(ids < 0)
        ids[new] = self._next_id + np.arange(len(new))
        self._next_id += len(new)
        labels, confidence = _labels_at(label_map, features.pixels, self.label_count)
        frames = np.full(len(ids), self._frame, np.int64)
        seen = features.pixels, features.descriptors
        self._held.append(_Observations(ids, frames, *seen, labels, confidence))
        self._T_camera_map[self._frame] = poses.invert(T_map_camera)
        self._cameras[self._frame] = camera
        self._last, self._ids = features, ids
        self._seen_by = camera, T_map_camera
        self._frame += 1

    def _excluded(
        self,
        last: ImageFeatures,
        features: ImageFeatures,
        camera: Camera,
        T_map_camera: FloatArray,
    ) -> NDArray[np.bool_] | None:
        """Pairs (M, L) of features that the poses say are of two points; None: nothing is asked."""
        if self.guided_px is None or self._seen_by is None:
            return None
        before, T_map_before = self._seen_by
        T_now_before = poses.compose(poses.invert(T_map_camera), T_map_before)
        rays = before.unproject(last.pixels)[0][:, :2], camera.unproject(features.pixels)[0][:, :2]
        excluded: NDArray[np.bool_] = (
            off_epipolar_lines(*rays, T_now_before) * camera.fx > self.guided_px
        )
        return excluded

    def take_ended(self, all_of_them: bool = False) -> Described | None:
        """Points of the tracks that ended, or of all, which are forgotten then; None: no point."""
        if not self._held:
            return None
        held = _joined(self._held)
        ended = np.ones(len(held.track), bool)
        if not all_of_them:
            ended = ~np.isin(held.track, self._ids)
        self._held = [] if all_of_them else [held[~ended]]
        taken = self._long(held[ended])
        described = self._points(taken) if len(taken.track) else None
        first = int(held.frame[~ended].min(initial=self._frame))
        self._T_camera_map = {n: T for n, T in self._T_camera_map.items() if n >= first}
        self._cameras = {n: camera for n, camera in self._cameras.items() if n >= first}
        return described

    def _long(self, seen: _Observations) -> _Observations:
        """Tracks of enough views, numbered from 0, ordered by track and frame."""
        _, track, views = np.unique(seen.track, return_inverse=True, return_counts=True)
        long_enough = views >= self.min_views
        kept = np.flatnonzero(long_enough[track])
        order = kept[np.lexsort((seen.frame[kept], track[kept]))]
        numbers = np.cumsum(long_enough) - 1
        chosen = seen[order]
        chosen.track[:] = numbers[track[order]]
        return chosen

    def _points(self, seen: _Observations) -> Described | None:
        first = int(seen.frame.min())
        cameras = [self._cameras[n] for n in range(first, self._frame)]
        rays, focal = _rays(seen, cameras, first)
        T_camera_map = np.stack([self._T_camera_map[n] for n in range(first, self._frame)])
        views = Views(
            seen.track,
            T_camera_map[seen.frame - first],
            rays,
            focal,
        )
        result = triangulate(views, self.settings, self.min_views)
        return self._described(seen, views, result) if result.accepted.any() else None

    def _described(self, seen: _Observations, views: Views, result: Triangulation) -> Described:
        """The accepted points, with label, mean descriptor and mean direction of their views."""
        starts, agreeing = views.starts, result.agreeing
        sight = result.points[views.track] - views.centres
        ranges = np.linalg.norm(sight, axis=1)
        shortest, longest = range_bounds(ranges, agreeing, starts)
        directions = np.add.reduceat(
            np.where(agreeing[:, None], sight / ranges[:, None], 0.0), starts
        )
        sums = np.add.reduceat(np.where(agreeing[:, None], unit(seen.descriptors), 0.0), starts)
        votes, voters = LabelVotes(self.label_count), agreeing & (seen.labels < self.label_count)
        votes.add(seen.track[voters], seen.labels[voters], seen.confidence[voters])
        labels, confidence = votes.winners(len(starts))
        kept = np.flatnonzero(result.accepted & (confidence > 0.0))
        mean = directions[kept]
        points = MapPoints(
            result.points[kept],
            labels[kept],
            confidence[kept],
            mean / np.linalg.norm(mean, axis=1, keepdims=True),
            shortest[kept],
            longest[kept],
        )
        counts = np.add.reduceat(agreeing.astype(np.int64), starts)
        return FeaturePoints(points, in_bytes(sums[kept], seen.descriptors.dtype.str[1:])), counts[
            kept
        ]


def off_epipolar_lines(
    rays: FloatArray, others: FloatArray, T_other_camera: FloatArray
) -> NDArray[np.float32]:
    """(M, L) distance at z = 1 of another camera's rays (L, 2) from the lines of rays (M, 2).

    The line is where the other camera sees a ray of this one. Without a baseline, or for a ray
    along it, there is none, and the distance is 0.
    """
    ones = np.ones((max(len(rays), len(others)), 1))
    turned = np.hstack([rays, ones[: len(rays)]]) @ T_other_camera[:3, :3].T
    lines = np.cross(T_other_camera[:3, 3], turned)
    length = np.linalg.norm(lines[:, :2], axis=1, keepdims=True)
    lines = np.where(length > 1e-9, lines / np.maximum(length, 1e-9), 0.0).astype(np.float32)
    seen = np.hstack([others, ones[: len(others)]]).astype(np.float32)
    return np.asarray(np.abs(lines @ seen.T), np.float32)


def _rays(seen: _Observations, cameras: list[Camera], first: int) -> tuple[FloatArray, FloatArray]:
    """Rays (M, 2) and pixels per unit of them (M, 2), by the cameras of the frames from `first`."""
    rays, focal = np.empty((len(seen.frame), 2)), np.empty((len(seen.frame), 2))
    numbers = {camera: number for number, camera in enumerate(dict.fromkeys(cameras))}
    by_frame = np.array([numbers[camera] for camera in cameras])
    for camera, number in numbers.items():
        own = by_frame[seen.frame - first] == number
        unprojected, valid = camera.unproject(seen.pixels[own])
        rays[own] = np.where(valid[:, None], unprojected[:, :2], 1e3)  # agrees with no point
        focal[own] = focal_px(camera, seen.pixels[own])
    return rays, focal


def _labels_at(
    label_map: LabelMap | None, pixels: NDArray[np.float32], label_count: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Labels (M,) under pixels (M, 2), the label count where there is none; their confidence."""
    if label_map is None:
        return np.full(len(pixels), label_count), np.zeros(len(pixels))
    labels, confidence = label_map.at(pixels)
    return np.minimum(labels, label_count).astype(np.int64), confidence.astype(np.float64)
