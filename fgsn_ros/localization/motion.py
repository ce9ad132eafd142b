"""Motion models: how particles move with odometry, and how noise spreads them.

Noise is a random walk: its variance grows with the distance and the angle driven, whatever the rate
of the frames, so "0.05 per metre" is a standard deviation of 0.05 m after 1 m and of 0.5 m after
100 m. (The odometry model of Thrun, Burgard, Fox, "Probabilistic Robotics", 2005, Sec. 5.4, with
increments added as variances.)
"""

import math
from dataclasses import dataclass, fields
from typing import Any, Literal, Protocol

import numpy as np

from fgsn_ros.config import require
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.arrays import Array, host, is_tensor, like, namespace, product, zeros
from fgsn_ros.localization import particle_poses
from fgsn_ros.localization.odometry_buffer import Doubt, OdometryBuffer
from fgsn_ros.mapping.ground import Ground, MapGround
from fgsn_ros.mapping.semantic_map import SemanticMap


@dataclass(frozen=True)
class MotionSettings:
    """Odometry noise: standard deviations after one metre or one radian of motion, in [0, 10)."""

    longitudinal_per_metre: float = 0.05
    """Along the robot's x axis [m after 1 m]."""
    longitudinal_per_radian: float = 0.05
    """Along the robot's x axis [m after 1 rad]."""
    lateral_per_metre: float = 0.03
    """Along the robot's y axis [m after 1 m]."""
    lateral_per_radian: float = 0.05
    """Along the robot's y axis [m after 1 rad]."""
    yaw_per_metre: float = 0.004
    """Heading [rad after 1 m]."""
    yaw_per_radian: float = 0.05
    """Heading [rad after 1 rad]."""
    scale: float = 0.03
    """Share by which odometry's distances are wrong, at the start; planar model only."""
    scale_per_metre: float = 0.001
    """How that share wanders [share after 1 m]; planar model only."""
    vertical_per_metre: float = 0.02
    """Height, spatial model only [m after 1 m]."""
    tilt_per_metre: float = 0.003
    """Roll and pitch, spatial model only [rad after 1 m]."""
    ground_height: float = 0.05
    """Height above the map's ground, planar model only: standard deviation reported [m]."""
    ground_tilt: float = 0.01
    """Roll and pitch against the map's ground, planar model only [rad]."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            require(0.0 <= value < 10.0, f"motion: {field.name} must be in [0, 10), not {value}")

    def std(self, T_delta: Array) -> Array:
        """Standard deviations (6,) x y z [m], roll pitch yaw [rad] of one odometry increment."""
        metres = float(np.linalg.norm(T_delta[:3, 3]))
        radians = float(poses.rotation_angle(T_delta))
        return np.sqrt(
            [
                self.longitudinal_per_metre**2 * metres + self.longitudinal_per_radian**2 * radians,
                self.lateral_per_metre**2 * metres + self.lateral_per_radian**2 * radians,
                self.vertical_per_metre**2 * metres,
                self.tilt_per_metre**2 * metres,
                self.tilt_per_metre**2 * metres,
                self.yaw_per_metre**2 * metres + self.yaw_per_radian**2 * radians,
            ]
        )


class Random(Protocol):
    """Random numbers: a NumPy generator, or one that draws tensors where the particles are."""

    def standard_normal(self, size: Any, /) -> Any:
        """Normal numbers of mean 0 and variance 1, an array of a shape; the states are such too."""

    def random(self) -> Any:
        """A number in [0, 1)."""


class MotionModel(Protocol):
    """What the filter asks of a motion model; states are (N, ...), of the kind that is drawn."""

    @property
    def unmodelled_variance(self) -> Array:
        """Variances (6,) x y z roll pitch yaw of what the states leave out [m^2, rad^2]."""

    def sample(self, T_map_base: Array, covariance: Array, count: int, rng: Random) -> Array:
        """States around a pose; covariance (6, 6) x y z [m] roll pitch yaw [rad], map's axes."""

    def propagate(self, states: Array, T_delta: Array, rng: Random) -> Array:
        """States moved by an odometry increment (4, 4) with noise."""

    def displace(self, states: Array, T_delta: Array) -> Array:
        """States moved by an increment (4, 4) without noise."""

    def stray(self, states: Array, doubt: Doubt, rng: Random) -> Array:
        """Every second state moved on by what the robot may have done: an arc of two sigma."""

    def poses(self, states: Array) -> Array:
        """T_map_base (N, 4, 4)."""

    def jitter(self, states: Array, bandwidth: float, rng: Random) -> Array:
        """States spread by a kernel that keeps their mean and covariance (`kernel_shrinkage`)."""


def motion_model(
    name: Literal["planar", "spatial"], settings: MotionSettings, semantic_map: SemanticMap
) -> MotionModel:
    """The named motion model; the planar one stands on the ground of the map's key frames."""
    if name == "spatial":
        return SpatialMotion(settings)
    return PlanarMotion(settings, MapGround(semantic_map))


class PlanarMotion:
    """States (N, 4): x, y [m] and yaw [rad] in the map, and true metres per metre of odometry.

    The ground gives the rest of the pose. Wheels wear and tyres lose air: with a scale that is not
    estimated, the estimate lags by what each frame leaves uncorrected.
    """

    def __init__(self, settings: MotionSettings, ground: Ground | MapGround) -> None:
        self._settings = settings
        self._ground = ground
        self._placed: tuple[Array, Array] | None = None  # the last states and their poses

    @property
    def unmodelled_variance(self) -> Array:
        """Variances (6,) of height, roll and pitch, which the particles share."""
        height, tilt = self._settings.ground_height, self._settings.ground_tilt
        return np.square([0.0, 0.0, height, tilt, tilt, 0.0])

    def sample(self, T_map_base: Array, covariance: Array, count: int, rng: Random) -> Array:
        """States (N, 4); only x, y and yaw of the pose and of the covariance matter."""
        mean = np.array([*T_map_base[:2, 3], poses.to_rpy(T_map_base)[2], 1.0])
        spread = np.zeros((4, 4))
        spread[:3, :3] = square_root(covariance[np.ix_([0, 1, 5], [0, 1, 5])])
        spread[3, 3] = self._settings.scale
        noise = rng.standard_normal((count, 4))
        states: Array = like(mean, noise) + noise @ like(spread.T, noise)
        return states

    def propagate(self, states: Array, T_delta: Array, rng: Random) -> Array:
        """States (N, 4) moved by x, y and yaw of the increment, with noise in the robot's axes."""
        metres = float(np.linalg.norm(T_delta[:3, 3]))
        scale = self._settings.scale_per_metre * np.sqrt(metres)
        std = np.array([*self._settings.std(T_delta)[[0, 1, 5]], scale])
        noise = like(std, states) * rng.standard_normal(states.shape)
        return _move_planar(states, _planar(T_delta), noise)

    def displace(self, states: Array, T_delta: Array) -> Array:
        """States (N, 4) moved by x, y and yaw of the increment."""
        return _move_planar(states, _planar(T_delta), zeros((1, 4), states))

    def stray(self, states: Array, doubt: Doubt, rng: Random) -> Array:
        """Every second state (N, 4) moved on along an arc."""
        metres, turn = _straying(doubt, states, rng)
        xp = namespace(states)
        across = 0.5 * turn
        moved = [metres * xp.cos(across), metres * xp.sin(across), turn, 0.0 * turn]
        return _move_planar(states, np.zeros(3), xp.stack(moved, axis=1))

    def poses(self, states: Array) -> Array:
        """T_map_base (N, 4, 4) standing on the ground; of the same states, the same array again."""
        if self._placed is None or self._placed[0] is not states:
            T_map_base = self._ground.poses(states[:, :3])
            if isinstance(T_map_base, np.ndarray):
                T_map_base.setflags(write=False)
            self._placed = states, T_map_base
        return self._placed[1]

    def jitter(self, states: Array, bandwidth: float, rng: Random) -> Array:
        """States (N, 4) spread by a kernel that keeps their mean and covariance."""
        # Headings are averaged around one of them, so that the wrap at pi does no harm.
        reference = like([0.0, 0.0, float(states[0, 2]), 0.0], states)
        offsets = states - reference
        offsets[:, 2] = poses.wrap_angle(offsets[:, 2])
        return reference + kernel_shrinkage(offsets, bandwidth, rng)


class SpatialMotion:
    """States (N, 4, 4): T_map_base itself; nothing is known of the ground."""

    def __init__(self, settings: MotionSettings) -> None:
        self._settings = settings

    @property
    def unmodelled_variance(self) -> Array:
        """Zeros (6,): the states are whole poses."""
        return np.zeros(6)

    def sample(self, T_map_base: Array, covariance: Array, count: int, rng: Random) -> Array:
        """States (N, 4, 4); the covariance is along and around the map's axes."""
        noise = rng.standard_normal((count, 6))
        noise = noise @ like(square_root(covariance).T, noise)
        T = like(T_map_base, noise)
        still = zeros((count, 3), noise)
        states = poses.exp(namespace(noise).concat([still, noise[:, 3:]], axis=1))
        states[:, :3, :3] = product(states[:, :3, :3], T[:3, :3])
        states[:, :3, 3] = T[:3, 3] + noise[:, :3]
        return states

    def propagate(self, states: Array, T_delta: Array, rng: Random) -> Array:
        """States (N, 4, 4) moved by the increment, then by a random twist in the robot's axes."""
        noise = like(self._settings.std(T_delta), states) * rng.standard_normal((len(states), 6))
        return particle_poses.moved(poses.compose(states, T_delta), noise)

    def displace(self, states: Array, T_delta: Array) -> Array:
        """States (N, 4, 4) moved by the increment."""
        return poses.compose(states, T_delta)

    def stray(self, states: Array, doubt: Doubt, rng: Random) -> Array:
        """Every second state (N, 4, 4) moved on along an arc."""
        metres, turn = _straying(doubt, states, rng)
        still = 0.0 * turn
        twists = namespace(states).stack([metres, still, still, still, still, turn], axis=1)
        return particle_poses.moved(states, twists)

    def poses(self, states: Array) -> Array:
        """The states themselves."""
        return states

    def jitter(self, states: Array, bandwidth: float, rng: Random) -> Array:
        """States (N, 4, 4) spread, in the tangent space at their mean, by a kernel."""
        mean, twists = particle_poses.tangent(states, zeros((len(states),), states) + 1.0)
        return particle_poses.moved(mean[None], kernel_shrinkage(twists, bandwidth, rng))


def kernel_shrinkage(values: Array, bandwidth: float, rng: Random) -> Array:
    """Values (N, D) drawn from Gaussian kernels around shrunken values.

    x' = a x + (1 - a) mean + h n, with n of the values' covariance and a = sqrt(1 - h^2): mean and
    covariance stay (Liu and West, in "Sequential Monte Carlo Methods in Practice", 2001, Ch. 10.3).
    """
    mean = values.mean(axis=0)
    spread = square_root(_covariance(values))
    noise = rng.standard_normal(values.shape) @ like(spread.T, values)
    shrunken: Array = mean + math.sqrt(1.0 - bandwidth**2) * (values - mean) + bandwidth * noise
    return shrunken


def square_root(covariance: Array) -> Array:
    """Matrix A (n, n) with A A^T a covariance (n, n), which may be singular."""
    variances, axes = np.linalg.eigh(covariance)
    root: Array = axes * np.sqrt(np.maximum(variances, 0.0))
    return root


def _covariance(values: Array) -> Array:
    """Covariance (D, D) of values (N, D), on the host."""
    if is_tensor(values):
        return host(namespace(values).cov(values.T, correction=0))
    covariance: Array = np.cov(values, rowvar=False, bias=True)
    return covariance


def _straying(doubt: Doubt, states: Array, rng: Random) -> tuple[Array, Array]:
    """Metres forward (N,) and radians (N,) of particles: every first stays where it is.

    Those who do not stray keep a pose that is right; the others find one that is not.
    """
    noise = rng.standard_normal((len(states), 2))
    noise[::2] = 0.0
    return abs(noise[:, 0]) * (0.5 * doubt.reach_m), noise[:, 1] * (0.5 * doubt.turn_rad)


def _planar(T_delta: Array) -> Array:
    return np.array([T_delta[0, 3], T_delta[1, 3], np.arctan2(T_delta[1, 0], T_delta[0, 0])])


def _move_planar(states: Array, increment: Array, noise: Array) -> Array:
    """States (N, 4) moved by x, y, yaw (3,), scaled by each state's scale; noise (N or 1, 4)."""
    forward, left = (states[:, 3] * increment[k] + noise[:, k] for k in (0, 1))
    xp = namespace(states)
    cosine, sine = xp.cos(states[:, 2]), xp.sin(states[:, 2])
    x = states[:, 0] + cosine * forward - sine * left
    y = states[:, 1] + sine * forward + cosine * left
    yaw = poses.wrap_angle(states[:, 2] + increment[2] + noise[:, 2])
    moved: Array = xp.stack([x, y, yaw, states[:, 3] + noise[:, 3]], axis=1)
    return moved


def carried_on(
    motion: MotionModel,
    states: Array,
    stamp: float,
    odometry: OdometryBuffer,
    step_s: float,
    rng: Random,
) -> tuple[Array, Array]:
    """States (N, ...) of a stamp [s] at the newest odometry: moved by it alone, and with noise."""
    certain = states
    for end, doubt in odometry.steps(stamp, odometry.last, step_s):
        moved = odometry.motion(stamp, end)
        certain = motion.displace(certain, moved)
        states = motion.propagate(states, moved, rng)
        if doubt is not None:
            states = motion.stray(states, doubt, rng)
        stamp = end
    return certain, states
