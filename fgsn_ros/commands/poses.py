"""`fgsn poses`: poses of raw recordings, from their images and, where there is any, odometry."""

import importlib.util
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from fgsn_ros.commands.paths import inputs_of
from fgsn_ros.config import require
from fgsn_ros.errors import RecordingError
from fgsn_ros.mapping.sfm.image_poses import ImagePoseSettings, PosedImages, pose_images
from fgsn_ros.mapping.sfm.image_report import image_text, write_image_poses
from fgsn_ros.mapping.sfm.kept import KeptWork
from fgsn_ros.mapping.sfm.recording_poses import PoseSettings, pose_recordings
from fgsn_ros.mapping.sfm.report import POSES_FOLDER, Facts, text, write_poses
from fgsn_ros.outputs import check_folder, whole_folder
from fgsn_ros.recordings.folder_recording import FolderImages
from fgsn_ros.recordings.image_folder import open_folder_images
from fgsn_ros.recordings.open import is_uncalibrated, open_recording
from fgsn_ros.recordings.recording import Recording, RecordingSettings
from fgsn_ros.terminal import say

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Poses:
    """Poses of every frame of raw recordings: images, calibration, mounting and odometry do.

    GPS fixes and an IMU are used where a bag has them.
    """

    recording_paths: Annotated[
        tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RECORDING [RECORDING ...]")
    ]
    """rosbag2, ROS 1 bag or KITTI folder with odometry; several of one place, also of different
    seasons, come out in one frame where images show that they belong together. Or images alone,
    such as a folder of them without camera.yaml: without scale"""
    output: Path
    """folder to make: a TUM file a recording, a COLMAP model, report.json and poses.png"""
    overwrite: bool = False
    """replace the output folder"""
    keep: Path | None = None
    """folder for the features and matches of each recording: a run that was stopped goes on there,
    and recordings that jobs of their own have prepared are joined without doing it again"""
    recording: RecordingSettings = field(default_factory=RecordingSettings)
    """Of every recording."""
    poses: PoseSettings = field(default_factory=PoseSettings)
    images: ImagePoseSettings = field(default_factory=ImagePoseSettings)
    """Of images without odometry."""

    def run(self) -> None:
        """Make the poses and write them."""
        require(len(self.recording_paths) > 0, "name a recording, or several of one place")
        check_folder(self.output, POSES_FOLDER, self.overwrite, inputs_of(self))
        picture = importlib.util.find_spec("matplotlib") is not None
        if not picture:
            _log.warning("no poses.png without matplotlib: pip install 'fgsn_ros[simulation]'")
        say(self._made(picture))

    def _made(self, picture: bool) -> str:
        """The report of what was written."""
        opened = [self._open(path) for path in self.recording_paths]
        recordings = [each for each in opened if not isinstance(each, FolderImages)]
        if len(opened) == 1 and _has_images_alone(opened[0]):
            alone = posed_alone(opened[0], self.images)
            return image_text(self._written(lambda at: write_image_poses(at, alone, picture)))
        for each in opened:
            if isinstance(each, FolderImages):
                raise RecordingError(f"{each.path}: {_ALONE}")
        kept = None if self.keep is None else KeptWork(self.keep)
        posed = pose_recordings(recordings, self.poses, kept)
        return text(self._written(lambda at: write_poses(at, posed, picture)))

    def _open(self, path: Path) -> Recording | FolderImages:
        if is_uncalibrated(path):
            return open_folder_images(path, self.recording)
        return open_recording(path, self.recording)

    def _written(self, write: Callable[[Path], Facts]) -> Facts:
        with whole_folder(self.output, POSES_FOLDER, self.overwrite) as temporary:
            return write(temporary)


_ALONE = (
    "images without odometry and calibration have no scale and cannot be joined with other "
    "recordings; name the folder alone"
)


def _has_images_alone(opened: Recording | FolderImages) -> bool:
    if isinstance(opened, FolderImages):
        return True
    return opened.odometry is None and len(opened.cameras) == 1


def posed_alone(opened: Recording | FolderImages, settings: ImagePoseSettings) -> PosedImages:
    """Poses of the images of a recording, with its calibration if it has one."""
    if isinstance(opened, FolderImages):
        name, camera = opened.path.resolve().name, None
    else:
        name, camera = opened.name, next(iter(opened.cameras.values())).camera
    return pose_images(opened.frames(), opened.frame_count, name, camera, settings)
