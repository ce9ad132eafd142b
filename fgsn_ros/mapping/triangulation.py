"""Points from tracks seen by cameras of known pose, all tracks at once."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.config import require

FloatArray = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class TriangulationSettings:
    """Which triangulated points are believed."""

    max_error_px: float = 1.5
    """Largest median reprojection error of a point over its views [px]. > 0."""
    min_parallax_deg: float = 1.0
    """Smallest angle between a point's first and any other viewing ray [deg]. 0 to 90."""
    min_range_m: float = 1.5
    """Shortest distance of a view [m]. > 0."""
    max_range_m: float = 80.0
    """Longest distance of the nearest view [m]. > min_range_m."""
    iterations: int = 4
    """Gauss-Newton steps after the linear solution. 0 to 50."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.max_error_px > 0.0, "max_error_px must be above 0")
        require(0.0 <= self.min_parallax_deg <= 90.0, "min_parallax_deg must be in 0..90")
        require(0.0 < self.min_range_m < self.max_range_m, "ranges must be 0 < min < max")
        require(0 <= self.iterations <= 50, "iterations must be in 0..50")


@dataclass(frozen=True)
class Views:
    """Rays of T tracks, ordered by track; view m belongs to track `track[m]`."""

    track: NDArray[np.int64]
    """(M,) 0..T-1, ascending, none left out."""
    T_camera_map: FloatArray
    """(M, 4, 4)."""
    rays: FloatArray
    """(M, 2) x, y of the viewing ray at z = 1 in the camera."""
    focal_px: FloatArray
    """(M, 2) pixels per unit of x and y, to weigh residuals in pixels."""

    @property
    def starts(self) -> NDArray[np.int64]:
        """(T,) first view of each track."""
        starts: NDArray[np.int64] = np.flatnonzero(np.diff(self.track, prepend=-1))
        return starts

    @property
    def centres(self) -> FloatArray:
        """(M, 3) camera centres in the map."""
        R, t = self.T_camera_map[:, :3, :3], self.T_camera_map[:, :3, 3]
        centres: FloatArray = -np.einsum("mji,mj->mi", R, t)
        return centres


@dataclass(frozen=True)
class Triangulation:
    """Points of all tracks, the views that agree with them, and which points are believed."""

    points: FloatArray
    """(T, 3) in the map [m]; NaN where the rays do not meet."""
    error_px: FloatArray
    """(M,) reprojection error of each view; infinite behind the camera."""
    median_error_px: FloatArray
    """(T,)."""
    parallax: FloatArray
    """(T,) largest angle between the first agreeing viewing ray and any other [rad]."""
    agreeing: Mask
    """(M,) views within twice max_error_px."""
    accepted: Mask
    """(T,) points that pass every test."""


def triangulate(views: Views, settings: TriangulationSettings, min_views: int = 3) -> Triangulation:
    """Linear triangulation, then Gauss-Newton on the reprojection error with Huber weights.

    The linear step finds the point nearest to all rays (Hartley & Sturm's mid-point, for many
    views). A point is accepted with at least min_views views that agree with it, in front of
    the camera, and if it passes the settings' tests.
    """
    starts = views.starts
    points = _nearest_to_rays(views, starts)
    for _ in range(settings.iterations):
        points = points + _gauss_newton_step(views, starts, points, settings.max_error_px)
    residuals, depth = _residuals(views, points)
    with np.errstate(invalid="ignore"):
        error = np.where(depth > 0.0, np.linalg.norm(residuals, axis=1), np.inf)
    error = np.where(np.isfinite(error), error, np.inf)
    agreeing = error <= 2.0 * settings.max_error_px
    median = _medians(error, views.track, starts)
    sight = points[views.track] - views.centres
    ranges = np.linalg.norm(sight, axis=1)
    parallax = _parallax(sight / ranges[:, None], agreeing, views.track, starts)
    accepted = np.isfinite(points).all(axis=1) & (median <= settings.max_error_px)
    accepted &= np.add.reduceat(agreeing.astype(np.int64), starts) >= min_views
    accepted &= parallax >= np.radians(settings.min_parallax_deg)
    shortest, _ = range_bounds(ranges, agreeing, starts)
    accepted &= (shortest >= settings.min_range_m) & (shortest <= settings.max_range_m)
    return Triangulation(points, error, median, parallax, agreeing, accepted)


def range_bounds(
    ranges: FloatArray, agreeing: Mask, starts: NDArray[np.int64]
) -> tuple[FloatArray, FloatArray]:
    """Shortest and longest range (T,) over each track's agreeing views."""
    shortest = np.minimum.reduceat(np.where(agreeing, ranges, np.inf), starts)
    longest = np.maximum.reduceat(np.where(agreeing, ranges, -np.inf), starts)
    return shortest, longest


def _nearest_to_rays(views: Views, starts: NDArray[np.int64]) -> FloatArray:
    ones = np.ones((len(views.rays), 1))
    R = views.T_camera_map[:, :3, :3]
    directions = np.einsum("mji,mj->mi", R, np.hstack([views.rays, ones]))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    off_ray = np.eye(3) - directions[:, :, None] * directions[:, None, :]
    # Relative to the first centre: a map's coordinates can be large.
    origins = views.centres[starts]
    centres = views.centres - origins[views.track]
    normal = np.add.reduceat(off_ray, starts)
    right = np.add.reduceat(np.einsum("mij,mj->mi", off_ray, centres), starts)
    return origins + _solved(normal, right)


def _gauss_newton_step(
    views: Views, starts: NDArray[np.int64], points: FloatArray, huber_px: float
) -> FloatArray:
    residuals, depth = _residuals(views, points)
    R = views.T_camera_map[:, :3, :3]
    predicted = views.rays + residuals / views.focal_px
    scale = views.focal_px / depth[:, None]
    jacobian = scale[:, :, None] * (R[:, :2] - predicted[:, :, None] * R[:, 2:3])
    size = np.linalg.norm(residuals, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        weights = np.where(depth > 0.0, np.minimum(1.0, huber_px / size), 0.0)
    weighted = np.where(np.isfinite(jacobian), jacobian, 0.0) * weights[:, None, None]
    normal = np.add.reduceat(np.einsum("mki,mkj->mij", weighted, jacobian), starts)
    right = np.add.reduceat(np.einsum("mki,mk->mi", weighted, residuals), starts)
    step = -_solved(normal, right)
    return np.where(np.isfinite(step).all(axis=1, keepdims=True), step, 0.0)


def _residuals(views: Views, points: FloatArray) -> tuple[FloatArray, FloatArray]:
    R, t = views.T_camera_map[:, :3, :3], views.T_camera_map[:, :3, 3]
    seen = np.einsum("mij,mj->mi", R, points[views.track]) + t
    with np.errstate(divide="ignore", invalid="ignore"):
        predicted = seen[:, :2] / seen[:, 2:]
    return (predicted - views.rays) * views.focal_px, seen[:, 2]


def _solved(normal: FloatArray, right: FloatArray) -> FloatArray:
    """Solutions (T, 3) of 3x3 systems; NaN where one is (nearly) singular."""
    entries = np.isfinite(np.hstack([normal.reshape(-1, 9), right]))
    finite: Mask = np.asarray(entries.all(axis=1))
    safe = np.where(finite[:, None, None], normal, np.eye(3))
    eigenvalues = np.linalg.eigvalsh(safe)
    regular: Mask = finite & np.asarray(eigenvalues[:, 0] > 1e-10 * eigenvalues[:, 2])
    safe = np.where(regular[:, None, None], safe, np.eye(3))
    solutions = np.linalg.solve(safe, np.where(regular[:, None], right, 0.0)[:, :, None])[:, :, 0]
    return np.where(regular[:, None], solutions, np.nan)


def _medians(values: FloatArray, track: NDArray[np.int64], starts: NDArray[np.int64]) -> FloatArray:
    """Upper median of each track's values."""
    order = np.lexsort((values, track))
    counts = np.diff(np.append(starts, len(values)))
    medians: FloatArray = values[order][starts + counts // 2]
    return medians


def _parallax(
    directions: FloatArray, agreeing: Mask, track: NDArray[np.int64], starts: NDArray[np.int64]
) -> FloatArray:
    views = np.where(agreeing, np.arange(len(track)), len(track))
    first = np.minimum(np.minimum.reduceat(views, starts), len(track) - 1)
    chords = np.linalg.norm(directions - directions[first][track], axis=1)
    longest = np.maximum.reduceat(np.where(agreeing, chords, 0.0), starts)
    return 2.0 * np.arcsin(np.clip(longest / 2.0, 0.0, 1.0))
