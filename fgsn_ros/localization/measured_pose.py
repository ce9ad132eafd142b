"""A pose measured beside the labels, as by local features: what it says of each particle."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from fgsn_ros.geometry import poses
from fgsn_ros.geometry.arrays import Array, like, namespace
from fgsn_ros.geometry.cameras import CameraMount
from fgsn_ros.localization.motion import MotionModel, Random
from fgsn_ros.localization.particle_filter import ParticleSet
from fgsn_ros.mapping.descriptors import ImageFeatures
from fgsn_ros.segmentation.labels import LabelMap

_PLANAR = [0, 1, 5]
_AGREES = 4.0
LABELS_ALONE_M = 10.0
"""After so long a way by labels alone, a pose that local features made sharp is theirs [m]."""
_CONTRADICTED = 2
"""Measured poses in a row that no particle is near: one alone may be wrong, wheels slip on."""
_UNMATCHED = 3
"""Images in a row whose local features do not agree with the pose, after some that did."""


@dataclass(frozen=True, eq=False)
class MeasuredPose:
    """Where one image says that the robot was."""

    T_map_base: Array
    """(4, 4)."""
    covariance: Array
    """(6, 6) x y z roll pitch yaw in the map's axes [m, rad]."""

    def log_likelihood(self, T_map_base: Array) -> Array:
        """(N,) of poses (N, 4, 4), by x, y and yaw; 0 at the measured pose.

        Height, roll and pitch are the ground's, and its errors would be taken for the robot's. The
        tails are Cauchy's (Student's t with one degree of freedom, of three variables): a measured
        pose may be wrong, and even then its direction leads particles.
        """
        xp = namespace(T_map_base)
        whitened = self._off(T_map_base) @ like(self._root(np.zeros((6, 6))), T_map_base)
        logs: Array = -2.0 * xp.log1p(xp.square(whitened).sum(axis=1))
        return logs

    def is_near(self, T_map_base: Array) -> bool:
        """Whether one of poses (N, 4, 4) is within four of its standard deviations."""
        return bool(self.log_likelihood(T_map_base).max() >= -2.0 * np.log1p(_AGREES**2))

    def probability(self, T_map_base: Array, covariance: Array) -> float:
        """That it is right, where it and a prediction (4, 4) and (6, 6) exclude each other.

        Wheels may slip as a measured pose may be wrong: the errors of both have Cauchy's tails.
        """
        off = self._off(T_map_base[None])

        def log_density(root: Array) -> float:
            return float(np.log(np.diag(root)).sum() - 2.0 * np.log1p(np.square(off @ root).sum()))

        wrong = log_density(self._root(np.zeros((6, 6))))
        return float(expit(log_density(self._root(covariance)) - wrong))

    def divided(
        self,
        particles: ParticleSet,
        prediction: tuple[Array, Array],
        motion: MotionModel,
        rng: Random,
    ) -> ParticleSet:
        """Particles of which none is near, and as many of them put here as it is probable.

        The labels tell who is right, or the next images. (A mixture proposal: Thrun et al., "Robust
        Monte Carlo localization for mobile robots", Artificial Intelligence 2001.)
        """
        count = round(self.probability(*prediction) * len(particles.states))
        here = motion.sample(self.T_map_base, self.covariance, count, rng)
        return particles.shared_with(here, rng)

    def agrees(self, T_map_base: Array, covariance: Array) -> bool:
        """Whether it is within four standard deviations of an estimate (4, 4) and (6, 6)."""
        whitened = self._off(T_map_base[None]) @ self._root(covariance)
        return bool(np.square(whitened).sum() <= _AGREES**2)

    def _off(self, T_map_base: Array) -> Array:
        """(N, 3) x, y [m] and yaw [rad] of poses (N, 4, 4) from the measured one."""
        xp = namespace(T_map_base)
        forward, left = self.T_map_base[:2, 0], self.T_map_base[:2, 0][::-1] * [-1.0, 1.0]
        ahead = T_map_base[:, :2, 0] @ like(np.stack([forward, left], axis=1), T_map_base)
        yaw = xp.atan2(ahead[:, 1], ahead[:, 0])[:, None]
        position = T_map_base[:, :2, 3] - like(self.T_map_base[:2, 3], T_map_base)
        off: Array = xp.concat([position, yaw], axis=1)
        return off

    def _root(self, more: Array) -> Array:
        """(3, 3) what deviations are multiplied by to have variance 1, with a covariance (6, 6)."""
        covariance = (self.covariance + more)[np.ix_(_PLANAR, _PLANAR)]
        root: Array = np.linalg.cholesky(np.linalg.inv(covariance))
        return root


class PoseFinder(Protocol):
    """Measures poses by an image's local features."""

    def extract(self, image: npt.NDArray[np.uint8]) -> ImageFeatures:
        """Local features of an image (H, W, 3) RGB, uint8."""

    def near(
        self,
        features: ImageFeatures,
        label_map: LabelMap,
        mount: CameraMount,
        T_map_base: Array,
        covariance: Array,
    ) -> MeasuredPose | None:
        """Where an image was taken, near a prediction (4, 4), (6, 6); None: it is not clear."""

    def anywhere(
        self, features: ImageFeatures, label_map: LabelMap, mount: CameraMount
    ) -> MeasuredPose | None:
        """Where on the map an image was taken; None where it is not clear."""


class FeatureEvidence:
    """What local features say of the pose, if there is a finder, and when they last agreed."""

    def __init__(self, finder: PoseFinder | None) -> None:
        self._finder = finder
        self._T_way_odom = poses.identity()
        self.restart()

    def restart(self) -> None:
        """Forget that they agreed, as after an initial pose or a gap in odometry."""
        self._agreed_at: Array | None = None
        self._agreed_pose = poses.identity()
        self._unmatched = self._contradicted = 0

    def near(
        self,
        features: ImageFeatures | None,
        label_map: LabelMap,
        mount: CameraMount,
        T_map_base: Array,
        covariance: Array,
    ) -> MeasuredPose | None:
        """Where an image was taken, near a prediction (4, 4), (6, 6), if its features tell."""
        if self._finder is None or features is None:
            return None
        return self._finder.near(features, label_map, mount, T_map_base, covariance)

    def anywhere(
        self, features: ImageFeatures | None, label_map: LabelMap, mount: CameraMount
    ) -> MeasuredPose | None:
        """Where on the whole map an image was taken, if its features tell."""
        if self._finder is None or features is None:
            return None
        return self._finder.anywhere(features, label_map, mount)

    def contradict(self, measured: MeasuredPose | None, T_map_base: Array) -> bool:
        """Whether a measured pose is near none of the particles (N, 4, 4), as the one before."""
        if measured is None:
            return False
        self._contradicted = 0 if measured.is_near(T_map_base) else self._contradicted + 1
        return self._contradicted >= _CONTRADICTED

    @property
    def slipping(self) -> bool:
        """Whether odometry leads away from the measured poses again and again."""
        return self._contradicted >= _CONTRADICTED and self._unmatched < _UNMATCHED

    def judge(
        self,
        measured: MeasuredPose | None,
        T_map_base: Array,
        covariance: Array,
        T_odom_base: Array,
    ) -> None:
        """Keep whether they agree with an estimate (4, 4) and (6, 6) at odometry's pose (4, 4)."""
        if measured is None or not measured.agrees(T_map_base, covariance):
            self._unmatched += 1
            return
        if self._agreed_at is not None:
            moved = poses.compose(poses.invert(self._agreed_pose), T_map_base)
            way = poses.compose(self.way(self._agreed_at), moved)
            self._T_way_odom = poses.compose(way, poses.invert(T_odom_base))
        self._agreed_at, self._agreed_pose, self._unmatched = T_odom_base, T_map_base, 0

    def way(self, T_odom_base: Array) -> Array:
        """Odometry's pose (4, 4) with motions as features saw them, from agreement to agreement.

        Since the last they are odometry's. By it, views of a place lie to each other.
        """
        return poses.compose(self._T_way_odom, T_odom_base)

    def alone(self, T_odom_base: Array) -> float:
        """How far the pose is the labels' alone [0, 1]: 0 where features agreed just now."""
        return min(1.0, self._metres_since(T_odom_base) / LABELS_ALONE_M)

    def ceased(self, T_odom_base: Array) -> bool:
        """Whether features that agreed with the pose have just ceased to."""
        recently = self._metres_since(T_odom_base) < 2.0 * LABELS_ALONE_M
        return recently and self._unmatched >= _UNMATCHED

    def _metres_since(self, T_odom_base: Array) -> float:
        if self._agreed_at is None:
            return np.inf
        return float(np.linalg.norm((T_odom_base - self._agreed_at)[:3, 3]))
