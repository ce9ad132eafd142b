"""GPS fixes of sessions: as positions to adjust by, and the alignment of poses to them."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.config import require
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.clocks import Span, apart, nearest
from fgsn_ros.geometry.geodesy import earth_centred, east_north_up
from fgsn_ros.mapping.sfm.adjustment import Positions
from fgsn_ros.mapping.sfm.keyframes import Session
from fgsn_ros.recordings.sensors import GpsFixes

FloatArray = NDArray[np.float64]
Indices = NDArray[np.int64]
_LEAST_M = 0.05
"""A fix is never surer: its stamp is not."""
_ANY_M = 1e4
"""Standard deviation of what is not known."""
_LARGEST_STEP_M = 10.0
"""From a key frame to a fix that is used."""
_TRIALS = 300
_ITERATIONS = 20
_MEDIAN_OF_NORMAL = 1.538
"""Median length of three numbers whose standard deviation is 1."""
_WORST_HEADING_DEG = 10.0
"""A turn to east and north that is less sure is none."""
_SCALE_SIGMA = 0.05
"""How far wheels' lengths may be off, as a share, before GPS is asked."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class GpsTrust:
    """How far GPS fixes may be off: one standard deviation."""

    horizontal_m: float = 3.0
    """to east and north, of a fix without a covariance [m]. > 0."""
    vertical_m: float = 6.0
    """up, of a fix without a covariance [m]. > 0."""
    unmounted_m: float = 1.0
    """and of the antenna's place on the robot, where no transform says it [m]. >= 0."""
    shared_s: float = 5.0
    """Fixes nearer in time err alike, and share the evidence of one [s]. >= 0."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.horizontal_m > 0.0, "horizontal_m must be above 0")
        require(self.vertical_m > 0.0, "vertical_m must be above 0")
        require(self.unmounted_m >= 0.0, "unmounted_m must be at least 0")
        require(self.shared_s >= 0.0, "shared_s must be at least 0")


@dataclass(frozen=True, eq=False)
class SessionFixes:
    """A session's fixes, each carried by odometry to the key frame that is nearest in time."""

    stamps: FloatArray
    """(G,) [s]."""
    image: Indices
    """(G,) key frame of the session."""
    lever: FloatArray
    """(G, 3) where the antenna was, in base_link of the key frame [m]."""
    places: FloatArray
    """(G, 3) latitude, longitude [deg], altitude [m] over WGS 84's ellipsoid."""
    root: FloatArray
    """(G, 3, 3) as `Positions` has it, of east, north, up."""
    share: FloatArray
    """(G,) as `Positions` has it."""
    left_out: int
    """Messages without a position, and fixes far from all key frames."""
    mounted: bool
    """whether the antenna's place on the robot is known"""

    def __len__(self) -> int:
        return len(self.stamps)


def session_fixes(session: Session, gps: GpsFixes, trust: GpsTrust) -> SessionFixes | None:
    """A session's fixes at its key frames; None, said in a line, where none is near one."""
    odometry, T_key = session.odometry, session.T_odom_base
    keys = np.array([frame.stamp for frame in session.frames])
    used = np.flatnonzero(odometry.covered(gps.stamps))
    image = nearest(keys, gps.stamps[used])
    T = poses.compose(poses.invert(T_key[image]), odometry.at(gps.stamps[used]))
    near = np.linalg.norm(T[:, :3, 3], axis=1) <= _LARGEST_STEP_M
    used, image, T = used[near], image[near], T[near]
    if len(used) == 0:
        spans = Span.of("the fixes", gps.stamps), Span.of("odometry", odometry.stamps)
        reason = "no fix is near a key frame" if spans[0].meets(spans[1]) else apart(*spans)
        _log.warning("%s: GPS is not used: %s", session.name, reason)
        return None
    antenna = np.zeros(3) if gps.antenna is None else gps.antenna
    places = gps.positions[used]
    covariance = _covariance(gps, used, trust)
    flat = ~np.isfinite(places[:, 2])
    places[flat, 2] = 0.0 if flat.all() else np.median(places[~flat, 2])
    return SessionFixes(
        gps.stamps[used],
        image,
        poses.transform(T, np.broadcast_to(antenna, (len(T), 3))),
        places,
        np.linalg.inv(np.linalg.cholesky(covariance)),
        _shares(gps.stamps[used], trust.shared_s),
        gps.left_out + len(gps.stamps) - len(used),
        gps.antenna is not None,
    )


def _covariance(gps: GpsFixes, used: Indices, trust: GpsTrust) -> FloatArray:
    """(G, 3, 3) of the fixes that are used, where they say none by the settings."""
    usual = np.diag([trust.horizontal_m**2, trust.horizontal_m**2, trust.vertical_m**2])
    covariance = gps.covariance[used]
    known = np.isfinite(covariance).all(axis=(1, 2), keepdims=True)
    covariance = np.where(known, covariance, usual)
    flat = ~np.isfinite(gps.positions[used, 2])
    covariance[flat, 2, :2] = covariance[flat, :2, 2] = 0.0
    covariance[flat, 2, 2] = _ANY_M**2
    more = _LEAST_M**2 + (trust.unmounted_m**2 if gps.antenna is None else 0.0)
    return np.asarray(covariance + more * np.eye(3))


def _shares(stamps: FloatArray, shared_s: float) -> FloatArray:
    """(G,) one over the number of stamps, ordered, around each that err as it does."""
    last = np.searchsorted(stamps, stamps + 0.5 * shared_s, side="right")
    return 1.0 / (last - np.searchsorted(stamps, stamps - 0.5 * shared_s))


def origin_of(fixes: Sequence[SessionFixes]) -> FloatArray:
    """(3,) the fix in the middle of all, whichever are wrong."""
    places = np.concatenate([each.places for each in fixes])
    centred = earth_centred(places)
    away = np.linalg.norm(centred - np.median(centred, axis=0), axis=1)
    middle: FloatArray = places[int(away.argmin())]
    return middle


def positions_of(fixes: Mapping[int, SessionFixes], origin: FloatArray) -> Positions:
    """Fixes of sessions, by the number of each one's first pose, east-north-up of an origin."""
    return Positions.joined(
        [
            Positions(
                one.image + first,
                one.lever,
                east_north_up(one.places, origin),
                one.root,
                one.share,
            )
            for first, one in fixes.items()
        ]
    )


def spread_of(positions: Positions, T: FloatArray) -> float:
    """How many times less sure positions are than they say, by poses (N, 4, 4); at least 1."""
    apart = np.linalg.norm(positions.residuals(T), axis=1)
    return max(1.0, float(np.median(apart)) / _MEDIAN_OF_NORMAL)


@dataclass(frozen=True, eq=False)
class Alignment:
    """How poses lie to positions."""

    T_enu_map: FloatArray
    """(4, 4) a turn about z and a motion."""
    log_scale: float
    """logarithm of the length that positions have of the poses' metre"""
    sigma_m: float
    """standard deviation of the motion, along each axis of the plane [m]"""
    sigma_rad: float
    """of the turn, and of the logarithm of the scale"""

    @property
    def tells(self) -> bool:
        """Whether the turn is sure enough to be one."""
        return bool(self.sigma_rad <= np.radians(_WORST_HEADING_DEG))


def alignment(T: FloatArray, positions: Positions) -> Alignment | None:
    """The robust alignment of poses (N, 4, 4) to positions; None where the robot did not move.

    A similarity of the plane, q = a p + b in complex numbers: of trials by two positions each the
    one with the least median (Rousseeuw, "Least median of squares regression", JASA 1984), then
    least squares whose weights are Cauchy's. The turn is that of a, the length that of the poses.
    """
    there = poses.transform(T[positions.pose], positions.lever)
    p, q = (each[:, 0] + 1j * each[:, 1] for each in (there, positions.position))
    inverse = np.sqrt(0.5 * (positions.root[:, :, :2] ** 2).sum(axis=(1, 2)))  # 1/m
    start = _trial(p, q, inverse)
    if start is None:
        return None
    a, b = start
    for _ in range(_ITERATIONS):
        error = np.abs(a * p + b - q) * inverse
        spread = max(1.0, float(np.median(error)) / _MEDIAN_IN_PLANE)
        w = positions.share * (inverse / spread) ** 2 / (1.0 + (error / spread) ** 2)
        p_mean, q_mean = (w * p).sum() / w.sum(), (w * q).sum() / w.sum()
        lever = (w * np.abs(p - p_mean) ** 2).sum()
        a = complex((w * np.conj(p - p_mean) * (q - q_mean)).sum() / max(lever, 1e-12))
        b = complex(q_mean - a * p_mean)
    if abs(a) < 1e-6 or lever <= 0.0:
        return None
    turn = a / abs(a)
    moved = complex(q_mean - turn * p_mean)
    up = float(np.median(positions.position[:, 2] - there[:, 2]))
    T_enu_map = poses.from_planar(moved.real, moved.imag, float(np.angle(turn)))
    T_enu_map[2, 3] = up
    sigmas = float(1.0 / np.sqrt(w.sum())), float(1.0 / np.sqrt(lever))
    return Alignment(T_enu_map, float(np.log(abs(a))), *sigmas)


_MEDIAN_IN_PLANE = 1.177
"""Median length of two numbers whose standard deviation is 1."""


def _trial(
    p: NDArray[np.complex128], q: NDArray[np.complex128], inverse: FloatArray
) -> tuple[complex, complex] | None:
    """A motion of the plane by two positions that most others agree with."""
    pairs = np.random.default_rng(0).integers(0, len(p), (_TRIALS, 2))
    best, least = None, np.inf
    for i, j in pairs.tolist():
        across, target = p[j] - p[i], q[j] - q[i]
        if abs(across) < _LEAST_M or abs(target) < _LEAST_M:
            continue
        a = (target / abs(target)) / (across / abs(across))
        # by both, that the error of one counts half
        b = 0.5 * (q[i] + q[j] - a * (p[i] + p[j]))
        median = float(np.median(np.abs(a * p + b - q) * inverse))
        if median < least:
            best, least = (complex(a), complex(b)), median
    return best


def rescaled(log_scale: float, found: Alignment) -> float:
    """The logarithm of a scale after an alignment has told what is left of it."""
    sure = _SCALE_SIGMA**2 / (_SCALE_SIGMA**2 + found.sigma_rad**2)
    return float((log_scale + found.log_scale) * sure)


def loosened(positions: Positions, spread: float) -> Positions:
    """Positions that are so many times less sure."""
    return replace(positions, root=positions.root / spread)
