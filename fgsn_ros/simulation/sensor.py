"""From light to a camera's 8 bits: bloom, point spread, exposure, tone curve and noise."""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from fgsn_ros.simulation.noise import hash_integers, kernel
from fgsn_ros.simulation.seasons import Conditions

_TABLE_SIZE = 4096
_TABLE_END = 3.0  # exposed linear value at the end of the tone table


def _tone_table() -> NDArray[np.float32]:
    x = np.linspace(0.0, _TABLE_END, _TABLE_SIZE)
    soft = x * (1.0 + 0.06 * x * x) / (1.0 + 0.75 * x)  # a shoulder instead of clipping
    return np.asarray(255.0 * np.minimum(soft * 1.15, 1.0) ** (1 / 2.2), dtype=np.float32)


_TONES = _tone_table()


@kernel
def develop(
    first: int, last: int, linear: NDArray[np.float32], gain: float, noise: float, seed: int,
    tones: NDArray[np.float32], image: NDArray[np.uint8],
) -> None:  # fmt: skip
    """Expose rows first..last of linear (H, W, 3) into image (H, W, 3) with sensor noise.

    The noise of a channel is a sum of four hash bytes: mean 0, about normal.
    """
    height, width = image.shape[0], image.shape[1]
    scale = noise * 255.0 / (2.0 * 73.9)
    step = (tones.shape[0] - 1) / 3.0
    for row in range(first, last):
        y = (row - 0.5 * height) / (0.5 * width)
        for column in range(width):
            x = (column - 0.5 * width) / (0.5 * width)
            shading = gain * (1.0 - 0.16 * (x * x + y * y))
            for channel in range(3):
                index = min(linear[row, column, channel] * shading * step, tones.shape[0] - 1.0)
                value = tones[int(index)]
                bits = hash_integers(column * 3 + channel, row, seed)
                total = (bits & 255) + ((bits >> 8) & 255) + ((bits >> 16) & 255) + (bits >> 24)
                value += scale * (total - 510.0) + 0.5
                image[row, column, channel] = int(min(255.0, max(0.0, value)))


def spread(linear: NDArray[np.float32], bloom: bool) -> NDArray[np.float32]:
    """Blur (H, W, 3) by the lens's point spread; bright lamps get a glow."""
    result = np.minimum(linear, 6.0)
    if bloom:
        small = cv2.resize(result, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
        glow = cv2.GaussianBlur(np.maximum(small - 0.35, 0.0), (0, 0), 5.0)
        size = (linear.shape[1], linear.shape[0])
        result = result + 0.45 * cv2.resize(glow, size, interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.GaussianBlur(result, (3, 3), 0.55), dtype=np.float32)


def exposure_gain(linear: NDArray[np.float32], conditions: Conditions) -> float:
    """Gain that brings the image's mean near the aimed brightness, with 75 % adaptation."""
    mean = float(np.minimum(linear[::4, ::4, 1], 3.0).mean())
    base = conditions.exposure / max(mean, 1e-4)
    usual = conditions.exposure / _USUAL_MEAN[conditions.lamps > 0.0]
    return math.exp(0.75 * math.log(base) + 0.25 * math.log(usual))


_USUAL_MEAN = {False: 0.5, True: 0.05}


def expose(linear: NDArray[np.float32], conditions: Conditions, seed: int) -> NDArray[np.uint8]:
    """The camera's image (H, W, 3) of linear light (H, W, 3); seed is the frame's noise."""
    seen = spread(linear, conditions.lamps > 0.0)
    gain = exposure_gain(linear, conditions)
    image = np.empty(linear.shape, dtype=np.uint8)
    develop(0, len(image), seen, gain, conditions.noise, seed, _TONES, image)
    return image
