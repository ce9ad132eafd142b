"""A drive's poses brought into a map's frame: their shape is kept, tracked poses say where it lies.

Poses of a particle filter are sure by decimetres, mostly along the road, and jump from image to
image: too much to triangulate by. Structure from motion knows the shape to centimetres, but not
where it lies, and its length no better than the wheels do. A pose graph holds both.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.errors import MapError
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.trajectory import Trajectory
from fgsn_ros.mapping.sfm.adjustment import (
    CalibrationTrust,
    Knowledge,
    Observations,
    Relations,
    adjust,
)

FloatArray = NDArray[np.float64]
Indices = NDArray[np.int64]
Mask = NDArray[np.bool_]

REACH_M = 200.0
"""Way from the nearest tracked pose up to which a drive is placed: with an error of the scale of
some 0.3 %, a new street lies within about half a metre there."""
_STEP_SIGMA = 0.02, 0.0015
"""Of the shape, for each root of a metre: [m], [rad]."""
_LEAST_SIGMA = 0.005, 0.0005
_ANCHOR_FLOOR = np.array([0.1, 0.05, 0.1, 0.02, 0.02, 0.01])
"""x y z [m] and roll pitch yaw [rad] of the robot: a tracked pose is never surer than this."""
_SHARED_M = 5.0
"""Tracked poses nearer to each other err alike: they share the evidence of one."""
_AGREE_M = 1.0
"""A tracked pose that is farther from the placed drive is of another place."""
_LEAST_M = 30.0
"""Tracked way that places a drive: in a street that was rebuilt on one side, the filter counted six
poses on 10 m as tracked, all of them 5 m off."""
_SCALED_M = 40.0
"""Tracked way that tells the scale."""
_FIT_M = 0.5
"""A tracked pose's usual error."""
_WORST_SCALE = 1.1
_CANDIDATES = 50
_STEPS = 30
_STILL_M = 1e-6


@dataclass(frozen=True, eq=False)
class Anchors:
    """Where a drive was, by a filter that tracked it on a map."""

    stamps: FloatArray
    """(A,) [s], increasing."""
    T_map_base: FloatArray
    """(A, 4, 4)."""
    covariance: FloatArray
    """(A, 6, 6) x y z roll pitch yaw in the map's axes [m, rad]."""


@dataclass(frozen=True, eq=False)
class Registered:
    """A drive in the map's frame."""

    trajectory: Trajectory
    """T_map_base at the stamps within reach of tracked ones; elsewhere it has holes."""
    tracked: int
    """Stamps at which a tracked pose agrees with it."""
    disagreeing: int
    """Stamps at which one does not: of another place."""
    scale: float
    """The map's length of the drive's metre."""
    residual_m: float
    """Median distance of the tracked poses that agree [m]."""


def register(drive: Trajectory, anchors: Anchors, name: str) -> Registered:
    """Place a drive of accurate shape (T_any_base) in the map that its anchors are poses of.

    Raises:
        MapError: no anchor has a stamp of the drive's, or they contradict the drive's shape.
    """
    shared, at, own = np.intersect1d(anchors.stamps, drive.stamps, return_indices=True)
    if len(shared) == 0:
        raise MapError(f"{name} was not tracked on the map, so nothing is added")
    T_anchor, covariance = anchors.T_map_base[at], anchors.covariance[at]
    scale = _scale(drive.poses[own], T_anchor, name)
    shape = drive.poses.copy()
    shape[:, :3, 3] *= scale
    begin = _roughly_placed(shape, own, T_anchor)
    factor = _fitted_factor(begin[own], T_anchor)
    scale, shape[:, :3, 3] = scale * factor, shape[:, :3, 3] * factor
    way = _way(shape)
    begin = _roughly_placed(shape, own, T_anchor)
    placed = _settled(begin, shape, way, own, T_anchor, covariance)
    apart = np.linalg.norm((placed[own] - T_anchor)[:, :3, 3], axis=1)
    agrees = apart <= _AGREE_M
    if agrees.sum() <= 0.5 * len(own):
        raise MapError(
            f"{name}: {int((~agrees).sum())} of {len(own)} poses tracked on the map contradict the "
            "motion that its images show; localize it first and look at the result, "
            "or give --start.pose"
        )
    steps = np.diff(way[own[agrees]])
    tracked_m = float(steps[steps <= _SHARED_M].sum())
    if tracked_m < _LEAST_M:
        raise MapError(
            f"{name} was tracked on {tracked_m:.0f} m of the map, too few to place it by: "
            f"{_LEAST_M:.0f} m are needed"
        )
    reached = _reached(way, own[agrees])
    trajectory = Trajectory(drive.stamps[reached], placed[reached], drive.limit_s)
    counts = int(agrees.sum()), int((~agrees).sum())
    return Registered(trajectory, *counts, scale, float(np.median(apart[agrees])))


def _way(T: FloatArray) -> FloatArray:
    """(N,) metres driven up to each pose."""
    steps = np.linalg.norm(np.diff(T[:, :3, 3], axis=0), axis=1)
    return np.concatenate([[0.0], np.cumsum(steps)])


def _scale(T_drive: FloatArray, T_map: FloatArray, name: str) -> float:
    """The map's length of the drive's metre, about, by tracked poses far apart; 1 without such.

    Half of them may be of other places.

    Raises:
        MapError: it is no error of wheels.
    """
    way = _way(T_drive)
    lag = max(way[-1] / 2.0, _SCALED_M / 2.0)
    first = np.arange(len(way))
    second = np.searchsorted(way, way + lag)
    first, second = first[second < len(way)], second[second < len(way)]
    if way[-1] < _SCALED_M or len(first) == 0:
        return 1.0
    in_drive, in_map = (
        np.linalg.norm((T[second] - T[first])[:, :3, 3], axis=1) for T in (T_drive, T_map)
    )
    far = in_drive > lag / 4.0  # not back where it came from
    if not far.any():
        return 1.0
    scale = float(np.median(in_map[far] / in_drive[far]))
    if not 1.0 / _WORST_SCALE < scale < _WORST_SCALE:
        raise MapError(
            f"{name}: a metre of its odometry is {scale:.2f} m on the map; it was tracked at the "
            "wrong place, or odometry's scale is wrong"
        )
    return scale


def _fitted_factor(T_placed: FloatArray, T_anchor: FloatArray) -> float:
    """What a roughly placed drive's tracked poses (A, 4, 4) must be scaled by to fit their anchors.

    By a similarity of the plane, x + iy -> a (x + iy) + b, whose squares weigh by Cauchy's function
    and by the way driven: over all of the way, it is twice as sure as single distances are.
    """
    way = _way(T_placed)
    if way[-1] < _SCALED_M:
        return 1.0
    p, q = (T[:, 0, 3] + 1j * T[:, 1, 3] for T in (T_placed, T_anchor))
    share = np.maximum(np.gradient(way), _STILL_M)
    a, b = complex(1.0), complex(0.0)
    for _ in range(_STEPS):
        w = share / (1.0 + np.abs(a * p + b - q) ** 2 / _FIT_M**2)
        w = w / w.sum()
        p_mean, q_mean = (w * p).sum(), (w * q).sum()
        a = (w * np.conj(p - p_mean) * (q - q_mean)).sum() / (w * np.abs(p - p_mean) ** 2).sum()
        b = q_mean - a * p_mean
    return float(np.abs(a))


def _roughly_placed(shape: FloatArray, own: Indices, T_anchor: FloatArray) -> FloatArray:
    """The whole shape (N, 4, 4) as the one anchor has it that most others agree with."""
    best, least = shape, np.inf
    for k in np.unique(np.linspace(0, len(own) - 1, _CANDIDATES).astype(np.int64)).tolist():
        T_map_drive = poses.compose(T_anchor[k], poses.invert(shape[own[k]]))
        placed = poses.compose(T_map_drive, shape)
        apart = np.linalg.norm((placed[own] - T_anchor)[:, :3, 3], axis=1)
        median = float(np.median(apart))
        if median < least:
            best, least = placed, median
    return best


def _settled(
    begin: FloatArray,
    shape: FloatArray,
    way: FloatArray,
    own: Indices,
    T_anchor: FloatArray,
    covariance: FloatArray,
) -> FloatArray:
    """Poses (N, 4, 4) of the pose graph of the drive's steps and the tracked poses.

    Its first node is the map itself. Tracked poses may be wrong altogether (Cauchy).
    """
    count = len(shape)
    steps = poses.compose(poses.invert(shape[:-1]), shape[1:])
    root = np.sqrt(np.maximum(np.diff(way), _STILL_M))
    sigma = np.repeat(
        [
            least + of_metre * root
            for of_metre, least in zip(_STEP_SIGMA, _LEAST_SIGMA, strict=True)
        ],
        3,
        axis=0,
    ).T
    following = Relations(
        np.arange(1, count),
        np.arange(2, count + 1),
        steps,
        sigma,
        np.zeros(count - 1, np.bool_),
    )
    tracked = Relations(
        np.zeros(len(own), np.int64),
        own + 1,
        T_anchor,
        _anchor_sigma(T_anchor, covariance, way[own]),
        np.ones(len(own), np.bool_),
    )
    none, flat = np.zeros(0, np.int64), np.zeros((0, 2))
    nothing = Observations(none, none, flat, flat, none, np.zeros((0, 4, 4)))
    free = Knowledge(tilt_rad=100.0, calibration=CalibrationTrust())  # the anchors are level
    T = np.concatenate([np.eye(4)[None], begin])
    graph = Relations.joined([following, tracked])
    solved = adjust(T, np.zeros((0, 3)), nothing, graph, np.zeros((0, 2)), free, 1.0, _STEPS)
    settled = solved.T_map_base
    return poses.compose(poses.invert(settled[0]), settled[1:])


def _anchor_sigma(T_anchor: FloatArray, covariance: FloatArray, way: FloatArray) -> FloatArray:
    """(A, 6) in base_link; larger where tracked poses follow each other closely."""
    R = T_anchor[:, :3, :3]
    parts = [covariance[:, :3, :3], covariance[:, 3:, 3:]]
    variance = np.concatenate([np.einsum("nji,njk,nki->ni", R, part, R) for part in parts], axis=1)
    sigma = np.maximum(np.sqrt(np.maximum(variance, 0.0)), _ANCHOR_FLOOR)
    share = np.clip(np.gradient(way) / _SHARED_M if len(way) > 1 else 1.0, 1e-4, 1.0)
    return np.asarray(sigma / np.sqrt(share).reshape(-1, 1))


def _reached(way: FloatArray, tracked: Indices) -> Mask:
    """(N,) poses within reach, along the way, of a tracked one."""
    known = way[tracked]
    after = np.clip(np.searchsorted(known, way), 0, len(known) - 1)
    before = np.maximum(after - 1, 0)
    nearest = np.minimum(np.abs(known[after] - way), np.abs(known[before] - way))
    return np.asarray(nearest <= REACH_M)
