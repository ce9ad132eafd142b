"""Where each camera sits: its calibration from CameraInfo, its place on the robot from TF."""

from collections import Counter

from rclpy.time import Time
from sensor_msgs.msg import CameraInfo
from tf2_ros import Buffer, TransformException

from fgsn_ros.errors import FgsnError
from fgsn_ros.geometry.cameras import Camera, CameraMount
from fgsn_ros.messages.bag_messages import camera_of, frame_name
from fgsn_ros.nodes.conversions import stamp_message
from fgsn_ros.nodes.localization_messages import matrix_of


class CameraMountings:
    """Mountings of cameras by name, at any stamp that TF knows."""

    def __init__(self, buffer: Buffer, base_frame_id: str) -> None:
        self._buffer = buffer
        self._base_frame_id = base_frame_id
        self._cameras: dict[str, tuple[Camera, str]] = {}
        self.failures: Counter[str] = Counter()
        """Transforms that were asked for in vain, by the names of their frames."""

    def add_camera_info(self, name: str, info: CameraInfo) -> None:
        """Take a camera's calibration over.

        Raises:
            RecordingError: it is empty or of an unknown model.
        """
        camera = camera_of(info, rectified=False, topic=f"{name}/labels/camera_info")
        self._cameras[name] = camera, frame_name(info.header.frame_id)

    def at(self, name: str, stamp: float) -> CameraMount | None:
        """The camera's mounting at a stamp [s]; None while camera_info or transform is missing."""
        if name not in self._cameras:
            self.failures[f"no camera_info of {name}"] += 1
            return None
        camera, frame_id = self._cameras[name]
        time = Time.from_msg(stamp_message(stamp))
        try:
            transform = self._buffer.lookup_transform(self._base_frame_id, frame_id, time)
            return CameraMount(camera, matrix_of(transform.transform), frame_id)
        except (TransformException, FgsnError):
            self.failures[
                f"no transform from {self._base_frame_id} to {frame_id or '(empty)'}"
            ] += 1
            return None
