"""The localizer: odometry and label maps in, pose estimates out; a node and a replay run it."""

import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from fgsn_ros.config import require
from fgsn_ros.errors import LocalizationError, MapError
from fgsn_ros.geometry import poses
from fgsn_ros.localization.estimate import Estimate
from fgsn_ros.localization.measurement import LabelMeasurement, MeasurementSettings
from fgsn_ros.localization.motion import MotionModel, MotionSettings, PlanarMotion, SpatialMotion
from fgsn_ros.localization.odometry_buffer import OdometryBuffer
from fgsn_ros.localization.particle_filter import (
    FilterSettings,
    ParticleSet,
    effective_sample_size,
    mean_and_covariance,
    update,
)
from fgsn_ros.mapping.ground import Ground
from fgsn_ros.mapping.semantic_map import SemanticMap
from fgsn_ros.segmentation.labels import UNLABELLED, LabelMap
from fgsn_ros.sequences.recording import CameraMount

if TYPE_CHECKING:  # Spares a localizer without a network the import of torch.
    from fgsn_ros.segmentation.checkpoint import Checkpoint

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class LocalizerSettings:
    """Settings of the particle filter."""

    model: Literal["planar", "spatial"] = "planar"
    """planar: height, roll and pitch from the map's ground; spatial: all of SE(3) is estimated."""
    particles: int = 1000
    """Particles while tracking, >= 2."""
    initial_particles: int = 4000
    """Particles until the estimate has settled after an initial pose, >= particles."""
    settled_std_m: float = 0.5
    """The estimate has settled when x and y are known to this standard deviation [m], > 0."""
    motion: MotionSettings = field(default_factory=MotionSettings)
    """Noise of the odometry."""
    measurement: MeasurementSettings = field(default_factory=MeasurementSettings)
    """Weight of the labels."""
    filter: FilterSettings = field(default_factory=FilterSettings)
    """Resampling and layers."""
    odometry_memory_s: float = 10.0
    """Label maps may arrive this late [s], > 0."""
    max_speed_m_s: float = 70.0
    """Odometry faster than this is a reset [m/s], > 0."""
    seed: int = 0
    """Seed of every random number drawn, >= 0."""

    def __post_init__(self) -> None:
        require(self.model in ("planar", "spatial"), "model must be 'planar' or 'spatial'")
        require(self.particles >= 2, "particles must be at least 2")
        require(self.initial_particles >= self.particles, "initial_particles must be >= particles")
        require(self.settled_std_m > 0.0, "settled_std_m must be above 0")
        require(self.odometry_memory_s > 0.0, "odometry_memory_s must be above 0")
        require(self.max_speed_m_s > 0.0, "max_speed_m_s must be above 0")
        require(self.seed >= 0, "seed must be at least 0")


def check_fingerprint(semantic_map: SemanticMap, checkpoint: "Checkpoint") -> None:
    """Refuse a map that another checkpoint labelled.

    Raises:
        MapError: the fingerprints differ; names both.
    """
    if semantic_map.fingerprint != checkpoint.fingerprint:
        raise MapError(
            f"the map was labelled by checkpoint {semantic_map.fingerprint[:12]}, "
            f"not by the given {checkpoint.fingerprint[:12]}; "
            "give that checkpoint or build the map again with `fgsn map`"
        )


class Localizer:
    """Particle-filter localization on a semantic map.

    The particles carry a time, that of the newest label map weighed. `add_odometry` only fills a
    buffer; `add_labels` moves the particles to the label map's own capture time and weighs them. A
    label map older than the particles is weighed where odometry says they were.
    """

    def __init__(
        self,
        semantic_map: SemanticMap,
        log_ratio: npt.NDArray[np.floating],
        mounts: Mapping[str, CameraMount],
        settings: LocalizerSettings | None = None,
    ) -> None:
        """Prepare for a map, label statistics (K, K) [observed, map] and cameras by name.

        Raises:
            LocalizationError: the statistics do not fit the map, or no camera is given.
        """
        self.settings = settings or LocalizerSettings()
        self._motion = _motion_model(semantic_map, self.settings)
        self._measurement = LabelMeasurement(
            semantic_map, log_ratio, mounts, self.settings.measurement
        )
        self._odometry = OdometryBuffer(
            self.settings.odometry_memory_s, self.settings.max_speed_m_s
        )
        self._rng = np.random.default_rng(self.settings.seed)
        self._particles: ParticleSet | None = None
        self._stamp = float("-inf")
        self._settled = False
        self.skipped: Counter[str] = Counter()
        """Label maps that were not weighed, by reason."""
        self.seconds: defaultdict[str, float] = defaultdict(float)
        """Time spent, by step."""

    @property
    def initialized(self) -> bool:
        """Whether an initial pose was given (and no odometry jump has voided it)."""
        return self._particles is not None

    @property
    def stamp(self) -> float:
        """Time that the particles stand for [s]."""
        return self._stamp

    @property
    def particles(self) -> tuple[Array, Array]:
        """T_map_base (N, 4, 4) and weights (N,) at `stamp`.

        Raises:
            LocalizationError: no initial pose was given.
        """
        current = self._require_particles()
        return self._motion.poses(current.states), current.weights

    def initialize(self, stamp: float, T_map_base: Array, std: npt.ArrayLike) -> None:
        """Draw the particles around a pose; std (6,) x y z [m] roll pitch yaw [rad].

        The odometry before `stamp` stays known. Results depend on the seed and what came since.

        Raises:
            LocalizationError: a value is not finite or a std is negative.
        """
        pose, spread = np.asarray(T_map_base, np.float64), np.asarray(std, np.float64)
        finite = np.isfinite(pose).all() and np.isfinite(spread).all() and np.isfinite(stamp)
        if pose.shape != (4, 4) or spread.shape != (6,) or not finite or (spread < 0).any():
            raise LocalizationError(
                "an initial pose needs a finite stamp, a (4, 4) pose and 6 deviations >= 0"
            )
        self._rng = np.random.default_rng(self.settings.seed)
        count = self.settings.initial_particles
        self._particles = ParticleSet.uniform(self._motion.sample(pose, spread, count, self._rng))
        self._stamp = stamp
        self._settled = False
        self._measurement.restart()

    def add_odometry(self, stamp: float, T_odom_base: Array) -> None:
        """Add an odometry pose (4, 4).

        Raises:
            LocalizationError: NaN, time going backwards, or a jump; after a jump an initial pose is
                needed again.
        """
        last = self._odometry.last
        try:
            self._odometry.add(stamp, T_odom_base)
        except LocalizationError:
            if self._odometry.last > last:  # The buffer started anew: the chain of motion is cut.
                self._particles = None
            raise

    def add_labels(self, stamp: float, camera: str, label_map: LabelMap) -> Estimate | None:
        """Weigh the particles with a label map; None where it cannot be used (see `skipped`).

        Raises:
            LocalizationError: the camera is unknown, or the label map does not fit it or the map.
        """
        self._measurement.require_camera(camera)
        reason = self._unusable(stamp)
        if reason:
            self.skipped[reason] += 1
            return None
        with self.timed("propagate"):
            self._propagate(stamp)
        return self._weigh(stamp, camera, label_map)

    def _unusable(self, stamp: float) -> str | None:
        if self._particles is None:
            return "no initial pose"
        if self._odometry.empty or stamp > self._odometry.last:
            return "ahead of odometry"
        if stamp < self._odometry.first:
            return "older than odometry"
        return None

    def _propagate(self, stamp: float) -> None:
        """Move the particles to a stamp, if it is newer than theirs."""
        if stamp <= self._stamp:
            return
        current = self._require_particles()
        start = self._odometry.at(self._odometry_stamp)
        T_delta = poses.compose(poses.invert(start), self._odometry.at(stamp))
        states = self._motion.propagate(current.states, T_delta, self._rng)
        self._particles = ParticleSet(states, current.log_weights)
        self._stamp = stamp

    def _weigh(self, stamp: float, camera: str, label_map: LabelMap) -> Estimate:
        current = self._require_particles()
        T_odom_base = self._odometry.at(stamp)
        # From the particles' time to the label map's: the identity unless the map came late.
        T_late = poses.compose(poses.invert(self._odometry.at(self._odometry_stamp)), T_odom_base)

        def at_labels(states: Array) -> Array:
            return self._motion.poses(self._motion.displace(states, T_late))

        with self.timed("select"):
            prediction = mean_and_covariance(at_labels(current.states), current.weights)
            likelihood = self._measurement.likelihood(
                camera, label_map, prediction, T_odom_base, self._rng
            )
        with self.timed("weigh"):
            layers = 0
            if likelihood.power > 0.0:
                current, layers = update(
                    current,
                    lambda states: likelihood(at_labels(states)),
                    self._motion,
                    self.settings.filter,
                    self._rng,
                )
        with self.timed("estimate"):
            T_map_base, covariance = mean_and_covariance(at_labels(current.states), current.weights)
            visible, score = likelihood.match(T_map_base)
        self._particles = self._resampled(current, covariance)
        return Estimate(
            stamp=stamp,
            camera=camera,
            T_map_base=T_map_base,
            covariance=covariance + np.diag(self._motion.unmodelled_variance),
            effective_sample_size=effective_sample_size(current.log_weights),
            layers=layers,
            selected_points=len(likelihood.selected),
            visible_points=visible,
            match_score=score,
            unlabelled_share=float((label_map.labels == UNLABELLED).mean()),
        )

    @property
    def _odometry_stamp(self) -> float:
        """Time of the particles; before the first odometry the robot is taken to stand still."""
        return max(self._stamp, self._odometry.first)

    def _resampled(self, current: ParticleSet, covariance: Array) -> ParticleSet:
        """Resampled if the weights are uneven, or once to fewer when the pose has settled."""
        settings = self.settings
        if not self._settled and covariance[0, 0] + covariance[1, 1] < settings.settled_std_m**2:
            self._settled = True
            return current.resampled(self._rng, settings.particles)
        least = settings.filter.resample_below * len(current.states)
        if effective_sample_size(current.log_weights) < least:
            return current.resampled(self._rng)
        return current

    def _require_particles(self) -> ParticleSet:
        if self._particles is None:
            raise LocalizationError("the localizer has no particles; give an initial pose first")
        return self._particles

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Add the time of a `with` block to `seconds`."""
        start = time.perf_counter()
        yield
        self.seconds[step] += time.perf_counter() - start


def _motion_model(semantic_map: SemanticMap, settings: LocalizerSettings) -> MotionModel:
    if settings.model == "spatial":
        return SpatialMotion(settings.motion)
    return PlanarMotion(settings.motion, Ground(semantic_map.keyframe_poses))
