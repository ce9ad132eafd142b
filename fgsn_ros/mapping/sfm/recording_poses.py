"""Poses of raw recordings: structure from motion over all of them, with wheel odometry."""

import dataclasses
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.config import require
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.cameras import CameraMount
from fgsn_ros.geometry.trajectory import Trajectory
from fgsn_ros.mapping.sfm.adjustment import Knowledge, Observations, Relations, adjust
from fgsn_ros.mapping.sfm.feature_graph import FeatureTable
from fgsn_ros.mapping.sfm.joining import (
    Drives,
    JoiningSettings,
    Placement,
    chain,
    groups_of,
    placement_relations,
    placements,
    roughly_joined,
)
from fgsn_ros.mapping.sfm.keyframes import KeyFrameSettings, Session, read_session
from fgsn_ros.mapping.sfm.seen_motion import check_motion
from fgsn_ros.mapping.sfm.session_poses import (
    AdjustmentSettings,
    Neighbours,
    OdometryTrust,
    Solution,
    adjusted_structure,
    feature_pairs,
    first_poses,
    matched_neighbours,
    odometry_relations,
)
from fgsn_ros.mapping.sfm.two_views import TwoViewSettings
from fgsn_ros.recordings.recording import Frame, Recording

FloatArray = NDArray[np.float64]
Indices = NDArray[np.int64]
_log = logging.getLogger(__name__)
_GRAPH_STEPS = 50


@dataclass(frozen=True)
class PoseSettings:
    """How poses of raw recordings are made."""

    neighbours: tuple[int, ...] = (1, 2, 3, 5, 8)
    """Key frames after each one that it is matched with. >= 1."""
    seed: int = 0
    """Seed of the visual words. >= 0."""
    keyframes: KeyFrameSettings = field(default_factory=KeyFrameSettings)
    pairs: TwoViewSettings = field(default_factory=TwoViewSettings)
    odometry: OdometryTrust = field(default_factory=OdometryTrust)
    adjustment: AdjustmentSettings = field(default_factory=AdjustmentSettings)
    joining: JoiningSettings = field(default_factory=JoiningSettings)

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(
            len(self.neighbours) > 0 and min(self.neighbours) >= 1,
            "neighbours must be 1 or more, at least one",
        )
        require(self.seed >= 0, "seed must be at least 0")


@dataclass(frozen=True, eq=False)
class PosedRecordings:
    """Recordings with poses, and what they were made of."""

    sessions: tuple[Session, ...]
    neighbours: tuple[Neighbours, ...]
    group: Indices
    """(S,) sessions of one group are in one frame."""
    T_map_base: FloatArray
    """(N, 4, 4) of all sessions' key frames."""
    solutions: tuple[tuple[Indices, Solution], ...]
    """of each group: its key frames, and their points."""
    table: FeatureTable
    placements: tuple[Placement, ...]
    trajectories: tuple[Trajectory, ...]
    """(S,) a pose for every frame."""

    @property
    def starts(self) -> Indices:
        """(S + 1,) first key frame of each session, then N."""
        return np.concatenate([[0], np.cumsum([len(one) for one in self.sessions])])


@dataclass(frozen=True, eq=False)
class WithPoses:
    """A recording with poses that were made of it, in the place of ground truth."""

    recording: Recording
    ground_truth: Trajectory
    """T_map_base."""

    @property
    def name(self) -> str:
        """The recording's."""
        return self.recording.name

    @property
    def cameras(self) -> Mapping[str, CameraMount]:
        """The recording's."""
        return self.recording.cameras

    @property
    def odometry(self) -> Trajectory | None:
        """The recording's."""
        return self.recording.odometry

    @property
    def odometry_origin(self) -> str:
        """The recording's."""
        return self.recording.odometry_origin

    @property
    def frame_count(self) -> int:
        """The recording's."""
        return self.recording.frame_count

    def frames(self) -> Iterator[Frame]:
        """The recording's."""
        return self.recording.frames()


def pose_recordings(recordings: Sequence[Recording], settings: PoseSettings) -> PosedRecordings:
    """Poses T_map_base of every frame of recordings, by their images and odometry alone.

    Each recording is a session: matched from key frame to key frame, adjusted with its odometry.
    Sessions, and the ends of loops, are joined where images are placed among others' points.
    The map frame is level and begins at the first recording's first key frame, x ahead.

    Raises:
        RecordingError: a recording has no odometry, stands still, shows nothing that can be
            followed, or moves otherwise than its odometry says.
    """
    sessions = tuple(read_session(one, settings.keyframes) for one in recordings)
    solved = [_session_solution(session, settings) for session in sessions]
    table = _table(sessions)
    drives = Drives(sessions, [solution for _, solution in solved], table)
    found = placements(drives, settings.joining, settings.seed)
    neighbours = tuple(each for each, _ in solved)
    group = groups_of(found, drives)
    T, solutions = _joined(drives, neighbours, found, group, settings)
    trajectories = tuple(
        _every_frame(session, T[first : first + len(session)])
        for session, first in zip(sessions, drives.starts, strict=False)
    )
    return PosedRecordings(
        sessions, neighbours, group, T, solutions, table, tuple(found), trajectories
    )


def _table(sessions: Sequence[Session]) -> FeatureTable:
    frames = [frame for session in sessions for frame in session.frames]
    mounts = [session.cameras[frame.camera] for session in sessions for frame in session.frames]
    return FeatureTable.of(frames, mounts)


def _session_solution(session: Session, settings: PoseSettings) -> tuple[Neighbours, Solution]:
    neighbours = matched_neighbours(session, settings.neighbours, settings.pairs)
    check_motion(session, neighbours)
    table = _table([session])
    solution = adjusted_structure(
        table,
        feature_pairs(neighbours.pairs, neighbours.views, table),
        first_poses(session, neighbours),
        odometry_relations(session, settings.odometry),
        settings.odometry.tilt_rad(_spacing(session)),
        settings.adjustment,
    )
    return neighbours, solution


def _spacing(session: Session) -> float:
    return float(session.path_m[-1]) / max(len(session) - 1, 1)


def _joined(
    drives: Drives,
    neighbours: Sequence[Neighbours],
    found: list[Placement],
    group: Indices,
    settings: PoseSettings,
) -> tuple[FloatArray, tuple[tuple[Indices, Solution], ...]]:
    """Poses of all key frames, and the points of each group of sessions, adjusted together."""
    T = roughly_joined(found, drives, settings.joining)
    solutions = []
    of_image = group[drives.session]
    for number in range(int(group.max()) + 1):
        images = np.flatnonzero(of_image == number)
        own = [one for one in found if of_image[one.image] == number]
        members = np.flatnonzero(group == number).tolist()
        if len(members) == 1 and not own:
            solution = drives.solutions[members[0]]
        else:
            solution = _group_solution(drives, neighbours, own, images, T, settings)
        T[images] = solution.T_map_base
        solutions.append((images, solution))
    return T, tuple(solutions)


def _group_solution(
    drives: Drives,
    neighbours: Sequence[Neighbours],
    found: list[Placement],
    images: Indices,
    T: FloatArray,
    settings: PoseSettings,
) -> Solution:
    """A pose graph of the sessions' shapes and the placements, then adjustment of everything."""
    members = sorted(set(drives.session[images].tolist()))
    number = np.full(len(T), -1, np.int64)
    number[images] = np.arange(len(images))
    graph = Relations.joined([chain(drives), placement_relations(found)])
    graph = _renumbered(graph, number)
    tilt = settings.odometry.tilt_rad(max(_spacing(drives.sessions[m]) for m in members))
    T_graph = _pose_graph(T[images], graph, tilt, settings)
    sessions = [drives.sessions[m] for m in members]
    table, matches = _table(sessions), []
    for position, m in enumerate(members):
        first = sum(len(one) for one in sessions[:position])
        pairs = neighbours[m].pairs + first
        matches.append(feature_pairs(pairs, neighbours[m].views, table))
    for one in found:
        matches.append(_renumbered_features(one.matches, drives.table, table, number))
    odometry = [odometry_relations(drives.sessions[m], settings.odometry) for m in members]
    shifted = [
        dataclasses.replace(each, first=each.first + first, second=each.second + first)
        for each, first in zip(
            odometry, np.cumsum([0] + [len(one) for one in sessions]), strict=False
        )
    ]
    return adjusted_structure(
        table,
        np.concatenate(matches),
        T_graph,
        Relations.joined(shifted),
        tilt,
        settings.adjustment,
    )


def _pose_graph(
    T: FloatArray, graph: Relations, tilt_rad: float, settings: PoseSettings
) -> FloatArray:
    none, flat = np.zeros(0, np.int64), np.zeros((0, 2))
    nothing = Observations(none, none, flat, flat, none, np.zeros((0, 4, 4)))
    known = Knowledge(tilt_rad, settings.adjustment.calibration)
    points, calibration = np.zeros((0, 3)), np.zeros((0, 2))
    return adjust(T, points, nothing, graph, calibration, known, 1.0, _GRAPH_STEPS).T_map_base


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


def _every_frame(session: Session, T: FloatArray) -> Trajectory:
    """Poses of all frames: odometry from the key frame before and to the one after, blended."""
    keys, first = np.unique([frame.stamp for frame in session.frames], return_index=True)
    T_map_odom = poses.compose(T[first], poses.invert(session.T_odom_base[first]))
    stamps = session.stamps
    after = np.clip(np.searchsorted(keys, stamps), 1, len(keys) - 1)
    before = after - 1
    share = np.clip((stamps - keys[before]) / (keys[after] - keys[before]), 0.0, 1.0)
    T_odom = session.odometry.at(stamps)
    from_before = poses.compose(T_map_odom[before], T_odom)
    from_after = poses.compose(T_map_odom[after], T_odom)
    return Trajectory(stamps, poses.interpolate(from_before, from_after, share))
