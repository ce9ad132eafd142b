"""Where one image was taken: places that look like it, matches with each, a pose of them."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.config import require
from fgsn_ros.geometry.cameras import CameraMount
from fgsn_ros.locating.camera_pose import CameraPose, PoseSettings, camera_pose
from fgsn_ros.locating.consistency import Consistency, ConsistencySettings
from fgsn_ros.locating.matching import Matcher, MatchSettings, Seen
from fgsn_ros.locating.retrieval import Place, Retrieval, RetrievalSettings
from fgsn_ros.mapping.descriptors import (
    Extractor,
    FeatureSettings,
    ImageFeatures,
    feature_extractor,
)
from fgsn_ros.mapping.local_features import LocalFeatures
from fgsn_ros.mapping.semantic_map import SemanticMap
from fgsn_ros.segmentation.labels import LabelMap

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class LocatorSettings:
    """How single images are located."""

    enough_inliers: int = 60
    """A pose with so many inliers is the answer: no further place is tried. >= 4."""
    random_seed: int = 0
    """Seed of RANSAC's samples, the same for every image; >= 0."""
    features: FeatureSettings = field(default_factory=FeatureSettings)
    retrieval: RetrievalSettings = field(default_factory=RetrievalSettings)
    matching: MatchSettings = field(default_factory=MatchSettings)
    consistency: ConsistencySettings = field(default_factory=ConsistencySettings)
    pose: PoseSettings = field(default_factory=PoseSettings)

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.enough_inliers >= 4, "enough_inliers must be at least 4")
        require(self.random_seed >= 0, "random_seed must be at least 0")


@dataclass(frozen=True, eq=False)
class Hypothesis:
    """A pose that an image may have been taken from."""

    place: Place
    matches: int
    """features matched with points around the place"""
    pose: CameraPose

    @property
    def inliers(self) -> int:
        """Matches that agree with the pose."""
        return int(self.pose.inliers.sum())


@dataclass(frozen=True, eq=False)
class Located:
    """What is known of where an image was taken."""

    hypotheses: list[Hypothesis]
    """poses, the one with the most inliers first; empty: the image is not located"""
    features: int
    """local features of the image"""
    places: list[Place]
    """places that were tried, the most alike first"""
    matches: int
    """most matches at any of them"""

    @property
    def why_not(self) -> str:
        """What there was too little of, where the image is not located."""
        if self.features == 0:
            return "no features"
        if not self.places:
            return "no labels"
        return "too few inliers"


class Locator:
    """Locates images of any camera on one map."""

    def __init__(
        self,
        semantic_map: SemanticMap,
        local: LocalFeatures,
        log_ratio: NDArray[np.floating],
        settings: LocatorSettings | None = None,
    ) -> None:
        """For a map, its local features, and the label statistics (K, K) of its checkpoint.

        Raises:
            MapError: the map is damaged.
            LocalizationError: the statistics are unusable.
        """
        s = self._settings = settings or LocatorSettings()
        self._local = local
        self._retrieval = Retrieval(local, s.retrieval)
        self._matcher = Matcher(local, s.matching)
        positions = local.T_map_camera[:, :3, 3]
        self._consistency = Consistency(semantic_map, log_ratio, positions, s.consistency)

    @cached_property
    def extract(self) -> Extractor:
        """Finds the local features of an image; not from two threads at once.

        Raises:
            SettingsError: the map's kind needs an extra that is not installed.
        """
        return feature_extractor(self._local.kind, self._settings.features)

    def locate(
        self,
        features: ImageFeatures,
        label_map: LabelMap,
        mount: CameraMount,
        places: list[Place] | None = None,
    ) -> Located:
        """Where an image was taken, by its features and its labels.

        Args:
            features: As `extract` finds them.
            label_map: Of the image.
            mount: Of its camera.
            places: To try, the likeliest first; None: those that look like the image.
        """
        rng = np.random.default_rng(self._settings.random_seed)
        seen = Seen.of(features, mount.camera, label_map)
        if places is None:
            places = self._retrieval.places(label_map) if len(seen) else []
        hypotheses: list[Hypothesis] = []
        most = 0
        for place in places:
            matches = self._matcher.matches(seen, place.T_map_camera, mount.camera)
            most = max(most, len(matches))
            weights = self._consistency.weights(matches, label_map, mount)
            pose = camera_pose(matches.sightings, weights, self._settings.pose, rng)
            if pose is not None:
                hypotheses.append(Hypothesis(place, len(matches), pose))
                if hypotheses[-1].inliers >= self._settings.enough_inliers:
                    break
        hypotheses.sort(key=lambda hypothesis: -hypothesis.inliers)
        return Located(hypotheses, len(seen), places, most)
