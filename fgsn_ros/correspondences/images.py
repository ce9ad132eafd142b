"""Images for training: read once, sized and disturbed."""

import threading
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from fgsn_ros.errors import TrainingError

Image = NDArray[np.uint8]

_Key = tuple[Path, str | bytes | None]  # of a class image: with its ids
_COLOUR = "colour"
_INDEXED_MODES = ("L", "P")  # 8-bit grey, and 8-bit with a palette whose colours are no ids


class ImageCache:
    """Decoded images, kept in memory up to a limit; later ones are read each time.

    Threads may share it.

    Args:
        limit_mb: Memory for images [MB].
        short_side_px: Images come resized to this shorter side [px]; 0 leaves them as stored.
    """

    def __init__(self, limit_mb: int, short_side_px: int = 0) -> None:
        self._images: dict[_Key, Image] = {}
        self._stored: dict[Path, tuple[int, ...]] = {}  # (H, W) before resizing
        self._left = limit_mb * 1_000_000
        self._lock = threading.Lock()
        self._short_side = short_side_px

    def colour(self, path: Path) -> Image:
        """RGB uint8 (H, W, 3).

        Raises:
            TrainingError: the image cannot be read.
        """
        kept = self._images.get((path, _COLOUR))
        if kept is not None:
            return kept
        read = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
        if read is None:
            raise TrainingError(f"cannot read image {path}; restore it or take it off the list")
        self._stored[path] = read.shape[:2]
        size = self._size(read.shape)
        # shrinking averages, as aliasing would be learnt; enlarging interpolates
        shrinks = size[0] < read.shape[1]
        resized = _resized(
            np.asarray(read, np.uint8), size, cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        )
        return self._keep((path, _COLOUR), resized)

    def classes(self, path: Path, ids: bytes | None = None) -> Image:
        """Class ids uint8 (H, W); of an image with a palette, the indices.

        Args:
            path: 8-bit image of one channel.
            ids: The class id of each of the 256 stored values; without it, they are the ids.

        Raises:
            TrainingError: the image cannot be read or is no image of ids.
        """
        kept = self._images.get((path, ids))
        if kept is not None:
            return kept
        stored = _read_indices(path)
        if ids is not None:
            stored = np.frombuffer(ids, np.uint8)[stored]
        resized = _resized(stored, self._size(stored.shape), cv2.INTER_NEAREST_EXACT)
        return self._keep((path, ids), resized)

    def pixels(self, path: Path, stored: NDArray[np.float64]) -> NDArray[np.float64]:
        """Pixels (N, 2) (u, v) of the stored image `path` in the image that `colour` gives."""
        if not self._short_side:
            return stored
        if path not in self._stored:
            self.colour(path)
        height, width = self._stored[path]
        scale = np.divide(self._size((height, width)), (width, height))
        return np.asarray((stored + 0.5) * scale - 0.5)

    def _size(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """Width and height to which an image of `shape` (H, W, ...) comes."""
        height, width = shape[:2]
        if not self._short_side:
            return width, height
        scale = self._short_side / min(height, width)
        return round(width * scale), round(height * scale)

    def _keep(self, key: _Key, image: Image) -> Image:
        with self._lock:  # threads may have read the same image
            if key not in self._images and image.nbytes <= self._left:
                self._left -= image.nbytes
                self._images[key] = image
        return image


def _resized(image: Image, size: tuple[int, int], interpolation: int) -> Image:
    if image.shape[1::-1] == size:
        return np.asarray(image, np.uint8)
    return np.asarray(cv2.resize(image, size, interpolation=interpolation), np.uint8)


def _read_indices(path: Path) -> Image:
    """The stored values (H, W) of an 8-bit image; OpenCV would give the palette's colours."""
    try:
        with PillowImage.open(path) as image:
            if image.mode in _INDEXED_MODES:
                return np.array(image, np.uint8)
            mode = image.mode
    except Exception as error:  # a damaged file can raise almost anything
        reason = " ".join(str(error).split())
        raise TrainingError(f"cannot read class image {path}: {reason}; restore it") from error
    raise TrainingError(f"{path} is a {mode} image; classes need one 8-bit channel of ids")


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
