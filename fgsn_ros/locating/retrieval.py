"""Which places of a map an image may show."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.config import require
from fgsn_ros.mapping.local_features import LocalFeatures
from fgsn_ros.mapping.places import pooled_labels
from fgsn_ros.segmentation.labels import LabelMap

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class RetrievalSettings:
    """Which places are tried."""

    places: int = 8
    """Most places that an image is matched with, >= 1."""
    apart_m: float = 6.0
    """Places this close look alike; one of them is tried [m], >= 0."""
    apart_deg: float = 60.0
    """Places with less between their viewing directions, too [deg], > 0."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.places >= 1, "places must be at least 1")
        require(self.apart_m >= 0.0, "apart_m must be at least 0")
        require(self.apart_deg > 0.0, "apart_deg must be above 0")


@dataclass(frozen=True, eq=False)
class Place:
    """A place that looks like an image by its labels."""

    T_map_camera: FloatArray
    """(4, 4) where an image of the map was taken"""
    likeness: float
    """cosine of the two codes, in [-1, 1]"""


class Retrieval:
    """Finds places by their codes: one product with all codes of the map."""

    def __init__(self, local: LocalFeatures, settings: RetrievalSettings) -> None:
        self._local = local
        self._settings = settings
        self._T_map_camera = local.T_map_camera

    def places(self, label_map: LabelMap) -> list[Place]:
        """Places that look like an image of these labels, the most alike first."""
        pooled = pooled_labels(label_map)
        if not pooled.any():
            return []
        likeness = self._local.codes @ self._local.place_codes.of(pooled[None])[0]
        chosen: list[int] = []
        for index in np.argsort(-likeness, kind="stable").tolist():
            if not self._near(index, chosen).any():
                chosen.append(index)
                if len(chosen) == self._settings.places:
                    break
        return [Place(self._T_map_camera[i], float(likeness[i])) for i in chosen]

    def _near(self, index: int, chosen: list[int]) -> NDArray[np.bool_]:
        """Which of the chosen places (C,) are too near another one to be tried beside it."""
        here, others = self._T_map_camera[index], self._T_map_camera[chosen]
        metres = np.linalg.norm(others[:, :3, 3] - here[:3, 3], axis=1)
        facing = others[:, :3, 2] @ here[:3, 2]
        along = facing > np.cos(np.radians(self._settings.apart_deg))
        near: NDArray[np.bool_] = (metres < self._settings.apart_m) & along
        return near
