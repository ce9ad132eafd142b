"""What two images share: matches that agree with one motion of the camera between them."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from fgsn_ros.config import require
from fgsn_ros.geometry import poses
from fgsn_ros.mapping.descriptors import RATIOS, Kind, mutual_matches
from fgsn_ros.mapping.sfm.keyframes import KeyFrame

FloatArray = NDArray[np.float64]
Indices = NDArray[np.int64]
_CONFIDENCE = 0.9999
_FEWEST_FOR_ESSENTIAL = 8


@dataclass(frozen=True)
class TwoViewSettings:
    """Which matches of two images are believed."""

    ratio: float | None = None
    """Largest ratio of the distances to the best and the next descriptor; None: 0.8 for SIFT, 0.95
    for XFeat. Above 0, at most 1."""
    max_error_px: float = 2.0
    """Largest distance of a match from its epipolar line [px]. > 0."""
    min_matches: int = 20
    """Fewest matches that make a pair; >= 8."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        known = self.ratio is None or 0.0 < self.ratio <= 1.0
        require(known, "ratio must be above 0 and at most 1")
        require(self.max_error_px > 0.0, "max_error_px must be above 0")
        require(self.min_matches >= _FEWEST_FOR_ESSENTIAL, "min_matches must be at least 8")

    def ratio_of(self, kind: Kind) -> float:
        """The ratio for features of a kind."""
        return RATIOS[kind] if self.ratio is None else self.ratio


@dataclass(frozen=True, eq=False)
class TwoViews:
    """Matches of two images, and the camera's motion that they agree with."""

    first: Indices
    """(K,) features of the first image."""
    second: Indices
    """(K,) those of the second."""
    R_first_second: FloatArray
    """(3, 3)."""
    direction: FloatArray
    """(3,) unit vector from the first camera to the second, in the first."""


def two_views(
    first: KeyFrame, second: KeyFrame, settings: TwoViewSettings, kind: Kind
) -> TwoViews | None:
    """Verified matches of features of a kind, or None where there are too few."""
    a, b = mutual_matches(first.descriptors, second.descriptors, settings.ratio_of(kind))
    return verified(first, second, a, b, settings)


def verified(
    first: KeyFrame, second: KeyFrame, a: Indices, b: Indices, settings: TwoViewSettings
) -> TwoViews | None:
    """Those of the matches (N,), (N,) that agree with one motion, or None where too few do.

    The five-point method (Nister, PAMI 2004) in RANSAC, then the motion with most points in front
    of both cameras.
    """
    if len(a) < settings.min_matches:
        return None
    rays_a, rays_b = first.rays[a], second.rays[b]
    threshold = settings.max_error_px / float(np.median(first.focal_px[a]))
    E, mask = cv2.findEssentialMat(
        rays_a, rays_b, np.eye(3), cv2.RANSAC, _CONFIDENCE, threshold, 1000
    )
    if E is None or E.shape != (3, 3):
        return None
    inside = np.asarray(mask).ravel() > 0
    a, b = a[inside], b[inside]
    if len(a) < settings.min_matches:
        return None
    # Points far away are in front of the camera too: no limit to their distance.
    _, R, t, front, _ = cv2.recoverPose(
        E, rays_a[inside], rays_b[inside], np.eye(3), distanceThresh=1e6
    )
    ahead = np.asarray(front).ravel() > 0
    if int(ahead.sum()) < settings.min_matches:
        return None
    T_first_second = poses.invert(poses.from_rotation_translation(R, t.ravel()))
    direction = T_first_second[:3, 3]
    return TwoViews(
        a[ahead], b[ahead], T_first_second[:3, :3], direction / np.linalg.norm(direction)
    )
