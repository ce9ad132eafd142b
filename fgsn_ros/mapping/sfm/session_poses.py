"""Poses of one session: its neighbouring key frames matched, its odometry, then adjustment."""

import dataclasses
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from fgsn_ros.config import require
from fgsn_ros.geometry import poses
from fgsn_ros.lookahead import map_ahead
from fgsn_ros.mapping.sfm.adjustment import CalibrationTrust, Knowledge, Relations, adjust
from fgsn_ros.mapping.sfm.feature_graph import (
    FeatureTable,
    Structure,
    feature_tracks,
    nearest_views,
    structure,
    thinned,
)
from fgsn_ros.mapping.sfm.kept import KeptWork
from fgsn_ros.mapping.sfm.keyframes import Session
from fgsn_ros.mapping.sfm.two_views import TwoViews, TwoViewSettings, two_views
from fgsn_ros.mapping.triangulation import TriangulationSettings

FloatArray = NDArray[np.float64]
Indices = NDArray[np.int64]
_AHEAD = 8
_KEPT_AT_ONCE = 400
"""Pairs whose matches are kept together: a run that is stopped loses no more."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class OdometryTrust:
    """How far the odometry's motion between two key frames may be off: one standard deviation."""

    length_per_m: float = 0.03
    """of the position, along and across, after 1 m; a random walk [m/sqrt(m)]. > 0."""
    yaw_deg_per_m: float = 0.6
    """of the heading after 1 m, a random walk [deg/sqrt(m)]. > 0."""
    tilt_deg_per_m: float = 2.0
    """of roll and pitch after 1 m, which wheels do not tell, a random walk [deg/sqrt(m)]. > 0."""
    slope_deg: float = 3.0
    """of the ground against the level [deg], over each `slope_m`, where no IMU says it. > 0."""
    slope_m: float = 50.0
    """[m]. > 0."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        for each in dataclasses.fields(self):
            require(getattr(self, each.name) > 0.0, f"{each.name} must be above 0")

    def sigma(self, moved_m: FloatArray) -> FloatArray:
        """(R, 6) standard deviations of relations over distances (R,)."""
        root = np.sqrt(moved_m + _STILL_M)[:, None]
        tilt, yaw = np.radians(self.tilt_deg_per_m), np.radians(self.yaw_deg_per_m)
        length = self.length_per_m
        return np.asarray(root * np.array([length, length, length, tilt, tilt, yaw]))

    def tilt_rad(self, spacing_m: float) -> float:
        """How level key frames at such a spacing are, each for its share of `slope_m` [rad]."""
        share = np.sqrt(max(self.slope_m / max(spacing_m, 0.01), 1.0))
        return float(np.radians(self.slope_deg) * share)


_STILL_M = 0.01


@dataclass(frozen=True)
class AdjustmentSettings:
    """How poses and points are adjusted."""

    min_views: int = 3
    """Fewest images that make a point. >= 2."""
    points_per_image: int = 400
    """Most points that an image needs, those of the longest tracks; >= 20."""
    sigma_px: float = 1.0
    """Standard deviation of a feature's place [px]. > 0."""
    iterations: int = 15
    """Most steps of each of three rounds. >= 1."""
    calibration: CalibrationTrust = field(default_factory=CalibrationTrust)
    triangulation: TriangulationSettings = field(
        default_factory=lambda: TriangulationSettings(
            max_error_px=2.0, min_parallax_deg=1.0, min_range_m=0.5, max_range_m=200.0
        )
    )

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.min_views >= 2, "min_views must be at least 2")
        require(self.points_per_image >= 20, "points_per_image must be at least 20")
        require(self.sigma_px > 0.0, "sigma_px must be above 0")
        require(self.iterations >= 1, "iterations must be at least 1")


_VIEWS_PER_POINT = 40
_ROUNDS_PX = (12.0, 4.0, None)
"""Largest median error of a point in each round, the last as set: the first poses are rough."""


@dataclass(frozen=True, eq=False)
class Solution:
    """Poses of images, and the points that they show."""

    T_map_base: FloatArray
    """(N, 4, 4)."""
    calibration: FloatArray
    """(C, 2) corrections of the cameras: see `Adjusted`."""
    structure: Structure
    error_px: FloatArray
    """(M,) reprojection error of each observation."""

    def moved(self, by: FloatArray) -> "Solution":
        """The same, moved by (3,) [m]."""
        T = self.T_map_base.copy()
        T[:, :3, 3] += by
        structure = dataclasses.replace(self.structure, points=self.structure.points + by)
        return dataclasses.replace(self, T_map_base=T, structure=structure)


def adjusted_structure(
    table: FeatureTable,
    matches: Indices,
    T_map_base: FloatArray,
    relations: Relations,
    known: Knowledge,
    settings: AdjustmentSettings,
) -> Solution:
    """Poses, points and corrections of the calibrations from features that matches connect.

    In rounds: points are made from the poses so far, those that agree are adjusted.
    """
    tracks = feature_tracks(table, matches, settings.min_views)
    T, calibration = T_map_base, np.zeros((int(table.camera.max()) + 1, 2))
    for limit in _ROUNDS_PX:
        rules = settings.triangulation
        if limit is not None:
            rules = dataclasses.replace(rules, max_error_px=max(limit, rules.max_error_px))
        found = structure(table, tracks, T, calibration, rules, settings.min_views)
        found = thinned(found, table, settings.points_per_image)
        found = nearest_views(found, table, T, _VIEWS_PER_POINT)
        sigma, steps = max(settings.sigma_px, rules.max_error_px / 3.0), settings.iterations
        done = adjust(T, found.points, found.seen, relations, calibration, known, sigma, steps)
        T, calibration = done.T_map_base, done.calibration
        found = dataclasses.replace(found, points=done.points)
    return Solution(T, calibration, found, done.error_px)


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Pairs of neighbouring key frames of a session and what they share."""

    pairs: Indices
    """(K, 2) key frames that were matched."""
    views: tuple[TwoViews | None, ...]
    """of each pair."""


def matched_neighbours(
    session: Session,
    offsets: Sequence[int],
    settings: TwoViewSettings,
    kept: KeptWork | None = None,
) -> Neighbours:
    """Match each key frame with those of its camera that follow it by the offsets.

    What is kept is not matched again, and what is matched is kept, part by part.
    """
    pairs = []
    for camera in session.cameras:
        own = [i for i, frame in enumerate(session.frames) if frame.camera == camera]
        pairs += [
            (own[i], own[i + offset])
            for i in range(len(own))
            for offset in offsets
            if i + offset < len(own)
        ]
    frames, threads = session.frames, os.cpu_count() or 1
    views: list[TwoViews | None] = []
    matches = None if kept is None else kept.matches(session, pairs, settings)
    with tqdm(None, f"{session.name}: matching", len(pairs), unit="pair") as bar:

        def shared(pair: tuple[int, int]) -> TwoViews | None:
            found = two_views(frames[pair[0]], frames[pair[1]], settings, session.kind)
            bar.update()
            return found

        for part, start in enumerate(range(0, len(pairs), _KEPT_AT_ONCE)):
            some = pairs[start : start + _KEPT_AT_ONCE]
            match = partial(_matched, shared, some, threads)
            views += match() if matches is None else matches.part(part, len(some), match)
    return Neighbours(np.array(pairs, np.int64).reshape(-1, 2), tuple(views))


def _matched(
    shared: Callable[[tuple[int, int]], TwoViews | None],
    pairs: Sequence[tuple[int, int]],
    threads: int,
) -> list[TwoViews | None]:
    return list(map_ahead(shared, pairs, _AHEAD, threads))


def feature_pairs(pairs: Indices, views: Sequence[TwoViews | None], table: FeatureTable) -> Indices:
    """Matches (K, 2) of all pairs, as features of the table."""
    parts = [
        np.stack([found.first + table.starts[i], found.second + table.starts[j]], axis=1)
        for (i, j), found in zip(pairs.tolist(), views, strict=True)
        if found is not None
    ]
    return np.concatenate(parts) if parts else np.zeros((0, 2), np.int64)


def odometry_relations(session: Session, trust: OdometryTrust) -> Relations:
    """What odometry says of the motion from each key frame to the next."""
    T, path = session.T_odom_base, session.path_m
    before = np.arange(len(T) - 1)
    apart = poses.compose(poses.invert(T[:-1]), T[1:])
    turned = np.abs(poses.to_rpy(apart)[:, 2])
    sigma = trust.sigma(np.diff(path) + turned)
    holes = session.odometry.stamps[session.odometry.holes]
    stamps = np.array([frame.stamp for frame in session.frames])
    over = np.searchsorted(holes, stamps[1:]) > np.searchsorted(holes, stamps[:-1])
    sigma[over] *= 10.0
    return Relations(before, before + 1, apart, sigma, np.zeros(len(before), bool))


def first_poses(session: Session, neighbours: Neighbours) -> FloatArray:
    """Poses (N, 4, 4) along the drive: turned as images say, moved as odometry does.

    Odometry says the turn too where images say none or another: what they see may move.
    """
    T_odom = session.T_odom_base
    turns = _turns(session, neighbours)
    T = [np.eye(4)]
    for i in range(len(session) - 1):
        step = poses.compose(poses.invert(T_odom[i]), T_odom[i + 1])
        if i in turns:
            apart = poses.from_rotation_translation(step[:3, :3].T @ turns[i], np.zeros(3))
            if float(poses.rotation_angle(apart)) < np.radians(_LARGEST_DIFFERENCE_DEG):
                step[:3, :3] = turns[i]
        T.append(poses.compose(T[-1], step))
    return np.array(T)


_LARGEST_DIFFERENCE_DEG = 6.0


def _turns(session: Session, neighbours: Neighbours) -> dict[int, FloatArray]:
    """Rotation of base_link from a key frame to the next, as their images have it."""
    turns = {}
    for (i, j), found in zip(neighbours.pairs.tolist(), neighbours.views, strict=True):
        if j == i + 1 and found is not None:
            R = session.cameras[session.frames[i].camera].T_base_camera[:3, :3]
            turns[i] = R @ found.R_first_second @ R.T
    return turns
