"""How far labels speak for each match, as the weight with which RANSAC draws it.

SSMC, simple semantic match consistency (Larsson et al., ICCV 2019, section 5): a match whose labels
differ is dropped; or, softly, weighs as much as it is likely to be right. GSMC, geometric-semantic
match consistency (Toft et al., ECCV 2018): with gravity and the camera's height known, a match
leaves a circle of poses; how well the labels of all map points fit the image at the best of them is
the match's weight.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from fgsn_ros.config import require
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.cameras import Camera, CameraMount
from fgsn_ros.localization.measurement import (
    EvidenceTable,
    FrameLikelihood,
    PinholeGrid,
    evidence_table,
)
from fgsn_ros.localization.selection import PointSelector, SelectionSettings
from fgsn_ros.locating.matching import Matches
from fgsn_ros.mapping.semantic_map import SemanticMap
from fgsn_ros.segmentation.labels import LabelMap

FloatArray = NDArray[np.float64]
Indices = NDArray[np.int64]
Method = Literal["none", "ssmc", "soft", "gsmc"]
_LEAST_WEIGHT = 1e-3


@dataclass(frozen=True)
class GeometricSettings:
    """The circles of poses that matches leave (GSMC)."""

    step_deg: float = 6.0
    """Angle between the poses of a circle [deg], (0, 90]."""
    view_angle_deg: float = 60.0
    """Largest angle to the direction that the point was mapped from [deg], (0, 180]."""
    height_std_m: float = 0.2
    """How well the camera's height above the places around is known [m], > 0."""
    tilt_std_deg: float = 1.0
    """How well gravity's direction in the camera is known [deg], > 0."""
    reach_m: float = 6.0
    """Poses further from where images of the map were taken are not tried [m], > 0."""
    points: int = 400
    """Most map points that a pose is judged by, >= 1."""
    cell_m: float = 6.0
    """Side of the squares whose poses are judged by the same points [m], > 0."""
    sharpness: float = 4.0
    """A nat more for the mean point at the best pose multiplies the weight by exp of this; >= 0."""
    selection: SelectionSettings = field(default_factory=SelectionSettings)
    """Which points are expected to be seen."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(0.0 < self.step_deg <= 90.0, "step_deg must be in (0, 90]")
        require(0.0 < self.view_angle_deg <= 180.0, "view_angle_deg must be in (0, 180]")
        require(min(self.height_std_m, self.tilt_std_deg) > 0.0, "height and tilt std must be > 0")
        require(min(self.reach_m, self.cell_m) > 0.0, "reach_m and cell_m must be above 0")
        require(self.points >= 1, "points must be at least 1")
        require(self.sharpness >= 0.0, "sharpness must be at least 0")


@dataclass(frozen=True)
class ConsistencySettings:
    """How labels weigh matches."""

    method: Method = "soft"
    """none: all alike; ssmc: only those whose labels agree; soft: by how likely the labels make
    them; gsmc: by the best fit of all labels at the poses that a match allows."""
    right_share: float = 0.3
    """Share of right matches before labels are looked at, (0, 1)."""
    outlier_share: float = 0.35
    """Share of the labels at right matches that say nothing, [0, 1)."""
    geometric: GeometricSettings = field(default_factory=GeometricSettings)

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(0.0 < self.right_share < 1.0, "right_share must be in (0, 1)")
        require(0.0 <= self.outlier_share < 1.0, "outlier_share must be in [0, 1)")


class Consistency:
    """Weighs the matches of images on one map."""

    def __init__(
        self,
        semantic_map: SemanticMap,
        log_ratio: NDArray[np.floating],
        camera_positions: FloatArray,
        settings: ConsistencySettings,
    ) -> None:
        """For label statistics (K, K) and positions (V, 3) where images of the map were taken.

        Raises:
            LocalizationError: the statistics are unusable or do not fit the map.
        """
        self._settings = settings
        self._table = evidence_table(semantic_map, log_ratio, settings.outlier_share)
        self._circles = Circles(semantic_map, self._table, camera_positions, settings.geometric)

    def weights(self, matches: Matches, label_map: LabelMap, mount: CameraMount) -> FloatArray:
        """(N,) how likely each match is to be drawn; 0: never."""
        method = self._settings.method
        if method == "none" or len(matches) == 0:
            return np.ones(len(matches))
        if method == "gsmc":
            return self._circles.weights(matches, label_map, mount)
        if method == "ssmc":
            unknown = matches.labels == self._table.label_count
            agree = unknown | (matches.labels == matches.points.labels)
            return np.where(agree, 1.0, 0.0)
        ratios = self._table.values[matches.labels, matches.points.labels].astype(np.float64)
        prior = np.log(self._settings.right_share) - np.log1p(-self._settings.right_share)
        return np.asarray(1.0 / (1.0 + np.exp(-(ratios + prior))))


@dataclass(frozen=True, eq=False)
class _Poses:
    """Poses of circles."""

    match: Indices
    """(P,) the match that each is of."""
    position: FloatArray
    """(P, 3) of the camera [m]."""
    yaw: FloatArray
    """(P,) of base_link [rad]."""

    def __getitem__(self, chosen: NDArray[np.generic]) -> "_Poses":
        return _Poses(self.match[chosen], self.position[chosen], self.yaw[chosen])


class Circles:
    """Judges matches by the labels at the poses that they allow."""

    def __init__(
        self,
        semantic_map: SemanticMap,
        table: EvidenceTable,
        camera_positions: FloatArray,
        settings: GeometricSettings,
    ) -> None:
        self._settings = settings
        self._table = table
        self._selector = PointSelector(semantic_map, settings.selection)
        self._positions = camera_positions
        self._tree = cKDTree(camera_positions[:, :2])
        self._grids: dict[tuple[Camera, int], PinholeGrid] = {}

    def weights(self, matches: Matches, label_map: LabelMap, mount: CameraMount) -> FloatArray:
        """(N,) of matches; one that allows no pose near the map's drive weighs least."""
        scores = self.scores(matches, label_map, mount)
        best = scores.max(initial=-np.inf)
        if not np.isfinite(best):
            return np.ones(len(matches))
        weights: FloatArray = np.exp(self._settings.sharpness * (scores - best))
        return np.maximum(weights, _LEAST_WEIGHT)

    def scores(self, matches: Matches, label_map: LabelMap, mount: CameraMount) -> FloatArray:
        """(N,) mean log-ratio of the map's points at the best pose; -inf without any."""
        key = (mount.camera, label_map.stride)
        if key not in self._grids:
            self._grids[key] = PinholeGrid(mount.camera, label_map.stride)
        pinhole = self._grids[key]
        grid = pinhole.labels(label_map, self._table.label_count)
        scores = np.full(len(matches), -np.inf)
        for part in self._cells(self._poses(matches, mount)):
            likelihood = self._likelihood(part, pinhole, mount, grid)
            if likelihood is None:
                continue
            T_map_base = _base_poses(part, mount)
            fit = likelihood(T_map_base) / max(float(likelihood.selected.weights.sum()), 1e-9)
            np.maximum.at(scores, part.match, fit)
        return scores

    def _poses(self, matches: Matches, mount: CameraMount) -> _Poses:
        """The poses of all circles that lie near the map's drive."""
        s = self._settings
        rays = np.column_stack([matches.sightings.rays, np.ones(len(matches))])
        level = rays @ mount.T_base_camera[:3, :3].T
        azimuth = np.arctan2(level[:, 1], level[:, 0])
        points = matches.sightings.points
        heights = self._positions[self._tree.query(points[:, :2])[1], 2]
        radius = self._radii(matches, np.arctan2(level[:, 2], np.hypot(*level[:, :2].T)), heights)
        steps = np.radians(np.arange(-s.view_angle_deg, s.view_angle_deg + 1e-9, s.step_deg))
        directions = matches.points.directions.astype(np.float64)
        sight = np.arctan2(directions[:, 1], directions[:, 0])[:, None] + steps
        offsets = radius[:, None, None] * np.stack([np.cos(sight), np.sin(sight)], axis=-1)
        positions = np.empty((*sight.shape, 3))
        positions[..., :2] = points[:, None, :2] - offsets
        positions[..., 2] = heights[:, None]
        made = _Poses(
            np.broadcast_to(np.arange(len(matches))[:, None], sight.shape).ravel(),
            positions.reshape(-1, 3),
            (sight - azimuth[:, None]).ravel(),
        )
        finite = np.flatnonzero(np.isfinite(made.position[:, 0]))
        made = made[finite]
        metres, nearest = self._tree.query(made.position[:, :2], distance_upper_bound=s.reach_m)
        near = np.flatnonzero(np.isfinite(metres))
        made.position[near, 2] = self._positions[nearest[near], 2]
        return made[near]

    def _radii(self, matches: Matches, elevation: FloatArray, heights: FloatArray) -> FloatArray:
        """(N,) horizontal distance of each point by its elevation above the camera, NaN for none.

        Where a ray is almost level, any distance within the point's observed ranges will do.
        """
        s, points = self._settings, matches.points
        above = matches.sightings.points[:, 2] - heights
        tilt = np.radians(s.tilt_std_deg)
        with np.errstate(divide="ignore", invalid="ignore"):
            radius = above / np.tan(elevation)
            # The distance that the errors of height and tilt amount to, two standard deviations.
            slope = np.maximum(np.abs(np.tan(elevation)), 1e-6)
            error = 2.0 * np.hypot(s.height_std_m, radius * tilt) / slope
        low = points.min_range / s.selection.range_slack
        high = points.max_range * s.selection.range_slack
        clamped = np.clip(radius, low, high)
        return np.where(np.abs(clamped - radius) <= error, clamped, np.nan)

    def _cells(self, made: _Poses) -> Iterator[_Poses]:
        """Poses that almost the same points are seen from."""
        cells = np.floor(made.position[:, :2] / self._settings.cell_m).astype(np.int64)
        turned = np.floor(poses.wrap_angle(made.yaw) / (np.pi / 6.0)).astype(np.int64)
        if len(cells):
            _, cell = np.unique(np.column_stack([cells, turned]), axis=0, return_inverse=True)
            order = np.argsort(cell.ravel(), kind="stable")
            starts = np.flatnonzero(np.diff(cell.ravel()[order]))
            yield from (made[part] for part in np.split(order, starts + 1))

    def _likelihood(
        self, part: _Poses, pinhole: PinholeGrid, mount: CameraMount, grid: NDArray[np.int32]
    ) -> FrameLikelihood | None:
        """Of poses of one cell, over the points that are seen from its middle."""
        yaw = np.arctan2(np.sin(part.yaw).mean(), np.cos(part.yaw).mean())
        middle = _Poses(
            part.match[:1], part.position.mean(axis=0)[None], np.array([yaw], np.float64)
        )
        T_map_camera = poses.compose(_base_poses(middle, mount)[0], mount.T_base_camera)
        # The choice of points must be the same for the same image: it is drawn anew each time.
        selected = self._selector.select(
            T_map_camera,
            np.zeros((6, 6)),
            pinhole.camera,
            self._settings.points,
            np.random.default_rng(0),
        )
        if len(selected) == 0:
            return None
        return FrameLikelihood(pinhole, mount.T_base_camera, grid, selected, self._table, 0.0, 1.0)


def _base_poses(made: _Poses, mount: CameraMount) -> FloatArray:
    """T_map_base (P, 4, 4) of level robots whose cameras are at the positions."""
    count = len(made.yaw)
    turned = poses.from_planar(np.zeros(count), np.zeros(count), made.yaw)
    turned[:, :3, 3] = made.position - turned[:, :3, :3] @ mount.T_base_camera[:3, 3]
    return turned
