"""Where an image was taken, from points that other images made: loops, and other sessions."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from fgsn_ros.geometry import poses

FloatArray = NDArray[np.float64]
Indices = NDArray[np.int64]
_REFINED = 2
_ITERATIONS = 2000
_CONFIDENCE = 0.9999


@dataclass(frozen=True, eq=False)
class Resection:
    """An image's pose among points, and the points that agree with it."""

    T_map_camera: FloatArray
    """(4, 4)."""
    inliers: Indices
    """(K,) of the given points."""


def resect(
    points: FloatArray, rays: FloatArray, focal_px: float, max_error_px: float, fewest: int
) -> Resection | None:
    """Pose of a camera that sees points (M, 3) at rays (M, 2); None where too few agree.

    RANSAC over three points, then the least reprojection error of those that agree.
    """
    if len(points) < fewest:
        return None
    K, undistorted = np.diag([focal_px, focal_px, 1.0]), np.zeros(4)
    origin = points.mean(axis=0)
    local, pixels = points - origin, rays * focal_px
    found, r, t, inliers = cv2.solvePnPRansac(
        local,
        pixels,
        K,
        undistorted,
        iterationsCount=_ITERATIONS,
        reprojectionError=max_error_px,
        confidence=_CONFIDENCE,
        flags=cv2.SOLVEPNP_P3P,
    )
    if not found or inliers is None or len(inliers) < fewest:
        return None
    chosen = np.asarray(inliers, np.int64).ravel()
    for _ in range(_REFINED):
        r, t = cv2.solvePnPRefineLM(local[chosen], pixels[chosen], K, undistorted, r, t)
        T_camera_local = poses.from_rotation_translation(cv2.Rodrigues(r)[0], np.ravel(t))
        chosen = _agreeing(T_camera_local, local, pixels, focal_px, max_error_px)
        if len(chosen) < fewest:
            return None
    T_map_camera = poses.invert(T_camera_local)
    T_map_camera[:3, 3] += origin
    return Resection(T_map_camera, chosen)


def _agreeing(
    T: FloatArray, points: FloatArray, pixels: FloatArray, focal_px: float, limit: float
) -> Indices:
    inside = poses.transform(T, points)
    ahead = inside[:, 2] > 0.1
    projected = focal_px * inside[:, :2] / np.where(ahead, inside[:, 2], 1.0)[:, None]
    error = np.linalg.norm(projected - pixels, axis=1)
    return np.flatnonzero(ahead & (error <= limit))
