"""Local features of photographs, found once and kept in files; and the poses that they tell."""

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.geometry.cameras import CameraMount
from fgsn_ros.localization.measured_pose import MeasuredPose
from fgsn_ros.locating.feature_poses import FeaturePoses
from fgsn_ros.mapping.descriptors import Extractor, ImageFeatures
from fgsn_ros.outputs import whole_file
from fgsn_ros.segmentation.labels import LabelMap


class KeptExtractor:
    """Finds an image's features, or reads those that were found before."""

    def __init__(self, extract: Extractor, folder: Path) -> None:
        """Keep what `extract` finds in a folder."""
        self._extract = extract
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def __call__(self, image: NDArray[np.uint8]) -> ImageFeatures:
        """Features of an RGB image (H, W, 3)."""
        name = hashlib.sha256(image[::8, ::8].tobytes()).hexdigest()[:16]
        path = self._folder / f"{name}.npz"
        if not path.exists():
            found = self._extract(image)
            with whole_file(path) as temporary, temporary.open("wb") as file:
                np.savez(file, pixels=found.pixels, descriptors=found.descriptors)
        with np.load(path, allow_pickle=False) as kept:
            return ImageFeatures(kept["pixels"], kept["descriptors"])


class KeptPoses:
    """A finder for runs on the same images: what does not depend on the run is found once."""

    def __init__(self, finder: FeaturePoses, extract: KeptExtractor) -> None:
        """Of features that `extract` finds."""
        self._finder = finder
        self.extract = extract
        self.near = finder.near
        self._anywhere: dict[bytes, MeasuredPose | None] = {}

    def anywhere(
        self, features: ImageFeatures, label_map: LabelMap, mount: CameraMount
    ) -> MeasuredPose | None:
        """Where on the map an image was taken; None where too few matches agree."""
        key = hashlib.sha256(features.pixels.tobytes()).digest()
        if key not in self._anywhere:
            self._anywhere[key] = self._finder.anywhere(features, label_map, mount)
        return self._anywhere[key]
