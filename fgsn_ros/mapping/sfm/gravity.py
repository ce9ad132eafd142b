"""Where up is at key frames, by an IMU: its orientation, or its accelerometer over some seconds."""

import logging
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.config import require
from fgsn_ros.geometry.clocks import Span, apart, nearest
from fgsn_ros.geometry.trajectory import Trajectory
from fgsn_ros.mapping.sfm.adjustment import Verticals
from fgsn_ros.mapping.sfm.keyframes import Session
from fgsn_ros.recordings.sensors import InertialData

FloatArray = NDArray[np.float64]
_GRAVITY = 9.81  # m/s^2
_WORST_FORCE = 1.5
"""How far off that the specific force may be at the median [m/s^2]."""
_WORST_SHARE = 0.1
"""And how far, as a share, that of a key frame: else it bumps, or its wheels slip."""
_WORST_TILT_DEG = 30.0
"""No robot drives on such slopes: its IMU is mounted otherwise, or z of its world points down."""
_LEAST_UPRIGHT = 0.5
"""z of up in base_link at a key frame: the robot was not lying on its side."""
_BIN_S = 0.1
_LEAST_DEG = 0.2
"""An IMU is never mounted better."""
_SPEED_S = 0.5
"""Time over which odometry tells a speed [s]."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ImuTrust:
    """How far the vertical that an IMU gives may be off: one standard deviation."""

    orientation_deg: float = 1.0
    """of its orientation, where it does not say [deg]. > 0."""
    acceleration_deg: float = 2.0
    """of its accelerometer's mean, without an orientation [deg]. > 0."""
    average_s: float = 4.0
    """Time over which the accelerometer is averaged [s]. > 0."""
    shared_s: float = 10.0
    """Key frames nearer in time err alike, and share the evidence of one [s]. >= 0."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.orientation_deg > 0.0, "orientation_deg must be above 0")
        require(self.acceleration_deg > 0.0, "acceleration_deg must be above 0")
        require(self.average_s > 0.0, "average_s must be above 0")
        require(self.shared_s >= 0.0, "shared_s must be at least 0")


@dataclass(frozen=True, eq=False)
class Gravity:
    """The verticals of a session's key frames, and what told them."""

    verticals: Verticals
    source: str
    """orientation or acceleration"""


def session_gravity(session: Session, imu: InertialData, trust: ImuTrust) -> Gravity | None:
    """Where up is at the key frames of a session; None, said in a line, where the IMU is of no use.

    The accelerometer's mean is taken in odometry's frame, less the change of odometry's speed.
    """
    stamps = np.array([frame.stamp for frame in session.frames])
    oriented = np.isfinite(imu.q_xyzw[:, 0])
    # a driver that has none may send one that never changes
    if oriented.sum() > 0.5 * len(oriented) and np.ptp(imu.q_xyzw[oriented], axis=0).max() > 0.0:
        source, up = "orientation", _by_orientation(stamps, imu, oriented)
        given = imu.sigma_rad[oriented & np.isfinite(imu.sigma_rad)]
        sigma = float(np.median(given)) if len(given) else np.radians(trust.orientation_deg)
    else:
        force = np.linalg.norm(imu.force, axis=1)
        typical = float(np.nanmedian(force)) if np.isfinite(force).any() else 0.0
        if abs(typical - _GRAVITY) > _WORST_FORCE:
            _log.warning(
                "%s: the IMU is not used: its specific force is %.2f m/s^2 (median), not %.2f: was "
                "gravity taken off, or is it in g?",
                *(session.name, typical, _GRAVITY),
            )
            return None
        source, up = "acceleration", _by_acceleration(stamps, imu, session.odometry, trust)
        sigma = np.radians(trust.acceleration_deg)
    known = np.flatnonzero(np.isfinite(up[:, 2]))
    if not _is_plausible(session, imu, stamps, up[known]):
        return None
    known = known[up[known, 2] > _LEAST_UPRIGHT]
    sigmas = max(sigma, np.radians(_LEAST_DEG)) * _alike(stamps[known], trust.shared_s)
    return Gravity(Verticals(known, up[known], sigmas), source)


def _is_plausible(session: Session, imu: InertialData, stamps: FloatArray, up: FloatArray) -> bool:
    """Whether verticals (K, 3) can be those of a robot; says why not."""
    if len(up) == 0:
        spans = Span.of("its messages", imu.stamps), Span.of("the key frames", stamps)
        reason = "it has no message near them" if spans[0].meets(spans[1]) else apart(*spans)
        _log.warning("%s: the IMU is not used at any key frame: %s", session.name, reason)
        return False
    tilt = float(np.degrees(np.arccos(np.clip(np.median(up[:, 2]), -1.0, 1.0))))
    if tilt > _WORST_TILT_DEG:
        _log.warning(
            "%s: the IMU is not used: by it the robot is tilted by %.0f deg (median); check its "
            "mounting, and that z of its orientation's frame points up (REP 145)",
            *(session.name, tilt),
        )
        return False
    return True


def _alike(stamps: FloatArray, shared_s: float) -> FloatArray:
    """(K,) root of the number of stamps, ordered, around each that err as it does."""
    last = np.searchsorted(stamps, stamps + 0.5 * shared_s, side="right")
    return np.asarray(np.sqrt(last - np.searchsorted(stamps, stamps - 0.5 * shared_s)))


def _by_orientation(
    stamps: FloatArray, imu: InertialData, oriented: NDArray[np.bool_]
) -> FloatArray:
    """(N, 3) up in base_link at stamps (N,); NaN where there is no message near."""
    q = imu.q_xyzw[oriented]
    x, y, z, w = (q / np.linalg.norm(q, axis=1, keepdims=True)).T
    # the last row of the rotation matrix: the world's z in the IMU's axes
    up = np.stack([2.0 * (x * z - w * y), 2.0 * (y * z + w * x), 1.0 - 2.0 * (x**2 + y**2)], 1)
    times, means = _binned(imu.stamps[oriented], up @ imu.R_base_imu.T)
    found = nearest(times, stamps)
    near = np.abs(times[found] - stamps) <= 1.5 * _BIN_S
    return np.where(near[:, None], _unit(means[found]), np.nan)


def _by_acceleration(
    stamps: FloatArray, imu: InertialData, odometry: Trajectory, trust: ImuTrust
) -> FloatArray:
    """(N, 3) up in base_link at stamps (N,); NaN where it is not known."""
    given = np.isfinite(imu.force[:, 0]) & odometry.covered(imu.stamps)
    times, force = _binned(imu.stamps[given], imu.force[given] @ imu.R_base_imu.T)
    inside = odometry.covered(times)
    times, force = times[inside], force[inside]
    if len(times) == 0:
        return np.full((len(stamps), 3), np.nan)
    in_odom = np.einsum("nij,nj->ni", odometry.at(times)[:, :3, :3], force)
    half = 0.5 * trust.average_s
    first, last = np.searchsorted(times, stamps - half), np.searchsorted(times, stamps + half)
    sums = np.concatenate([np.zeros((1, 3)), np.cumsum(in_odom, axis=0)])
    enough = last - first >= max(0.5 * trust.average_s / _BIN_S, 1.0)
    first, last = np.where(enough, first, 0), np.where(enough, last, len(times))
    mean = (sums[last] - sums[first]) / (last - first)[:, None]
    begin, end = times[first], times[last - 1]
    faster = _velocity(odometry, end) - _velocity(odometry, begin)
    mean -= faster / np.maximum(end - begin, _BIN_S)[:, None]
    length = np.linalg.norm(mean, axis=1)
    good = enough & (np.abs(length - _GRAVITY) <= _WORST_SHARE * _GRAVITY)
    up = np.einsum("nji,nj->ni", odometry.at(stamps)[:, :3, :3], mean)
    return np.where(good[:, None], _unit(up), np.nan)


def _velocity(odometry: Trajectory, stamps: FloatArray) -> FloatArray:
    """(N, 3) [m/s] in odometry's frame."""
    ends = (
        np.clip(stamps + sign * 0.5 * _SPEED_S, odometry.stamps[0], odometry.stamps[-1])
        for sign in (-1.0, 1.0)
    )
    before, after = (np.where(odometry.covered(each), each, stamps) for each in ends)
    moved = (odometry.at(after) - odometry.at(before))[:, :3, 3]
    return np.asarray(moved / np.maximum(after - before, 1e-3)[:, None])


def _binned(stamps: FloatArray, vectors: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Mean stamps (K,) and vectors (K, 3) of tenths of a second."""
    if len(stamps) == 0:
        return stamps, vectors
    _, number, count = np.unique(
        np.floor((stamps - stamps[0]) / _BIN_S), return_inverse=True, return_counts=True
    )
    # less the first stamp: sums of seconds since 1970 lose microseconds
    means = [np.bincount(number, column) / count for column in (stamps - stamps[0], *vectors.T)]
    return means[0] + stamps[0], np.stack(means[1:], axis=1)


def _unit(vectors: FloatArray) -> FloatArray:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(length, 1e-9))
