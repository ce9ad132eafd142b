"""Images as a network takes them."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fgsn_ros.errors import RecordingError
from fgsn_ros.segmentation.checkpoint import Checkpoint


class InputImages:
    """Checks images and normalises them with a checkpoint's mean and standard deviation."""

    def __init__(self, checkpoint: Checkpoint, device: torch.device) -> None:
        scale, shift = scale_and_shift(checkpoint)
        self._scale = scale.to(device).view(1, 3, 1, 1)
        self._shift = shift.to(device).view(1, 3, 1, 1)

    def batch(self, image: NDArray[np.uint8]) -> Tensor:
        """Normalised (1, 3, H, W), channels last, of an RGB image uint8 (H, W, 3).

        Raises:
            RecordingError: the image is of another type or shape.
        """
        require_image(image)
        pixels = torch.from_numpy(np.ascontiguousarray(image)).to(self._scale.device)
        return pixels.permute(2, 0, 1)[None] * self._scale + self._shift


def scale_and_shift(checkpoint: Checkpoint) -> tuple[Tensor, Tensor]:
    """What the bytes of R, G and B are multiplied with (3,), and what is added then (3,)."""
    mean, std = np.asarray(checkpoint.mean, np.float32), np.asarray(checkpoint.std, np.float32)
    return torch.from_numpy(1.0 / (255.0 * std)), torch.from_numpy(-mean / std)


def require_image(image: NDArray[np.uint8]) -> None:
    """Raise RecordingError unless an image is uint8 (H, W, 3) and not empty."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise RecordingError(f"image must be uint8 (H, W, 3), not {image.dtype} {image.shape}")
