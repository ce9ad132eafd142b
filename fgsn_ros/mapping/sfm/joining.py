"""Loops within a session, and sessions joined: images placed among points of other images."""

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from tqdm import tqdm

from fgsn_ros.config import require
from fgsn_ros.geometry import poses
from fgsn_ros.lookahead import map_ahead
from fgsn_ros.mapping.descriptors import Kind, mutual_matches
from fgsn_ros.mapping.sfm.adjustment import Relations
from fgsn_ros.mapping.sfm.appearance import alike, looks, words
from fgsn_ros.mapping.sfm.feature_graph import FeatureTable, corrected
from fgsn_ros.mapping.sfm.keyframes import KeyFrame, Session
from fgsn_ros.mapping.sfm.resection import resect
from fgsn_ros.mapping.sfm.session_poses import Solution

FloatArray = NDArray[np.float64]
Indices = NDArray[np.int64]
_AHEAD = 8
_ROWS = 256
"""Images that are compared with all at once: memory for all with all would grow with the square."""
_RATIOS: dict[Kind, float] = {"sift": 0.85, "xfeat": 0.95}
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class JoiningSettings:
    """Which images may show one place, and when they are believed to."""

    candidates: int = 3
    """Places, in a session, that an image is compared with. >= 1."""
    ratio: float | None = None
    """Largest ratio of the distances to the best and the next descriptor; None: 0.85 for SIFT, 0.95
    for XFeat. Above 0, at most 1."""
    max_error_px: float = 4.0
    """Largest reprojection error of a point that agrees [px]. > 0."""
    min_points: int = 12
    """Fewest points that place an image; >= 6."""
    loop_after_m: float = 30.0
    """Shortest way between the two ends of a loop [m]. > 0."""
    drift_m: float = 5.0
    """How far apart two ends of a loop may be reckoned at least [m]. >= 0."""
    drift_per_m: float = 0.1
    """And how much farther for each metre of the way between them. >= 0."""
    heading_deg: float = 60.0
    """Largest difference of reckoned headings of two ends of a loop [deg]. 0 to 180."""
    agree_m: float = 0.5
    """Two placements near each other agree if they differ by no more [m]. > 0."""
    agree_deg: float = 2.0
    """And by no more in rotation [deg]. > 0."""
    near_m: float = 30.0
    """How near each other they are on both ways [m]. > 0."""
    min_agreeing: int = 2
    """Others that a placement must agree with; >= 1."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.candidates >= 1, "candidates must be at least 1")
        known = self.ratio is None or 0.0 < self.ratio <= 1.0
        require(known, "ratio must be above 0 and at most 1")
        require(self.max_error_px > 0.0, "max_error_px must be above 0")
        require(self.min_points >= 6, "min_points must be at least 6")
        require(self.loop_after_m > 0.0, "loop_after_m must be above 0")
        require(min(self.drift_m, self.drift_per_m) >= 0.0, "drift must be at least 0")
        require(0.0 <= self.heading_deg <= 180.0, "heading_deg must be in 0..180")
        require(min(self.agree_m, self.agree_deg, self.near_m) > 0.0, "agree must be above 0")
        require(self.min_agreeing >= 1, "min_agreeing must be at least 1")


@dataclass(frozen=True, eq=False)
class Placement:
    """An image placed among the points of another one's neighbourhood."""

    image: int
    """of all sessions' images, the one that is placed."""
    among: int
    """the one whose place it is."""
    T_among_image: FloatArray
    """(4, 4), of base_link."""
    matches: Indices
    """(K, 2) features that agree."""


@dataclass(frozen=True, eq=False)
class Drives:
    """All sessions' images in one numbering, each session with poses of its own."""

    sessions: Sequence[Session]
    solutions: Sequence[Solution]
    table: FeatureTable
    """of all images."""

    @property
    def session(self) -> Indices:
        """(N,) session of each image."""
        return np.repeat(np.arange(len(self.sessions)), [len(one) for one in self.sessions])

    @property
    def starts(self) -> Indices:
        """(S + 1,) first image of each session, then N."""
        return np.concatenate([[0], np.cumsum([len(one) for one in self.sessions])])

    @property
    def frames(self) -> list[KeyFrame]:
        """(N,)."""
        return [frame for session in self.sessions for frame in session.frames]

    @property
    def T_session_base(self) -> FloatArray:
        """(N, 4, 4) poses in each session's own frame."""
        return np.concatenate([solution.T_map_base for solution in self.solutions])

    @property
    def path_m(self) -> FloatArray:
        """(N,) way since each session's start [m]."""
        return np.concatenate([session.path_m for session in self.sessions])

    def feature_points(self) -> FloatArray:
        """(F, 3) point of each feature in its session's frame; NaN where it has none."""
        points = np.full((len(self.table.image), 3), np.nan)
        for solution, first in zip(self.solutions, self.starts, strict=False):
            found = solution.structure
            shown = found.points[found.seen.point]
            points[found.feature + self.table.starts[first]] = shown
        return points


def placements(drives: Drives, settings: JoiningSettings, seed: int) -> list[Placement]:
    """Images that are placed among others' points, at loops and in other sessions.

    Only those that agree with others near them are kept.
    """
    pairs = _candidates(drives, settings, np.random.default_rng(seed))
    placing = _Placing(drives, settings)
    found = map_ahead(placing.placed, pairs.tolist(), _AHEAD, os.cpu_count() or 1)
    bar = tqdm(found, "finding places again", len(pairs), unit="pair")
    return agreeing([one for one in bar if one is not None], drives, settings)


def _candidates(drives: Drives, settings: JoiningSettings, rng: np.random.Generator) -> Indices:
    """(L, 2) images and the ones among whose points to place them."""
    centres = words(drives.frames, rng)
    seen = [looks(session.frames, centres) for session in drives.sessions]
    pairs = []
    for a, session in enumerate(drives.sessions):
        for b in range(a + 1):
            for rows in np.array_split(np.arange(len(session)), len(session) // _ROWS + 1):
                similarity = seen[a][rows] @ seen[b].T
                allowed = np.ones(similarity.shape, bool)
                if a == b:
                    T = drives.solutions[a].T_map_base
                    allowed = _may_be_loops(session, T, rows, settings)
                found = alike(similarity, allowed, settings.candidates, apart=3)
                first = drives.starts[a] + rows[:1].sum(), drives.starts[b]
                pairs.append(found + np.array(first))
    return np.concatenate(pairs)


def _may_be_loops(
    session: Session, T: FloatArray, rows: Indices, settings: JoiningSettings
) -> NDArray[np.bool_]:
    """(R, N) whether images, the rows, may show where an earlier one was, by the way so far."""
    way = session.path_m[rows, None] - session.path_m[None]
    centres = T[:, :3, 3]
    apart = np.linalg.norm(centres[rows, None] - centres[None], axis=2)
    ahead = T[rows, :3, 0] @ T[:, :3, 0].T
    alike_headed = ahead >= np.cos(np.radians(settings.heading_deg))
    reached = apart <= settings.drift_m + settings.drift_per_m * way
    return np.asarray((way >= settings.loop_after_m) & reached & alike_headed)


class _Placing:
    """Places images among the points of others."""

    def __init__(self, drives: Drives, settings: JoiningSettings) -> None:
        self._frames = drives.frames
        self._session = drives.session
        self._points = drives.feature_points()
        self._table = drives.table
        self._T = drives.T_session_base
        self._drives = drives
        self._settings = settings
        kind = drives.sessions[0].kind
        self._ratio = _RATIOS[kind] if settings.ratio is None else settings.ratio

    def placed(self, pair: Sequence[int]) -> Placement | None:
        """Place the first image among the points of the second and its neighbours."""
        image, among = pair
        matches = self._matches(image, among)
        points = self._points[matches[:, 1]]
        frame, rules = self._frames[image], self._settings
        solution = self._drives.solutions[self._session[image]]
        # a session's own table numbers its cameras in its own way
        camera = solution_camera(self._drives, image)
        own = matches[:, 0] - self._table.starts[image]
        rays = corrected(frame.rays[own], np.tile(solution.calibration[camera], (len(own), 1)))
        focal = float(np.median(frame.focal_px)) if len(frame) else 1.0
        found = resect(points, rays, focal, rules.max_error_px, rules.min_points)
        if found is None or len(np.unique(matches[found.inliers, 0])) < rules.min_points:
            return None
        T_base = poses.compose(found.T_map_camera, self._table.T_camera_base[image])
        T_among = poses.compose(poses.invert(self._T[among]), T_base)
        return Placement(image, among, T_among, matches[found.inliers])

    def _matches(self, image: int, among: int) -> Indices:
        """(K, 2) features of the image and of the others, where these have points."""
        parts = []
        for other in range(among - 1, among + 2):
            near = 0 <= other < len(self._frames) and self._session[other] == self._session[among]
            if not near or self._frames[other].camera != self._frames[among].camera:
                continue
            a, b = mutual_matches(
                self._frames[image].descriptors,
                self._frames[other].descriptors,
                self._ratio,
            )
            parts.append(
                np.stack([a + self._table.starts[image], b + self._table.starts[other]], 1)
            )
        matches = np.concatenate(parts) if parts else np.zeros((0, 2), np.int64)
        shown: Indices = matches[np.isfinite(self._points[matches[:, 1], 0])]
        return shown


def solution_camera(drives: Drives, image: int) -> int:
    """Row of an image's camera in the calibration that its session's solution has."""
    session = drives.sessions[drives.session[image]]
    cameras = list(dict.fromkeys(session.cameras[f.camera].camera for f in session.frames))
    return cameras.index(session.cameras[drives.frames[image].camera].camera)


def agreeing(found: list[Placement], drives: Drives, settings: JoiningSettings) -> list[Placement]:
    """Placements that enough others near them agree with: of both images, and not the same one."""
    kept = []
    for group in _by_sessions(found, drives).values():
        support = _support(group, drives, settings)
        kept += [
            one
            for one, count in zip(group, support.tolist(), strict=True)
            if count >= settings.min_agreeing
        ]
    return kept


def _by_sessions(found: list[Placement], drives: Drives) -> dict[tuple[int, int], list[Placement]]:
    groups: dict[tuple[int, int], list[Placement]] = {}
    session = drives.session
    for one in found:
        key = int(session[one.among]), int(session[one.image])
        groups.setdefault(key, []).append(one)
    return groups


def _support(group: list[Placement], drives: Drives, settings: JoiningSettings) -> Indices:
    """(K,) how many images' placements, of those near both images, agree with each."""
    T, path = drives.T_session_base, drives.path_m
    image, among = np.array([(one.image, one.among) for one in group]).T
    across = np.stack([across_sessions(one, T) for one in group])
    near = np.abs(path[image][:, None] - path[image][None]) <= settings.near_m
    near &= np.abs(path[among][:, None] - path[among][None]) <= settings.near_m
    counts = np.zeros(len(group), np.int64)
    for i in range(len(group)):
        there = poses.compose(across, T[image[i]])
        apart = poses.compose(poses.invert(there[i]), there)
        same = np.linalg.norm(apart[:, :3, 3], axis=1) <= settings.agree_m
        same &= poses.rotation_angle(apart) <= np.radians(settings.agree_deg)
        counts[i] = len(np.unique(image[near[i] & same & (image != image[i])]))
    return counts


def across_sessions(one: Placement, T: FloatArray) -> FloatArray:
    """(4, 4) that takes the image's session, or end of a loop, into the other one's."""
    return np.asarray(
        poses.compose(poses.compose(T[one.among], one.T_among_image), poses.invert(T[one.image]))
    )


def groups_of(found: list[Placement], drives: Drives) -> Indices:
    """(S,) number of the group of sessions that placements join, in order of their first."""
    count = len(drives.sessions)
    session = drives.session
    pairs = np.array([(session[o.image], session[o.among]) for o in found]).reshape(-1, 2)
    ones = np.ones(len(pairs), np.int8)
    graph = coo_matrix((ones, (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    labels = connected_components(graph, directed=False)[1]
    _, first, number = np.unique(labels, return_index=True, return_inverse=True)
    return np.asarray(np.argsort(np.argsort(first))[number], np.int64)


def roughly_joined(found: list[Placement], drives: Drives, settings: JoiningSettings) -> FloatArray:
    """(N, 4, 4) poses of all images, each session moved whole to where most placements want it.

    Sessions that nothing joins stay where they are.
    """
    T, session = drives.T_session_base, drives.session
    T_map_session: dict[int, FloatArray] = {}
    placed: FloatArray = T.copy()
    groups = _by_sessions([o for o in found if session[o.image] != session[o.among]], drives)
    for root in range(len(drives.sessions)):
        if root in T_map_session:
            continue
        T_map_session[root] = np.eye(4)
        grown = True
        while grown:
            grown = False
            for (a, b), group in groups.items():
                if (a in T_map_session) == (b in T_map_session):
                    continue
                best = group[int(_support(group, drives, settings).argmax())]
                T_a_b = across_sessions(best, T)
                if a in T_map_session:
                    T_map_session[b] = poses.compose(T_map_session[a], T_a_b)
                else:
                    T_map_session[a] = poses.compose(T_map_session[b], poses.invert(T_a_b))
                grown = True
    for number, T_map in T_map_session.items():
        own = session == number
        placed[own] = poses.compose(T_map, T[own])
    return placed


_PLACED_SIGMA = np.array([0.1, 0.1, 0.1, 0.005, 0.005, 0.005])
_STEP_SIGMA = np.array([0.01, 0.01, 0.01, 0.001, 0.001, 0.001])


def chain(drives: Drives) -> Relations:
    """The sessions' own motion from image to image, for a pose graph."""
    T = drives.T_session_base
    before = np.flatnonzero(np.diff(drives.session) == 0)
    apart = poses.compose(poses.invert(T[before]), T[before + 1])
    root = np.sqrt(np.linalg.norm(apart[:, :3, 3], axis=1) + 0.1)
    sigma = root[:, None] * _STEP_SIGMA
    return Relations(before, before + 1, apart, sigma, np.zeros(len(before), bool))


def placement_relations(found: list[Placement]) -> Relations:
    """What placements say of the motion between two images; some may be wrong."""
    first = np.array([one.among for one in found], np.int64)
    second = np.array([one.image for one in found], np.int64)
    T = np.array([one.T_among_image for one in found]).reshape(-1, 4, 4)
    sigma = np.broadcast_to(_PLACED_SIGMA, (len(found), 6))
    return Relations(first, second, T, sigma, np.ones(len(found), bool))
