"""Images for training: written, read once, and sized."""

import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fgsn_ros.errors import RecordingError, TrainingError
from fgsn_ros.messages.encoded_images import read_image_file
from fgsn_ros.messages.images import decode_image
from fgsn_ros.segmentation.id_images import read_id_image

Image = NDArray[np.uint8]

_Key = tuple[Path, str | bytes | None]  # of a class image: with its ids
_COLOUR = "colour"


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
        try:
            rgb = decode_image(read_image_file(path), str(path))
        except (OSError, ValueError, RecordingError) as error:
            raise TrainingError(
                f"cannot read image {path}: {error}; restore it or take it off the list"
            ) from error
        self._stored[path] = rgb.shape[:2]
        size = self._size(rgb.shape)
        # shrinking averages, as aliasing would be learnt; enlarging interpolates
        shrinks = size[0] < rgb.shape[1]
        resized = _resized(rgb, size, cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
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


def write_jpeg(path: Path, rgb: Image, quality: int) -> None:
    """Write an RGB image (H, W, 3) as JPEG of a quality 1 to 100.

    Raises:
        OSError: the file cannot be written.
    """
    _write_encoded(path, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), (cv2.IMWRITE_JPEG_QUALITY, quality))


def write_classes(path: Path, classes: Image) -> None:
    """Write class ids (H, W) as PNG.

    Raises:
        OSError: the file cannot be written.
    """
    _write_encoded(path, classes, ())


def _write_encoded(path: Path, image: NDArray[Any], options: tuple[int, ...]) -> None:
    # Encoded here: cv2.imwrite does not tell a full disk from a wrong name.
    _, encoded = cv2.imencode(path.suffix, image, options)
    path.write_bytes(encoded.tobytes())


def _resized(image: Image, size: tuple[int, int], interpolation: int) -> Image:
    if image.shape[1::-1] == size:
        return np.asarray(image, np.uint8)
    return np.asarray(cv2.resize(image, size, interpolation=interpolation), np.uint8)


def _read_indices(path: Path) -> Image:
    """The stored values (H, W) of an 8-bit image of classes."""
    try:
        read = read_id_image(path)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise TrainingError(f"cannot read class image {path}: {reason}") from error
    if read.dtype != np.uint8:
        raise TrainingError(f"{path} has 16 bits; classes need one 8-bit channel of ids")
    return np.asarray(read, np.uint8)
