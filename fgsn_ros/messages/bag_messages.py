"""ROS messages, as rosbags reads and makes them, to and from arrays."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rosbags.typesys import Stores, get_typestore
from rosbags.typesys.store import Typestore

from fgsn_ros.errors import CameraError, RecordingError
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.cameras import Camera
from fgsn_ros.messages.images import decode_image

Message = Any
"""A message of rosbags; its class is made at run time from the definition in the bag."""

# The messages used here are the same in Humble and Jazzy; bags of Humble are read by both.
TYPESTORE: Typestore = get_typestore(Stores.ROS2_HUMBLE)

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
    "yuv422": (2, cv2.COLOR_YUV2RGB_UYVY),
    "uyvy": (2, cv2.COLOR_YUV2RGB_UYVY),
    "yuv422_yuy2": (2, cv2.COLOR_YUV2RGB_YUY2),
    "yuyv": (2, cv2.COLOR_YUV2RGB_YUY2),
    **{f"{name}8": (1, code) for name, code in _BAYER.items()},
    **{f"{name}16": (1, code) for name, code in _BAYER.items()},
}


def stamp_of(message: Message) -> float:
    """The header's stamp [s]."""
    stamp = message.header.stamp
    return float(stamp.sec + 1e-9 * stamp.nanosec)


def frame_name(frame_id: str) -> str:
    """A frame id without ROS 1's leading slash."""
    return frame_id.lstrip("/")


def image_of(message: Message, source: str) -> NDArray[np.uint8]:
    """RGB (H, W, 3) of an Image or CompressedImage.

    Raises:
        RecordingError: the data are damaged, or the encoding has no colour or grey image.
    """
    if not hasattr(message, "format"):
        return _raw_image(message, source)
    image = decode_image(bytes(message.data), source)
    # image_transport compresses a Bayer mosaic as if it were grey: "<encoding>; jpeg compressed ".
    encoding = message.format.split(";")[0].strip()
    if encoding.startswith("bayer_") and "compressed bgr8" not in message.format:
        return _converted(image[:, :, 0], _encoding(encoding, source)[1])
    return image


def _raw_image(message: Message, source: str) -> NDArray[np.uint8]:
    channels, code = _encoding(message.encoding, source)
    deep = message.encoding.endswith("16")
    item = np.dtype((">u2" if message.is_bigendian else "<u2") if deep else np.uint8)
    height, width = int(message.height), int(message.width)
    row = width * channels * item.itemsize
    step = int(message.step) or row
    data = np.ascontiguousarray(message.data, np.uint8).reshape(-1)
    if step < row or len(data) < step * height or row * height == 0:
        raise RecordingError(f"{source} is damaged: {len(data)} bytes for {width}x{height} pixels")
    rows = np.ascontiguousarray(data[: step * height].reshape(height, step)[:, :row])
    pixels = rows.view(item).reshape(height, width, channels)
    if deep:
        pixels = (pixels >> 8).astype(np.uint8)
    return _converted(pixels.astype(np.uint8, copy=False), code)


def _encoding(name: str, source: str) -> tuple[int, int | None]:
    if name not in _ENCODINGS:
        raise RecordingError(
            f"{source} has the encoding '{name}'; supported: {', '.join(sorted(_ENCODINGS))}"
        )
    return _ENCODINGS[name]


def _converted(pixels: NDArray[np.uint8], code: int | None) -> NDArray[np.uint8]:
    return pixels if code is None else np.asarray(cv2.cvtColor(pixels, code), np.uint8)


def camera_of(info: Message, rectified: bool, topic: str) -> Camera:
    """Camera of a CameraInfo (ROS 1 or 2), for its raw or its rectified images.

    Raises:
        RecordingError: the calibration is empty or of an unknown model.
    """
    # ROS 1 wrote these fields in capitals.
    d, k, p = (getattr(info, name, getattr(info, name.upper(), ())) for name in "dkp")
    model, coefficients = info.distortion_model, [float(c) for c in d]
    matrix = [float(value) for value in k]
    if rectified:
        model, coefficients = "plumb_bob", []
        matrix = [float(p[i]) for i in (0, 1, 2, 4, 5, 6, 8, 9, 10)]
    try:
        return Camera.from_camera_info(info.width, info.height, model, coefficients, matrix)
    except CameraError as error:
        raise RecordingError(f"{topic}: {error}") from error


def pose_row(pose: Message) -> list[float]:
    """X y z qx qy qz qw of a Pose or Transform, as it is in the message."""
    t = pose.position if hasattr(pose, "position") else pose.translation
    q = pose.orientation if hasattr(pose, "orientation") else pose.rotation
    return [t.x, t.y, t.z, q.x, q.y, q.z, q.w]


def valid_rows(rows: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which rows (..., 7) of `pose_row` are finite with a quaternion that is not zero, (...)."""
    with np.errstate(invalid="ignore", over="ignore"):
        norm = np.linalg.norm(rows[..., 3:], axis=-1)
    return np.asarray(np.isfinite(rows).all(axis=-1) & np.isfinite(norm) & (norm > 1e-3))


def split_stamp(stamp: float) -> tuple[int, int]:
    """Seconds and nanoseconds of a stamp [s]."""
    seconds = int(np.floor(stamp))
    nanoseconds = round((stamp - seconds) * 1e9)
    return (seconds + 1, 0) if nanoseconds == 1_000_000_000 else (seconds, nanoseconds)


def make(msgtype: str, **fields: Message) -> Message:
    """A message by its type's name and its fields."""
    return TYPESTORE.types[msgtype](**fields)


def make_header(stamp: float, frame_id: str) -> Message:
    """std_msgs/Header."""
    seconds, nanoseconds = split_stamp(stamp)
    time = make("builtin_interfaces/msg/Time", sec=seconds, nanosec=nanoseconds)
    return make("std_msgs/msg/Header", stamp=time, frame_id=frame_id)


def make_pose(T: NDArray[np.float64]) -> Message:
    """geometry_msgs/Pose of T (4, 4)."""
    (x, y, z), (qx, qy, qz, qw) = (values.tolist() for values in poses.to_quaternion(T))
    return make(
        "geometry_msgs/msg/Pose",
        position=make("geometry_msgs/msg/Point", x=x, y=y, z=z),
        orientation=make("geometry_msgs/msg/Quaternion", x=qx, y=qy, z=qz, w=qw),
    )


def make_transform(stamp: float, parent: str, child: str, T: NDArray[np.float64]) -> Message:
    """geometry_msgs/TransformStamped of T_parent_child (4, 4)."""
    pose = make_pose(T)
    translation = make(
        "geometry_msgs/msg/Vector3", x=pose.position.x, y=pose.position.y, z=pose.position.z
    )
    return make(
        "geometry_msgs/msg/TransformStamped",
        header=make_header(stamp, parent),
        child_frame_id=child,
        transform=make(
            "geometry_msgs/msg/Transform", translation=translation, rotation=pose.orientation
        ),
    )


def make_odometry(stamp: float, parent: str, child: str, T: NDArray[np.float64]) -> Message:
    """nav_msgs/Odometry of T_parent_child (4, 4); twist and covariances stay zero (unknown)."""
    zero = make("geometry_msgs/msg/Vector3", x=0.0, y=0.0, z=0.0)
    unknown = np.zeros(36)
    return make(
        "nav_msgs/msg/Odometry",
        header=make_header(stamp, parent),
        child_frame_id=child,
        pose=make("geometry_msgs/msg/PoseWithCovariance", pose=make_pose(T), covariance=unknown),
        twist=make(
            "geometry_msgs/msg/TwistWithCovariance",
            twist=make("geometry_msgs/msg/Twist", linear=zero, angular=zero),
            covariance=unknown,
        ),
    )


def make_camera_info(stamp: float, frame_id: str, camera: Camera) -> Message:
    """sensor_msgs/CameraInfo of raw images."""
    roi = make(
        "sensor_msgs/msg/RegionOfInterest",
        x_offset=0,
        y_offset=0,
        height=0,
        width=0,
        do_rectify=False,
    )
    return make(
        "sensor_msgs/msg/CameraInfo",
        header=make_header(stamp, frame_id),
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


def make_image(stamp: float, frame_id: str, encoding: str, pixels: NDArray[Any]) -> Message:
    """sensor_msgs/Image of pixels (H, W) or (H, W, C) in the encoding's own type."""
    rows = np.ascontiguousarray(pixels).reshape(len(pixels), -1)
    data = rows.view(np.uint8)
    return make(
        "sensor_msgs/msg/Image",
        header=make_header(stamp, frame_id),
        height=pixels.shape[0],
        width=pixels.shape[1],
        encoding=encoding,
        is_bigendian=0,
        step=data.shape[1],
        data=data.reshape(-1),
    )


def make_jpeg(stamp: float, frame_id: str, image: NDArray[np.uint8], quality: int) -> Message:
    """sensor_msgs/CompressedImage of an RGB image (H, W, 3)."""
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return make(
        "sensor_msgs/msg/CompressedImage",
        header=make_header(stamp, frame_id),
        format="jpeg",
        data=data.reshape(-1),
    )
