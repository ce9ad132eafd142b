"""The pose of a camera from three points (P3P), and the best of many such poses, compiled."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.kernel_cache import kernel

FloatArray = NDArray[np.float64]
_POLISHINGS = 3
_CUBIC_STEPS = 40
_compiled = kernel(nogil=True, error_model="numpy")


@_compiled
def search(
    points: FloatArray,
    rays: FloatArray,
    focal_px: FloatArray,
    weights: FloatArray,
    samples: NDArray[np.int64],
    limit_px: float,
    confidence: float,
    best: FloatArray,
) -> tuple[int, float]:  # pragma: no cover - compiled
    """Best pose of the samples, by MSAC (Torr & Zisserman 2000): sum of min(error^2, limit^2).

    Ends early when a better pose would have been met with the confidence: a sample is of inliers
    alone with the third power of their share of the weights.

    Args:
        points: (N, 3) in the map [m].
        rays: (N, 2) x, y of the viewing rays at z = 1.
        focal_px: (2,) pixels per unit of x and y.
        weights: (N,) sum to 1; what the samples were drawn with.
        samples: (S, 3) matches of each sample; one that repeats a match is passed over.
        limit_px: Largest error of an inlier [px].
        confidence: In (0, 1).
        best: (3, 4) receives T_camera_map.

    Returns:
        Samples used, and the sum for the best pose; infinite without any.
    """
    count = len(points)
    units = np.empty((count, 3))
    for i in range(count):
        length = np.sqrt(rays[i, 0] ** 2 + rays[i, 1] ** 2 + 1.0)
        units[i] = rays[i, 0] / length, rays[i, 1] / length, 1.0 / length
    found = np.empty((4, 3, 4))
    lowest, needed = np.inf, float(len(samples))
    used = 0
    for s in range(len(samples)):
        if s >= needed:
            break
        used += 1
        a, b, c = samples[s]
        if a in (b, c) or b == c:
            continue
        for k in range(three_point_poses(units[samples[s]], points[samples[s]], found)):
            cost, share = _cost(found[k], points, rays, focal_px, weights, limit_px, lowest)
            if cost < lowest:
                lowest = cost
                best[:] = found[k]
                missed = np.log1p(-min(share**3, 1.0 - 1e-12))
                needed = np.log(1.0 - confidence) / missed if missed < 0.0 else np.inf
    return used, lowest


@_compiled
def _cost(
    T: FloatArray,
    points: FloatArray,
    rays: FloatArray,
    focal_px: FloatArray,
    weights: FloatArray,
    limit_px: float,
    lowest: float,
) -> tuple[float, float]:  # pragma: no cover - compiled
    """MSAC's sum for a pose, infinite if not below `lowest`; the weight of its inliers."""
    square_limit = limit_px * limit_px
    cost, share = 0.0, 0.0
    for i in range(len(points)):
        x, y, z = points[i]
        depth = T[2, 0] * x + T[2, 1] * y + T[2, 2] * z + T[2, 3]
        square = square_limit
        if depth > 1e-9:
            u = (T[0, 0] * x + T[0, 1] * y + T[0, 2] * z + T[0, 3]) / depth - rays[i, 0]
            v = (T[1, 0] * x + T[1, 1] * y + T[1, 2] * z + T[1, 3]) / depth - rays[i, 1]
            square = (u * focal_px[0]) ** 2 + (v * focal_px[1]) ** 2
        if square < square_limit:
            cost += square
            share += weights[i]
        else:
            cost += square_limit
        if cost >= lowest:
            return np.inf, 0.0
    return cost, share


@_compiled
def three_point_poses(
    units: FloatArray, points: FloatArray, poses: FloatArray
) -> int:  # pragma: no cover - compiled
    """T_camera_map of up to four cameras that see points (3, 3) along unit rays (3, 3).

    Lambda Twist (Persson & Nordberg, ECCV 2018): the squared distances between the points are
    two conics in the three depths; a degenerate one of their pencil is two lines.

    Args:
        units: Rows are unit rays in the camera.
        points: Rows are points in the map.
        poses: (4, 3, 4) receives the poses.

    Returns:
        How many there are.
    """
    side_12, side_13, side_23 = points[0] - points[1], points[0] - points[2], points[1] - points[2]
    a12, a13, a23 = _dot(side_12, side_12), _dot(side_13, side_13), _dot(side_23, side_23)
    b12, b13, b23 = _dot(units[0], units[1]), _dot(units[0], units[2]), _dot(units[1], units[2])
    base = np.empty((3, 3))
    base[0], base[1], base[2] = side_12, side_13, _cross(side_12, side_13)
    if min(a12, a13, a23) <= 0.0 or _dot(base[2], base[2]) <= 1e-18 * a12 * a13:
        return 0
    first = np.array(
        [[a23, -a23 * b12, 0.0], [-a23 * b12, a23 - a12, a12 * b23], [0.0, a12 * b23, -a12]]
    )
    second = np.array(
        [[a23, 0.0, -a23 * b13], [0.0, -a13, a13 * b23], [-a23 * b13, a13 * b23, a23 - a13]]
    )
    lines = np.empty((2, 3))
    if not _two_lines(first + _pencil_root(first, second) * second, lines):
        return 0
    count = 0
    depths, inverse = np.empty(3), np.empty((3, 3))
    inverse[:] = np.linalg.inv(base)
    for line in range(2):
        if abs(lines[line, 0]) < 1e-12:
            continue
        w0, w1 = -lines[line, 1] / lines[line, 0], -lines[line, 2] / lines[line, 0]
        a = (a12 - a13) * w1 * w1 + a12 - 2.0 * a12 * b13 * w1
        b = 2.0 * ((a12 - a13) * w0 * w1 - a12 * b13 * w0 + a13 * b12 * w1)
        c = (a12 - a13) * w0 * w0 - a13 + 2.0 * a13 * b12 * w0
        square = b * b - 4.0 * a * c
        if square < 0.0 or a == 0.0:
            continue
        for sign in (-1.0, 1.0):
            ratio = (-b + sign * np.sqrt(square)) / (2.0 * a)
            length = ratio * (ratio - 2.0 * b23) + 1.0
            if ratio <= 0.0 or length <= 0.0 or count == 4:
                continue
            depths[1] = np.sqrt(a23 / length)
            depths[2] = ratio * depths[1]
            depths[0] = w0 * depths[1] + w1 * depths[2]
            if depths[0] <= 0.0:
                continue
            _polish(depths, a12, a13, a23, b12, b13, b23)
            if _pose_of(depths, units, points[0], inverse, poses[count]):
                count += 1
    return count


@_compiled
def _pencil_root(first: FloatArray, second: FloatArray) -> Any:  # pragma: no cover - compiled
    """A root g of det(first + g second) = 0."""
    c3, c0 = np.linalg.det(second), np.linalg.det(first)
    both, apart = np.linalg.det(first + second), np.linalg.det(first - second)
    c2 = 0.5 * (both + apart) - c0
    c1 = 0.5 * (both - apart) - c3
    if abs(c3) < 1e-300:
        return 0.0
    b, c, d = c2 / c3, c1 / c3, c0 / c3
    # Cauchy's bound: the real root lies within, and a cubic has one.
    bound = 1.0 + max(abs(b), abs(c), abs(d))
    low, high = -bound, bound
    x = -b / 3.0  # the inflection
    if ((x + b) * x + c) * x + d > 0.0:
        high = x
    else:
        low = x
    for _ in range(_CUBIC_STEPS):
        value = ((x + b) * x + c) * x + d
        if value > 0.0:
            high = x
        else:
            low = x
        slope = (3.0 * x + 2.0 * b) * x + c
        newton = x - value / slope if slope != 0.0 else np.inf
        following = newton if low < newton < high else 0.5 * (low + high)
        if abs(following - x) <= 1e-15 * max(abs(x), 1e-30):
            return following
        x = following
    return x


@_compiled
def _two_lines(conic: FloatArray, lines: FloatArray) -> bool:  # pragma: no cover - compiled
    """The two lines (2, 3) of a symmetric matrix of rank two with eigenvalues of both signs."""
    values, vectors = np.linalg.eigh(conic)
    low, high = values[0], values[2]
    if not (low < 0.0 < high):
        return False
    ratio = np.sqrt(-low / high)
    lines[0] = vectors[:, 2] - ratio * vectors[:, 0]
    lines[1] = vectors[:, 2] + ratio * vectors[:, 0]
    return True


@_compiled
def _polish(
    depths: FloatArray, a12: float, a13: float, a23: float, b12: float, b13: float, b23: float
) -> None:  # pragma: no cover - compiled
    """Newton steps of the depths (3,) on the three squared distances."""
    for _ in range(_POLISHINGS):
        d1, d2, d3 = depths
        r1 = d1 * d1 + d2 * d2 - 2.0 * b12 * d1 * d2 - a12
        r2 = d1 * d1 + d3 * d3 - 2.0 * b13 * d1 * d3 - a13
        r3 = d2 * d2 + d3 * d3 - 2.0 * b23 * d2 * d3 - a23
        j11, j12 = d1 - b12 * d2, d2 - b12 * d1
        j21, j23 = d1 - b13 * d3, d3 - b13 * d1
        j32, j33 = d2 - b23 * d3, d3 - b23 * d2
        determinant = -j11 * j23 * j32 - j12 * j21 * j33
        if abs(determinant) < 1e-14 * (d1 * d2 * d3):
            return
        half = 0.5 / determinant
        depths[0] -= half * (-j23 * j32 * r1 - j12 * j33 * r2 + j12 * j23 * r3)
        depths[1] -= half * (-j21 * j33 * r1 + j11 * j33 * r2 - j11 * j23 * r3)
        depths[2] -= half * (j21 * j32 * r1 - j11 * j32 * r2 - j12 * j21 * r3)


@_compiled
def _pose_of(
    depths: FloatArray, units: FloatArray, point: FloatArray, inverse: FloatArray, pose: FloatArray
) -> bool:  # pragma: no cover - compiled
    """T_camera_map (3, 4) that carries the triangle of points onto that of the depths."""
    seen = np.empty((3, 3))
    for i in range(3):
        seen[i] = depths[i] * units[i]
    turned = np.empty((3, 3))
    turned[0], turned[1] = seen[0] - seen[1], seen[0] - seen[2]
    turned[2] = _cross(turned[0], turned[1])
    for i in range(3):
        for j in range(3):
            pose[i, j] = 0.0
            for k in range(3):
                pose[i, j] += turned[k, i] * inverse[j, k]
    for i in range(3):
        pose[i, 3] = seen[0, i] - _dot(pose[i, :3], point)
    return bool(np.isfinite(pose).all())


@_compiled
def _dot(a: FloatArray, b: FloatArray) -> Any:  # pragma: no cover - compiled
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@_compiled
def _cross(a: FloatArray, b: FloatArray) -> FloatArray:  # pragma: no cover - compiled
    return np.array(
        [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
    )
