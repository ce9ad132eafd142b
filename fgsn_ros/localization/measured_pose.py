"""A pose measured beside the labels, as by local features: what it says of each particle."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from fgsn_ros.geometry.arrays import Array, like, namespace
from fgsn_ros.geometry.cameras import CameraMount
from fgsn_ros.mapping.descriptors import ImageFeatures
from fgsn_ros.segmentation.labels import LabelMap

_PLANAR = [0, 1, 5]
_AGREES = 4.0
LABELS_ALONE_M = 10.0
"""After so long a way by labels alone, a pose that local features made sharp is theirs [m]."""
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
        self.restart()

    def restart(self) -> None:
        """Forget that they agreed, as after an initial pose or a gap in odometry."""
        self._agreed_at: Array | None = None
        self._unmatched = 0

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

    def judge(
        self,
        measured: MeasuredPose | None,
        T_map_base: Array,
        covariance: Array,
        T_odom_base: Array,
    ) -> None:
        """Keep whether they agree with an estimate (4, 4) and (6, 6) at odometry's pose (4, 4)."""
        if measured is not None and measured.agrees(T_map_base, covariance):
            self._agreed_at, self._unmatched = T_odom_base, 0
        else:
            self._unmatched += 1

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
