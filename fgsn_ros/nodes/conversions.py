"""ROS messages to and from arrays, label maps and cameras."""

import array
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from builtin_interfaces.msg import Time
from cv_bridge import CvBridge, CvBridgeError
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header
from vision_msgs.msg import LabelInfo, VisionClass

from fgsn_ros.errors import RecordingError
from fgsn_ros.geometry.cameras import Camera
from fgsn_ros.messages.bag_messages import image_of, split_stamp
from fgsn_ros.segmentation.labels import LabelMap, label_map_of, label_pixels

if TYPE_CHECKING:  # spares the localization node the import of torch
    from fgsn_ros.segmentation.checkpoint import Checkpoint

_BRIDGE = CvBridge()
_UNNAMED = {"8UC1": "mono8", "8UC3": "bgr8", "8UC4": "bgra8"}
"""What drivers mean by OpenCV's types, which cv_bridge refuses to take for colours."""
_LABEL_ENCODINGS = ("mono8", "mono16")


def rgb_of(message: Image | CompressedImage) -> NDArray[np.uint8]:
    """RGB (H, W, 3) of an image in any encoding that cv_bridge knows; rgb8 is a view.

    Raises:
        RecordingError: the image is damaged, or its encoding is no colour or grey image.
    """
    if isinstance(message, CompressedImage):
        return image_of(message, "the image")  # cv_bridge lets truncated ones pass
    encoding = _UNNAMED.get(message.encoding, message.encoding)
    try:
        packed = _packed(message, encoding)
        if encoding == "rgb8":
            return _BRIDGE.imgmsg_to_cv2(packed)
        return _BRIDGE.imgmsg_to_cv2(packed, "rgb8")
    except (CvBridgeError, TypeError, ValueError, cv2.error) as error:
        reason = " ".join(str(error).split())
        raise RecordingError(f"the image of encoding '{encoding}' is unusable: {reason}") from error


def _packed(message: Image, encoding: str) -> Image:
    """The message under another name of its encoding, its rows without padding.

    cv_bridge shears an image whose padding is no multiple of a pixel.
    """
    kind, channels = _BRIDGE.encoding_to_dtype_with_channels(encoding)
    row = message.width * channels * np.dtype(kind).itemsize
    size = f"{len(message.data)} bytes for {message.width}x{message.height} {message.encoding}"
    if row * message.height == 0 or message.step < row:
        raise RecordingError(f"the image is damaged: {size} pixels")
    if len(message.data) < message.step * message.height:
        raise RecordingError(f"the image is damaged: {size} pixels")
    if message.step == row and message.encoding == encoding:
        return message
    data = message.data
    if message.step != row:
        rows = np.frombuffer(data, np.uint8, message.step * message.height)
        data = _bytes_of(rows.reshape(message.height, message.step)[:, :row])
    return Image(
        height=message.height,
        width=message.width,
        encoding=encoding,
        is_bigendian=message.is_bigendian,
        step=row,
        data=data,
    )


def _bytes_of(pixels: NDArray[Any]) -> "array.array[int]":
    """The bytes of an array, copied once, in the type that rclpy takes without looking at each."""
    data = array.array("B")
    data.frombytes(np.ascontiguousarray(pixels).reshape(-1).view(np.uint8))
    return data


def image_message(header: Header, encoding: str, pixels: NDArray[Any]) -> Image:
    """Image of pixels (H, W) or (H, W, C) in the encoding's own type, little-endian."""
    data = _bytes_of(pixels)
    height, width = pixels.shape[:2]
    return Image(
        header=header,
        height=height,
        width=width,
        encoding=encoding,
        step=len(data) // height,
        data=data,
    )


def labels_message(header: Header, label_map: LabelMap) -> Image:
    """The label image: mono8 (unlabelled 255) up to 255 labels, else mono16 (65535)."""
    pixels = label_pixels(label_map)
    return image_message(header, "mono8" if pixels.dtype == np.uint8 else "mono16", pixels)


def label_map_from(message: Image, label_count: int, stride: int = 1) -> LabelMap:
    """Label map of a label image; at stride 1 its camera is that of `labels/camera_info`.

    Raises:
        RecordingError: the image is damaged, or no label image of that many labels.
    """
    if message.encoding not in _LABEL_ENCODINGS:
        raise RecordingError(f"labels are mono8 or mono16, not '{message.encoding}'")
    pixels = _BRIDGE.imgmsg_to_cv2(_packed(message, message.encoding))
    return label_map_of(pixels, label_count, stride)


def confidence_message(header: Header, label_map: LabelMap) -> Image:
    """Confidence as mono8: 255 is certain."""
    return image_message(header, "mono8", np.rint(label_map.confidence * 255.0).astype(np.uint8))


def bgr_message(header: Header, image: NDArray[np.uint8]) -> Image:
    """Image message, bgr8, of an RGB image (H, W, 3)."""
    return image_message(header, "bgr8", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))


def camera_info_message(header: Header, camera: Camera) -> CameraInfo:
    """CameraInfo of raw images of a camera."""
    return CameraInfo(
        header=header,
        height=camera.height,
        width=camera.width,
        distortion_model=camera.distortion_model,
        d=list(camera.distortion),
        k=camera.matrix.reshape(-1),
        r=np.eye(3).reshape(-1),
        p=np.hstack([camera.matrix, np.zeros((3, 1))]).reshape(-1),
    )


def label_info_message(stamp: Time, checkpoint: "Checkpoint") -> LabelInfo:
    """What the labels are: one class per label, the checkpoint's fingerprint as header.frame_id.

    Labels without a name are called "cluster 0", "cluster 1", ... The message describes a pipeline,
    which has no frame, and has no other field for the label set's identity.
    """
    names = checkpoint.label_names or [f"cluster {i}" for i in range(checkpoint.label_count)]
    return LabelInfo(
        header=Header(stamp=stamp, frame_id=checkpoint.fingerprint),
        class_map=[VisionClass(class_id=i, class_name=name) for i, name in enumerate(names)],
    )


def fingerprint_of(info: LabelInfo) -> str:
    """Fingerprint of the checkpoint that a LabelInfo tells of."""
    return info.header.frame_id


def stamp_message(seconds: float) -> Time:
    """The stamp of a time in seconds."""
    sec, nanosec = split_stamp(seconds)
    return Time(sec=sec, nanosec=nanosec)
