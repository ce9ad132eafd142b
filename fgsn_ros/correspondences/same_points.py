"""What two drives both show, by geometry alone, as looks change with the season.

Larsson et al., CVPR 2019 (arXiv 1903.06916), section 4: each condition is reconstructed by itself,
and 3D points of two conditions correspond by geometry. Here a pair of points is the same where
they are mutual nearest neighbours, within a distance that fits how well each is triangulated, and
were seen from about the same direction. A point without such a match is still seen where it lies on
the surface that the other drive's frame sketches by its own points.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import Delaunay, QhullError, cKDTree

from fgsn_ros.geometry.cameras import Camera, CameraMount
from fgsn_ros.mapping.labelling import in_camera
from fgsn_ros.mapping.structure import CHUNK_TRACKS, Structure

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int64]
_PIXEL_STD = 1.0
"""Of a tracked corner's place [px]."""
_LEAST_MATCHES = 20
"""Fewer say nothing of an offset."""
_ALIGNMENT_STEPS = 6
_SPREAD = 0.25
"""Standard deviation between corners of one surface, as a share of the distance allowed."""
_SOFT_CHI = 2.0
"""Where a match's weight is halved: Cauchy's, in standard deviations."""


@dataclass(frozen=True)
class PointMatches:
    """Pairs of points of a reference's and of a target's structure."""

    reference: IndexArray
    """(M,) points of the reference."""
    target: IndexArray
    """(M,) points of the target."""
    distance: FloatArray
    """(M,) between the two, in units of what is allowed: 0 to 1."""


@dataclass(frozen=True, eq=False)
class TrackedPoints:
    """A structure's points: where they are, how well that is known, and which frame tracks them."""

    structure: Structure
    mounts: Mapping[str, CameraMount]

    def camera(self, frame: int) -> Camera:
        """The camera of a frame."""
        return self.mounts[self.structure.cameras[frame]].camera

    def in_camera(self, frame: int, points: FloatArray) -> FloatArray:
        """Points (N, 3) of the map in a frame's camera [m]."""
        return in_camera(self.structure.T_map_camera[frame], points)

    def tracked(self, frame: int) -> tuple[IndexArray, FloatArray]:
        """Points (N,) that a frame tracks, and their pixels (N, 2)."""
        views = self._views[frame]
        observations = self.structure.observations
        return observations.track[views], observations.pixels[views].astype(np.float64)

    @cached_property
    def _views(self) -> list[IndexArray]:
        """Observations of each frame."""
        frames = self.structure.observations.frame
        order = np.argsort(frames, kind="stable")
        firsts = np.searchsorted(frames[order], np.arange(1, len(self.structure.cameras)))
        return np.split(order, firsts)

    @cached_property
    def tree(self) -> cKDTree:
        """Finds points by place."""
        return cKDTree(self.structure.points)

    @cached_property
    def covariances(self) -> FloatArray:
        """(P, 3, 3) of the points, for tracking noise alone and not for errors of poses [m^2]."""
        starts = self.structure.observations.starts
        focal = np.array([self.mounts[name].camera.fx for name in self.structure.cameras])
        parts: list[FloatArray] = [np.zeros((0, 3, 3))]
        for first in range(0, len(self.structure.points), CHUNK_TRACKS):
            chosen = starts[first : first + CHUNK_TRACKS + 1]
            parts.append(np.asarray(np.linalg.inv(_information(self.structure, chosen, focal))))
        return np.concatenate(parts)


def _information(structure: Structure, starts: IndexArray, focal_px: FloatArray) -> FloatArray:
    """Inverse covariances (P, 3, 3) [m^-2] of points whose views begin at `starts` (P + 1,)."""
    views = slice(starts[0], starts[-1])
    frames = structure.observations.frame[views]
    sight = structure.points[structure.observations.track[views]]
    sight = sight - structure.T_map_camera[frames, :3, 3]
    ranges = np.linalg.norm(sight, axis=1)
    rays = sight / ranges[:, None]
    weights = (focal_px[frames] / (_PIXEL_STD * ranges)) ** 2
    across = np.eye(3) - rays[:, :, None] * rays[:, None, :]
    information: FloatArray = np.add.reduceat(
        weights[:, None, None] * across, starts[:-1] - starts[0]
    )
    # Of no use in any direction that a point is known to 1 km at best.
    return information + 1e-6 * np.eye(3)


def matched_points(
    reference: TrackedPoints,
    target: TrackedPoints,
    points: IndexArray,
    offset: FloatArray,
    distance_m: float,
    angle: float,
) -> PointMatches:
    """Target points (N,) with the reference's point that is the same.

    Args:
        reference: Points of one condition.
        target: Points of the other.
        points: Which points of the target to match.
        offset: What to add to the target's points first (3,) [m].
        distance_m: Distance allowed between points that are known exactly [m]; the allowed
            variance is its square plus that of the two points along the line between them.
        angle: Largest angle between the mean viewing directions [rad].
    """
    moved = target.structure.points[points] + offset
    if len(moved) == 0 or len(reference.structure.points) == 0:
        return PointMatches(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
    gap, nearest = reference.tree.query(moved)
    _, back = target.tree.query(reference.structure.points[nearest] - offset)
    along = np.einsum(
        "ni,ni->n", reference.structure.directions[nearest], target.structure.directions[points]
    )
    line = (reference.structure.points[nearest] - moved) / np.maximum(gap, 1e-9)[:, None]
    both = reference.covariances[nearest] + target.covariances[points]
    variance = distance_m**2 + np.einsum("ni,nij,nj->n", line, both, line)
    distance = gap / np.sqrt(variance)
    same = (back == points) & (along >= np.cos(angle)) & (distance <= 1.0)
    return PointMatches(nearest[same], points[same], distance[same])


def aligning_offset(
    reference: TrackedPoints,
    target: TrackedPoints,
    points: IndexArray,
    limits_m: tuple[float, float],
    angle: float,
) -> FloatArray:
    """What to add to the target's points (N,), all seen from one place, to meet the reference (3,).

    The poses of two drives agree to decimetres at best, which is many pixels at a near facade. This
    is ICP by mutual matches, for a translation alone: a rotation is not found well enough to be of
    use. It ends before it has converged, which pulls what the points do not tell towards zero.

    Args:
        reference: Points of one condition.
        target: Points of the other.
        points: The points of the target that move.
        limits_m: Largest offset, and the distance of matches that it ends with [m].
        angle: Largest angle between the mean viewing directions of a match [rad].

    Returns:
        The offset [m]; zero where too few points match or the offset leaves the limit.
    """
    offset = np.zeros(3)
    for distance_m in np.geomspace(*limits_m, _ALIGNMENT_STEPS):
        matches = matched_points(reference, target, points, offset, float(distance_m), angle)
        if len(matches.distance) < _LEAST_MATCHES:
            return np.zeros(3)
        offset = offset + _lacking(reference, target, matches, offset, _SPREAD * limits_m[1])
    return offset if np.linalg.norm(offset) <= limits_m[0] else np.zeros(3)


def _lacking(
    reference: TrackedPoints,
    target: TrackedPoints,
    matches: PointMatches,
    offset: FloatArray,
    spread_m: float,
) -> FloatArray:
    """Weighted mean (3,) of what the target's points lack to their matches.

    Weights are isotropic: matches are corners of one surface, seldom the same corner. By the whole
    covariance, what they lack across the viewing rays would pull along them.
    """
    gaps = reference.structure.points[matches.reference] - target.structure.points[matches.target]
    gaps = gaps - offset
    both = reference.covariances[matches.reference] + target.covariances[matches.target]
    variance = np.trace(both, axis1=1, axis2=2) + 3.0 * spread_m**2
    robust = 1.0 + (gaps**2).sum(axis=1) / (variance * _SOFT_CHI**2)
    mean: FloatArray = np.average(gaps, axis=0, weights=1.0 / (variance * robust))
    return mean


@dataclass(frozen=True, eq=False)
class SeenSurface:
    """The depth that a frame sees: pixels of the points that it tracks, spanned by triangles."""

    pixels: FloatArray
    """(N, 2) u, v [px]."""
    depths: FloatArray
    """(N,) along the optical axis, > 0 [m]."""

    def holds(
        self, pixels: FloatArray, depths: FloatArray, reach: float, tolerance: float
    ) -> NDArray[np.bool_]:
        """Which pixels (M, 2) with depths (M,) lie on the surface.

        A pixel lies on it where a triangle covers it whose corners are all within `reach` times the
        median distance between neighbours, and where its depth is the triangle's but for a share
        `tolerance`. The inverse depth of a plane is an affine function of the pixel. At the border
        of something nearer, a triangle spans both depths and agrees with neither: what may be
        hidden is left out.
        """
        triangulation = self._triangulation
        if triangulation is None or len(pixels) == 0:
            return np.zeros(len(pixels), bool)
        triangle = triangulation.find_simplex(pixels)
        corners = triangulation.simplices[triangle]
        transform = triangulation.transform[triangle]
        shares = np.einsum("nij,nj->ni", transform[:, :2], pixels - transform[:, 2])
        shares = np.hstack([shares, 1.0 - shares.sum(axis=1, keepdims=True)])
        inverse_depth = (shares / self.depths[corners]).sum(axis=1)
        farthest = np.linalg.norm(self.pixels[corners] - pixels[:, None], axis=2).max(axis=1)
        # Of a flat triangle the shares are NaN, and agree with nothing.
        agreeing = np.abs(depths * inverse_depth - 1.0) <= tolerance
        return np.asarray(agreeing & (triangle >= 0) & (farthest <= reach * self._spacing_px))

    @cached_property
    def _spacing_px(self) -> float:
        return float(np.median(cKDTree(self.pixels).query(self.pixels, k=2)[0][:, 1]))

    @cached_property
    def _triangulation(self) -> Delaunay | None:
        """None where the pixels span no triangle."""
        try:
            return Delaunay(self.pixels)
        except (QhullError, ValueError):
            return None
