"""What one would otherwise do: SIFT matches of map points and PnP, in the same particle filter.

The map's local features (RootSIFT: Arandjelovic & Zisserman, CVPR 2012) are those of `fgsn locate`,
without their labels. An image to localize is matched against the points expected in view at the
prediction, with a ratio test; P3P in RANSAC, refined over its inliers, gives a pose. With enough
inliers it is the measurement of the package's own particle filter: Gaussian in x, y and yaw, with a
floor for wrong poses. `seasons.py` runs it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from fgsn_ros.geometry import poses
from fgsn_ros.geometry.cameras import CameraMount
from fgsn_ros.geometry.trajectory import Trajectory
from fgsn_ros.localization.initial_pose import InitialPose
from fgsn_ros.localization.localizer import LocalizerSettings
from fgsn_ros.localization.motion import MotionModel, PlanarMotion
from fgsn_ros.localization.particle_filter import (
    ParticleSet,
    mean_and_covariance,
    renewed,
    update,
)
from fgsn_ros.localization.sample_size import SampleSize
from fgsn_ros.locating.camera_pose import PoseSettings, camera_pose
from fgsn_ros.locating.matching import Matcher, MatchSettings, Seen
from fgsn_ros.mapping.descriptors import FeatureSettings, feature_extractor, unit
from fgsn_ros.mapping.ground import Ground
from fgsn_ros.mapping.local_features import LocalFeatures
from fgsn_ros.recordings.recording import Frame, Recording, require_odometry

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class SiftSettings:
    """Settings of the baseline."""

    features: FeatureSettings = field(default_factory=FeatureSettings)
    matching: MatchSettings = field(
        default_factory=lambda: MatchSettings(ratio=0.8, away_m=2.0, view_angle_deg=45.0)
    )
    """around the prediction"""
    pose: PoseSettings = field(default_factory=PoseSettings)
    std_m: float = 0.15
    """standard deviation of a measured pose in x and in y [m]"""
    std_deg: float = 0.5
    """standard deviation of a measured pose's heading [deg]"""
    floor: float = 1e-3
    """likelihood of a pose far off the measured one, against 1 at it"""


class SiftLocator:
    """Poses of single images by SIFT matches and P3P."""

    def __init__(self, local: LocalFeatures, mount: CameraMount, settings: SiftSettings) -> None:
        self._mount = mount
        self._settings = settings
        self._extract = feature_extractor("sift", settings.features)
        self._matcher = Matcher(local, settings.matching)
        self._rng = np.random.default_rng(0)

    def pose(self, image: NDArray[np.uint8], T_map_base: FloatArray) -> FloatArray | None:
        """T_map_base (4, 4) of an image, given a prediction; None with too few inliers."""
        camera = self._mount.camera
        features = self._extract(image)
        rays, valid = camera.unproject(features.pixels)
        vectors, unlabelled = unit(features.descriptors[valid]), np.zeros(valid.sum(), np.int64)
        seen = Seen(rays[valid, :2], vectors, unlabelled)
        predicted = poses.compose(T_map_base, self._mount.T_base_camera)
        sightings = self._matcher.matches(seen, predicted, camera).sightings
        found = camera_pose(sightings, np.ones(len(sightings)), self._settings.pose, self._rng)
        return None if found is None else found.of_base(self._mount)[0]


@dataclass(frozen=True, eq=False)
class SiftRun:
    """A recording localized by SIFT."""

    trajectory: Trajectory
    """T_map_base at each frame"""
    measured: int
    """frames with enough inliers"""


def localize_by_sift(
    recording: Recording,
    local: LocalFeatures,
    ground: Ground,
    initial: InitialPose,
    sift: SiftSettings,
    settings: LocalizerSettings | None = None,
) -> SiftRun:
    """Localize a recording of one camera with the package's filter, planar model and settings."""
    settings = settings or LocalizerSettings()
    locator = SiftLocator(local, next(iter(recording.cameras.values())), sift)
    pose_filter = _PoseFilter(ground, initial, sift, settings)
    stamps, estimates, measured = [], [], 0
    for frame, T_odom_base in _frames(recording, initial):
        predicted = pose_filter.predict(T_odom_base)
        measurement = locator.pose(frame.image, predicted)
        measured += measurement is not None
        stamps.append(frame.stamp)
        estimates.append(pose_filter.update(measurement))
    return SiftRun(Trajectory(np.array(stamps), np.array(estimates)), measured)


def _frames(recording: Recording, initial: InitialPose) -> Iterator[tuple[Frame, FloatArray]]:
    """Frames from the start on, with T_odom_base."""
    odometry = require_odometry(recording)
    first = float("-inf") if initial.stamp is None else initial.stamp
    for frame in tqdm(recording.frames(), "SIFT", recording.frame_count, unit="frame"):
        if frame.stamp >= first and odometry.covers(frame.stamp):
            yield frame, odometry.at(frame.stamp)


class _PoseFilter:
    """The localizer's filter with a measured pose in place of labels."""

    def __init__(
        self, ground: Ground, initial: InitialPose, sift: SiftSettings, settings: LocalizerSettings
    ) -> None:
        self._settings = settings
        self._sift = sift
        self._motion: MotionModel = PlanarMotion(settings.motion, ground)
        self._rng = np.random.default_rng(settings.random_seed)
        self._size = SampleSize(settings.min_particles, settings.max_particles, settings.kld)
        states = self._motion.sample(
            initial.T_map_base, initial.covariance, self._size.most, self._rng
        )
        self._particles = ParticleSet.uniform(states)
        self._T_odom_base: FloatArray | None = None

    def predict(self, T_odom_base: FloatArray) -> FloatArray:
        """Move the particles with odometry; their mean T_map_base."""
        if self._T_odom_base is not None:
            T_delta = poses.compose(poses.invert(self._T_odom_base), T_odom_base)
            states = self._motion.propagate(self._particles.states, T_delta, self._rng)
            self._particles = self._particles.begun(states)
        self._T_odom_base = T_odom_base
        return self._mean()[0]

    def update(self, T_map_base: FloatArray | None) -> FloatArray:
        """Weigh the particles with a measured pose, if there is one; the estimate T_map_base."""
        if T_map_base is not None:
            measured = np.array([*T_map_base[:2, 3], poses.to_rpy(T_map_base)[2]])
            self._particles, _ = update(
                self._particles,
                lambda particles: self._log_likelihood(particles.states, measured),
                self._motion,
                self._settings.filter,
                self._rng,
            )
        mean, _ = self._mean()
        self._particles = renewed(
            self._particles,
            self._motion.poses(self._particles.states),
            self._size,
            self._settings.filter,
            self._rng,
        )
        return mean

    def _mean(self) -> tuple[FloatArray, FloatArray]:
        return mean_and_covariance(
            self._motion.poses(self._particles.states), self._particles.weights
        )

    def _log_likelihood(self, states: FloatArray, measured: FloatArray) -> FloatArray:
        std = np.array([self._sift.std_m, self._sift.std_m, np.radians(self._sift.std_deg)])
        difference = states[:, :3] - measured
        difference[:, 2] = poses.wrap_angle(difference[:, 2])
        gaussian = -0.5 * np.square(difference / std).sum(axis=1)
        floored: FloatArray = np.logaddexp(gaussian, np.log(self._sift.floor))
        return floored
