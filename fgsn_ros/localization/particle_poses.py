"""SE(3) of many particles: tensors as `geometry.poses` has them, NumPy arrays in one pass each.

A frame turns every particle's pose over several times. Array by array that costs more than the
labels do; compiled, a pose stays in registers, as a unit quaternion x y z w and a vector. Poses are
(N, 4, 4), twists (N, 6) = (rho [m], phi [rad]), of double precision; formulas of arXiv 1812.01537.
"""

import math

import numpy as np

from fgsn_ros.geometry import poses
from fgsn_ros.geometry.arrays import Array, is_tensor, product
from fgsn_ros.kernel_cache import kernel

_MEAN_STEPS, _MEAN_TOLERANCE = 50, 1e-12
_SERIES_BELOW = 0.1  # rad, as in `geometry.poses`: with few terms more exact, and fast
_HALF_SINE_SQUARE_BELOW = math.sin(0.5 * _SERIES_BELOW) ** 2
_Vector = tuple[float, float, float]
_Quaternion = tuple[float, float, float, float]

_compiled = kernel(nogil=True, error_model="numpy")


def relative(T_a: Array, T_b: Array) -> Array:
    """T_a^-1 T_b (N, 4, 4) of poses (N, 4, 4)."""
    return poses.compose(poses.invert(T_a), T_b) if is_tensor(T_b) else _relative(T_a, T_b)


def moved(T: Array, twists: Array) -> Array:
    """T exp(twist) (N, 4, 4) of poses (N, 4, 4), or of one for all (1, 4, 4), and twists (N, 6)."""
    return poses.compose(T, poses.exp(twists)) if is_tensor(T) else _moved(T, twists)


def tangent(T: Array, weights: Array) -> tuple[Array, Array]:
    """`weighted_mean` (4, 4) of poses (N, 4, 4), and the twists (N, 6) from it to them."""
    if not is_tensor(T):
        return _tangent(T, weights)
    mean = poses.weighted_mean(T, weights)
    return mean, poses.log(poses.compose(poses.invert(mean), T))


def mean_rotation(T: Array, weights: Array) -> tuple[Array, Array]:
    """Mean (3, 3) of the rotations of poses (N, 4, 4), and the vectors (N, 3) from it to them.

    Rotation vectors [rad] about the map's axes, which take the mean to each.

    Raises:
        ValueError: the weights are not finite, or all zero.
    """
    if not is_tensor(T):
        if not 0.0 < weights.sum() < np.inf:
            raise ValueError("weights must be finite, and not all zero")
        mean, twists = _tangent(T, weights)
        return mean[:3, :3], twists[:, 3:] @ mean[:3, :3].T
    R = poses.mean_rotation(T, weights)[:3, :3]
    turned = poses.from_rotation_translation(product(T[:, :3, :3], R.T), np.zeros(3))
    return R, poses.rotation_vector(turned)


@_compiled
def interpolated(T_0: Array, T_1: Array, alpha: float) -> Array:
    """`poses.interpolate` of two poses (4, 4), at a fraction of the way from one to the other."""
    step = _relative(T_0[None], T_1[None])[0]
    rho, phi = _log(_quaternion(step), (step[0, 3], step[1, 3], step[2, 3]))
    twist = np.array([[alpha * value for value in rho + phi]])
    between: Array = _moved(T_0[None], twist)[0]
    return between


@_compiled
def _relative(T_a: Array, T_b: Array) -> Array:
    T = np.zeros(T_a.shape)
    for n in range(len(T)):
        a, b = T_a[n], T_b[n]
        shift = b[0, 3] - a[0, 3], b[1, 3] - a[1, 3], b[2, 3] - a[2, 3]
        for i in range(3):
            axis = a[0, i], a[1, i], a[2, i]
            for j in range(3):
                T[n, i, j] = axis[0] * b[0, j] + axis[1] * b[1, j] + axis[2] * b[2, j]
            T[n, i, 3] = axis[0] * shift[0] + axis[1] * shift[1] + axis[2] * shift[2]
        T[n, 3, 3] = 1.0
    return T


@_compiled
def _moved(T: Array, twists: Array) -> Array:
    result, step = np.zeros((len(twists), 4, 4)), np.eye(4)
    for n in range(len(twists)):
        a, twist = T[min(n, len(T) - 1)], twists[n]
        _set(step, *_exp((twist[0], twist[1], twist[2]), (twist[3], twist[4], twist[5])))
        for i in range(3):
            for j in range(4):
                at = a[i, 0] * step[0, j] + a[i, 1] * step[1, j] + a[i, 2] * step[2, j]
                result[n, i, j] = at + a[i, 3] * step[3, j]
        result[n, 3, 3] = 1.0
    return result


@_compiled
def _tangent(T: Array, weights: Array) -> tuple[Array, Array]:
    """As `tangent`: the mean, from the heaviest pose on, goes by the mean twist till it stands."""
    count, first = len(T), T[np.argmax(weights)]
    turns, shifts, twists = np.empty((count, 4)), np.empty((count, 3)), np.empty((count, 6))
    for n in range(count):
        turns[n] = _quaternion(T[n])
        shifts[n] = T[n, :3, 3] - first[:3, 3]  # near zero: no digits are lost far from the origin
    turn, shift = _quaternion(first), (0.0, 0.0, 0.0)
    for _ in range(_MEAN_STEPS):
        back = -turn[0], -turn[1], -turn[2], turn[3]
        step = np.zeros(6)
        for n in range(count):
            q, t = turns[n], shifts[n]
            off = t[0] - shift[0], t[1] - shift[1], t[2] - shift[2]
            rho, phi = _log(_times(back, (q[0], q[1], q[2], q[3])), _rotated(back, off))
            twists[n] = rho + phi
            step += weights[n] * twists[n]
        step /= weights.sum()
        moved_turn, moved_shift = _exp((step[0], step[1], step[2]), (step[3], step[4], step[5]))
        on = _rotated(turn, moved_shift)
        shift = shift[0] + on[0], shift[1] + on[1], shift[2] + on[2]
        turn = _times(turn, moved_turn)
        if math.sqrt((step * step).sum()) < _MEAN_TOLERANCE:
            break
    mean = np.eye(4)
    _set(mean, turn, shift)
    mean[:3, 3] += first[:3, 3]
    return mean, twists


@_compiled
def _log(turn: _Quaternion, shift: _Vector) -> tuple[_Vector, _Vector]:
    """The twist of a pose, rho and phi; eq. 173."""
    x, y, z, w = turn
    square = x * x + y * y + z * z  # of the sine of half the angle
    if square < _HALF_SINE_SQUARE_BELOW:
        arcsine = 1 + 25 / 42 * square * (1 + 49 / 72 * square * (1 + 81 / 110 * square))
        per_sine = 2.0 + square / 3 * (1 + 9 / 20 * square * arcsine)
        turned = per_sine * per_sine * square
        bend = 1 / 12 + turned / 720 * (1 + turned / 42 * (1 + turned / 40))
    else:
        sine = math.sqrt(square)
        angle = 2.0 * math.atan2(sine, abs(w))
        per_sine = angle / sine
        bend = (1.0 - 0.5 * angle * abs(w) / sine) / (angle * angle)
    per_sine = math.copysign(per_sine, w)
    phi = per_sine * x, per_sine * y, per_sine * z
    across = _cross(phi, shift)
    over = _cross(phi, across)
    rho = (
        shift[0] - 0.5 * across[0] + bend * over[0],
        shift[1] - 0.5 * across[1] + bend * over[1],
        shift[2] - 0.5 * across[2] + bend * over[2],
    )
    return rho, phi


@_compiled
def _exp(rho: _Vector, phi: _Vector) -> tuple[_Quaternion, _Vector]:
    """The pose of a twist; eq. 172."""
    square = phi[0] * phi[0] + phi[1] * phi[1] + phi[2] * phi[2]
    angle = math.sqrt(square)
    half = math.sin(0.5 * angle) / angle if angle > 0.0 else 0.5
    if angle < _SERIES_BELOW:
        bend = 1 / 6 - square / 120 * (1 - square / 42 * (1 - square / 72))
    else:
        bend = (angle - math.sin(angle)) / (square * angle)
    across = _cross(phi, rho)
    over = _cross(phi, across)
    cosine = 2.0 * half * half
    shift = (
        rho[0] + cosine * across[0] + bend * over[0],
        rho[1] + cosine * across[1] + bend * over[1],
        rho[2] + cosine * across[2] + bend * over[2],
    )
    return (half * phi[0], half * phi[1], half * phi[2], math.cos(0.5 * angle)), shift


@_compiled
def _quaternion(R: Array) -> _Quaternion:
    """Of the rotation of a pose (4, 4): the largest row of 4 q q^T, normalised (Shepperd 1978)."""
    x, y = 1.0 + R[0, 0] - R[1, 1] - R[2, 2], 1.0 - R[0, 0] + R[1, 1] - R[2, 2]
    z, w = 1.0 - R[0, 0] - R[1, 1] + R[2, 2], 1.0 + R[0, 0] + R[1, 1] + R[2, 2]
    xy, xz, yz = R[0, 1] + R[1, 0], R[0, 2] + R[2, 0], R[1, 2] + R[2, 1]
    xw, yw, zw = R[2, 1] - R[1, 2], R[0, 2] - R[2, 0], R[1, 0] - R[0, 1]
    largest = max(x, y, z, w)
    if largest == w:
        row = xw, yw, zw, w
    elif largest == z:
        row = xz, yz, z, zw
    elif largest == y:
        row = xy, y, yz, yw
    else:
        row = x, xy, xz, xw
    x, y, z, w = row
    scale = 1.0 / math.sqrt(x * x + y * y + z * z + w * w)
    return scale * x, scale * y, scale * z, scale * w


@_compiled
def _set(T: Array, turn: _Quaternion, shift: _Vector) -> None:
    """Write a pose into the upper rows of T (4, 4)."""
    x, y, z, w = turn
    T[0, 0], T[0, 1], T[0, 2] = 1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)
    T[1, 0], T[1, 1], T[1, 2] = 2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)
    T[2, 0], T[2, 1], T[2, 2] = 2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)
    T[0, 3], T[1, 3], T[2, 3] = shift


@_compiled
def _times(p: _Quaternion, q: _Quaternion) -> _Quaternion:
    return (
        p[3] * q[0] + p[0] * q[3] + p[1] * q[2] - p[2] * q[1],
        p[3] * q[1] - p[0] * q[2] + p[1] * q[3] + p[2] * q[0],
        p[3] * q[2] + p[0] * q[1] - p[1] * q[0] + p[2] * q[3],
        p[3] * q[3] - p[0] * q[0] - p[1] * q[1] - p[2] * q[2],
    )


@_compiled
def _rotated(q: _Quaternion, v: _Vector) -> _Vector:
    across = _cross((q[0], q[1], q[2]), v)
    over = _cross((q[0], q[1], q[2]), across)
    return (
        v[0] + 2.0 * (q[3] * across[0] + over[0]),
        v[1] + 2.0 * (q[3] * across[1] + over[1]),
        v[2] + 2.0 * (q[3] * across[2] + over[2]),
    )


@_compiled
def _cross(a: _Vector, b: _Vector) -> _Vector:
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]
