"""What one would otherwise do: SIFT matches of map points and PnP, in the same particle filter.

SIFT features (RootSIFT: Arandjelovic & Zisserman, CVPR 2012) of a drive are matched from image to
image, chained to tracks and triangulated as the semantic map's are. An image to localize is
matched against the points expected in view, with a ratio test; PnP in RANSAC, refined over its
inliers, gives a pose. With enough inliers it is the measurement of the package's own particle
filter: Gaussian in x, y and yaw, with a floor for wrong poses. `seasons.py` runs it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from sift_map import Extractor, Features, SiftMap, SiftSettings, distances, highest, unit
from tqdm import tqdm

from fgsn_ros.geometry import poses
from fgsn_ros.geometry.cameras import CameraMount
from fgsn_ros.geometry.trajectory import Trajectory
from fgsn_ros.localization.initial_pose import InitialPose
from fgsn_ros.localization.localizer import LocalizerSettings
from fgsn_ros.localization.motion import MotionModel, PlanarMotion
from fgsn_ros.localization.particle_filter import (
    ParticleSet,
    effective_sample_size,
    mean_and_covariance,
    update,
)
from fgsn_ros.mapping.ground import Ground
from fgsn_ros.recordings.recording import Frame, Recording, require_odometry

FloatArray = NDArray[np.float64]
Indices = NDArray[np.int64]


class SiftLocator:
    """Poses of single images by SIFT matches and PnP."""

    def __init__(self, sift_map: SiftMap, mount: CameraMount, settings: SiftSettings) -> None:
        self._map = sift_map
        self._mount = mount
        self._settings = settings
        self._extractor = Extractor(settings)
        self._tree = cKDTree(sift_map.points)

    def pose(self, image: NDArray[np.uint8], T_map_base: FloatArray) -> FloatArray | None:
        """T_map_base (4, 4) of an image, given a prediction; None with too few inliers."""
        predicted = poses.compose(T_map_base, self._mount.T_base_camera)
        features = self._extractor.features(image, self._mount.camera)
        expected = self._expected(predicted)
        rows, points = self._matches(features, expected)
        if len(rows) < self._settings.min_inliers:
            return None
        T_camera_map = self._pnp(self._map.points[points], features.rays[rows])
        if T_camera_map is None:
            return None
        return poses.invert(poses.compose(self._mount.T_base_camera, T_camera_map))

    def _expected(self, T_map_camera: FloatArray) -> Indices:
        """Map points in view at the prediction, by range, viewing direction and image."""
        limits, centre = self._settings.selection, T_map_camera[:3, 3]
        near = np.array(self._tree.query_ball_point(centre, limits.radius_m), np.int64)
        sight = self._map.points[near] - centre
        ranges = np.linalg.norm(sight, axis=1)
        along = np.einsum("ij,ij->i", sight, self._map.directions[near])
        usable = along >= np.cos(np.radians(limits.view_angle_deg)) * ranges
        usable &= ranges * limits.range_slack >= self._map.min_range[near]
        usable &= ranges <= self._map.max_range[near] * limits.range_slack
        x, y, z = (sight @ T_map_camera[:3, :3]).T
        camera = self._mount.camera
        margin = np.radians(self._settings.margin_deg)
        usable &= np.arctan2(np.abs(x), z) <= np.arctan(0.5 * camera.width / camera.fx) + margin
        usable &= np.arctan2(np.abs(y), z) <= np.arctan(0.5 * camera.height / camera.fy) + margin
        chosen: Indices = near[usable]
        return chosen

    def _matches(self, features: Features, expected: Indices) -> tuple[Indices, Indices]:
        """Features and the map points that they match, by a ratio test between distinct points."""
        if len(expected) < 6 or len(features.rays) == 0:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        cosines = unit(features.descriptors) @ self._map.descriptors[expected].T
        few, values = highest(cosines, 6)
        positions = self._map.points[expected[few]]
        apart = np.linalg.norm(positions - positions[:, :1], axis=2) > self._settings.same_point_m
        # If all are near the best, the sixth bounds what another point could reach.
        rival = np.where(apart.any(axis=1), apart.argmax(axis=1), 5)
        second = np.take_along_axis(values, rival[:, None], axis=1)[:, 0]
        clear = distances(values[:, 0]) < self._settings.ratio * distances(second)
        return np.flatnonzero(clear), expected[few[clear, 0]]

    def _pnp(self, points: FloatArray, rays: FloatArray) -> FloatArray | None:
        origin = points.mean(axis=0)
        camera = np.eye(3)
        found, rvec, tvec, inliers = cv2.solvePnPRansac(
            points - origin,
            rays,
            camera,
            None,
            iterationsCount=1000,
            reprojectionError=self._settings.inlier_px / self._mount.camera.fx,
            confidence=0.9999,
            flags=cv2.SOLVEPNP_AP3P,
        )
        if not found or inliers is None or len(inliers) < self._settings.min_inliers:
            return None
        kept = inliers.ravel()
        rvec, tvec = cv2.solvePnPRefineLM(
            points[kept] - origin, rays[kept], camera, None, rvec, tvec
        )
        R = cv2.Rodrigues(rvec)[0]
        return poses.from_rotation_translation(R, tvec.ravel() - R @ origin)


@dataclass(frozen=True, eq=False)
class SiftRun:
    """A recording localized by SIFT."""

    trajectory: Trajectory
    """T_map_base at each frame"""
    measured: int
    """frames with enough inliers"""


def localize_by_sift(
    recording: Recording,
    sift_map: SiftMap,
    initial: InitialPose,
    sift: SiftSettings,
    settings: LocalizerSettings | None = None,
) -> SiftRun:
    """Localize a recording of one camera with the package's filter, planar model and settings."""
    settings = settings or LocalizerSettings()
    locator = SiftLocator(sift_map, next(iter(recording.cameras.values())), sift)
    pose_filter = _PoseFilter(Ground(sift_map.keyframe_poses), initial, sift, settings)
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
        count = settings.initial_particles
        states = self._motion.sample(initial.T_map_base, initial.covariance, count, self._rng)
        self._particles = ParticleSet.uniform(states)
        self._T_odom_base: FloatArray | None = None
        self._settled = False

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
        mean, covariance = self._mean()
        self._resample(covariance)
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

    def _resample(self, covariance: FloatArray) -> None:
        """As the localizer does: fewer particles once settled, and where weights are uneven."""
        settings, particles = self._settings, self._particles
        spread = covariance[0, 0] + covariance[1, 1]
        if not self._settled and spread < settings.settled_std_m**2:
            self._settled = True
            self._particles = particles.resampled(self._rng, settings.particles)
        elif effective_sample_size(particles.log_weights) < settings.filter.resample_below * len(
            particles.states
        ):
            self._particles = particles.resampled(self._rng)
