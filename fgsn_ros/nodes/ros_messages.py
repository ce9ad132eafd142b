"""The edge to ROS 2: its messages to and from arrays, label maps and matrices.

cv_bridge converts images and tf_transformations quaternions. Messages are built by
`fgsn_ros.messages`, as those of bags are, of `ROS_TYPES`.
"""

import array
import importlib
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import tf_transformations
from builtin_interfaces.msg import Time
from cv_bridge import CvBridge, CvBridgeError
from numpy.typing import NDArray
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header
from vision_msgs.msg import LabelInfo, VisionClass

from fgsn_ros.errors import LocalizationError, RecordingError
from fgsn_ros.geometry import poses
from fgsn_ros.messages.images import image_of, make_image, packed_rows
from fgsn_ros.messages.poses import pose_row
from fgsn_ros.messages.types import MessageTypes
from fgsn_ros.segmentation.labels import LabelMap, label_map_of, label_pixels

if TYPE_CHECKING:  # spares the localization node the import of a network's runtime
    from fgsn_ros.segmentation.checkpoint import Checkpoint

LATCHED_QOS = QoSProfile(
    depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)
"""The last message is there for whoever comes later."""

_BRIDGE = CvBridge()
_UNNAMED = {"8UC1": "mono8", "8UC3": "bgr8", "8UC4": "bgra8"}
"""What drivers mean by OpenCV's types, which cv_bridge refuses to take for colours."""
_LABEL_ENCODINGS = ("mono8", "mono16")


@cache
def _type_of(name: str) -> Callable[..., Any]:
    package, _, kind = name.partition("/msg/")
    found: Callable[..., Any] = getattr(importlib.import_module(f"{package}.msg"), kind)
    return found


def _make(msgtype: str, **fields: Any) -> Any:
    """A message; its numbers are copied once, past rclpy, which looks at each or copies again."""
    arrays = {name: value for name, value in fields.items() if isinstance(value, np.ndarray)}
    if not arrays:
        return _type_of(msgtype)(**fields)
    message = _type_of(msgtype)(**{name: fields[name] for name in fields.keys() - arrays.keys()})
    for name, numbers in arrays.items():
        field = getattr(message, name)
        if isinstance(field, array.array):
            field.frombytes(_bytes(numbers))
        else:
            field[:] = numbers
    return message


def _bytes(numbers: NDArray[Any]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(numbers).reshape(-1).view(np.uint8)


ROS_TYPES = MessageTypes(_make, tf_transformations.quaternion_from_matrix)
"""Messages to be published."""


def matrix_of(pose: Any) -> NDArray[np.float64]:
    """T (4, 4) of a Pose or Transform.

    Raises:
        LocalizationError: a number is not finite or the quaternion's length is not 1.
    """
    row = np.array(pose_row(pose))
    fault = str(poses.faults(row))
    if fault:
        raise LocalizationError(f"a pose is not used: {fault}")
    T: NDArray[np.float64] = tf_transformations.quaternion_matrix(row[3:])
    T[:3, 3] = row[:3]
    return T


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
    rows = packed_rows(message, channels * np.dtype(kind).itemsize, "the image")
    step = rows.shape[1]
    if message.step == step and message.encoding == encoding:
        return message
    return Image(
        height=message.height,
        width=message.width,
        encoding=encoding,
        is_bigendian=message.is_bigendian,
        step=step,
        data=message.data if message.step == step else array.array("B", rows.tobytes()),
    )


def label_map_from(message: Image, label_count: int, stride: int = 1) -> LabelMap:
    """Label map of a label image; at stride 1 its camera is that of `labels/camera_info`.

    Raises:
        RecordingError: the image is damaged, or no label image of that many labels.
    """
    if message.encoding not in _LABEL_ENCODINGS:
        raise RecordingError(f"labels are mono8 or mono16, not '{message.encoding}'")
    pixels = _BRIDGE.imgmsg_to_cv2(_packed(message, message.encoding))
    return label_map_of(pixels, label_count, stride)


def labels_message(header: Header, label_map: LabelMap) -> Image:
    """The label image: mono8 (unlabelled 255) up to 255 labels, else mono16 (65535)."""
    pixels = label_pixels(label_map)
    encoding = "mono8" if pixels.dtype == np.uint8 else "mono16"
    return make_image(ROS_TYPES, header, encoding, pixels)


def confidence_message(header: Header, label_map: LabelMap) -> Image:
    """Confidence as mono8: 255 is certain."""
    pixels = np.rint(label_map.confidence * 255.0).astype(np.uint8)
    return make_image(ROS_TYPES, header, "mono8", pixels)


def bgr_message(header: Header, image: NDArray[np.uint8]) -> Image:
    """Image message, bgr8, of an RGB image (H, W, 3)."""
    return make_image(ROS_TYPES, header, "bgr8", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))


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
