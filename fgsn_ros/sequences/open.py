"""Open a recorded drive by its path."""

from pathlib import Path

from fgsn_ros.geometry.trajectory import Trajectory
from fgsn_ros.sequences.recording import Recording
from fgsn_ros.sequences.settings import RecordingSettings

_DEFAULTS = RecordingSettings()

__all__ = ["RecordingSettings", "open_recording", "read_reference"]


def open_recording(path: Path, settings: RecordingSettings = _DEFAULTS) -> Recording:
    """Open a rosbag2 (folder or file), ROS 1 bag, KITTI sequence folder, or image folder.

    Raises:
        RecordingError: the path is none of them, or is damaged or incomplete.
    """
    raise NotImplementedError


def read_reference(path: Path, recording: Recording) -> Trajectory:
    """Read a reference trajectory T_map_base (TUM text) for a recording's evaluation.

    A pose file given with a KITTI folder holds poses of the camera and is turned as its ground
    truth is.

    Raises:
        RecordingError: the file cannot be read.
    """
    raise NotImplementedError
