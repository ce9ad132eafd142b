"""How many particles are enough: KLD sampling.

Where the robot may be is cut into bins of x, y and heading. With k of them occupied, n particles
stand for the true posterior over the bins to a Kullback-Leibler distance below an error, with a
given probability (Fox, "Adapting the sample size in particle filters through KLD-sampling", IJRR
2003; Table 8.4 of Thrun, Burgard, Fox, "Probabilistic Robotics", 2005). So many particles as soon
as the pose is unsure, few once it is known.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from fgsn_ros.config import require
from fgsn_ros.geometry.arrays import Array, host, namespace
from fgsn_ros.kernel_cache import kernel

BIN_M = 0.5
"""Side of a bin in x and in y [m], as nav2_amcl has it."""
HEADINGS = 36
"""Bins of a full turn: 10 deg each, as nav2_amcl has it."""
_EMPTY = -1
_SPREAD = 0x9E3779B97F4A7C15 - 2**64  # odd, 2^64 over the golden ratio (Fibonacci hashing)


@dataclass(frozen=True)
class KldSettings:
    """How closely the particles stand for where the robot may be."""

    error: float = 0.05
    """Kullback-Leibler distance from the true distribution (nav2_amcl: pf_err), (0, 1]."""
    confidence: float = 0.99
    """Probability that it is below that (nav2_amcl's pf_z is the quantile of it), [0.5, 1)."""

    def __post_init__(self) -> None:
        require(0.0 < self.error <= 1.0, "kld: error must be in (0, 1]")
        require(0.5 <= self.confidence < 1.0, "kld: confidence must be in [0.5, 1)")

    def bound(self, bins: int) -> float:
        """Particles that `bins` >= 1 occupied bins ask for: chi^2_{bins - 1} over 2 error.

        The quantile of chi-square by Wilson and Hilferty (PNAS 1931). A single bin asks for none.
        """
        if bins <= 1:
            return 0.0
        freedom = bins - 1.0
        variance = 2.0 / (9.0 * freedom)
        quantile = NormalDist().inv_cdf(self.confidence)
        cube_root = 1.0 - variance + math.sqrt(variance) * quantile
        return freedom / (2.0 * self.error) * cube_root**3


@dataclass(frozen=True)
class SampleSize:
    """Between how many particles, and how closely they are to stand for the posterior."""

    least: int
    most: int
    kld: KldSettings

    def needed(self, T_map_base: Array, weights: Array) -> int:
        """Particles, `least` to `most`, that poses (N, 4, 4) with weights (N,) ask for."""
        if self.least == self.most:
            return self.least
        bound = self.kld.bound(occupied_bins(T_map_base, weights, 0.5 / self.most))
        return min(max(math.ceil(bound), self.least), self.most)

    def lasting(self, count: int, needed: int) -> bool:
        """Whether so many particles may stay until they are resampled anyway.

        A few too many cost less than what is lost by drawing them anew.
        """
        return self.least <= count <= self.most and count <= 1.5 * needed


def occupied_bins(T_map_base: Array, weights: Array, least_weight: float) -> int:
    """Bins of x, y and yaw in which poses (N, 4, 4) weigh at least so much; weights (N,)."""
    xp = namespace(T_map_base)
    yaw = xp.atan2(T_map_base[:, 1, 0], T_map_base[:, 0, 0])
    columns = [T_map_base[:, 0, 3], T_map_base[:, 1, 3], yaw]
    return int(_occupied(host(xp.stack(columns, axis=1)), host(weights), least_weight))


@kernel(nogil=True)
def _occupied(planar: Array, weights: Array, least_weight: float) -> int:
    """As `occupied_bins`, of x, y, yaw (N, 3): a hash table of the bins with their weights."""
    bits = 4
    while 2**bits < 2 * len(planar):
        bits += 1
    bins = np.full(2**bits, _EMPTY, np.int64)
    filled = np.zeros(2**bits)
    occupied = 0
    for i in range(len(planar)):
        x = np.int64(math.floor(planar[i, 0] / BIN_M)) & (2**28 - 1)
        y = np.int64(math.floor(planar[i, 1] / BIN_M)) & (2**28 - 1)
        turn = np.int64(math.floor(planar[i, 2] / (2.0 * math.pi) * HEADINGS)) % HEADINGS
        key = (((x << 28) | y) << 6) | turn
        slot = ((key * _SPREAD) >> (64 - bits)) & (2**bits - 1)
        while bins[slot] != _EMPTY and bins[slot] != key:
            slot = (slot + 1) & (2**bits - 1)
        bins[slot] = key
        before = filled[slot]
        filled[slot] = before + weights[i]
        occupied += before < least_weight <= filled[slot]
    return occupied
