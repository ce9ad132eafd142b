"""`fgsn correspondences`: training data from one recording's own feature tracks."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from fgsn_ros.mapping.self_correspondences import (
    SelfCorrespondenceSettings,
    write_self_correspondences,
)
from fgsn_ros.outputs import check_output
from fgsn_ros.sequences.open import RecordingSettings, open_recording


@dataclass(frozen=True)
class Correspondences:
    """Correspondences within one recording with ground-truth poses, to train a network on it."""

    recording_path: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RECORDING")]
    """rosbag2, ROS 1 bag, KITTI folder, or folder of images with TUM poses"""
    output: Path
    """correspondence folder to make, for `fgsn train`"""
    overwrite: bool = False
    """replace the output folder"""
    recording: RecordingSettings = field(default_factory=RecordingSettings)
    pairs: SelfCorrespondenceSettings = field(default_factory=SelfCorrespondenceSettings)

    def run(self) -> None:
        """Write the folder."""
        check_output(self.output, self.overwrite)
        recording = open_recording(self.recording_path, self.recording)
        count = write_self_correspondences(recording, self.output, self.pairs, self.overwrite)
        print(f"{self.output}: {count} pairs of images")
