"""The process that latency.py publishes a drive with."""

import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

import rclpy
from nav_msgs.msg import Odometry
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage

from fgsn_ros.geometry.cameras import CameraMount
from fgsn_ros.messages.images import make_camera_info, make_image, make_jpeg
from fgsn_ros.messages.poses import make_odometry, make_transform, make_transforms
from fgsn_ros.messages.types import make_time
from fgsn_ros.nodes.ros_messages import LATCHED_QOS, ROS_TYPES
from fgsn_ros.recordings.open import open_recording
from fgsn_ros.recordings.recording import Frame, require_odometry

Transport = Literal["raw", "compressed"]

RATE_HZ, TICKS_PER_IMAGE = 10, 5
JPEG_QUALITY = 90


def play(bag: Path, transport: Transport, seconds: float, told: Connection) -> None:
    """Publish a drive; tells when it begins and, at the end, when it published each image.

    Sends an empty dictionary, then one of stamps [us] to the clock's time [s].
    """
    rclpy.init()
    player = Player(bag, transport, seconds)
    player.wait()
    told.send({})
    told.send(player.run())
    rclpy.try_shutdown()


class Player:
    """Images, their camera and odometry of a drive, stamped by the clock."""

    def __init__(self, bag: Path, transport: Transport, seconds: float) -> None:
        recording = open_recording(bag)
        ((_, mount),) = recording.cameras.items()
        self._mount: CameraMount = mount
        count = round(RATE_HZ * seconds)
        frames = (frame for frame, _ in zip(recording.frames(), range(count), strict=False))
        self._images = [_image(frame, transport, mount.frame_id) for frame in frames]
        self._odometry = require_odometry(recording)
        self._node = Node("player")
        kind, topic = (
            (Image, "image") if transport == "raw" else (CompressedImage, "image/compressed")
        )
        publish = self._node.create_publisher
        self._image_publisher = publish(kind, f"/camera/{topic}", 2)
        self._info_publisher = publish(CameraInfo, "/camera/camera_info", 2)
        self._odometry_publisher = publish(Odometry, "/odom", 50)
        self._static_publisher = publish(TFMessage, "/tf_static", LATCHED_QOS)
        mounting = make_transform(ROS_TYPES, 0.0, "base_link", mount.frame_id, mount.T_base_camera)
        self._static_publisher.publish(make_transforms(ROS_TYPES, [mounting]))

    def wait(self) -> None:
        """Wait until both nodes listen to everything."""
        publishers = (
            self._image_publisher,
            self._info_publisher,
            self._odometry_publisher,
            self._static_publisher,
        )
        while not all(publisher.get_subscription_count() for publisher in publishers):
            time.sleep(0.1)
        while not self._node.count_subscribers("/camera/labels") > 1:  # the listener is one
            time.sleep(0.1)

    def run(self) -> dict[int, float]:
        """Publish all; stamp [us] of each image to the time when it was published [s]."""
        published = {}
        start, first = time.time() + 0.1, float(self._odometry.stamps[0])
        for tick in range(TICKS_PER_IMAGE * len(self._images)):
            time.sleep(max(0.0, start + 0.02 * tick - time.time()))
            stamp = start + 0.02 * tick
            self._publish_odometry(stamp, first + 0.02 * tick)
            if tick % TICKS_PER_IMAGE == 0:
                image = self._images[tick // TICKS_PER_IMAGE]
                image.header.stamp = make_time(ROS_TYPES, stamp)
                info = make_camera_info(ROS_TYPES, image.header, self._mount.camera)
                self._info_publisher.publish(info)
                published[round(1e6 * stamp)] = time.time()
                self._image_publisher.publish(image)
        return published

    def _publish_odometry(self, stamp: float, time_in_drive: float) -> None:
        T_odom_base = self._odometry.at(time_in_drive)
        self._odometry_publisher.publish(
            make_odometry(ROS_TYPES, stamp, "odom", "base_link", T_odom_base)
        )


def _image(frame: Frame, transport: Transport, frame_id: str) -> Any:
    header = Header(frame_id=frame_id)
    if transport == "raw":
        return make_image(ROS_TYPES, header, "rgb8", frame.image)
    return make_jpeg(ROS_TYPES, header, frame.image, JPEG_QUALITY)
