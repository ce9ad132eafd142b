"""Image, CompressedImage and CameraInfo to and from arrays and cameras, checked."""

import re
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fgsn_ros.errors import CameraError, RecordingError
from fgsn_ros.geometry.cameras import Camera
from fgsn_ros.messages.encoded_images import MOST_PIXELS, decode
from fgsn_ros.messages.types import Message, MessageTypes, frame_name

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")

_PNG_START, _PNG_END = b"\x89PNG", b"IEND"
_JPEG_START, _JPEG_END = b"\xff\xd8", b"\xff\xd9"
_BAYER = {
    "bayer_rggb": cv2.COLOR_BayerRGGB2RGB,
    "bayer_bggr": cv2.COLOR_BayerBGGR2RGB,
    "bayer_gbrg": cv2.COLOR_BayerGBRG2RGB,
    "bayer_grbg": cv2.COLOR_BayerGRBG2RGB,
}
# Encoding to channels and OpenCV's conversion to RGB.
_ENCODINGS: dict[str, tuple[int, int | None]] = {
    "mono8": (1, cv2.COLOR_GRAY2RGB),
    "8UC1": (1, cv2.COLOR_GRAY2RGB),
    "mono16": (1, cv2.COLOR_GRAY2RGB),
    "rgb8": (3, None),
    "bgr8": (3, cv2.COLOR_BGR2RGB),
    "8UC3": (3, cv2.COLOR_BGR2RGB),
    "rgba8": (4, cv2.COLOR_RGBA2RGB),
    "bgra8": (4, cv2.COLOR_BGRA2RGB),
    "8UC4": (4, cv2.COLOR_BGRA2RGB),
    "rgb16": (3, None),
    "bgr16": (3, cv2.COLOR_BGR2RGB),
    "rgba16": (4, cv2.COLOR_RGBA2RGB),
    "bgra16": (4, cv2.COLOR_BGRA2RGB),
    "yuv422": (2, cv2.COLOR_YUV2RGB_UYVY),
    "uyvy": (2, cv2.COLOR_YUV2RGB_UYVY),
    "yuv422_yuy2": (2, cv2.COLOR_YUV2RGB_YUY2),
    "yuyv": (2, cv2.COLOR_YUV2RGB_YUY2),
    **{f"{name}8": (1, code) for name, code in _BAYER.items()},
    **{f"{name}16": (1, code) for name, code in _BAYER.items()},
}

_OF_PAIRS = (cv2.COLOR_YUV2RGB_UYVY, cv2.COLOR_YUV2RGB_YUY2)
# Encoding whose brightness comes before its colours, to OpenCV's conversion.
_PLANAR = {
    "nv12": cv2.COLOR_YUV2RGB_NV12,
    "nv21": cv2.COLOR_YUV2RGB_NV21,
    "yuv420": cv2.COLOR_YUV2RGB_I420,
    "i420": cv2.COLOR_YUV2RGB_I420,
}
_VIDEO = frozenset(
    ("av1", "avc", "ffmpeg", "h264", "h265", "hevc", "mpeg4", "theora", "vp8", "vp9", "x264")
)
_CODECS = frozenset(("jpeg", "jpg", "png"))


class UnreadableImage(RecordingError):  # noqa: N818
    """An image that cannot be used; others of its recording may be."""

    def __init__(self, source: str, reason: str) -> None:
        super().__init__(f"{source} is {reason}")
        self.reason = reason
        """Without its source, as an attribute."""


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
        if cut_png or cut_jpeg:
            raise ValueError("it cannot be decoded as an image")
        bgr = decode(data, flags)
    except ValueError as error:
        raise RecordingError(f"{source} is damaged: {error}") from error
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def check_size(image: NDArray[np.uint8], camera: Camera, source: str) -> None:
    """Refuse an image of another size than its camera's.

    Raises:
        UnreadableImage: the sizes differ; names both and `source`.
    """
    height, width = image.shape[:2]
    if (width, height) != (camera.width, camera.height):
        raise UnreadableImage(
            source,
            f"{width}x{height} but its camera is {camera.width}x{camera.height}; "
            "use the calibration of these images (binning and region of interest of camera_info "
            "count, REP 104)",
        )


def image_of(message: Message, source: str) -> NDArray[np.uint8]:
    """RGB (H, W, 3) of an Image or CompressedImage.

    Raises:
        RecordingError: the data are damaged, or the encoding has no colour or grey image.
    """
    try:
        return _decoded(message, source) if hasattr(message, "format") else _raw(message, source)
    except cv2.error as error:  # no size or layout is known to lead here
        raise UnreadableImage(source, "damaged: OpenCV cannot convert it") from error


def _decoded(message: Message, source: str) -> NDArray[np.uint8]:
    words = set(re.findall("[a-z0-9]+", message.format.lower()))
    if words & _VIDEO:
        raise UnreadableImage(
            source,
            f"compressed as {_quoted(message.format)}, which is video; record images, made of it "
            "by 'ros2 run image_transport republish'",
        )
    if "compresseddepth" in words:
        raise UnreadableImage(source, "a depth image; name the topic of a colour image")
    try:
        image = decode_image(bytes(message.data), source)
    except RecordingError as error:
        if words & _CODECS or not words:
            raise
        reason = f"of the format {_quoted(message.format)}, which cannot be decoded here"
        raise UnreadableImage(source, reason) from error
    return _as_compressed(image, message.format, source)


def _as_compressed(image: NDArray[np.uint8], form: str, source: str) -> NDArray[np.uint8]:
    """Colours of a decoded image whose format is image_transport's `<encoding>; <codec> ...`.

    As its compressed_subscriber has it: without "compressed bgr", the channels of a colour image
    were compressed in the order of RGB (all until 2012). A Bayer mosaic was compressed as it is,
    unless to colours or, since 2021, to grey. TIFF has the encoding's own order.
    """
    encoding, separator, rest = (part.strip() for part in form.partition(";"))
    if encoding.startswith("bayer_") and not re.search("compressed (bgr|mono)", rest):
        return _converted(image[:, :, 0], _encoding(encoding, source)[1])
    of_red_first = encoding.startswith("rgb") or (
        encoding.startswith("bgr") and not rest.startswith("tiff")
    )
    if separator and of_red_first and "compressed bgr" not in rest:
        return np.ascontiguousarray(image[:, :, ::-1])
    return image


def _raw(message: Message, source: str) -> NDArray[np.uint8]:
    if int(message.width) * int(message.height) > MOST_PIXELS:
        raise UnreadableImage(source, f"damaged: {message.width}x{message.height} pixels")
    if message.encoding in _PLANAR:
        return _of_planes(message, source)
    channels, code = _encoding(message.encoding, source)
    deep = message.encoding.endswith("16")
    item = np.dtype((">u2" if message.is_bigendian else "<u2") if deep else np.uint8)
    rows = np.ascontiguousarray(packed_rows(message, channels * item.itemsize, source))
    pixels = rows.view(item).reshape(len(rows), -1, channels)
    if deep:
        pixels = (pixels >> 8).astype(np.uint8)
    pixels = pixels.astype(np.uint8, copy=False)
    width = pixels.shape[1]
    if code in _OF_PAIRS and width % 2:  # the last pixel of a row has no other to share with
        pixels = np.concatenate([pixels, pixels[:, -2:-1] if width > 1 else pixels], axis=1)
    return _converted(pixels, code)[:, :width]


def _of_planes(message: Message, source: str) -> NDArray[np.uint8]:
    """RGB of 8-bit YUV whose colours, at half the size, follow the brightness."""
    height, width = int(message.height), int(message.width)
    data = np.asarray(message.data, np.uint8).reshape(-1)
    rows, step = height * 3 // 2, int(message.step) or width
    interleaved = message.encoding.startswith("nv")
    if height % 2 or width % 2 or step < width or (step > width and not interleaved):
        size = f"{width}x{height}, {step} bytes a row"
        raise UnreadableImage(source, f"of a size that {message.encoding} has not: {size}")
    if len(data) < rows * step or rows * width == 0:
        size = f"{width}x{height} {message.encoding} pixels"
        raise UnreadableImage(source, f"damaged: {len(data)} bytes for {size}")
    planes = np.ascontiguousarray(data[: rows * step].reshape(rows, step)[:, :width])
    return _converted(planes, _PLANAR[message.encoding])


def packed_rows(message: Message, pixel_bytes: int, source: str) -> NDArray[np.uint8]:
    """Bytes (H, W * pixel_bytes) of an Image without the padding of its rows; a view.

    Raises:
        UnreadableImage: there are fewer bytes than its size asks for, or no pixels.
    """
    data = np.asarray(message.data, np.uint8).reshape(-1)
    height, width = int(message.height), int(message.width)
    row = width * pixel_bytes
    step = int(message.step) or row
    if step < row or len(data) < step * height or row * height == 0:
        size = f"{width}x{height} {_printable(message.encoding)} pixels"
        raise UnreadableImage(source, f"damaged: {len(data)} bytes for {size}")
    return data[: step * height].reshape(height, step)[:, :row]


def _encoding(name: str, source: str) -> tuple[int, int | None]:
    if name not in _ENCODINGS:
        known = ", ".join(sorted([*_ENCODINGS, *_PLANAR]))
        raise UnreadableImage(
            source, f"encoded as {_quoted(name)}, no colour or grey image; supported: {known}"
        )
    return _ENCODINGS[name]


def _converted(pixels: NDArray[np.uint8], code: int | None) -> NDArray[np.uint8]:
    return pixels if code is None else np.asarray(cv2.cvtColor(pixels, code), np.uint8)


def _quoted(text: str) -> str:
    return f"'{_printable(text)}'"


def _printable(text: str) -> str:
    """A bag's own words, fit for a line."""
    return "".join(c if c.isprintable() else "?" for c in text[:40])


def camera_of(info: Message, rectified: bool, topic: str) -> Camera:
    """Camera of a CameraInfo (ROS 1 or 2), for its raw or its rectified images.

    Size and matrix are those of the whole sensor; the images show its region of interest, `binning`
    of whose pixels make one of theirs (REP 104).

    Raises:
        RecordingError: the calibration is empty, absurd, or of an unknown model.
    """
    # ROS 1 wrote these fields in capitals.
    d, k, p = (getattr(info, name, getattr(info, name.upper(), ())) for name in "dkp")
    model, coefficients = info.distortion_model, [float(c) for c in d]
    matrix = [float(value) for value in k]
    if rectified:
        model, coefficients = "", []
        matrix = [float(p[i]) for i in (0, 1, 2, 4, 5, 6, 8, 9, 10)]
    try:
        sensor = Camera.from_camera_info(info.width, info.height, model, coefficients, matrix)
        roi = info.roi
        if roi.width and roi.height:
            sensor = sensor.cropped(roi.x_offset, roi.y_offset, roi.width, roi.height)
        return sensor.binned(max(info.binning_x, 1), max(info.binning_y, 1))
    except CameraError as error:
        raise RecordingError(f"{topic}: {error}") from error


def is_calibrated(info: Message) -> bool:
    """Whether a CameraInfo holds a calibration; a driver's first may be empty."""
    k = info.k if hasattr(info, "k") else info.K
    return bool(info.width and info.height and k[0] != 0.0 and k[4] != 0.0)


def camera_frame(info: Message, image: Message) -> str:
    """The optical frame of a camera: its CameraInfo's, or its images' where that names none."""
    return frame_name(info.header.frame_id) or frame_name(image.header.frame_id)


def make_camera_info(types: MessageTypes, header: Message, camera: Camera) -> Message:
    """sensor_msgs/CameraInfo of raw images."""
    roi = types.make(
        "sensor_msgs/msg/RegionOfInterest",
        x_offset=0,
        y_offset=0,
        height=0,
        width=0,
        do_rectify=False,
    )
    return types.make(
        "sensor_msgs/msg/CameraInfo",
        header=header,
        height=camera.height,
        width=camera.width,
        distortion_model=camera.distortion_model,
        d=np.array(camera.distortion, np.float64),
        k=camera.matrix.reshape(-1),
        r=np.eye(3).reshape(-1),
        p=np.hstack([camera.matrix, np.zeros((3, 1))]).reshape(-1),
        binning_x=0,
        binning_y=0,
        roi=roi,
    )


def make_image(
    types: MessageTypes, header: Message, encoding: str, pixels: NDArray[Any]
) -> Message:
    """sensor_msgs/Image of pixels (H, W) or (H, W, C) in the encoding's own type."""
    height, width = pixels.shape[:2]
    data = np.ascontiguousarray(pixels).reshape(-1).view(np.uint8)
    return types.make(
        "sensor_msgs/msg/Image",
        header=header,
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=0,
        step=len(data) // height,
        data=data,
    )


def make_jpeg(
    types: MessageTypes, header: Message, image: NDArray[np.uint8], quality: int
) -> Message:
    """sensor_msgs/CompressedImage of an RGB image (H, W, 3)."""
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return types.make(
        "sensor_msgs/msg/CompressedImage",
        header=header,
        format="jpeg",
        data=data.reshape(-1),
    )
