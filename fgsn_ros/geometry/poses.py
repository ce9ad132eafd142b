"""Rigid motions SE(3) as float64 arrays (..., 4, 4), batched and broadcasting.

`T_a_b` takes coordinates of frame b into frame a. A twist is (..., 6): rho xyz [m], phi xyz [rad].
What the particle filter needs, from `compose` to `mean_rotation`, also takes tensors (`arrays`).
Formulas: Sola, Deray, Atchuthan, "A micro Lie theory for state estimation in robotics",
arXiv 1812.01537.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fgsn_ros.errors import TrajectoryError
from fgsn_ros.geometry.arrays import Array, common, copy, eye, host, is_tensor, product, zeros

_SERIES_BELOW = 0.1  # rad; below it the Taylor series is more exact than the closed form
_ZERO_QUATERNION = 1e-3
_MEAN_STEPS = 50
_MEAN_TOLERANCE = 1e-12
_MEAN_TOLERANCE_SINGLE = 2e-6  # times the largest coordinate


QUATERNION_TOLERANCE = 0.01
"""A quaternion whose length is off 1 by more was altered on its way (tf2 drops it as well):
normalised, it would be another rotation."""
NOT_FINITE = "not finite"
ZERO_QUATERNION = "with a quaternion of zeros"
LONG_QUATERNION = "with a quaternion whose length is not 1"


def identity(shape: tuple[int, ...] = (), array: Array | None = None) -> Array:
    """Identity poses of the batch shape, (*shape, 4, 4), of the kind of an array."""
    T = zeros((*shape, 4, 4), array)
    for axis in range(4):
        T[..., axis, axis] = 1.0
    return T


def from_rotation_translation(R: ArrayLike, t: ArrayLike) -> Array:
    """Pose (..., 4, 4) of a rotation matrix (..., 3, 3) and a translation (..., 3) [m]."""
    _, rotation, translation = common(R, t)
    T = identity(np.broadcast_shapes(rotation.shape[:-2], translation.shape[:-1]), rotation)
    T[..., :3, :3] = rotation
    T[..., :3, 3] = translation
    return T


def compose(T_a_b: ArrayLike, T_b_c: ArrayLike) -> Array:
    """T_a_c = T_a_b T_b_c."""
    _, first, second = common(T_a_b, T_b_c)
    return product(first, second)


def invert(T: ArrayLike) -> Array:
    """T_b_a of T_a_b."""
    xp, pose = common(T)
    R_inverse = xp.matrix_transpose(pose[..., :3, :3])
    return from_rotation_translation(R_inverse, -_rotate(R_inverse, pose[..., :3, 3]))


def transform(T: ArrayLike, points: ArrayLike) -> Array:
    """Points (..., 3) of frame b in frame a, for T_a_b (4, 4) or a batch that broadcasts."""
    pose = np.asarray(T, np.float64)
    vectors = np.asarray(points, np.float64)
    if pose.ndim == 2:
        moved: Array = vectors @ pose[:3, :3].T + pose[:3, 3]
        return moved
    return _rotate(pose[..., :3, :3], vectors) + pose[..., :3, 3]


def exp(xi: ArrayLike) -> Array:
    """Pose (..., 4, 4) of a twist (..., 6) = (rho [m], phi [rad]); 1812.01537 eq. 172."""
    xp, twist = common(xi)
    rho, phi = twist[..., :3], twist[..., 3:]
    angle = xp.linalg.vector_norm(phi, axis=-1)
    W, one = _skew(phi), eye(3, twist)
    W2 = product(W, W)
    sine, cosine, cubic = (c[..., None, None] for c in _exp_coefficients(xp, angle))
    R = one + sine * W + cosine * W2
    V = one + cosine * W + cubic * W2
    return from_rotation_translation(R, _rotate(V, rho))


def log(T: ArrayLike) -> Array:
    """Twist (..., 6) = (rho [m], phi [rad]) of a pose, with |phi| <= pi; 1812.01537 eq. 173."""
    translation, q_xyzw = to_quaternion(T)
    xp, phi, angle = _rotation_vector(q_xyzw)
    W = _skew(phi)
    square = _inverse_coefficient(xp, angle)[..., None, None]
    V_inverse = eye(3, phi) - 0.5 * W + square * product(W, W)
    twist: Array = xp.concat([_rotate(V_inverse, translation), phi], axis=-1)
    return twist


def rotation_vector(T: ArrayLike) -> Array:
    """Rotation vector phi (..., 3) [rad] of a pose, |phi| <= pi: the second half of `log`."""
    _, phi, _ = _rotation_vector(to_quaternion(T)[1])
    return phi


def interpolate(T_0: ArrayLike, T_1: ArrayLike, alpha: ArrayLike) -> Array:
    """Pose at the fraction alpha (...) of the geodesic: T_0 exp(alpha log(T_0^-1 T_1))."""
    _, twist, fraction = common(log(compose(invert(T_0), T_1)), alpha)
    return compose(T_0, exp(fraction[..., None] * twist))


def weighted_mean(T: ArrayLike, weights: ArrayLike) -> Array:
    """Mean pose (4, 4) of poses (N, 4, 4) with weights (N,): the iterated tangent mean.

    Starts at the heaviest pose. Weights need not sum to one.

    Raises:
        ValueError: a weight is negative or not finite, or all are zero.
    """
    return _tangent_mean(T, weights, log)


def mean_rotation(T: ArrayLike, weights: ArrayLike) -> Array:
    """`weighted_mean` (4, 4) of the rotations of poses (N, 4, 4) alone, at the origin.

    Raises:
        ValueError: as there.
    """
    rotations = from_rotation_translation(common(T)[1][:, :3, :3], np.zeros(3))
    return _tangent_mean(rotations, weights, _log_of_rotation)


def faults(rows: ArrayLike) -> NDArray[np.str_]:
    """Why rows (..., 7) = x y z qx qy qz qw are no poses, in words (...); empty where they are."""
    values = np.asarray(rows, np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        length = np.linalg.norm(values[..., 3:], axis=-1)
    reasons = {
        NOT_FINITE: ~np.isfinite(values).all(axis=-1),
        ZERO_QUATERNION: length < _ZERO_QUATERNION,
        LONG_QUATERNION: np.abs(length - 1.0) > QUATERNION_TOLERANCE,
    }
    return np.asarray(np.select(list(reasons.values()), list(reasons), ""), np.str_)


def from_quaternion(translation: ArrayLike, q_xyzw: ArrayLike) -> Array:
    """Pose of a translation (..., 3) [m] and a quaternion (..., 4) of length 1 within a percent.

    What rounding left of the length is made good.

    Raises:
        TrajectoryError: a quaternion is not finite or has another length.
    """
    quaternion = np.asarray(q_xyzw, np.float64)
    length = np.linalg.norm(quaternion, axis=-1, keepdims=True)
    off = ~(np.abs(length - 1.0) <= QUATERNION_TOLERANCE)
    if off.any():
        raise TrajectoryError(
            f"the length of a quaternion is {length[off][0]:.3g}, not 1; "
            "check the source of the pose"
        )
    x, y, z, w = np.moveaxis(quaternion / length, -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    R = np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)
    return from_rotation_translation(R, translation)


def to_quaternion(T: ArrayLike) -> tuple[Array, Array]:
    """Translation (..., 3) [m] and unit quaternion q_xyzw (..., 4) with w >= 0."""
    xp, pose = common(T)
    products = _quaternion_products(pose[..., :3, :3])
    largest = xp.argmax(xp.linalg.diagonal(products), axis=-1)
    row = xp.take_along_axis(products, largest[..., None, None], axis=-2)[..., 0, :]
    q_xyzw = row / xp.linalg.vector_norm(row, axis=-1, keepdims=True)
    return copy(pose[..., :3, 3]), xp.where(q_xyzw[..., 3:] < 0.0, -q_xyzw, q_xyzw)


def from_xyz_rpy(xyz: ArrayLike, rpy: ArrayLike) -> Array:
    """Pose of a translation (..., 3) [m] and roll, pitch, yaw (..., 3) [rad].

    R = Rz(yaw) Ry(pitch) Rx(roll), the convention of URDF and ROS.
    """
    (sr, sp, sy), (cr, cp, cy) = (
        np.moveaxis(f(np.asarray(rpy, np.float64)), -1, 0) for f in (np.sin, np.cos)
    )
    rows = [
        [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
        [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
        [-sp, cp * sr, cp * cr],
    ]
    R = np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)
    return from_rotation_translation(R, xyz)


def to_rpy(T: ArrayLike) -> Array:
    """Roll, pitch, yaw (..., 3) [rad] of a pose; pitch in [-pi/2, pi/2]."""
    R = np.asarray(T, np.float64)[..., :3, :3]
    pitch = _arctan2(-R[..., 2, 0], np.hypot(R[..., 0, 0], R[..., 1, 0]))
    roll = _arctan2(R[..., 2, 1], R[..., 2, 2])
    yaw = _arctan2(R[..., 1, 0], R[..., 0, 0])
    return np.stack([roll, pitch, yaw], axis=-1)


def from_planar(x: ArrayLike, y: ArrayLike, yaw: ArrayLike) -> Array:
    """Pose in the plane z = 0: x, y [m] and yaw [rad] of any broadcasting shapes."""
    x_m, y_m, yaw_rad = np.broadcast_arrays(*(np.asarray(v, np.float64) for v in (x, y, yaw)))
    T = identity(yaw_rad.shape)
    T[..., 0, 0] = T[..., 1, 1] = np.cos(yaw_rad)
    T[..., 1, 0] = np.sin(yaw_rad)
    T[..., 0, 1] = -T[..., 1, 0]
    T[..., 0, 3], T[..., 1, 3] = x_m, y_m
    return T


def rotation_angle(T: ArrayLike) -> Array:
    """Angle (...) [rad] in [0, pi] of a pose's rotation."""
    R = np.asarray(T, np.float64)[..., :3, :3]
    x, y, z = (R[..., i, j] - R[..., j, i] for i, j in ((2, 1), (0, 2), (1, 0)))  # 2 sin angle axis
    trace = R[..., 0, 0] + R[..., 1, 1] + R[..., 2, 2]  # 1 + 2 cos angle
    return _arctan2(np.sqrt(x * x + y * y + z * z), trace - 1.0)


def wrap_angle(a: ArrayLike) -> Array:
    """The angle [rad] in [-pi, pi)."""
    xp, angle = common(a)
    wrapped: Array = xp.remainder(angle + np.pi, 2.0 * np.pi) - np.pi
    return wrapped


def _arctan2(y: Array, x: Array) -> Array:
    """Angle of (x, y) [rad], the same to the bit wherever the arrays lie in memory.

    On views NumPy may take its vectorised version or the plain one, whose last bits differ,
    depending on whether the result happens to lie beside them.
    """
    xp, y, x = common(y, x)
    angle: Array = xp.atan2(copy(y), copy(x))
    return angle


def _tangent_mean(T: ArrayLike, weights: ArrayLike, log: Callable[[Array], Array]) -> Array:
    xp, poses, mass = common(T, weights)
    if not (bool((mass >= 0.0).all()) and 0.0 < float(mass.sum()) < np.inf):
        raise ValueError("weights must be finite, not negative, and not all zero")
    share = mass / mass.sum()
    mean: Array = poses[xp.argmax(share)]
    tolerance = _tolerance(mean)
    for _ in range(_MEAN_STEPS):
        step = share @ log(compose(invert(mean), poses))
        mean = compose(mean, exp(step))
        if math.sqrt(step @ step) < tolerance:
            break
    return mean


def _tolerance(mean: Array) -> float:
    """Step [m and rad] below which a mean stands: in single precision, what rounding leaves."""
    if not is_tensor(mean) or mean.dtype.itemsize == 8:
        return _MEAN_TOLERANCE
    return _MEAN_TOLERANCE_SINGLE * float(abs(host(mean)).max())


def _log_of_rotation(T: Array) -> Array:
    """Twists (N, 6) of poses (N, 4, 4) without translation."""
    xp, phi = common(rotation_vector(T))
    twists: Array = xp.concat([xp.zeros_like(phi), phi], axis=-1)
    return twists


def _rotation_vector(q_xyzw: Array) -> tuple[Any, Array, Array]:
    """Namespace, rotation vector (..., 3) [rad] of unit quaternions, w >= 0, and its length."""
    xp, q_xyzw = common(q_xyzw)
    vector, scalar = q_xyzw[..., :3], q_xyzw[..., 3]
    length = xp.linalg.vector_norm(vector, axis=-1)
    angle = 2.0 * _arctan2(length, scalar)
    # The quaternion keeps full precision near pi, where the trace of R does not.
    per_length = xp.where(length > 0.0, angle / xp.where(length > 0.0, length, 1.0), 2.0)
    return xp, vector * per_length[..., None], angle


def _rotate(R: Array, vectors: Array) -> Array:
    return product(R, vectors[..., None])[..., 0]


def _skew(v: Array) -> Array:
    W = zeros((*v.shape[:-1], 3, 3), v)
    W[..., 2, 1], W[..., 0, 2], W[..., 1, 0] = v[..., 0], v[..., 1], v[..., 2]
    skew: Array = W - W.swapaxes(-1, -2)
    return skew


def _exp_coefficients(xp: Any, angle: Array) -> tuple[Array, Array, Array]:
    """sin(a)/a, (1 - cos(a))/a^2 and (a - sin(a))/a^3, exact at zero."""
    square = angle * angle
    half = xp.sinc(angle / (2.0 * np.pi))
    safe = xp.where(angle < _SERIES_BELOW, 1.0, angle)
    series = 1 / 6 - square / 120 * (1 - square / 42 * (1 - square / 72))
    cubic = xp.where(angle < _SERIES_BELOW, series, (safe - xp.sin(safe)) / safe**3)
    return xp.sinc(angle / np.pi), 0.5 * half * half, cubic


def _inverse_coefficient(xp: Any, angle: Array) -> Array:
    """(1 - (a/2) cot(a/2)) / a^2, exact at zero."""
    square = angle * angle
    safe = xp.where(angle < _SERIES_BELOW, 1.0, angle)
    series = 1 / 12 + square / 720 * (1 + square / 42 * (1 + square / 40))
    # cos/sin and not 1/tan: the half angle reaches pi/2.
    closed = (1.0 - 0.5 * safe * xp.cos(0.5 * safe) / xp.sin(0.5 * safe)) / safe**2
    coefficient: Array = xp.where(angle < _SERIES_BELOW, series, closed)
    return coefficient


def _quaternion_products(R: Array) -> Array:
    """4 q q^T (..., 4, 4) in the order x y z w; any row is q up to scale (Shepperd 1978)."""
    products = zeros((*R.shape[:-2], 4, 4), R)
    r00, r11, r22 = R[..., 0, 0], R[..., 1, 1], R[..., 2, 2]
    products[..., 0, 0] = 1 + r00 - r11 - r22
    products[..., 1, 1] = 1 - r00 + r11 - r22
    products[..., 2, 2] = 1 - r00 - r11 + r22
    products[..., 3, 3] = 1 + r00 + r11 + r22
    for i, j in ((0, 1), (0, 2), (1, 2)):
        products[..., i, j] = products[..., j, i] = R[..., i, j] + R[..., j, i]
    for axis, (i, j) in enumerate(((2, 1), (0, 2), (1, 0))):
        products[..., axis, 3] = products[..., 3, axis] = R[..., i, j] - R[..., j, i]
    return products
