"""Integer-hash noise, faded by the pixel's footprint so that no texture is finer than a pixel."""

import math

import numba

_MASK = 0xFFFFFFFF


@numba.njit(cache=True, nogil=True)
def hash_integers(x: int, y: int, seed: int) -> int:
    """Mix three integers to 32 bits (a multiply-xorshift mix, the same on every machine)."""
    h = (x * 374761393 + y * 668265263 + seed * 2246822519) & _MASK
    h = ((h ^ (h >> 15)) * 2246822519) & _MASK
    h = ((h ^ (h >> 13)) * 3266489917) & _MASK
    return h ^ (h >> 16)


@numba.njit(cache=True, nogil=True)
def uniform(x: int, y: int, seed: int) -> float:
    """Hash of three integers as a number in [0, 1)."""
    return hash_integers(x, y, seed) * (1.0 / 4294967296.0)


@numba.njit(cache=True, nogil=True)
def value_noise(x: float, y: float, seed: int) -> float:
    """Smoothly interpolated lattice noise in [-1, 1] with lattice spacing 1."""
    ix = int(math.floor(x))
    iy = int(math.floor(y))
    fx = x - ix
    fy = y - iy
    fx = fx * fx * (3.0 - 2.0 * fx)
    fy = fy * fy * (3.0 - 2.0 * fy)
    a = uniform(ix, iy, seed)
    b = uniform(ix + 1, iy, seed)
    c = uniform(ix, iy + 1, seed)
    d = uniform(ix + 1, iy + 1, seed)
    low = a + (b - a) * fx
    high = c + (d - c) * fx
    return 2.0 * (low + (high - low) * fy) - 1.0


@numba.njit(cache=True, nogil=True)
def fade(footprint: float, period: float) -> float:
    """Weight in [0, 1] of a pattern: 0 where its period (m) is under two pixels' footprint (m)."""
    weight = (0.55 - footprint / period) * 3.0
    return min(1.0, max(0.0, weight))


@numba.njit(cache=True, nogil=True)
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


@numba.njit(cache=True, nogil=True)
def covered(x: float, low: float, high: float, footprint: float) -> float:
    """Share of a pixel of the given footprint about x that lies in [low, high]."""
    footprint = max(footprint, 1e-4)
    left = max(low, x - 0.5 * footprint)
    right = min(high, x + 0.5 * footprint)
    return max(0.0, right - left) / footprint
