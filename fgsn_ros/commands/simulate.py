"""`fgsn simulate`: drives through procedural towns."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fgsn_ros.commands.compilation import compilation_said
from fgsn_ros.config import require_extra
from fgsn_ros.correspondences.files import CORRESPONDENCE_FOLDER
from fgsn_ros.correspondences.simulated import (
    CorrespondenceDriveSettings,
    write_correspondences,
)
from fgsn_ros.outputs import check_folder
from fgsn_ros.recordings.rosbag_writer import BAG_FOLDER
from fgsn_ros.simulation.bags import write_drive
from fgsn_ros.simulation.drive import DriveSettings, SimulatedDrive

_COMPILATION_S = 18


@dataclass(frozen=True, kw_only=True)
class SimulateDrive(DriveSettings):
    """One drive through a simulated town, as a rosbag2."""

    output: Path
    """folder of the bag to make"""
    storage: Literal["mcap", "sqlite3"] = "mcap"
    """storage of the bag"""
    classes: bool = False
    """also write each pixel's semantic class (/camera/class)"""
    depth: bool = False
    """also write each pixel's depth (/camera/depth)"""
    overwrite: bool = False
    """replace the output folder"""

    def run(self) -> None:
        """Render and write the drive."""
        require_extra("simulation", "open3d")
        check_folder(self.output, BAG_FOLDER, self.overwrite)
        drive = SimulatedDrive(self)
        with compilation_said(about_s=_COMPILATION_S):
            write_drive(drive, self.output, self.storage, self.classes, self.depth, self.overwrite)


@dataclass(frozen=True, kw_only=True)
class SimulateCorrespondences(CorrespondenceDriveSettings):
    """Correspondences between drives of simulated towns in several seasons, for `fgsn train`."""

    output: Path
    """correspondence folder to make"""

    def run(self) -> None:
        """Render the drives and write the folder."""
        require_extra("simulation", "open3d")
        require_extra("train", "h5py")
        check_folder(self.output, CORRESPONDENCE_FOLDER)
        with compilation_said(about_s=_COMPILATION_S):
            write_correspondences(self.output, self)
