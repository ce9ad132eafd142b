"""The ground below particles, compiled: who only reads a map need not load the compiler."""

import math

import numpy as np

from fgsn_ros.geometry.arrays import Array, Indices
from fgsn_ros.kernel_cache import kernel


@kernel(nogil=True, error_model="numpy")
def nearest_of(planar: Array, positions: Array, around: Indices, queried: int) -> Indices:
    """Of key frames by index, those (N, q) nearest to planar poses (N, 3), in order of distance."""
    nearest = np.empty((len(planar), queried), np.int64)
    squares = np.empty(queried)
    for n in range(len(planar)):
        x, y = planar[n, 0], planar[n, 1]
        squares[:] = np.inf
        for index in around:
            square = (x - positions[index, 0]) ** 2 + (y - positions[index, 1]) ** 2
            if square >= squares[-1]:
                continue
            place = queried - 1
            while place > 0 and square < squares[place - 1]:
                squares[place], nearest[n, place] = squares[place - 1], nearest[n, place - 1]
                place -= 1
            squares[place], nearest[n, place] = square, index
    return nearest


@kernel(nogil=True, error_model="numpy")
def standing(
    planar: Array, nearest: Indices, neighbours: int, positions: Array, normals: Array
) -> tuple[Array, Array]:
    """As `Ground.poses_and_reach`, of each place's nearest key frames (N, q)."""
    T, reach = np.zeros((len(planar), 4, 4)), np.empty(len(planar))
    for n in range(len(planar)):
        x, y, yaw = planar[n, 0], planar[n, 1], planar[n, 2]
        last = nearest[n, -1]
        reach[n] = math.sqrt((x - positions[last, 0]) ** 2 + (y - positions[last, 1]) ** 2)
        beyond = max(reach[n], 1e-6) if nearest.shape[1] > neighbours else np.inf
        total, height, a, b, c = 0.0, 0.0, 0.0, 0.0, 0.0
        for k in nearest[n, :neighbours]:
            east, north = x - positions[k, 0], y - positions[k, 1]
            near = min(max(math.sqrt(east**2 + north**2), 1e-6), beyond * (1.0 - 1e-9))
            weight = (1.0 / near - 1.0 / beyond) ** 2
            rise = -(east * normals[k, 0] + north * normals[k, 1]) / normals[k, 2]
            total += weight
            height += weight * (positions[k, 2] + rise)
            a += weight * normals[k, 0]
            b += weight * normals[k, 1]
            c += weight * normals[k, 2]
        length = math.sqrt(a * a + b * b + c * c)
        a, b, c = a / length, b / length, c / length
        cosine, sine = math.cos(yaw), math.sin(yaw)
        slope = -(a * cosine + b * sine) / c
        length = math.sqrt(1.0 + slope * slope)
        d, e, f = cosine / length, sine / length, slope / length
        T[n, 0, 0], T[n, 0, 1], T[n, 0, 2], T[n, 0, 3] = d, b * f - c * e, a, x
        T[n, 1, 0], T[n, 1, 1], T[n, 1, 2], T[n, 1, 3] = e, c * d - a * f, b, y
        T[n, 2, 0], T[n, 2, 1], T[n, 2, 2], T[n, 2, 3] = f, a * e - b * d, c, height / total
        T[n, 3, 3] = 1.0
    return T, reach
