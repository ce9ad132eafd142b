"""Images for training: read once, cropped and disturbed."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from fgsn_ros.errors import TrainingError

Image = NDArray[np.uint8]


class ImageCache:
    """Decoded images, kept in memory up to a limit; later ones are read each time."""

    def __init__(self, limit_mb: int) -> None:
        self._images: dict[Path, Image] = {}
        self._left = limit_mb * 1_000_000

    def colour(self, path: Path) -> Image:
        """RGB uint8 (H, W, 3).

        Raises:
            TrainingError: the image cannot be read.
        """
        return self._read(path, cv2.IMREAD_COLOR_RGB)

    def classes(self, path: Path) -> Image:
        """Class ids uint8 (H, W).

        Raises:
            TrainingError: the image cannot be read.
        """
        return self._read(path, cv2.IMREAD_GRAYSCALE)

    def _read(self, path: Path, mode: int) -> Image:
        image = self._images.get(path)
        if image is None:
            read = cv2.imread(str(path), mode)
            if read is None:
                raise TrainingError(f"cannot read image {path}; restore it or take it off the list")
            image = np.asarray(read, np.uint8)
            if image.nbytes <= self._left:
                self._left -= image.nbytes
                self._images[path] = image
        return image


@dataclass(frozen=True)
class Crop:
    """A crop: its pixel = scale * image pixel + offset (pixel centres), then flipped."""

    height: int
    width: int
    scale: float
    offset_u: float
    offset_v: float
    flipped: bool

    def points(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Pixels (N, 2) (u, v) of the image in the crop."""
        moved = points * self.scale + (self.offset_u, self.offset_v)
        if self.flipped:
            moved[:, 0] = self.width - 1 - moved[:, 0]
        return moved

    def source_points(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Pixels (N, 2) (u, v) of the crop in the image: the inverse of `points`."""
        moved = np.array(points, np.float64)
        if self.flipped:
            moved[:, 0] = self.width - 1 - moved[:, 0]
        return (moved - (self.offset_u, self.offset_v)) / self.scale

    def image(self, image: Image) -> Image:
        """The crop of an image; what lies outside repeats the border."""
        return self._warp(image, cv2.INTER_LINEAR, cv2.BORDER_REPLICATE)

    def classes(self, classes: Image) -> Image:
        """The crop of class ids; 255 outside the image."""
        return self._warp(classes, cv2.INTER_NEAREST, cv2.BORDER_CONSTANT)

    def _warp(self, image: Image, interpolation: int, border: int) -> Image:
        sign = -1.0 if self.flipped else 1.0
        offset_u = self.width - 1 - self.offset_u if self.flipped else self.offset_u
        matrix = np.array([[sign * self.scale, 0.0, offset_u], [0.0, self.scale, self.offset_v]])
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
) -> Crop:
    """A crop (height, width) of an image (height, width) scaled by `scale`.

    Args:
        image_size: (H, W) [px].
        crop_size: (H, W) [px].
        scale: Crop pixels per image pixel.
        rng: Places the crop.
        around: Image pixel (u, v) that the crop must show; anywhere without it.
        flipped: Mirror left and right.
    """
    offsets = []
    for axis in (0, 1):
        free = crop_size[axis] - image_size[axis] * scale
        low, high = min(free, 0.0), max(free, 0.0)
        offset = rng.uniform(low, high)
        if around is not None:
            shown_at = rng.uniform(0.1, 0.9) * crop_size[axis]
            offset = np.clip(shown_at - around[1 - axis] * scale, low, high)
        offsets.append(float(offset))
    return Crop(crop_size[0], crop_size[1], scale, offsets[1], offsets[0], flipped)


def disturb(image: Image, rng: np.random.Generator, grey_share: float) -> Image:
    """Random brightness, contrast, gamma, colour, blur and noise; grey with a chance."""
    pixels = image
    if rng.random() < grey_share:
        grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
        pixels = np.repeat(grey[..., None], 3, axis=2)
    else:
        pixels = _with_saturation(pixels, float(rng.uniform(0.5, 1.5)))
    tables = _tone_curves(rng, grey=bool(np.array_equal(pixels[..., 0], pixels[..., 2])))
    pixels = np.asarray(cv2.LUT(pixels, tables), np.uint8)
    if rng.random() < 0.25:
        pixels = np.asarray(cv2.GaussianBlur(pixels, (0, 0), float(rng.uniform(0.3, 1.2))))
    if rng.random() < 0.25:
        noise = rng.normal(0.0, rng.uniform(1.0, 8.0), pixels.shape[:2])
        pixels = np.clip(pixels + noise[..., None], 0, 255).astype(np.uint8)
    return pixels


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
