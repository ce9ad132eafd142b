"""Poses by local features, for the tracker: around its prediction, and where there is none."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.config import require
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.cameras import CameraMount
from fgsn_ros.localization.measured_pose import MeasuredPose
from fgsn_ros.locating.camera_pose import (
    CameraPose,
    PoseSettings,
    Sightings,
    camera_pose,
)
from fgsn_ros.locating.locator import Locator, LocatorSettings
from fgsn_ros.locating.matching import Doubt, Matcher, MatchSettings, Seen
from fgsn_ros.mapping.descriptors import FeatureSettings, ImageFeatures, Kind
from fgsn_ros.mapping.local_features import LocalFeatures
from fgsn_ros.mapping.semantic_map import SemanticMap
from fgsn_ros.segmentation.labels import LabelMap

FloatArray = NDArray[np.float64]
_SIGMAS = 3.0
"""The prediction is off by no more of its standard deviations."""
_WARMING = 30
"""Matches enough for any `min_inliers` that one would ask."""


@dataclass(frozen=True)
class FeaturePoseSettings:
    """How poses are measured around the predicted one, and how far they are believed."""

    least_std_m: float = 0.03
    """A measured position is known no better: points of the map err together [m], > 0."""
    least_std_deg: float = 0.1
    """Nor its heading [deg], > 0."""
    inflation: float = 2.0
    """What least squares say of the variance is multiplied by this, >= 1."""
    found_inliers: int = 30
    """An image that is looked for on the whole map is found by so many matches, >= 4."""
    features: FeatureSettings = field(default_factory=FeatureSettings)
    matching: MatchSettings = field(
        default_factory=lambda: MatchSettings(ratio=0.8, away_m=2.0, view_angle_deg=45.0)
    )
    pose: PoseSettings = field(default_factory=PoseSettings)

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(min(self.least_std_m, self.least_std_deg) > 0.0, "least_std must be above 0")
        require(self.inflation >= 1.0, "inflation must be at least 1")
        require(self.found_inliers >= 4, "found_inliers must be at least 4")


class FeaturePoses:
    """Measures poses of images by the local features of one map."""

    def __init__(
        self,
        semantic_map: SemanticMap,
        local: LocalFeatures,
        log_ratio: NDArray[np.floating],
        settings: FeaturePoseSettings | None = None,
    ) -> None:
        """For a map, its local features, and the label statistics (K, K) of its checkpoint.

        Raises:
            MapError: the map is damaged.
            LocalizationError: the statistics are unusable.
        """
        s = self._settings = settings or FeaturePoseSettings()
        self.kind: Kind = local.kind
        """Of the features that it needs."""
        self._matcher = Matcher(local, s.matching)
        whole = LocatorSettings(features=s.features, pose=s.pose)
        self._locator = Locator(semantic_map, local, log_ratio, whole)

    def extract(self, image: NDArray[np.uint8]) -> ImageFeatures:
        """Local features of an image (H, W, 3) RGB, uint8; not from two threads at once.

        Raises:
            SettingsError: the map's kind needs an extra that is not installed.
        """
        return self._locator.extract(image)

    def near(
        self,
        features: ImageFeatures,
        label_map: LabelMap,
        mount: CameraMount,
        T_map_base: FloatArray,
        covariance: FloatArray,
    ) -> MeasuredPose | None:
        """Where an image was taken, near a prediction (4, 4), (6, 6); None: too few inliers."""
        s = self._settings
        seen = Seen.of(features, mount.camera, label_map)
        predicted = poses.compose(T_map_base, mount.T_base_camera)
        doubt = Doubt(*(_SIGMAS * np.sqrt([covariance[:2, :2].trace(), covariance[5, 5]])))
        sightings = self._matcher.matches(seen, predicted, mount.camera, doubt).sightings
        # The samples must be the same for the same image: they are drawn anew each time.
        rng = np.random.default_rng(0)
        found = camera_pose(sightings, np.ones(len(sightings)), s.pose, rng)
        return None if found is None else self._measured(found, mount)

    def anywhere(
        self, features: ImageFeatures, label_map: LabelMap, mount: CameraMount
    ) -> MeasuredPose | None:
        """Where on the map an image was taken; None where too few matches agree."""
        found = self._locator.locate(features, label_map, mount).hypotheses
        if not found or found[0].inliers < self._settings.found_inliers:
            return None
        return self._measured(found[0].pose, mount)

    def warm_up(self) -> None:
        """Compile what measuring needs: call it before images come, as it takes seconds."""
        rng = np.random.default_rng(0)
        points = rng.uniform([-1.0, -1.0, 4.0], [1.0, 1.0, 6.0], (_WARMING, 3))
        rays = points[:, :2] / points[:, 2:]
        sightings = Sightings(points, rays, np.array([400.0, 400.0]))
        camera_pose(sightings, np.ones(_WARMING), self._settings.pose, rng)

    def _measured(self, found: CameraPose, mount: CameraMount) -> MeasuredPose:
        s = self._settings
        T, covariance = found.of_base(mount)
        least = np.repeat([s.least_std_m, np.radians(s.least_std_deg)], 3)
        return MeasuredPose(T, s.inflation * covariance + np.diag(least**2))
