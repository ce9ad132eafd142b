"""Crops of training images, where their pixels are in the image, and how they are disturbed."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fgsn_ros.correspondences.images import Image

_SHOWN_AT = (0.1, 0.9)  # a crop shows the pixel that it is around in this part of its sides


@dataclass(frozen=True)
class Crop:
    """A crop: its pixel = scale * R(rotation) @ image pixel + offset, then mirrored.

    Pixels are (u, v) with integers at pixel centres; R turns u towards v: clockwise as displayed.
    """

    height: int
    width: int
    scale: float
    offset_u: float
    offset_v: float
    flipped: bool
    rotation: float = 0.0
    """[rad]"""

    def points(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Pixels (N, 2) (u, v) of the image in the crop."""
        turned = (points * self.scale) @ self._turn().T
        moved = turned + np.array([self.offset_u, self.offset_v])
        if self.flipped:
            moved[:, 0] = self.width - 1 - moved[:, 0]
        return np.asarray(moved)

    def source_points(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Pixels (N, 2) (u, v) of the crop in the image: the inverse of `points`."""
        moved = np.array(points, np.float64)
        if self.flipped:
            moved[:, 0] = self.width - 1 - moved[:, 0]
        turned = (moved - (self.offset_u, self.offset_v)) @ self._turn()
        return np.asarray(turned / self.scale)

    def shows(self, points: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
        """Which (N,) of the crop's own pixels (N, 2) (u, v) lie in it: [-0.5, size - 0.5)."""
        size = np.array([self.width, self.height])
        return np.asarray(((points >= -0.5) & (points < size - 0.5)).all(axis=1))

    def image(self, image: Image) -> Image:
        """The crop of an image; what lies outside repeats the border."""
        return self._warp(image, cv2.INTER_LINEAR, cv2.BORDER_REPLICATE)

    def classes(self, classes: Image) -> Image:
        """The crop of class ids; 255 outside the image."""
        return self._warp(classes, cv2.INTER_NEAREST, cv2.BORDER_CONSTANT)

    def _turn(self) -> NDArray[np.float64]:
        cosine, sine = np.cos(self.rotation), np.sin(self.rotation)
        return np.array([[cosine, -sine], [sine, cosine]])

    def _warp(self, image: Image, interpolation: int, border: int) -> Image:
        matrix = np.column_stack([self.scale * self._turn(), (self.offset_u, self.offset_v)])
        if self.flipped:
            matrix[0] = (0.0, 0.0, self.width - 1) - matrix[0]
        size = (self.width, self.height)
        warped = cv2.warpAffine(
            image, matrix, size, flags=interpolation, borderMode=border, borderValue=(255,) * 3
        )
        return np.asarray(warped, np.uint8)


def random_crop(
    image_size: tuple[int, int],
    crop_size: tuple[int, int],
    scale: float,
    rng: np.random.Generator,
    around: NDArray[np.float64] | None = None,
    flipped: bool = False,
    rotation: float = 0.0,
) -> Crop:
    """A crop (height, width) of an image (height, width) scaled by `scale`.

    Args:
        image_size: (H, W) [px].
        crop_size: (H, W) [px].
        scale: Crop pixels per image pixel.
        rng: Places the crop.
        around: Image pixel (u, v) that a crop without rotation must show; anywhere without it.
        flipped: Mirror left and right.
        rotation: About the crop's centre [rad].
    """
    offsets = []
    edge = 0.5 * (scale - 1.0)  # offset with which the image's edge, at -0.5, is the crop's
    for axis in (0, 1):
        free = crop_size[axis] - image_size[axis] * scale
        low, high = edge + min(free, 0.0), edge + max(free, 0.0)
        offset = rng.uniform(low, high)
        if around is not None:
            shown_at = rng.uniform(*_SHOWN_AT) * crop_size[axis]
            offset = np.clip(shown_at - around[1 - axis] * scale, low, high)
        offsets.append(float(offset))
    crop = Crop(crop_size[0], crop_size[1], scale, offsets[1], offsets[0], flipped)
    return _turned(crop, rotation) if rotation else crop


def random_scale(smallest: float, largest: float, rng: np.random.Generator) -> float:
    """A scale whose logarithm is uniform between two scales."""
    return float(np.exp(rng.uniform(np.log(smallest), np.log(largest))))


def _turned(crop: Crop, rotation: float) -> Crop:
    """The crop, turned about its centre."""
    centre = np.array([(crop.width - 1) / 2, (crop.height - 1) / 2])
    turn = Crop(crop.height, crop.width, 1.0, 0.0, 0.0, False, rotation)
    offset = np.array([[crop.offset_u, crop.offset_v]])
    u, v = (turn.points(offset - centre) + centre)[0].tolist()
    return dataclasses.replace(crop, offset_u=u, offset_v=v, rotation=rotation)


def disturb(
    image: Image, rng: np.random.Generator, grey_share: float, photometric: bool = True
) -> Image:
    """Random brightness, contrast, gamma, colour, blur and noise; grey with a chance.

    Without `photometric`, grey with a chance is all.
    """
    grey = rng.random() < grey_share
    if not photometric:
        return _with_saturation(image, 0.0) if grey else image
    pixels = _with_saturation(image, 0.0 if grey else float(rng.uniform(0.5, 1.5)))
    tables = _tone_curves(rng, grey=bool(np.array_equal(pixels[..., 0], pixels[..., 2])))
    pixels = np.asarray(cv2.LUT(pixels, tables), np.uint8)
    if rng.random() < 0.25:
        pixels = np.asarray(cv2.GaussianBlur(pixels, (0, 0), float(rng.uniform(0.3, 1.2))))
    if rng.random() < 0.25:
        pixels = _noisy(pixels, float(rng.uniform(1.0, 8.0)), rng)
    return pixels


def _noisy(image: Image, deviation: float, rng: np.random.Generator) -> Image:
    """Gaussian noise, the same in all channels."""
    noise = deviation * rng.standard_normal(image.shape[:2], dtype=np.float32)
    grey = cv2.cvtColor(noise, cv2.COLOR_GRAY2RGB)
    return np.asarray(cv2.add(image, grey, dtype=cv2.CV_8U), np.uint8)


def _with_saturation(image: Image, saturation: float) -> Image:
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return np.asarray(cv2.addWeighted(image, saturation, grey, 1.0 - saturation, 0.0), np.uint8)


def _tone_curves(rng: np.random.Generator, grey: bool) -> Image:
    """Look-up tables (1, 256, 3): gamma, contrast and brightness, and a cast unless grey."""
    levels = np.arange(256)[:, None] / 255.0
    gamma, contrast = np.exp(rng.uniform(-0.35, 0.35, 2))
    cast = rng.normal(0.0, 0.0 if grey else 0.03, 3)
    curves = (levels**gamma - 0.5) * contrast + 0.5 + rng.normal(0.0, 0.08) + cast
    return np.asarray(np.clip(curves * 255.0, 0, 255).astype(np.uint8)[None])
