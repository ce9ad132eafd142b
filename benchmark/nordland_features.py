"""Local features of photographs, found once and kept in files."""

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.mapping.descriptors import Extractor, ImageFeatures
from fgsn_ros.outputs import whole_file


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
