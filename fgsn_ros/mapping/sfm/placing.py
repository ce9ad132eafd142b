"""Groups of sessions in frames of east, north and up, and their pose graphs drawn to GPS fixes."""

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.geometry import poses
from fgsn_ros.geometry.geodesy import earth_centred, geodetic
from fgsn_ros.mapping.sfm.adjustment import Knowledge, Observations, Positions, Relations, adjust
from fgsn_ros.mapping.sfm.gps import (
    Alignment,
    SessionFixes,
    alignment,
    loosened,
    origin_of,
    positions_of,
    rescaled,
    spread_of,
)
from fgsn_ros.mapping.sfm.joining import Drives

FloatArray = NDArray[np.float64]
Indices = NDArray[np.int64]
_FARTHEST_M = 20e3
"""From a frame's origin, up to which groups are put in it: up turns by a degree in 111 km."""
_ROUNDS = 12
_STEPS = 50
_SETTLED_M = 1e-3
_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class OnEarth:
    """How a frame lies on the earth, and what GPS said of the sessions in it."""

    origin: FloatArray
    """(3,) latitude, longitude [deg] and altitude [m] over the ellipsoid of WGS 84 of the frame's
    origin; its axes are east, north, up"""
    placed: Mapping[int, Alignment]
    """of each session, how surely it lies there by GPS alone, with what it shares images with"""
    spread: float = 1.0
    """how many times less sure fixes turned out than they say"""
    log_scale: Mapping[int, float] = field(default_factory=dict)
    """logarithm of the length that GPS has of a metre of odometry, of sessions with fixes"""


@dataclass(frozen=True, eq=False)
class Frames:
    """Which sessions are in one frame, and where."""

    T_map_base: FloatArray
    """(N, 4, 4) of all key frames."""
    group: Indices
    """(S,) sessions of one group are in one frame."""
    on_earth: tuple[OnEarth | None, ...]
    """of each group"""


def placed_by_gps(
    T: FloatArray, seen: Indices, drives: Drives, fixes: Sequence[SessionFixes | None]
) -> Frames:
    """Groups of sessions (S,) that share images, put in frames that they share by GPS.

    Each group with fixes is turned about z and moved to east, north, up; poses (N, 4, 4) of a group
    without, or whose heading GPS does not tell, stay as they are.
    """
    T, frame_of, found = T.copy(), [], dict[int, OnEarth]()
    for number in range(int(seen.max()) + 1):
        members = np.flatnonzero(seen == number).tolist()
        images = np.isin(drives.session, members)
        own = {int(drives.starts[s]): each for s in members if (each := fixes[s]) is not None}
        frame_of.append(number)
        if not own:
            continue
        origin = origin_of(list(own.values()))
        shared = next((k for k, one in found.items() if _near(one.origin, origin)), number)
        origin = found[shared].origin if shared in found else origin
        lies = alignment(T, positions_of(own, origin))
        if lies is None or not lies.tells:
            names = ", ".join(drives.sessions[s].name for s in members)
            _log.warning("%s: GPS is not used: it does not tell where the way leads", names)
            continue
        T[images] = poses.compose(lies.T_enu_map, T[images])
        before = found[shared].placed if shared in found else {}
        found[shared] = OnEarth(origin, {**before, **dict.fromkeys(members, lies)})
        frame_of[number] = shared
    kept, group = np.unique(np.array(frame_of)[seen], return_inverse=True)
    return Frames(T, np.asarray(group, np.int64), tuple(found.get(int(k)) for k in kept))


def _near(one: FloatArray, other: FloatArray) -> bool:
    apart = np.diff(earth_centred(np.stack([one, other])), axis=0)
    return float(np.linalg.norm(apart)) <= _FARTHEST_M


@dataclass(frozen=True, eq=False)
class Anchored:
    """A pose graph that was drawn to fixes."""

    T_map_base: FloatArray
    """(N, 4, 4)."""
    positions: Positions
    """the fixes, as sure as they turned out"""
    spread: float
    log_scale: dict[int, float]
    """of sessions with fixes (see `OnEarth`)"""
    placed: dict[int, Alignment]
    """of each session (see `OnEarth`), after it was drawn to its fixes"""


def anchored(
    T: FloatArray,
    graph: Relations,
    known: Knowledge,
    fixes: Mapping[int, Positions],
    motion: Mapping[int, NDArray[np.bool_]],
    placed: Mapping[int, Alignment],
) -> Anchored:
    """Poses (N, 4, 4) of a pose graph and fixes, however far it had drifted from them.

    In rounds: fixes weigh as they fit so far (as a spread that falls: 1909.08605), and each
    session's lengths are scaled by what is left of the difference.

    Args:
        T: Poses, aligned to the fixes.
        graph: Relations between them.
        known: What else is known.
        fixes: Positions of each session that has any.
        motion: Which relations (R,) are steps of each of these sessions.
        placed: How each session was aligned; one for all that images join.
    """
    positions = Positions.joined(list(fixes.values()))
    log_scale = dict.fromkeys(fixes, 0.0)
    for _ in range(_ROUNDS):
        steps = graph.T_first_second.copy()
        for session, own in fixes.items():
            lies = alignment(T, own)
            if lies is not None:
                log_scale[session] = rescaled(log_scale[session], lies)
            steps[motion[session], :3, 3] *= np.exp(log_scale[session])
        spread = spread_of(positions, T)
        weighed = dataclasses.replace(known, positions=loosened(positions, spread))
        before, scaled = T, dataclasses.replace(graph, T_first_second=steps)
        T = graph_poses(T, scaled, weighed, _STEPS)
        if float(np.abs(T - before).max()) < _SETTLED_M:
            break
    spread = spread_of(positions, T)
    return Anchored(
        T, loosened(positions, spread), spread, log_scale, _placed_now(placed, T, fixes)
    )


def _placed_now(
    placed: Mapping[int, Alignment], T: FloatArray, fixes: Mapping[int, Positions]
) -> dict[int, Alignment]:
    """How sessions lie after they were drawn to fixes; one for all that images join, as before."""
    found: dict[int, Alignment] = {}
    for lies in {id(each): each for each in placed.values()}.values():
        members = [session for session, other in placed.items() if other is lies]
        own = Positions.joined([fixes[each] for each in members if each in fixes])
        found.update(dict.fromkeys(members, alignment(T, own) or lies))
    return found


def graph_poses(T: FloatArray, graph: Relations, known: Knowledge, steps: int) -> FloatArray:
    """Poses (N, 4, 4) of a pose graph: nothing is seen."""
    none, flat = np.zeros(0, np.int64), np.zeros((0, 2))
    nothing = Observations(none, none, flat, flat, none, np.zeros((0, 4, 4)))
    points, calibration = np.zeros((0, 3)), np.zeros((0, 2))
    return adjust(T, points, nothing, graph, calibration, known, 1.0, steps).T_map_base


def moved_origin(origin: FloatArray, to: FloatArray) -> FloatArray:
    """The origin (3,) of a frame after it was moved to a place (3,) east, north, up of it."""
    place: FloatArray = geodetic(to[None], origin)[0]
    return place
