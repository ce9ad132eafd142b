"""Image bytes to RGB arrays, checked."""

import cv2
import numpy as np
from numpy.typing import NDArray

from fgsn_ros.errors import RecordingError
from fgsn_ros.geometry.cameras import Camera

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")

_PNG_START, _PNG_END = b"\x89PNG", b"IEND"
_JPEG_START, _JPEG_END = b"\xff\xd8", b"\xff\xd9"


def decode_image(data: bytes, source: str) -> NDArray[np.uint8]:
    """RGB (H, W, 3) of an encoded image (png, jpeg, ...); grey images are spread to RGB.

    Raises:
        RecordingError: the image is truncated or cannot be decoded; names `source`.
    """
    # OpenCV fills what is missing of a truncated image with grey and says nothing.
    cut_png = data.startswith(_PNG_START) and _PNG_END not in data[-64:]
    cut_jpeg = data.startswith(_JPEG_START) and _JPEG_END not in data[2:]
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        bgr = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    except cv2.error:  # a header that asks for more than there can be
        bgr = None
    if bgr is None or cut_png or cut_jpeg:
        raise RecordingError(f"{source} is damaged: it cannot be decoded as an image")
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def check_size(image: NDArray[np.uint8], camera: Camera, source: str) -> None:
    """Refuse an image of another size than its camera's.

    Raises:
        RecordingError: the sizes differ; names both and `source`.
    """
    height, width = image.shape[:2]
    if (width, height) != (camera.width, camera.height):
        raise RecordingError(
            f"{source} is {width}x{height} but its camera is {camera.width}x{camera.height}; "
            "use the calibration of these images"
        )
