"""The particles, the steps of their filter, and where they were before."""

import math
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fgsn_ros.config import require
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.arrays import (
    Array,
    Indices,
    full,
    host,
    is_tensor,
    like,
    namespace,
    numbered,
)
from fgsn_ros.kernel_cache import kernel
from fgsn_ros.localization.motion import MotionModel, Random
from fgsn_ros.localization.particle_poses import interpolated, mean_rotation, relative
from fgsn_ros.localization.sample_size import SampleSize

_LEAST_SHARE = 1e-6
"""A layer takes no less of the likelihood."""


@dataclass(frozen=True)
class FilterSettings:
    """When particles are resampled, and how a sharp likelihood is taken in layers."""

    resample_below: float = 0.5
    """Resample when the effective sample size falls below this share of the particles, (0, 1]."""
    layer_share: float = 0.15
    """A layer takes as much of the likelihood as leaves this share of effective samples, (0, 1)."""
    layers: int = 6
    """Layers per frame at most, >= 1; what is left of the likelihood then is not used."""
    bandwidth: float = 0.4
    """Kernel width between layers, as a share of the particles' spread, [0, 1)."""

    def __post_init__(self) -> None:
        require(0.0 < self.resample_below <= 1.0, "filter: resample_below must be in (0, 1]")
        require(0.0 < self.layer_share < 1.0, "filter: layer_share must be in (0, 1)")
        require(self.layers >= 1, "filter: layers must be at least 1")
        require(0.0 <= self.bandwidth < 1.0, "filter: bandwidth must be in [0, 1)")


@dataclass(frozen=True, eq=False)
class ParticleSet:
    """Weighted states; the weights are of double precision whatever the states are."""

    states: Array
    """(N, ...) as the motion model has them."""
    log_weights: Array
    """(N,) normalised: their exponentials sum to 1."""
    ancestors: Indices
    """(N,) which particle each came from, of those that an update began with."""

    @staticmethod
    def uniform(states: Array, ancestors: Indices | None = None) -> "ParticleSet":
        """States of equal weight; without `ancestors` each is its own."""
        if ancestors is None:
            ancestors = numbered(states)
        equal = full(len(states), -np.log(len(states)), states)
        return ParticleSet(states, equal, ancestors)

    @property
    def weights(self) -> Array:
        """(N,), summing to 1."""
        weights: Array = namespace(self.log_weights).exp(self.log_weights)
        return weights

    def weighed(self, log_likelihood: Array) -> "ParticleSet":
        """The set with each weight multiplied by its likelihood (Bayes' rule)."""
        weights = normalize(self.log_weights + log_likelihood)
        return ParticleSet(self.states, weights, self.ancestors)

    def begun(self, states: Array) -> "ParticleSet":
        """The same weights on other states, each particle its own ancestor."""
        return ParticleSet(states, self.log_weights, numbered(states))

    def resampled(self, rng: Random, count: int | None = None) -> "ParticleSet":
        """`count` (default: as many) states of equal weight drawn by weight."""
        kept = systematic_resample(self.weights, count or len(self.states), rng)
        return ParticleSet.uniform(self.states[kept], self.ancestors[kept])

    def shared_with(self, states: Array, rng: Random) -> "ParticleSet":
        """As many particles of equal weight: some (M, ...) in other states, the rest drawn."""
        drawn = self.resampled(rng)
        # Systematic resampling leaves the descendants of one particle side by side.
        count = len(states)
        drawn.states[numbered(states) * len(drawn.states) // max(count, 1)] = states
        return drawn


LogLikelihood = Callable[[ParticleSet], Array]
"""Particles to log-likelihoods (N,)."""


def normalize(log_weights: Array) -> Array:
    """Log-weights (N,) whose exponentials sum to 1."""
    xp = namespace(log_weights)
    shifted = log_weights - log_weights.max()
    normalized: Array = shifted - xp.log(xp.exp(shifted).sum())
    return normalized


def effective_sample_size(log_weights: Array) -> float:
    """1 / sum of squared normalised weights (Kong, Liu, Wong, JASA 1994): from 1 to N."""
    return float(_effective_samples(log_weights))


def _effective_samples(log_weights: Array) -> Any:
    weights = namespace(log_weights).exp(log_weights - log_weights.max())
    return weights.sum() ** 2 / (weights @ weights)


def systematic_resample(weights: Array, count: int, rng: Random) -> Indices:
    """Indices (count,) into weights (N,), which sum to 1.

    Index i is drawn floor(count w_i) or ceil(count w_i) times.

    One random offset places all `count` equidistant pointers (Kitagawa, JCGS 1996).
    """
    xp = namespace(weights)
    summed = _summed(weights)
    pointers = (rng.random() + like(numbered(weights, count), weights)) / count
    drawn = xp.searchsorted(summed, pointers, side="right")
    # Rounding may leave the sum below the last pointer; it then belongs to the last weight > 0.
    indices: Indices = xp.minimum(drawn, xp.searchsorted(summed, summed[-1:]))
    return indices


def _summed(weights: Array) -> Array:
    """Cumulative sum (N,) of weights, the same to the bit each time."""
    xp = namespace(weights)
    if is_tensor(weights):  # summed in parallel: the order is another each time, if it matters
        whole = xp.cumulative_sum(xp.round(2.0**53 * weights).to(xp.int64))
        return like(whole, weights) / 2.0**53
    summed: Array = xp.cumulative_sum(weights)
    return summed


def mean_and_covariance(T: Array, weights: Array) -> tuple[Array, Array]:
    """Mean (4, 4) and covariance (6, 6) of poses (N, 4, 4) with weights (N,) that sum to 1.

    Order x y z [m], then rotations about the map's x, y, z axes [rad] (roll pitch yaw of
    geometry_msgs/PoseWithCovariance). The position is the mean of positions: in SE(3) as a whole,
    a spread in heading would pull it sideways. Both are NumPy's, wherever the poses are.
    """
    R, around = mean_rotation(T, weights)
    positions = like(T[:, :3, 3], weights)
    centre = weights @ positions
    offsets = [positions - centre, like(around, weights)]
    deviations = namespace(weights).concat(offsets, axis=1)
    covariance = (deviations * weights[:, None]).T @ deviations
    return poses.from_rotation_translation(host(R), host(centre)), host(covariance)


def tempered_share(log_weights: Array, log_likelihood: Array, least_samples: float) -> float:
    """Largest share in (0, 1] of a log-likelihood that leaves `least_samples` effective samples.

    Found by bisection (adaptive tempering of Del Moral, Doucet, Jasra, "Sequential Monte Carlo
    samplers", JRSS B 2006, and Jasra et al., Scand. J. Stat. 2011).
    """
    if effective_sample_size(log_weights + log_likelihood) >= least_samples:
        return 1.0
    if not is_tensor(log_weights):
        return _tempered_share(log_weights, log_likelihood, least_samples)
    xp = namespace(log_weights)
    low, high = full(1, 0.0, log_weights), full(1, 1.0, log_weights)
    for _ in range(20):  # without a look at the numbers, which a GPU would have to wait for
        middle = 0.5 * (low + high)
        enough = _effective_samples(log_weights + middle * log_likelihood) >= least_samples
        low, high = xp.where(enough, middle, low), xp.where(enough, high, middle)
    return max(float(low[0]), _LEAST_SHARE)


@kernel(nogil=True, error_model="numpy")
def _tempered_share(log_weights: Array, log_likelihood: Array, least_samples: float) -> float:
    """As `tempered_share`, where the whole likelihood leaves too few."""
    low, high = 0.0, 1.0
    for _ in range(20):
        middle, total, squares = 0.5 * (low + high), 0.0, 0.0
        largest = (log_weights + middle * log_likelihood).max()
        for n in range(len(log_weights)):
            weight = math.exp(log_weights[n] + middle * log_likelihood[n] - largest)
            total += weight
            squares += weight * weight
        if total * total >= least_samples * squares:
            low = middle
        else:
            high = middle
    return max(low, _LEAST_SHARE)


def update(
    particles: ParticleSet,
    log_likelihood: LogLikelihood,
    motion: MotionModel,
    settings: FilterSettings,
    rng: Random,
) -> tuple[ParticleSet, int]:
    """Weigh particles by a likelihood, in layers where it is too sharp for them.

    A layer multiplies the weights by a power of the likelihood; then the particles are resampled
    and spread by a kernel, and the next layer takes of the rest what they can stand: an annealed
    particle filter (Deutscher, Blake, Reid, CVPR 2000) with the powers chosen by effective sample
    size. While tracking, the first layer or two take it all.

    Returns:
        The weighed particles and the number of layers.
    """
    least_samples = settings.layer_share * len(particles.states)
    remaining = 1.0
    for layer in range(1, settings.layers + 1):
        values = remaining * log_likelihood(particles)
        share = tempered_share(particles.log_weights, values, least_samples)
        particles = particles.weighed(share * values)
        remaining *= 1.0 - share
        if remaining <= 0.0 or layer == settings.layers:
            return particles, layer
        drawn = particles.resampled(rng)
        states = motion.jitter(drawn.states, settings.bandwidth, rng)
        particles = ParticleSet.uniform(states, drawn.ancestors)
    raise AssertionError("unreachable: settings.layers is at least 1")


def renewed(
    particles: ParticleSet,
    T_map_base: Array,
    size: SampleSize,
    settings: FilterSettings,
    rng: Random,
) -> ParticleSet:
    """Particles, which stand for poses (N, 4, 4), drawn anew if weights are uneven or N is off.

    They become as many as the poses need.
    """
    count = len(particles.states)
    needed = size.needed(T_map_base, particles.weights)
    uneven = effective_sample_size(particles.log_weights) < settings.resample_below * count
    if uneven or not size.lasting(count, needed):
        return particles.resampled(rng, needed)
    return particles


def warm_up(motion: MotionModel, rng: Random) -> tuple[Array, Array]:
    """Compile what moves and draws particles; poses (2, 4, 4) and weights (2,) of two."""
    states = motion.sample(np.eye(4), np.eye(6), 2, rng)
    states = motion.jitter(motion.propagate(states, np.eye(4), rng), 0.4, rng)
    T_map_base, weights = motion.poses(states), ParticleSet.uniform(states).weights
    tempered_share(weights, like([0.0, -1e3], weights), 1.5)
    relative(T_map_base, T_map_base)
    interpolated(np.eye(4), np.eye(4), 0.5)
    return T_map_base, weights


class History:
    """Motions of the particles between stamps, and through every resampling who came from whom.

    A measurement that comes late weighs each particle by where it, or its ancestor, was then. Kept
    are motions, not places: a particle that is moved by a kernel after a resampling takes its past
    along. They are chained when they are asked for, so that a resampling costs one small array. On
    a GPU, where particles are many, a motion is kept as a twist: 24 bytes in place of 64.
    """

    def __init__(self) -> None:
        self._stamps: list[float] = []
        self._motions: list[Array] = []
        self._descents: list[Indices] = []

    def start(self, stamp: float, states: Array) -> None:
        """Forget all; particles (N, ...) begin at a stamp."""
        self._stamps = [stamp]
        self._motions = [states[:0]]  # of the step that ended there, which no one asks for
        self._descents = [numbered(states)]

    def add(self, stamp: float, T_motion: Array) -> None:
        """The particles moved to a stamp, each by T_motion (N, 4, 4) in its own frame."""
        self._stamps.append(stamp)
        self._motions.append(poses.log(T_motion) if is_tensor(T_motion) else T_motion)
        self._descents.append(numbered(T_motion))

    def descend(self, ancestors: Indices) -> None:
        """The particles of now came from those before by index (N,)."""
        self._descents[-1] = self._descents[-1][ancestors]

    def reaches(self, stamp: float) -> bool:
        """Whether the motions since a stamp are kept."""
        return bool(self._stamps) and stamp >= self._stamps[0]

    def back_to(self, stamp: float, odometry: Callable[[float, float], Array]) -> Array:
        """Pose (N, 4, 4) that each particle's ancestor had at a past stamp, in its frame of now.

        Within a step the ancestor moved with odometry, T (4, 4) between two stamps; what noise the
        step had comes in proportion to time.
        """
        index = bisect_right(self._stamps, stamp)
        own = self._descents[-1]
        T_now_then = poses.identity((len(own),), self._motions[-1])
        for step in range(len(self._stamps) - 1, index, -1):
            T_now_then = poses.compose(T_now_then, poses.invert(self._motion(step, own)))
            own = self._descents[step - 1][own]
        if index == len(self._stamps):
            return T_now_then
        start, end = self._stamps[index - 1], self._stamps[index]
        T_motion = self._motion(index, own)
        noise = poses.compose(poses.invert(odometry(start, end)), T_motion)
        still = poses.identity((len(own),), noise)
        noise = poses.interpolate(still, noise, (stamp - start) / (end - start))
        T_since_start = poses.compose(odometry(start, stamp), noise)
        T_now_start = poses.compose(T_now_then, poses.invert(T_motion))
        return poses.compose(T_now_start, T_since_start)

    def forget(self, before: float) -> None:
        """Drop the steps that ended before a stamp."""
        kept = max(bisect_right(self._stamps, before) - 1, 0)
        del self._stamps[:kept], self._motions[:kept], self._descents[:kept]

    def _motion(self, step: int, own: Indices) -> Array:
        """T_motion (N, 4, 4) that a step had for the particles by index."""
        motions = self._motions[step][own]
        return poses.exp(motions) if is_tensor(motions) else motions
