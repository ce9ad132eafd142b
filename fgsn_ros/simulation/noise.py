"""Integer-hash noise, faded by the pixel's footprint so that no texture is finer than a pixel."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fgsn_ros import kernel_cache
from fgsn_ros.kernel_cache import Function

Row = NDArray[np.float32]
"""A surface's parameters, see materials.Surface.row."""
_COMPILATION: dict[str, Any] = {
    "nogil": True,
    "error_model": "numpy",
    "fastmath": {"contract", "arcp", "nsz", "reassoc"},
}


def kernel(function: Function) -> Function:
    """Compile a function that releases the interpreter's lock; infinities keep their meaning."""
    return kernel_cache.kernel(**_COMPILATION)(function)


def inlined(function: Function) -> Function:
    """As `kernel`, into its caller: for functions that take many arguments and have one caller."""
    return kernel_cache.kernel(forceinline=True, **_COMPILATION)(function)


@kernel
def mix(a: float, b: float, share: float) -> float:
    """Blend of a and b."""
    return a + (b - a) * share


@kernel
def smooth(low: float, high: float, x: float) -> float:
    """Smooth step from 0 at low to 1 at high."""
    share = min(1.0, max(0.0, (x - low) / (high - low)))
    return share * share * (3.0 - 2.0 * share)


_X = 0x1B873593CC9E2D51
_Y = 0x27D4EB2F165667C5
_SEED = 0x2545F4914F6CDD1D
_MIX = 0x5851F42D4C957F2D
_UNIT = 1.0 / (1 << 24)


@kernel
def _mixed(h: int) -> int:
    h = (h ^ (h >> 31)) * _MIX
    h = (h ^ (h >> 29)) * _X
    return h ^ (h >> 32)


@kernel
def hash_integers(x: int, y: int, seed: int) -> int:
    """Mix three integers to 32 bits; 64-bit products that wrap, the same on every machine."""
    return _mixed((x * _X) ^ (y * _Y) ^ (seed * _SEED)) & 0xFFFFFFFF


@kernel
def uniform(x: int, y: int, seed: int) -> float:
    """Hash of three integers as a number in [0, 1)."""
    return (_mixed((x * _X) ^ (y * _Y) ^ (seed * _SEED)) & 0xFFFFFF) * _UNIT


@kernel
def value_noise(x: float, y: float, seed: int) -> float:
    """Smoothly interpolated lattice noise in [-1, 1] with lattice spacing 1."""
    ix = math.floor(x)
    iy = math.floor(y)
    fx = x - ix
    fy = y - iy
    fx = fx * fx * (3.0 - 2.0 * fx)
    fy = fy * fy * (3.0 - 2.0 * fy)
    left, low = ix * _X, (iy * _Y) ^ (seed * _SEED)
    right, high = left + _X, ((iy + 1) * _Y) ^ (seed * _SEED)
    a = (_mixed(left ^ low) & 0xFFFFFF) * _UNIT
    b = (_mixed(right ^ low) & 0xFFFFFF) * _UNIT
    c = (_mixed(left ^ high) & 0xFFFFFF) * _UNIT
    d = (_mixed(right ^ high) & 0xFFFFFF) * _UNIT
    bottom = a + (b - a) * fx
    top = c + (d - c) * fx
    return 2.0 * (bottom + (top - bottom) * fy) - 1.0


@kernel
def fade(footprint: float, period: float) -> float:
    """Weight in [0, 1] of a pattern: 0 where its period (m) is under two pixels' footprint (m)."""
    weight = (0.55 - footprint / period) * 3.0
    return min(1.0, max(0.0, weight))


@kernel
def fractal(u: float, v: float, seed: int, period: float, octaves: int, footprint: float) -> float:
    """Sum of octaves of value noise, about [-1, 1], each faded by the footprint.

    Args:
        u: Coordinate on the surface [m].
        v: Coordinate on the surface [m].
        seed: Seed of the surface.
        period: Period of the coarsest octave [m]; each further one halves it.
        octaves: How many octaves.
        footprint: Size of a pixel on the surface [m].
    """
    total = 0.0
    amplitude = 0.5
    for octave in range(octaves):
        weight = fade(footprint, period)
        if weight <= 0.0:
            break
        total += weight * amplitude * value_noise(u / period, v / period, seed + 101 * octave)
        period *= 0.5
        amplitude *= 0.72
    return total


@kernel
def covered(x: float, low: float, high: float, footprint: float) -> float:
    """Share of a pixel of the given footprint about x that lies in [low, high]."""
    footprint = max(footprint, 1e-4)
    left = max(low, x - 0.5 * footprint)
    right = min(high, x + 0.5 * footprint)
    return max(0.0, right - left) / footprint
