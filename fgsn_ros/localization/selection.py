"""Choice of the map points that a frame is weighed with."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fgsn_ros.config import require
from fgsn_ros.geometry.cameras import Camera
from fgsn_ros.kernel_cache import kernel
from fgsn_ros.mapping.semantic_map import SemanticMap

Array = npt.NDArray[np.float64]
Float32 = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]

_REQUERY_M = 10.0
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
    points: Float32
    labels: npt.NDArray[np.int32]
    confidence: Float32
    directions: Float32
    ranges: Float32
    """(N, 2) from where to where a point is used [m]."""


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
        return self._chosen(near, T_map_camera, covariance, camera, count, rng)

    def warm_up(self, camera: Camera) -> None:
        """Compile what chooses points, with two in the middle of a camera's image."""
        ahead = np.array([[0.0, 0.0, 1.0]] * 2, np.float32)
        ranges = np.array([[0.0, 2.0]] * 2, np.float32)
        labels, confidence = np.zeros(2, np.int32), np.ones(2, np.float32)
        two = _Neighbourhood(np.zeros(3), ahead, labels, confidence, ahead, ranges)
        self._chosen(two, np.eye(4), np.zeros((6, 6)), camera, 1, np.random.default_rng(0))

    def _chosen(
        self,
        near: _Neighbourhood,
        T_map_camera: Array,
        covariance: Array,
        camera: Camera,
        count: int,
        rng: np.random.Generator,
    ) -> SelectedPoints:
        """As `select`, of a neighbourhood."""
        view = np.array([camera.fx, camera.skew, camera.cx, camera.fy, camera.cy])
        size = np.array([camera.width, camera.height])
        view_angle = math.radians(self._settings.view_angle_deg)
        margin = self._margin(covariance, camera)
        visible, uv = _visible(
            near.points,
            near.directions,
            near.ranges,
            T_map_camera,
            T_map_camera[:3, 3].astype(np.float32),
            (float(self._settings.radius_m), math.cos(view_angle)),
            view,
            size,
            margin,
        )
        chosen = spread_over_image(uv, size, self._settings.buckets, count, rng)
        kept = visible[chosen]
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
            np.stack([nearest[kept], farthest[kept]], axis=1),
        )

    def _margin(self, covariance: Array, camera: Camera) -> tuple[float, float, float]:
        """Cells that a point may move for the prediction's spread: by m off 1/m, plus, at most.

        With more than a tenth of the image a wide spread would leave only points far ahead, which
        say little of position.
        """
        cells = self._settings.spread_margin * camera.fx
        position = cells * float(np.sqrt(np.trace(covariance[:3, :3]) / 2.0))
        heading = cells * float(np.sqrt(covariance[5, 5]))
        return position, heading, 0.1 * min(camera.width, camera.height)


@kernel(nogil=True, error_model="numpy")
def _visible(
    points: Float32,
    directions: Float32,
    ranges: Float32,
    T_map_camera: Array,
    position: Float32,
    limits: tuple[float, float],
    view: Array,
    size: Indices,
    margins: tuple[float, float, float],
) -> tuple[Indices, Array]:
    """Indices (M,) and grid pixels (M, 2) of the points expected in the image, off its border.

    Args:
        points: (N, 3) in the map.
        directions: (N, 3) that they were mapped from.
        ranges: (N, 2) from where to where they are used.
        T_map_camera: (4, 4).
        position: (3,) of it, in the precision of the points.
        limits: Range, and cosine of the angle to the direction.
        view: fx, skew, cx, fy, cy of the grid's pinhole camera.
        size: Its width and height.
        margins: Cells at the border: those of a point 1 m off, those of any, those of all at most.
    """
    indices, uv, found = np.empty(len(points), np.int64), np.empty((len(points), 2)), 0
    R, t = T_map_camera[:3, :3], T_map_camera[:3, 3]
    for i in range(len(points)):
        x, y, z = points[i, 0] - position[0], points[i, 1] - position[1], points[i, 2] - position[2]
        distance = math.sqrt(x * x + y * y + z * z)
        if not (ranges[i, 0] <= distance <= ranges[i, 1] and distance <= limits[0]):
            continue
        aligned = x * directions[i, 0] + y * directions[i, 1] + z * directions[i, 2]
        if aligned < limits[1] * distance:
            continue
        a, b, c = points[i, 0] - t[0], points[i, 1] - t[1], points[i, 2] - t[2]
        depth = R[0, 2] * a + R[1, 2] * b + R[2, 2] * c
        if depth <= 0.0:
            continue
        right = (R[0, 0] * a + R[1, 0] * b + R[2, 0] * c) / depth
        down = (R[0, 1] * a + R[1, 1] * b + R[2, 1] * c) / depth
        u, v = view[0] * right + view[1] * down + view[2], view[3] * down + view[4]
        border = min(margins[0] / distance + margins[1], margins[2]) - 0.5
        if border < u < size[0] - 1.0 - border and border < v < size[1] - 1.0 - border:
            indices[found], uv[found, 0], uv[found, 1] = i, u, v
            found += 1
    return indices[:found], uv[:found]


def spread_over_image(
    uv: Array, size: npt.NDArray[np.int64], buckets: int, count: int, rng: np.random.Generator
) -> Indices:
    """Indices of at most `count` pixels (M, 2), drawn from a grid of buckets round robin.

    Each round takes one random pixel from every bucket that has one left.
    """
    if len(uv) <= count:
        return np.arange(len(uv))
    by_bucket, rounds = _dealt(uv, size, buckets, rng.permutation(len(uv)))
    whole, last = _rounds_within(rounds, count)
    # Ties within the last round go to random buckets.
    tied = np.flatnonzero(rounds == last)
    drawn = tied[np.argsort(rng.random(len(uv))[tied])[: count - len(whole)]]
    return np.sort(by_bucket[np.concatenate([whole, drawn])])


@kernel(nogil=True)
def _dealt(
    uv: Array, size: npt.NDArray[np.int64], buckets: int, shuffled: Indices
) -> tuple[Indices, Indices]:
    """Pixels (M,) by index, sorted by bucket and shuffled within, and the round (M,) of each."""
    bucket = np.empty(len(uv), np.int64)
    first = np.zeros(buckets * buckets + 1, np.int64)
    for i in range(len(uv)):
        column = int((uv[i, 0] + 0.5) / size[0] * buckets)
        row = int((uv[i, 1] + 0.5) / size[1] * buckets)
        column, row = min(max(column, 0), buckets - 1), min(max(row, 0), buckets - 1)
        bucket[i] = row * buckets + column
        first[bucket[i] + 1] += 1
    first = np.cumsum(first)
    taken = np.zeros(buckets * buckets, np.int64)
    by_bucket, rounds = np.empty_like(shuffled), np.empty_like(shuffled)
    for i in shuffled:
        place = first[bucket[i]] + taken[bucket[i]]
        by_bucket[place], rounds[place] = i, taken[bucket[i]]
        taken[bucket[i]] += 1
    return by_bucket, rounds


def _rounds_within(rounds: Indices, count: int) -> tuple[Indices, int]:
    """Indices of the rounds that fit whole into `count`, and the next round."""
    taken = np.cumsum(np.bincount(rounds))
    last = int(np.searchsorted(taken, count, side="right"))
    return np.flatnonzero(rounds < last), last
