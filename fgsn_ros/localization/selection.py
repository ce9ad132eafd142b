"""Choice of the map points that a frame is weighed with."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fgsn_ros.config import require
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.cameras import Camera
from fgsn_ros.mapping.semantic_map import SemanticMap

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

_REQUERY_M = 5.0
"""The neighbourhood read from the map serves until the camera is this far from its centre."""


@dataclass(frozen=True)
class SelectionSettings:
    """Which map points are expected to be seen from a pose."""

    radius_m: float = 80.0
    """Points further from the camera are not used [m], > 0."""
    range_slack: float = 1.5
    """A point is used from 1/slack of its shortest to slack times its longest range, >= 1."""
    view_angle_deg: float = 45.0
    """Largest angle to the direction that the point was mapped from [deg], (0, 180]."""
    buckets: int = 24
    """The image is cut into buckets x buckets, which are drawn from in turn, >= 1."""
    spread_margin: float = 3.0
    """Margin at the image's border, in standard deviations of the prediction, >= 0.

    Without one, particles further back keep more points in view and gain by it: in a synthetic
    street the estimate then lags 0.08 m."""

    def __post_init__(self) -> None:
        require(self.radius_m > 0.0, "selection: radius_m must be above 0")
        require(self.range_slack >= 1.0, "selection: range_slack must be at least 1")
        require(0.0 < self.view_angle_deg <= 180.0, "selection: view_angle_deg must be in (0, 180]")
        require(self.buckets >= 1, "selection: buckets must be at least 1")
        require(self.spread_margin >= 0.0, "selection: spread_margin must be at least 0")


@dataclass(frozen=True, eq=False)
class SelectedPoints:
    """Map points of one frame."""

    points: Array
    """(M, 3) in the map frame [m]."""
    labels: npt.NDArray[np.int32]
    """(M,) map labels."""
    weights: Array
    """(M,) confidence of the map labels, [0, 1]."""
    depths: Array
    """(M,) depth in the camera at the predicted pose [m]."""

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, kept: npt.NDArray[np.generic]) -> "SelectedPoints":
        """Those of a mask or of indices."""
        return SelectedPoints(
            self.points[kept], self.labels[kept], self.weights[kept], self.depths[kept]
        )


@dataclass(frozen=True, eq=False)
class _Neighbourhood:
    """Copies of the map's arrays around a centre, so that a frame touches no file."""

    centre: Array
    points: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int32]
    confidence: npt.NDArray[np.float32]
    directions: npt.NDArray[np.float32]
    nearest: npt.NDArray[np.float32]
    farthest: npt.NDArray[np.float32]


class PointSelector:
    """Chooses points near a predicted pose by range, viewing direction and place in the image."""

    def __init__(self, semantic_map: SemanticMap, settings: SelectionSettings) -> None:
        self._map = semantic_map
        self._settings = settings
        self._neighbourhood: _Neighbourhood | None = None

    def select(
        self,
        T_map_camera: Array,
        covariance: Array,
        camera: Camera,
        count: int,
        rng: np.random.Generator,
    ) -> SelectedPoints:
        """At most `count` points that the predicted camera should see, spread over its image.

        Args:
            T_map_camera: (4, 4) at the prediction's mean.
            covariance: (6, 6) of the predicted pose; a point that its spread may carry over the
                image's border is left out, or a shift towards more points in view would pay.
            camera: Pinhole camera of the label grid.
            count: Most points returned.
            rng: Draws within the buckets.
        """
        near = self._near(T_map_camera[:3, 3])
        visible, uv, distance = self._visible(near, T_map_camera, camera)
        margin = self._margin(distance, covariance, camera)
        size = np.array([camera.width, camera.height])
        inside = ((uv > margin[:, None] - 0.5) & (uv < size - 0.5 - margin[:, None])).all(axis=1)
        chosen = spread_over_image(uv[inside], size, self._settings.buckets, count, rng)
        kept = visible[inside][chosen]
        points = near.points[kept].astype(np.float64)
        return SelectedPoints(
            points,
            near.labels[kept],
            near.confidence[kept].astype(np.float64),
            (points - T_map_camera[:3, 3]) @ T_map_camera[:3, 2],
        )

    def _near(self, position: Array) -> _Neighbourhood:
        cached = self._neighbourhood
        if cached is None or np.linalg.norm(position - cached.centre) > _REQUERY_M:
            cached = self._neighbourhood = self._read(position)
        return cached

    def _read(self, position: Array) -> _Neighbourhood:
        m, slack = self._map, self._settings.range_slack
        near = m.points_near(position, self._settings.radius_m + _REQUERY_M)
        nearest, farthest = near.min_range / slack, near.max_range * slack
        # Most points are out of their range from anywhere that this neighbourhood serves.
        rays = near.points - position.astype(np.float32)
        distance = np.sqrt(np.einsum("ij,ij->i", rays, rays))
        reach = _REQUERY_M + 0.1  # single precision
        kept = (distance > nearest - reach) & (distance < farthest + reach)
        return _Neighbourhood(
            position,
            near.points[kept],
            near.labels[kept].astype(np.int32),
            near.confidence[kept],
            near.directions[kept],
            nearest[kept],
            farthest[kept],
        )

    def _visible(
        self, near: _Neighbourhood, T_map_camera: Array, camera: Camera
    ) -> tuple[Indices, Array, Array]:
        """Indices, grid pixels (M, 2) and distances (M,) of the points expected in the image."""
        rays = near.points - T_map_camera[:3, 3].astype(np.float32)
        distance = np.sqrt(np.einsum("ij,ij->i", rays, rays))
        aligned = np.einsum("ij,ij->i", rays, near.directions)
        least = np.cos(np.deg2rad(self._settings.view_angle_deg)) * distance
        expected = (distance >= near.nearest) & (distance <= near.farthest) & (aligned >= least)
        visible = np.flatnonzero(expected & (distance <= self._settings.radius_m))
        in_camera = poses.transform(poses.invert(T_map_camera), near.points[visible])
        uv, valid = camera.project(in_camera)
        return visible[valid], uv[valid], distance[visible][valid].astype(np.float64)

    def _margin(self, distance: Array, covariance: Array, camera: Camera) -> Array:
        """Cells that a point may move for the prediction's spread, a tenth of the image at most.

        With more, a wide spread would leave only points far ahead, which say little of position.
        """
        position = np.sqrt(np.trace(covariance[:3, :3]) / 2.0)
        heading = np.sqrt(covariance[5, 5])
        cells = self._settings.spread_margin * camera.fx * (position / distance + heading)
        margin: Array = np.minimum(cells, 0.1 * min(camera.width, camera.height))
        return margin


def spread_over_image(
    uv: Array, size: npt.NDArray[np.int64], buckets: int, count: int, rng: np.random.Generator
) -> Indices:
    """Indices of at most `count` pixels (M, 2), drawn from a grid of buckets round robin.

    Each round takes one random pixel from every bucket that has one left.
    """
    if len(uv) <= count:
        return np.arange(len(uv))
    cells = np.clip((uv + 0.5) / size * buckets, 0, buckets - 1).astype(np.int64)
    narrow = np.min_scalar_type(buckets * buckets)  # 16 bits: a radix sort
    bucket = (cells[:, 1] * buckets + cells[:, 0]).astype(narrow)
    shuffled = rng.permutation(len(uv))
    by_bucket = shuffled[np.argsort(bucket[shuffled], kind="stable")]
    in_bucket = np.bincount(bucket, minlength=buckets * buckets)
    rounds = np.arange(len(uv)) - np.repeat(np.cumsum(in_bucket) - in_bucket, in_bucket)
    whole, last = _rounds_within(rounds, count)
    # Ties within the last round go to random buckets.
    tied = np.flatnonzero(rounds == last)
    drawn = tied[np.argsort(rng.random(len(uv))[tied])[: count - len(whole)]]
    return np.sort(by_bucket[np.concatenate([whole, drawn])])


def _rounds_within(rounds: Indices, count: int) -> tuple[Indices, int]:
    """Indices of the rounds that fit whole into `count`, and the next round."""
    taken = np.cumsum(np.bincount(rounds))
    last = int(np.searchsorted(taken, count, side="right"))
    return np.flatnonzero(rounds < last), last
