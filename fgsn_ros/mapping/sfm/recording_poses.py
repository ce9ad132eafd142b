"""Poses of raw recordings: structure from motion over all of them, with wheel odometry."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.config import require
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.cameras import CameraMount
from fgsn_ros.geometry.trajectory import Trajectory
from fgsn_ros.mapping.sfm.calibration import Doubt, contradiction, doubt, recalibrated
from fgsn_ros.mapping.sfm.feature_graph import FeatureTable
from fgsn_ros.mapping.sfm.gps import GpsTrust, session_fixes
from fgsn_ros.mapping.sfm.gravity import ImuTrust, session_gravity
from fgsn_ros.mapping.sfm.group_poses import Group, Priors, Trust, features_of, known_of
from fgsn_ros.mapping.sfm.joining import (
    Drives,
    JoiningSettings,
    Placement,
    groups_of,
    placements,
    roughly_joined,
)
from fgsn_ros.mapping.sfm.kept import KeptWork
from fgsn_ros.mapping.sfm.keyframes import KeyFrameSettings, Session, read_session
from fgsn_ros.mapping.sfm.placing import Frames, OnEarth, placed_by_gps
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
from fgsn_ros.recordings.sensors import Sensors, sensors_of

FloatArray = NDArray[np.float64]
Indices = NDArray[np.int64]
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PoseSettings:
    """How poses of raw recordings are made."""

    neighbours: tuple[int, ...] = (1, 2, 3, 5, 8)
    """Key frames after each one that it is matched with. >= 1."""
    seed: int = 0
    """Seed of the visual words. >= 0."""
    refine_calibration: bool = False
    """The calibrations are rough: the images tell focal lengths and k1; needs curves."""
    keyframes: KeyFrameSettings = field(default_factory=KeyFrameSettings)
    pairs: TwoViewSettings = field(default_factory=TwoViewSettings)
    odometry: OdometryTrust = field(default_factory=OdometryTrust)
    adjustment: AdjustmentSettings = field(default_factory=AdjustmentSettings)
    joining: JoiningSettings = field(default_factory=JoiningSettings)
    gps: GpsTrust = field(default_factory=GpsTrust)
    imu: ImuTrust = field(default_factory=ImuTrust)

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(
            len(self.neighbours) > 0 and min(self.neighbours) >= 1,
            "neighbours must be 1 or more, at least one",
        )
        require(self.seed >= 0, "seed must be at least 0")

    @property
    def trust(self) -> Trust:
        """How far what is known of sessions holds."""
        return Trust(self.odometry, self.adjustment)


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
    priors: tuple[Priors, ...]
    """(S,)."""
    on_earth: tuple[OnEarth | None, ...]
    """of each group"""
    contradictions: tuple[str, ...]
    """(S,) what the images say against the session's calibration, if they clearly do"""
    refined: bool = False
    """whether the sessions' calibrations are those that the images told"""

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


def pose_recordings(
    recordings: Sequence[Recording], settings: PoseSettings, kept: KeptWork | None = None
) -> PosedRecordings:
    """Poses T_map_base of every frame of recordings, by their images, odometry, GPS and IMU.

    Each recording is a session: matched from key frame to key frame, adjusted with its odometry,
    level as its IMU has it. Sessions, and the ends of loops, are joined where images are placed
    among others' points, and by GPS. The map frame is level and begins at the first recording's
    first key frame; x is ahead there, and east where GPS is used. Features and neighbours' matches
    are read where they are `kept`, and kept.

    Raises:
        RecordingError: a recording has no odometry, stands still, shows nothing that can be
            followed, or moves otherwise than its odometry says; or several of its topics could be
            the GPS or IMU.
    """
    sensors = [sensors_of(one) for one in recordings]
    read = read_session if kept is None else kept.session
    sessions = tuple(read(one, settings.keyframes) for one in recordings)
    priors = tuple(
        _priors(session, sensed, settings)
        for session, sensed in zip(sessions, sensors, strict=True)
    )
    if settings.refine_calibration:
        sessions = tuple(
            _refined(session, prior, settings, kept)
            for session, prior in zip(sessions, priors, strict=True)
        )
    solved = [
        _session_solution(session, prior, settings, kept)
        for session, prior in zip(sessions, priors, strict=True)
    ]
    table = features_of(sessions)
    drives = Drives(sessions, [one.solution for one in solved], table)
    found = placements(drives, settings.joining, settings.seed)
    neighbours = tuple(one.neighbours for one in solved)
    seen, T = groups_of(found, drives), roughly_joined(found, drives, settings.joining)
    frames = placed_by_gps(T, seen, drives, [prior.fixes for prior in priors])
    frames, solutions = _joined(drives, neighbours, found, frames, priors, settings)
    T = frames.T_map_base
    trajectories = tuple(
        _every_frame(session, T[first : first + len(session)])
        for session, first in zip(sessions, drives.starts, strict=False)
    )
    return PosedRecordings(
        sessions,
        neighbours,
        frames.group,
        T,
        solutions,
        table,
        tuple(found),
        trajectories,
        priors,
        frames.on_earth,
        tuple(one.contradiction for one in solved),
        settings.refine_calibration,
    )


def _priors(session: Session, sensors: Sensors, settings: PoseSettings) -> Priors:
    imu, gps = sensors.imu, sensors.gps
    return Priors(
        None if imu is None else session_gravity(session, imu, settings.imu),
        None if gps is None else session_fixes(session, gps, settings.gps),
    )


def _refined(
    session: Session, prior: Priors, settings: PoseSettings, kept: KeptWork | None
) -> Session:
    """The session with the calibration that its images tell, from a rough one, in rounds."""
    for _ in range(_CALIBRATION_ROUNDS):
        found = _doubt(session, _solved(session, prior, settings, kept)[1], prior, settings)
        session = recalibrated(session, found.calibration)
        if np.abs(found.calibration).max() < _REFINED:
            break
    return session


_CALIBRATION_ROUNDS = 4
_REFINED = 0.01


@dataclass(frozen=True, eq=False)
class _Solved:
    """A session by itself."""

    neighbours: Neighbours
    solution: Solution
    contradiction: str


def _session_solution(
    session: Session, prior: Priors, settings: PoseSettings, kept: KeptWork | None
) -> _Solved:
    neighbours, solution = _solved(session, prior, settings, kept)
    wrong = contradiction(session, _doubt(session, solution, prior, settings))
    if wrong:
        _log.warning("%s: %s", session.name, wrong)
    return _Solved(neighbours, solution, wrong)


def _doubt(session: Session, solution: Solution, prior: Priors, settings: PoseSettings) -> Doubt:
    relations = odometry_relations(session, settings.odometry)
    return doubt(
        solution, relations, known_of([session], [prior], settings.trust), settings.adjustment
    )


def _solved(
    session: Session, prior: Priors, settings: PoseSettings, kept: KeptWork | None
) -> tuple[Neighbours, Solution]:
    neighbours = matched_neighbours(session, settings.neighbours, settings.pairs, kept)
    check_motion(session, neighbours)
    table = features_of([session])
    solution = adjusted_structure(
        table,
        feature_pairs(neighbours.pairs, neighbours.views, table),
        first_poses(session, neighbours),
        odometry_relations(session, settings.odometry),
        known_of([session], [prior], settings.trust),
        settings.adjustment,
    )
    return neighbours, solution


def _joined(
    drives: Drives,
    neighbours: Sequence[Neighbours],
    found: list[Placement],
    frames: Frames,
    priors: Sequence[Priors],
    settings: PoseSettings,
) -> tuple[Frames, tuple[tuple[Indices, Solution], ...]]:
    """Poses of all key frames, and the points of each group of sessions, adjusted together."""
    T, solutions, on_earth = frames.T_map_base, [], []
    of_image = frames.group[drives.session]
    for number, where in enumerate(frames.on_earth):
        images = np.flatnonzero(of_image == number)
        own = [one for one in found if of_image[one.image] == number]
        members = np.flatnonzero(frames.group == number).tolist()
        if len(members) == 1 and not own and where is None:
            solution = drives.solutions[members[0]]
        else:
            group = Group(drives, neighbours, priors, members, own, settings.trust)
            if where is None:
                solution = group.solved(T[images])
            else:
                solution, where = group.solved_on_earth(T[images], where)
        T[images] = solution.T_map_base
        solutions.append((images, solution))
        on_earth.append(where)
    return Frames(T, frames.group, tuple(on_earth)), tuple(solutions)


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
