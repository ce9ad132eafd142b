"""`fgsn poses`: poses of raw recordings, from their images and wheel odometry."""

import importlib.util
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from fgsn_ros.commands.paths import inputs_of
from fgsn_ros.config import require
from fgsn_ros.mapping.sfm.recording_poses import PoseSettings, pose_recordings
from fgsn_ros.mapping.sfm.report import POSES_FOLDER, text, write_poses
from fgsn_ros.outputs import check_folder, whole_folder
from fgsn_ros.recordings.open import open_recording
from fgsn_ros.recordings.recording import RecordingSettings
from fgsn_ros.terminal import say

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Poses:
    """Poses of every frame of raw recordings: images, calibration, mounting and odometry do."""

    recording_paths: Annotated[
        tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RECORDING [RECORDING ...]")
    ]
    """rosbag2, ROS 1 bag or KITTI folder with odometry; several of one place, also of different
    seasons, come out in one frame where images show that they belong together"""
    output: Path
    """folder to make: a TUM file a recording, a COLMAP model, report.json and poses.png"""
    overwrite: bool = False
    """replace the output folder"""
    recording: RecordingSettings = field(default_factory=RecordingSettings)
    """Of every recording."""
    poses: PoseSettings = field(default_factory=PoseSettings)

    def run(self) -> None:
        """Make the poses and write them."""
        require(len(self.recording_paths) > 0, "name a recording, or several of one place")
        check_folder(self.output, POSES_FOLDER, self.overwrite, inputs_of(self))
        recordings = [open_recording(path, self.recording) for path in self.recording_paths]
        posed = pose_recordings(recordings, self.poses)
        picture = importlib.util.find_spec("matplotlib") is not None
        if not picture:
            _log.warning("no poses.png without matplotlib: pip install 'fgsn_ros[simulation]'")
        with whole_folder(self.output, POSES_FOLDER, self.overwrite) as temporary:
            facts = write_poses(temporary, posed, picture)
        say(text(facts))
