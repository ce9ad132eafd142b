"""A camera's pose from matches of viewing rays and map points, some of them wrong."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.config import require
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.cameras import Camera, CameraMount

FloatArray = NDArray[np.float64]
Mask = NDArray[np.bool_]
_STEPS = 20
_CONVERGED = 1e-9
_FEWEST = 4
"""Matches that leave a residual: three determine the pose."""


@dataclass(frozen=True)
class PoseSettings:
    """How a pose is found among matches, and when it is believed."""

    samples: int = 5000
    """Most samples of three matches, >= 1."""
    confidence: float = 0.9999
    """Sampling ends when a better pose would have been met with this probability, in (0, 1)."""
    inlier_px: float = 4.0
    """Largest reprojection error of an inlier [px], > 0."""
    min_inliers: int = 12
    """A pose with fewer inliers is none, >= 4."""
    least_std_px: float = 0.5
    """The matches' error is taken for no smaller than this, > 0."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.samples >= 1, "samples must be at least 1")
        require(0.0 < self.confidence < 1.0, "confidence must be in (0, 1)")
        require(self.inlier_px > 0.0, "inlier_px must be above 0")
        require(self.min_inliers >= _FEWEST, f"min_inliers must be at least {_FEWEST}")
        require(self.least_std_px > 0.0, "least_std_px must be above 0")


@dataclass(frozen=True, eq=False)
class Sightings:
    """Map points and where an image is thought to show them."""

    points: FloatArray
    """(N, 3) in the map [m]."""
    rays: FloatArray
    """(N, 2) x, y of the viewing rays at z = 1 in the camera."""
    focal_px: FloatArray
    """(2,) pixels per unit of x and y."""

    @staticmethod
    def of(points: FloatArray, rays: FloatArray, camera: Camera) -> "Sightings":
        """Of a camera."""
        return Sightings(points, rays, np.array([camera.fx, camera.fy]))

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(self, chosen: NDArray[np.generic]) -> "Sightings":
        return Sightings(self.points[chosen], self.rays[chosen], self.focal_px)

    def residuals(self, T_map_camera: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Reprojection errors (N, 2) [px] at a pose (4, 4), and points in its camera (N, 3).

        Infinite behind the camera.
        """
        seen = (self.points - T_map_camera[:3, 3]) @ T_map_camera[:3, :3]
        with np.errstate(divide="ignore", invalid="ignore"):
            errors = (seen[:, :2] / seen[:, 2:] - self.rays) * self.focal_px
        return np.where(seen[:, 2:] > 0.0, errors, np.inf), seen


@dataclass(frozen=True, eq=False)
class CameraPose:
    """A pose that matches agree on."""

    T_map_camera: FloatArray
    """(4, 4)."""
    covariance: FloatArray
    """(6, 6) x y z, then rotations about the map's x, y, z axes, of the camera [m, rad]."""
    inliers: Mask
    """(N,) matches that agree."""
    std_px: float
    """Standard deviation of their reprojection errors in u and in v [px]."""

    def of_base(self, mount: CameraMount) -> tuple[FloatArray, FloatArray]:
        """T_map_base (4, 4) and its covariance (6, 6), the robot's for the camera's."""
        T_map_base = poses.compose(self.T_map_camera, poses.invert(mount.T_base_camera))
        lever = T_map_base[:3, 3] - self.T_map_camera[:3, 3]
        moved = np.eye(6)
        moved[:3, 3:] = -_cross_matrices(lever[None])[0]
        return T_map_base, moved @ self.covariance @ moved.T


def camera_pose(
    sightings: Sightings, weights: FloatArray, settings: PoseSettings, rng: np.random.Generator
) -> CameraPose | None:
    """Pose by P3P in RANSAC, refined over its inliers; None where too few matches agree.

    Args:
        sightings: The matches.
        weights: (N,) how likely a match is drawn into a sample; some may be 0, at least three not.
        settings: How it is found.
        rng: Draws the samples.
    """
    if int((weights > 0.0).sum()) < max(3, settings.min_inliers):
        return None
    from fgsn_ros.locating.three_points import search  # compiled when it is needed

    origin = sightings.points.mean(axis=0)
    shares = weights / weights.sum()
    drawn = rng.random((settings.samples, 3))
    samples = np.minimum(np.searchsorted(np.cumsum(shares), drawn), len(shares) - 1)
    best = np.zeros((3, 4))
    _, cost = search(
        sightings.points - origin,
        np.ascontiguousarray(sightings.rays),
        sightings.focal_px,
        shares,
        samples,
        settings.inlier_px,
        settings.confidence,
        best,
    )
    if not np.isfinite(cost):
        return None
    found = poses.from_rotation_translation(best[:, :3], best[:, 3] - best[:, :3] @ origin)
    return refined(sightings, poses.invert(found), settings)


def refined(
    sightings: Sightings, T_map_camera: FloatArray, settings: PoseSettings
) -> CameraPose | None:
    """The pose (4, 4) moved to the least squares of its inliers, which follow it; or None.

    Gauss-Newton, each step as long as it lowers MSAC's sum. The covariance is that of least
    squares, with the variance of the errors from the inliers.
    """
    cost = _cost(sightings, T_map_camera, settings.inlier_px)
    for _ in range(_STEPS):
        step, _ = _normal_step(sightings, T_map_camera, settings.inlier_px)
        if step is None:
            return None
        moved = _moved(T_map_camera, step)
        lower = _cost(sightings, moved, settings.inlier_px)
        if not lower < cost:
            break
        T_map_camera, cost = moved, lower
        if float(np.abs(step).max()) < _CONVERGED:
            break
    return _judged(sightings, T_map_camera, settings)


def _judged(
    sightings: Sightings, T_map_camera: FloatArray, settings: PoseSettings
) -> CameraPose | None:
    errors, _ = sightings.residuals(T_map_camera)
    squares = np.square(errors).sum(axis=1)
    inliers: Mask = squares < settings.inlier_px**2
    count = int(inliers.sum())
    if count < settings.min_inliers:
        return None
    variance = float(squares[inliers].sum()) / (2 * count - 6)
    std_px = max(float(np.sqrt(variance)), settings.least_std_px)
    _, normal = _normal_step(sightings, T_map_camera, settings.inlier_px)
    if normal is None:
        return None
    covariance = std_px**2 * np.linalg.inv(normal)
    return CameraPose(T_map_camera, 0.5 * (covariance + covariance.T), inliers, std_px)


def _cost(sightings: Sightings, T_map_camera: FloatArray, limit_px: float) -> float:
    errors, _ = sightings.residuals(T_map_camera)
    return float(np.minimum(np.square(errors).sum(axis=1), limit_px**2).sum())


def _normal_step(
    sightings: Sightings, T_map_camera: FloatArray, limit_px: float
) -> tuple[FloatArray | None, FloatArray | None]:
    """Gauss-Newton step (6,) and normal matrix (6, 6) over the inliers; None if singular."""
    errors, seen = sightings.residuals(T_map_camera)
    inliers = np.flatnonzero(np.square(errors).sum(axis=1) < limit_px**2)
    if len(inliers) < _FEWEST:
        return None, None
    jacobian = _jacobian(sightings, T_map_camera, seen, inliers)
    normal = jacobian.T @ jacobian
    # In units that make the diagonal 1, so that metres and radians do not matter.
    scale = 1.0 / np.sqrt(np.maximum(np.diag(normal), 1e-12))
    if np.linalg.cond(normal * np.outer(scale, scale)) > 1e12:
        return None, None
    step: FloatArray = -np.linalg.solve(normal, jacobian.T @ errors[inliers].ravel())
    return step, normal


def _jacobian(
    sightings: Sightings,
    T_map_camera: FloatArray,
    seen: FloatArray,
    inliers: NDArray[np.int64],
) -> FloatArray:
    """Of the errors (2 M,) by a motion in the map and a rotation about the map's axes (6,)."""
    R_camera_map = T_map_camera[:3, :3].T
    x, y, z = seen[inliers].T
    by_point = np.zeros((len(inliers), 2, 3))
    by_point[:, 0, 0] = by_point[:, 1, 1] = 1.0 / z
    by_point[:, 0, 2], by_point[:, 1, 2] = -x / z**2, -y / z**2
    by_point = (by_point * sightings.focal_px[:, None]) @ R_camera_map
    offsets = _cross_matrices(sightings.points[inliers] - T_map_camera[:3, 3])
    jacobian: FloatArray = np.concatenate([-by_point, by_point @ offsets], axis=2).reshape(-1, 6)
    return jacobian


def _moved(T_map_camera: FloatArray, step: FloatArray) -> FloatArray:
    turn = poses.exp(np.concatenate([np.zeros(3), step[3:]]))
    moved = poses.from_rotation_translation(
        turn[:3, :3] @ T_map_camera[:3, :3], T_map_camera[:3, 3] + step[:3]
    )
    return moved


def _cross_matrices(vectors: FloatArray) -> FloatArray:
    """(M, 3, 3) matrices that multiply as the cross product of vectors (M, 3) does."""
    matrices = np.zeros((len(vectors), 3, 3))
    x, y, z = vectors.T
    matrices[:, 0, 1], matrices[:, 0, 2], matrices[:, 1, 2] = -z, y, -x
    crossed: FloatArray = matrices - matrices.swapaxes(1, 2)
    return crossed
