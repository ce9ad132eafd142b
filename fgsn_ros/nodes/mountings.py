"""Where the cameras are on the robot, as /tf and /tf_static tell it."""

import time
from collections import Counter
from collections.abc import Callable

import numpy as np
from rclpy.node import Node
from rclpy.time import Time
from sensor_msgs.msg import CameraInfo
from tf2_msgs.msg import TFMessage
from tf2_ros import Buffer, TransformException, TransformListener

from fgsn_ros.errors import FgsnError, RecordingError
from fgsn_ros.geometry.cameras import Camera, CameraMount
from fgsn_ros.messages.images import camera_of
from fgsn_ros.messages.types import frame_name, make_time
from fgsn_ros.nodes.ros_messages import ROS_TYPES, matrix_of

LEFT_OVER_S = 1.0
"""After time went back, transforms of the old time may come for so long [s]."""


class LoopingListener(TransformListener):
    """Fills a buffer with transforms, and empties it when their time goes back: a bag that loops.

    A buffer refuses what is much older than what it has. It cannot be emptied by another topic's
    time: transforms from before the jump, still under way, would fill it again. Of one frame they
    come in order, so the first that goes back is the first of the new time; those of other frames
    that are still of the old are left out for a moment. Static ones stay.
    """

    def __init__(self, buffer: Buffer, node: Node, time_jump_s: Callable[[], float]) -> None:
        self._newest: dict[str, float] = {}
        self._time, self._settled_at = float("inf"), float("-inf")
        self._time_jump_s = time_jump_s
        super().__init__(buffer, node)

    def callback(self, data: TFMessage) -> None:
        """Take transforms over."""
        jump_s = self._time_jump_s()
        for transform in data.transforms:
            stamp, frame = transform.header.stamp, transform.child_frame_id
            seconds = stamp.sec + 1e-9 * stamp.nanosec
            if seconds < self._newest.get(frame, seconds) - jump_s:
                self.buffer.clear()
                self._newest.clear()
                self._time, self._settled_at = seconds, time.monotonic() + LEFT_OVER_S
            elif seconds > self._time + jump_s and time.monotonic() < self._settled_at:
                continue
            self._time = max(self._time, seconds)
            self._newest[frame] = max(self._newest.get(frame, seconds), seconds)
            self.buffer.set_transform(transform, "default_authority")


class CameraMountings:
    """Mountings of cameras by name, at any stamp that TF knows."""

    def __init__(self, node: Node, base_frame_id: str, time_jump_s: Callable[[], float]) -> None:
        self._buffer = Buffer(node=node)
        self._listener = LoopingListener(self._buffer, node, time_jump_s)
        self._node = node
        self._base_frame_id = base_frame_id
        self._cameras: dict[str, tuple[Camera, str]] = {}
        self._of_images: dict[str, Camera] = {}
        self._frames: dict[str, str] = {}
        self._doubted: set[str] = set()
        self.failures: Counter[str] = Counter()
        """Transforms that were asked for in vain, by the names of their frames."""
        self.uncalibrated: dict[str, str] = {}
        """Why a camera's newest camera_info is of no use, by the camera's name."""

    def close(self) -> None:
        """Let go of the subscriptions."""
        self._listener.unregister()
        self._node.destroy_service(self._buffer.srv)

    def add_camera_info(self, name: str, info: CameraInfo) -> None:
        """Take a camera's calibration over.

        Raises:
            RecordingError: it is empty or of an unknown model; the one before is not used either.
        """
        try:
            camera = camera_of(info, rectified=False, topic=f"{name}/labels/camera_info")
        except RecordingError as error:
            self.uncalibrated[name] = str(error)
            self._cameras.pop(name, None)
            raise
        self.uncalibrated.pop(name, None)
        self._cameras[name] = camera, frame_name(info.header.frame_id)

    def add_image_camera_info(self, name: str, info: CameraInfo) -> None:
        """Take the calibration of a camera's whole images over, that of their local features.

        Raises:
            RecordingError: it is empty or of an unknown model.
        """
        self._of_images[name] = camera_of(info, False, topic=f"{name}/features/camera_info")

    def stride(self, name: str) -> int:
        """Pixels of the camera that `at` gives for a cell of its label images."""
        return self._at_stride(name)[1] if name in self._cameras else 1

    def _at_stride(self, name: str) -> tuple[Camera, int]:
        """The camera of the images if it is known and fits the labels', else that; a stride."""
        grid, image = self._cameras[name][0], self._of_images.get(name)
        stride = 1 if image is None else max(1, round(image.fx / grid.fx))
        if image is None or not _alike(image.at_stride(stride), grid):
            return grid, 1
        return image, stride

    def add_frame(self, name: str, frame_id: str) -> None:
        """Note the frame of a camera's label images, for a camera_info that names none."""
        self._frames[name] = frame_name(frame_id)

    def at(self, name: str, stamp: float) -> CameraMount | None:
        """The camera's mounting at a stamp [s]; None while camera_info or transform is missing."""
        if name not in self._cameras:
            usable = "usable " if name in self.uncalibrated else ""
            self.failures[f"no {usable}camera_info of {name} yet"] += 1
            return None
        camera, frame_id = self._at_stride(name)[0], self._cameras[name][1]
        frame_id = frame_id or self._frames.get(name, "")
        at = Time.from_msg(make_time(ROS_TYPES, stamp))
        try:
            transform = self._buffer.lookup_transform(self._base_frame_id, frame_id, at)
            mount = CameraMount(camera, matrix_of(transform.transform), frame_id)
        except (TransformException, FgsnError):
            self.failures[
                f"no transform from {self._base_frame_id} to {frame_id or '(empty)'}"
            ] += 1
            return None
        if mount.doubt and name not in self._doubted:
            self._doubted.add(name)
            self._node.get_logger().warning(f"{name}: {mount.doubt}")
        return mount


def _alike(one: Camera, other: Camera) -> bool:
    sizes = (one.width, one.height), (other.width, other.height)
    matrices = (one.fx, one.fy, one.cx, one.cy), (other.fx, other.fy, other.cx, other.cy)
    return sizes[0] == sizes[1] and bool(np.allclose(*matrices, rtol=1e-6, atol=1e-6))
