"""Drives through the corridor as a robot records them: images and wheel odometry that drifts."""

import numpy as np
from corridor import Corridor

from fgsn_ros.geometry import poses
from fgsn_ros.geometry.trajectory import Trajectory
from fgsn_ros.recordings.odometry import OdometryNoise, derive_odometry
from fgsn_ros.recordings.recording import Frame
from fgsn_ros.recordings.rosbag_writer import RecordingWriter

NOISE = OdometryNoise(scale_error=0.0, yaw_drift_per_m=0.01)


class RawDrive(Corridor):
    """The corridor without ground truth for who reads it; with wheel odometry."""

    def __init__(
        self, name="first", seed=1, offset_m=0.0, dark_from=10**9, there_and_back=0, **values
    ):
        super().__init__(**values)
        self.name = name
        if there_and_back:
            self._go_there_and_back(there_and_back)
        self.truth = self.ground_truth.with_poses(
            poses.compose(poses.from_planar(0.0, offset_m, 0.0), self.ground_truth.poses)
        )
        self.ground_truth = None
        self.odometry = derive_odometry(self.truth, NOISE, np.random.default_rng(seed))
        self._dark_from = dark_from

    def _go_there_and_back(self, frames):
        """Forward, back to the start in reverse gear, and forward again."""
        there = list(range(frames))
        order = [*there, *there[-2::-1], *there[1:]]
        stamps = 100.0 + 0.1 * np.arange(len(order))
        self.ground_truth = Trajectory(stamps, self.ground_truth.poses[order])
        self.frame_count = len(order)

    def frames(self):
        for i, (stamp, T) in enumerate(zip(self.truth.stamps, self.truth.poses, strict=True)):
            image = self.render(T)[0]
            dark = self._blank or self._dark_from <= i
            yield Frame(float(stamp), "camera", np.zeros_like(image) if dark else image)


def write_raw(path, drive):
    """The drive as a bag of images, calibration, mounting and odometry."""
    with RecordingWriter(path) as writer:
        writer.add_camera("camera", drive.cameras["camera"])
        for stamp, T in zip(drive.odometry.stamps, drive.odometry.poses, strict=True):
            writer.write_odometry(float(stamp), T)
        for frame in drive.frames():
            writer.write_image(frame)
