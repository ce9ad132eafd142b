"""The localizer: odometry and label maps in, pose estimates out; a node and a replay run it."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import numpy as np
import numpy.typing as npt

from fgsn_ros.config import require
from fgsn_ros.errors import LocalizationError
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.arrays import Array, copy, host
from fgsn_ros.geometry.cameras import CameraMount
from fgsn_ros.localization.device import DeviceName, StepTimes, available, random_numbers, wait
from fgsn_ros.localization.estimate import Estimate
from fgsn_ros.localization.initial_pose import InitialPose
from fgsn_ros.localization.measured_pose import FeatureEvidence, MeasuredPose, PoseFinder
from fgsn_ros.localization.measurement import (
    Grid,
    LabelMeasurement,
    MeasurementSettings,
    PinholeGrid,
)
from fgsn_ros.localization.motion import MotionSettings, carried_on, motion_model
from fgsn_ros.localization.odometry_buffer import Doubt, Gap, OdometryBuffer
from fgsn_ros.localization.particle_filter import (
    FilterSettings,
    History,
    ParticleSet,
    effective_sample_size,
    mean_and_covariance,
    renewed,
    update,
    warm_up,
)
from fgsn_ros.localization.particle_poses import relative
from fgsn_ros.localization.probing import Comparison, Probe, ProbeSettings, View
from fgsn_ros.localization.sample_size import KldSettings, SampleSize
from fgsn_ros.mapping.descriptors import ImageFeatures
from fgsn_ros.mapping.semantic_map import SemanticMap
from fgsn_ros.segmentation.labels import UNLABELLED, LabelMap

APART_M, APART_SIGMAS = 2.5, 3.0
"""A pose so far from the estimate [m], and so many of its standard deviations, is another one."""
STEP_S = 1.0
"""Without labels, particles move in steps of this [s]: noise follows the way, not the chord."""


@dataclass(frozen=True)
class LocalizerSettings:
    """Settings of the particle filter."""

    model: Literal["planar", "spatial"] = "planar"
    """planar: height, roll and pitch from the map's ground; spatial: all of SE(3) is estimated."""
    device: DeviceName = "cpu"
    """Where the particles are: cpu, cuda (an NVIDIA GPU), or auto: the GPU if there is one."""
    min_particles: int = 1000
    """Particles at least: while tracking, >= 2."""
    max_particles: int = 4000
    """Particles at most: as many of them as an unsure pose needs, >= min_particles."""
    kld: KldSettings = field(default_factory=KldSettings)
    """How closely the particles stand for where the robot may be (KLD sampling)."""
    motion: MotionSettings = field(default_factory=MotionSettings)
    """Noise of the odometry."""
    measurement: MeasurementSettings = field(default_factory=MeasurementSettings)
    """Weight of the labels."""
    filter: FilterSettings = field(default_factory=FilterSettings)
    """Resampling and layers."""
    probe: ProbeSettings = field(default_factory=ProbeSettings)
    """Comparison with other poses on the map."""
    odometry_memory_s: float = 10.0
    """Label maps may arrive this late [s], > 0."""
    max_speed_m_s: float = 70.0
    """Odometry faster than this is a reset [m/s], > 0."""
    odometry_gap_s: float = 1.0
    """Odometry that pauses for longer leaves a gap, in which the robot may have done what its speed
    allows [s], > 0."""
    reach_m: float = 150.0
    """The robot is looked for so far from where it was thought to be, and no further [m], > 0."""
    random_seed: int = 0
    """Seed of every random number drawn, >= 0."""

    def __post_init__(self) -> None:
        require(self.model in ("planar", "spatial"), "model must be 'planar' or 'spatial'")
        require(self.device in ("cpu", "cuda", "auto"), "device must be 'cpu', 'cuda' or 'auto'")
        require(self.min_particles >= 2, "min_particles must be at least 2")
        require(self.max_particles >= self.min_particles, "max_particles must be >= min_particles")
        require(self.odometry_memory_s > 0.0, "odometry_memory_s must be above 0")
        require(self.max_speed_m_s > 0.0, "max_speed_m_s must be above 0")
        require(self.odometry_gap_s > 0.0, "odometry_gap_s must be above 0")
        require(self.reach_m > 0.0, "reach_m must be above 0")
        require(self.random_seed >= 0, "random_seed must be at least 0")


class Localizer:
    """Particle-filter localization on a semantic map.

    The particles carry a time, that of the newest label map weighed. `add_odometry` only fills a
    buffer; `add_labels` moves the particles to the label map's own capture time and weighs them. A
    label map older than the particles weighs each by where its own ancestor was then.
    """

    def __init__(
        self,
        semantic_map: SemanticMap,
        log_ratio: npt.NDArray[np.floating],
        mounts: Mapping[str, CameraMount],
        settings: LocalizerSettings | None = None,
        finder: PoseFinder | None = None,
    ) -> None:
        """Prepare for a map, label statistics (K, K) [observed, map], cameras by name, a finder.

        Raises:
            LocalizationError: the statistics do not fit the map, or there is no such device.
        """
        self._map = semantic_map
        self._log_ratio = log_ratio
        self.features = FeatureEvidence(finder)
        """What local features say of the pose."""
        self.odometry = OdometryBuffer()
        """The last seconds of odometry."""
        self._history = History()
        self._configure(settings or LocalizerSettings(), mounts)
        self._device = available(self._settings.device)
        self._seed()
        self._particles: ParticleSet | None = None
        self._stamp = float("-inf")
        self.skipped: Counter[str] = Counter()
        """Label maps that were not weighed, by reason."""
        self.views = 0
        """Label maps so far that poses can be compared by."""
        self._times = StepTimes(partial(wait, self._device))

    @property
    def seconds(self) -> defaultdict[str, float]:
        """Time spent in the filter, by step."""
        return self._times.seconds

    @property
    def settings(self) -> LocalizerSettings:
        """Settings in force; new ones leave the particles as they are.

        Raises:
            LocalizationError: on setting, if the motion model or the device is another.
        """
        return self._settings

    @settings.setter
    def settings(self, settings: LocalizerSettings) -> None:
        before = self._settings
        if (settings.model, settings.device) != (before.model, before.device):
            raise LocalizationError("another motion model or device needs a new start")
        self._configure(settings, self._measurement.mounts)

    def _configure(self, settings: LocalizerSettings, mounts: Mapping[str, CameraMount]) -> None:
        self._settings = settings
        self._motion = motion_model(settings.model, settings.motion, self._map)
        self._measurement = LabelMeasurement(
            self._map, self._log_ratio, mounts, settings.measurement
        )
        self._size = SampleSize(settings.min_particles, settings.max_particles, settings.kld)
        selection = settings.measurement.selection
        self._probe = Probe(self._map, selection, self._measurement.table)
        self.odometry.limit(
            settings.odometry_memory_s + STEP_S,
            settings.max_speed_m_s,
            settings.odometry_gap_s,
            settings.reach_m,
        )

    @property
    def initialized(self) -> bool:
        """Whether an initial pose was given, and time has not started anew since."""
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
        T_map_base, weights = self._placed()
        return host(T_map_base), host(weights)

    @property
    def pose(self) -> tuple[Array, Array]:
        """Mean T_map_base (4, 4) and covariance (6, 6) of the particles at `stamp`.

        Raises:
            LocalizationError: no initial pose was given.
        """
        mean, covariance = mean_and_covariance(*self._placed())
        return mean, self._reported(mean, covariance, self._stamp)

    def _reported(self, T_map_base: Array, covariance: Array, stamp: float) -> Array:
        """The particles' covariance (6, 6), and that of what they leave out.

        The error that labels share returns over the way that the robot goes by them alone.
        """
        shared = self._settings.measurement.shared_covariance(T_map_base)
        if self.odometry.unknown_since(stamp) is None:
            shared *= self.features.alone(self.odometry.at(stamp)) ** 2
        return covariance + shared + np.diag(self._motion.unmodelled_variance)

    @property
    def predicted(self) -> tuple[Array, Array]:
        """T_map_base (4, 4) and covariance (6, 6) at the newest odometry, which nothing confirms.

        The particles stay where they are: labels may still come for the time between.

        Raises:
            LocalizationError: no initial pose was given.
        """
        current = self._require_particles()
        draws = random_numbers(self._device, np.random.default_rng([self._settings.random_seed, 1]))
        moved = self._motion, current.states, self._stamp, self.odometry, STEP_S
        certain, states = carried_on(*moved, draws)
        T_map_base, _ = mean_and_covariance(self._motion.poses(certain), current.weights)
        mean, covariance = mean_and_covariance(self._motion.poses(states), current.weights)
        off = np.append(mean[:3, 3] - T_map_base[:3, 3], np.zeros(3))
        stamp = max(self._stamp, self.odometry.last)
        return T_map_base, self._reported(T_map_base, covariance + np.outer(off, off), stamp)

    def set_mount(self, camera: str, mount: CameraMount) -> None:
        """Mount a camera, or say where it is at the next label map."""
        self._measurement.set_mount(camera, mount)

    def initialize(self, initial: InitialPose) -> None:
        """Draw the particles around a pose, which is of the newest odometry if it has no stamp.

        The odometry before stays known. Results depend on the seed and what came since.

        Raises:
            LocalizationError: the pose has no stamp, and there is no odometry.
        """
        stamp = self.odometry.last if initial.stamp is None else initial.stamp
        if not np.isfinite(stamp):
            raise LocalizationError("an initial pose without a stamp needs odometry first")
        self._seed()
        most = self._size.most
        states = self._motion.sample(initial.T_map_base, initial.covariance, most, self._draws)
        if initial.doubt is not None:
            states = self._motion.stray(states, initial.doubt, self._draws)
        drawn = ParticleSet.uniform(states)
        # Each is drawn independently of the others: the first ones are a smaller sample.
        states = states[: self._size.needed(self._motion.poses(states), drawn.weights)]
        self._particles = ParticleSet.uniform(states)
        self._stamp = stamp
        self.features.restart()
        self._history.start(stamp, states)
        self.odometry.needed_since = stamp
        self._measurement.restart()

    def _seed(self) -> None:
        """Begin the random numbers anew: of the host, and of where the particles are."""
        self._rng = np.random.default_rng(self._settings.random_seed)
        self._draws = random_numbers(self._device, self._rng)

    def reset(self) -> None:
        """Forget odometry and particles, as when time starts anew."""
        self.odometry.clear()
        self.forget_pose()

    def forget_pose(self) -> None:
        """Drop the particles, and what was seen from them."""
        self._probe.forget()
        self._particles = None
        self.odometry.needed_since = np.inf

    def forget_views(self, before: float) -> None:
        """Compare poses only by label maps from a stamp on [s]: the robot may have been carried."""
        self._probe.forget_before(before)

    def warm_up(self) -> None:
        """Compile what moves and weighs the particles: the first labels need not wait for it."""
        draws = random_numbers(self._device, np.random.default_rng(0))
        T_map_base, weights = warm_up(self._motion, draws)
        for T in (T_map_base, copy(T_map_base)):  # that may not be written, and that may
            mean_and_covariance(T, weights)
            self._measurement.warm_up(T)
        self._size.needed(T_map_base, weights)

    def request_update(self) -> None:
        """Let the next label map count in full, even if the robot has not moved."""
        self._measurement.restart()

    def add_odometry(self, stamp: float, T_odom_base: Array) -> Gap | None:
        """Add an odometry pose (4, 4); the gap in odometry that it ends, if any.

        Raises:
            LocalizationError: NaN, or time going backwards.
        """
        gap = self.odometry.add(stamp, T_odom_base)
        if gap is not None:
            self._probe.forget()
        if self._particles is not None:
            # Before labels would be too late the particles wait for them; then they move on.
            latest = stamp - self._settings.odometry_memory_s
            for end, doubt in self.odometry.steps(self._stamp, stamp, STEP_S):
                if end > latest:
                    break
                self._step(end, doubt)
        return gap

    def add_labels(
        self,
        stamp: float,
        camera: str,
        label_map: LabelMap,
        features: ImageFeatures | None = None,
    ) -> Estimate | None:
        """Weigh the particles with a label map; None where it cannot be used (see `skipped`).

        Local features of the same image are weighed too, where there is a finder.

        Raises:
            LocalizationError: the camera is unknown, or the label map does not fit it or the map.
        """
        self._measurement.require_camera(camera)
        reason = self._unusable(stamp)
        if reason:
            self.skipped[reason] += 1
            return None
        with self._times.timed("propagate"):
            for end, doubt in self.odometry.steps(self._stamp, stamp, STEP_S):
                self._step(end, doubt)
        return self._weigh(stamp, camera, label_map, features)

    def _unusable(self, stamp: float) -> str | None:
        if self._particles is None:
            return "no initial pose"
        unknown = self.odometry.unknown_since(stamp)
        return unknown or (None if self._history.reaches(stamp) else "before the initial pose")

    def _step(self, stamp: float, doubt: Doubt | None) -> None:
        """Move the particles to a stamp by odometry, and where the robot may be beside."""
        current = self._require_particles()
        moved = self.odometry.motion(self._stamp, stamp)
        count = self._size.most if doubt is not None else self._size.needed(*self._placed())
        if count > len(current.states) or doubt is not None:
            # Copies part by the noise of their ways.
            current = current.begun(current.states).resampled(self._draws, count)
            self._history.descend(current.ancestors)
        if doubt is not None:
            self._measurement.restart()
            self._probe.forget()
            self.features.restart()
        states = self._motion.propagate(current.states, moved, self._draws)
        if doubt is not None:
            states = self._motion.stray(states, doubt, self._draws)
        before = self._motion.poses(current.states)
        self._history.add(stamp, relative(before, self._motion.poses(states)))
        self._history.forget(stamp - self._settings.odometry_memory_s)
        self._particles = current.begun(states)
        self._stamp = self.odometry.needed_since = stamp

    def _poses_at(self, stamp: float) -> Callable[[ParticleSet], Array]:
        """Where particles that descend from those of now were, or are, at a stamp (N, 4, 4)."""
        if stamp >= self._stamp:
            return lambda particles: self._motion.poses(particles.states)
        T_now_then = self._history.back_to(stamp, self.odometry.motion)
        return lambda particles: poses.compose(
            self._motion.poses(particles.states), T_now_then[particles.ancestors]
        )

    def _weigh(
        self, stamp: float, camera: str, label_map: LabelMap, features: ImageFeatures | None
    ) -> Estimate:
        current = self._require_particles()
        current = current.begun(current.states)
        poses_at = self._poses_at(stamp)
        with self._times.timed("select"):
            prediction = mean_and_covariance(poses_at(current), current.weights)
            likelihood = self._measurement.likelihood(
                camera, label_map, prediction, self.odometry.at(stamp), self._rng
            )
        with self._times.timed("match"):
            seen = features, label_map, self._measurement.mounts[camera]
            likelihood.measured = measured = self.features.near(*seen, *prediction)
            if stamp >= self._stamp and self.features.contradict(measured, poses_at(current)):
                assert measured is not None
                current = measured.divided(current, prediction, self._motion, self._draws)
                likelihood.measured = None  # it is counted there
        with self._times.timed("weigh"):
            layers, moving = 0, (self._motion, self._settings.filter, self._draws)
            if likelihood.tells:
                current, layers = update(current, lambda p: likelihood(poses_at(p)), *moving)
        with self._times.timed("estimate"):
            T_map_base, covariance = mean_and_covariance(
                self._motion.poses(current.states), current.weights
            )
            at_labels = T_map_base
            if stamp < self._stamp:
                at_labels, _ = mean_and_covariance(poses_at(current), current.weights)
            match = likelihood.match(at_labels)
        if features is not None:
            self.features.judge(measured, at_labels, covariance, self.odometry.at(stamp))
        with self._times.timed("probe"):
            if stamp >= self._stamp:  # one that came late has nothing new to say
                self._view(stamp, camera, likelihood.pinhole, likelihood.grid)
        with self._times.timed("resample"):
            T = self._motion.poses(current.states)
            filtering = self._settings.filter
            self._particles = renewed(current, T, self._size, filtering, self._draws)
            self._history.descend(self._particles.ancestors)
        return Estimate(
            stamp=self._stamp,
            labels_stamp=stamp,
            camera=camera,
            T_map_base=T_map_base,
            covariance=self._reported(T_map_base, covariance, self._stamp),
            effective_sample_size=effective_sample_size(current.log_weights),
            layers=layers,
            selected_points=len(likelihood.selected),
            visible_points=match.visible_points,
            match_score=match.score,
            match_quality=match.quality,
            unlabelled_share=float((label_map.labels == UNLABELLED).mean()),
        )

    def located(
        self, camera: str, label_map: LabelMap, features: ImageFeatures | None
    ) -> MeasuredPose | None:
        """Where on the whole map an image was taken, if its local features tell."""
        with self._times.timed("locate"):
            return self.features.anywhere(features, label_map, self._measurement.mounts[camera])

    def add_view(self, stamp: float, camera: str, label_map: LabelMap) -> bool:
        """Take a label map to search by, without a pose; whether it can be used (see `skipped`).

        Raises:
            LocalizationError: the camera is unknown, or the label map does not fit it or the map.
        """
        self._measurement.require_camera(camera)
        reason = self.odometry.unknown_since(stamp)
        if reason:
            self.skipped[reason] += 1
            return False
        with self._times.timed("probe"):
            self._view(stamp, camera, *self._measurement.seen(camera, label_map))
        return True

    def _view(self, stamp: float, camera: str, pinhole: PinholeGrid, grid: Grid) -> None:
        """Keep a label map to compare poses by."""
        view = View(
            stamp,
            self.features.way(self.odometry.at(stamp)),
            self._measurement.mounts[camera],
            pinhole,
            grid,
            self._settings.measurement.independent_points,
        )
        self.views += self._probe.add(view, self._settings.probe)

    def compare(self, everywhere: bool = False, since: float | None = None) -> Comparison | None:
        """The pose at `stamp` beside others on the map's roads; None if there are none.

        Args:
            everywhere: On all of them, else within reach.
            since: By label maps from this stamp on [s], if the robot may have been carried then.
        """
        with self._times.timed("probe"):
            T_map_base, covariance = self.pose
            sigma = float(np.sqrt(np.trace(covariance[:2, :2])))
            way = self.features.way(self.odometry.at(self._stamp))
            known = T_map_base, way, max(APART_M, APART_SIGMAS * sigma)
            reach = np.inf if everywhere else self._settings.reach_m
            return self._probe.compare(*known, reach, since)

    def views_since(self, stamp: float) -> int:
        """Kept label maps from a stamp on [s] that poses can be compared by."""
        return self._probe.views_since(stamp)

    def search(self, stamp: float) -> Comparison | None:
        """Poses on all the map's roads beside each other, at a stamp within `odometry`."""
        with self._times.timed("probe"):
            way = self.features.way(self.odometry.at(stamp))
            return self._probe.compare(None, way, 0.0, np.inf)

    def _placed(self) -> tuple[Array, Array]:
        """As `particles`, where they are kept."""
        current = self._require_particles()
        return self._motion.poses(current.states), current.weights

    def _require_particles(self) -> ParticleSet:
        if self._particles is None:
            raise LocalizationError("the localizer has no particles; give an initial pose first")
        return self._particles
