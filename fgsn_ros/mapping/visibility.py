"""Which points a camera of the drive sees, by how the drive's own views saw them."""

import numba
import numpy as np
from numpy.typing import NDArray

from fgsn_ros.geometry.cameras import Camera
from fgsn_ros.mapping.structure import StructurePoints

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int64]
Mask = NDArray[np.bool_]
_OCCLUSION_CELL_PX = (24.0, 8.0)
"""Wide and low: along a column of the image, a road's depth changes quickly."""
_OCCLUSION_DEPTH = 0.7
"""A point is hidden where another of its cell has less than this share of its depth."""


class Visibility:
    """Points, and which of them a frame sees. Its methods may run in several threads."""

    def __init__(
        self,
        points: FloatArray,
        directions: FloatArray,
        ranges: FloatArray,
        sightings: NDArray[np.signedinteger],
        angle: float,
    ) -> None:
        """Prepare.

        Args:
            points: (P, 3) in the map [m].
            directions: (P, 3) mean unit viewing directions, camera to point.
            ranges: (P, 2) distances between which a point can be seen [m].
            sightings: (S, 2) point and frame of each view that a point was triangulated from.
            angle: Largest from a point's viewing direction [rad].
        """
        self._points = points
        self._directions = directions
        self._ranges = ranges
        by_frame = np.argsort(sightings[:, 1], kind="stable")
        self._seen_points, self._seen_frames = sightings[by_frame].T.copy()
        self._cosine = float(np.cos(angle))

    @staticmethod
    def of(points: StructurePoints, range_factor: float, angle: float) -> "Visibility":
        """Of a structure; range and direction may leave the observed by a factor and an angle."""
        ranges = np.stack(
            [points.min_range / range_factor, points.max_range * range_factor], axis=1
        )
        sightings = np.stack([points.observations.track, points.observations.frame], axis=1)
        return Visibility(points.points, points.directions, ranges, sightings, angle)

    def visible(
        self, frame: int, T_map_camera: FloatArray, camera: Camera
    ) -> tuple[IndexArray, FloatArray, Mask]:
        """Points that a frame sees from T_map_camera (4, 4).

        Returns:
            Ascending indices (V,), pixels (V, 2), and whether the frame's own tracks hold the
            point (V,); another point that lies behind nearer ones is left out.
        """
        fits = _fits(
            self._points, self._directions, self._ranges, T_map_camera[:3, 3].copy(), self._cosine
        )
        near: IndexArray = np.flatnonzero(fits)
        seen = in_camera(T_map_camera, self._points[near])
        pixels, valid = camera.project(seen)
        near, pixels, depth = near[valid], pixels[valid], seen[valid, 2]
        tracked = np.isin(near, self._tracked(frame))
        kept = tracked | ~_hidden(pixels, depth)
        return near[kept], pixels[kept], tracked[kept]

    def _tracked(self, frame: int) -> IndexArray:
        first, last = (
            np.searchsorted(self._seen_frames, frame, side) for side in ("left", "right")
        )
        tracked: IndexArray = self._seen_points[first:last].astype(np.int64)
        return tracked


def in_camera(T_map_camera: FloatArray, points: FloatArray) -> FloatArray:
    """Points (V, 3) of the map in a camera's frame."""
    seen: FloatArray = (points - T_map_camera[:3, 3]) @ T_map_camera[:3, :3]
    return seen


@numba.njit(nogil=True, cache=True)
def _fits(
    points: FloatArray,
    directions: FloatArray,
    ranges: FloatArray,
    centre: FloatArray,
    cosine: float,
) -> Mask:  # pragma: no cover - compiled
    """Points (P,) that are seen from a centre (3,) about as they were seen before."""
    fits = np.zeros(len(points), np.bool_)
    for i in range(len(points)):
        x, y, z = points[i, 0] - centre[0], points[i, 1] - centre[1], points[i, 2] - centre[2]
        distance = np.sqrt(x * x + y * y + z * z)
        if distance < ranges[i, 0] or distance > ranges[i, 1]:
            continue
        along = x * directions[i, 0] + y * directions[i, 1] + z * directions[i, 2]
        fits[i] = along >= cosine * distance
    return fits


def _hidden(pixels: FloatArray, depth: FloatArray) -> Mask:
    """Points (V,) far behind the nearest point of their cell of the image."""
    cells = np.floor(pixels / _OCCLUSION_CELL_PX).astype(np.int64)
    cell = cells[:, 1] * (cells[:, 0].max(initial=0) + 1) + cells[:, 0]
    nearest = np.full(cell.max(initial=0) + 1, np.inf)
    np.minimum.at(nearest, cell, depth)
    hidden: Mask = depth * _OCCLUSION_DEPTH > nearest[cell]
    return hidden
