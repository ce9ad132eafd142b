"""What is known of sessions beside their images, and all of a group adjusted together."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.mapping.sfm.adjustment import Knowledge, Relations, Verticals
from fgsn_ros.mapping.sfm.feature_graph import FEW_POINTS, FeatureTable, going_on
from fgsn_ros.mapping.sfm.gps import SessionFixes, positions_of
from fgsn_ros.mapping.sfm.gravity import Gravity
from fgsn_ros.mapping.sfm.joining import Drives, Placement, chain, placement_relations
from fgsn_ros.mapping.sfm.keyframes import Session
from fgsn_ros.mapping.sfm.placing import Anchored, OnEarth, anchored, graph_poses, moved_origin
from fgsn_ros.mapping.sfm.session_poses import (
    AdjustmentSettings,
    Neighbours,
    OdometryTrust,
    Solution,
    adjusted_structure,
    feature_pairs,
    odometry_relations,
)

FloatArray = NDArray[np.float64]
Indices = NDArray[np.int64]
_GRAPH_STEPS = 50


@dataclass(frozen=True, eq=False)
class Priors:
    """What a session's instruments say of its key frames."""

    gravity: Gravity | None = None
    fixes: SessionFixes | None = None


@dataclass(frozen=True)
class Trust:
    """How far what is known of sessions holds."""

    odometry: OdometryTrust
    adjustment: AdjustmentSettings


def features_of(sessions: Sequence[Session]) -> FeatureTable:
    """The features of all sessions' key frames."""
    frames = [frame for session in sessions for frame in session.frames]
    mounts = [session.cameras[frame.camera] for session in sessions for frame in session.frames]
    return FeatureTable.of(frames, mounts)


def known_of(sessions: Sequence[Session], priors: Sequence[Priors], trust: Trust) -> Knowledge:
    """What is known of sessions' key frames, in one numbering, beside their motion and GPS."""
    tilt = trust.odometry.tilt_rad(max(_spacing(session) for session in sessions))
    starts = np.cumsum([0] + [len(session) for session in sessions])
    parts = [
        (start, prior.gravity.verticals)
        for start, prior in zip(starts.tolist(), priors, strict=False)
        if prior.gravity is not None
    ]
    if not parts:
        return Knowledge(tilt, trust.adjustment.calibration)
    verticals = Verticals(
        np.concatenate([one.pose + start for start, one in parts]),
        np.concatenate([one.up for _, one in parts]),
        np.concatenate([one.sigma_rad for _, one in parts]),
    )
    return Knowledge(tilt, trust.adjustment.calibration, verticals)


def _spacing(session: Session) -> float:
    return float(session.path_m[-1]) / max(len(session) - 1, 1)


@dataclass(frozen=True, eq=False)
class Group:
    """Sessions that are adjusted together."""

    drives: Drives
    """all sessions"""
    neighbours: Sequence[Neighbours]
    """of all sessions"""
    priors: Sequence[Priors]
    """of all sessions"""
    members: Sequence[int]
    """the sessions of the group"""
    found: list[Placement]
    """between its images"""
    trust: Trust

    @property
    def sessions(self) -> list[Session]:
        """(M,) those of the group."""
        return [self.drives.sessions[m] for m in self.members]

    @property
    def images(self) -> Indices:
        """(K,) their images, in the numbering of all."""
        return np.flatnonzero(np.isin(self.drives.session, self.members))

    @property
    def starts(self) -> Indices:
        """(M + 1,) first image of each session in the group's numbering, then K."""
        return np.cumsum([0] + [len(one) for one in self.sessions])

    @property
    def number(self) -> Indices:
        """(N,) of all images, the number in the group; -1 of others."""
        number = np.full(len(self.drives.session), -1, np.int64)
        number[self.images] = np.arange(len(self.images))
        return number

    @property
    def odometry(self) -> list[Relations]:
        """(M,) of each session, in its own numbering."""
        return [odometry_relations(one, self.trust.odometry) for one in self.sessions]

    @property
    def known(self) -> Knowledge:
        """Of the images, without GPS."""
        return known_of(self.sessions, [self.priors[m] for m in self.members], self.trust)

    def solved(self, T: FloatArray) -> Solution:
        """A pose graph of the sessions' shapes and the placements, then adjustment of everything.

        Poses T (K, 4, 4) are where these begin.
        """
        graph = Relations.joined([chain(self.drives), placement_relations(self.found)])
        graph = _renumbered(graph, self.number)
        T_graph = graph_poses(T, graph, self.known, _GRAPH_STEPS)
        return self._adjusted(T_graph, self.odometry, self.known)

    def solved_on_earth(self, T: FloatArray, where: OnEarth) -> tuple[Solution, OnEarth]:
        """The same with GPS fixes, and where the frame is then: at the first image.

        The lengths of odometry are those that GPS has of them.
        """
        drawn = self._drawn(T, where)
        scales = [np.exp(drawn.log_scale.get(m, 0.0)) for m in self.members]
        odometry = [_scaled(one, k) for one, k in zip(self.odometry, scales, strict=True)]
        known = dataclasses.replace(self.known, positions=drawn.positions)
        solution = self._adjusted(drawn.T_map_base, odometry, known)
        first = solution.T_map_base[0, :3, 3].copy()
        origin = moved_origin(where.origin, first)
        return solution.moved(-first), OnEarth(origin, drawn.placed, drawn.spread, drawn.log_scale)

    def _drawn(self, T: FloatArray, where: OnEarth) -> Anchored:
        """The pose graph with fixes."""
        steps = _renumbered(self._steps(), self.number)
        placed = _renumbered(placement_relations(self.found), self.number)
        graph = Relations.joined([steps, placed])
        owner = np.searchsorted(self.starts, graph.first, side="right") - 1
        owner[len(steps) :] = -1
        fixes, motion = {}, {}
        for position, m in enumerate(self.members):
            own = self.priors[m].fixes
            if own is not None:
                fixes[m] = positions_of({int(self.starts[position]): own}, where.origin)
                motion[m] = owner == position
        return anchored(T, graph, self.known, fixes, motion, where.placed)

    def _steps(self) -> Relations:
        """The sessions' motion as images have it; as odometry has it where they show too little."""
        steps = chain(self.drives)
        sigma, rows = steps.sigma.copy(), 0
        for session, solution in zip(self.drives.sessions, self.drives.solutions, strict=True):
            seen = solution.structure.seen
            weak = going_on(seen.point, seen.pose, len(session)) < FEW_POINTS
            own = sigma[rows : rows + len(session) - 1]
            own[weak] = odometry_relations(session, self.trust.odometry).sigma[weak]
            rows += len(session) - 1
        return dataclasses.replace(steps, sigma=sigma)

    def _adjusted(self, T: FloatArray, odometry: list[Relations], known: Knowledge) -> Solution:
        """Poses (K, 4, 4), points and calibrations from poses that are nearly right."""
        table, number, matches = features_of(self.sessions), self.number, []
        for first, m in zip(self.starts.tolist(), self.members, strict=False):
            own = self.neighbours[m]
            matches.append(feature_pairs(own.pairs + first, own.views, table))
        for one in self.found:
            matches.append(_renumbered_features(one.matches, self.drives.table, table, number))
        shifted = [
            dataclasses.replace(each, first=each.first + first, second=each.second + first)
            for each, first in zip(odometry, self.starts.tolist(), strict=False)
        ]
        return adjusted_structure(
            table,
            np.concatenate(matches),
            T,
            Relations.joined(shifted),
            known,
            self.trust.adjustment,
        )


def _scaled(steps: Relations, scale: float) -> Relations:
    T = steps.T_first_second.copy()
    T[:, :3, 3] *= scale
    return dataclasses.replace(steps, T_first_second=T)


def _renumbered(graph: Relations, number: Indices) -> Relations:
    """Those between images that have a number, by it."""
    first, second = number[graph.first], number[graph.second]
    kept = (first >= 0) & (second >= 0)
    return Relations(
        first[kept],
        second[kept],
        graph.T_first_second[kept],
        graph.sigma[kept],
        graph.doubtful[kept],
    )


def _renumbered_features(
    features: Indices, table: FeatureTable, target: FeatureTable, number: Indices
) -> Indices:
    image = table.image[features]
    return features - table.starts[image] + target.starts[number[image]]
