"""`fgsn map`: a labelled map from a recording, whose poses are made first if it has none."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from fgsn_ros.commands.made_poses import with_poses
from fgsn_ros.commands.paths import inputs_of
from fgsn_ros.mapping.builder import MapSettings, write_map
from fgsn_ros.mapping.map_files import MAP_FOLDER, export_ply
from fgsn_ros.outputs import check_apart, check_file, check_folder
from fgsn_ros.recordings.open import open_recording
from fgsn_ros.recordings.recording import RecordingSettings
from fgsn_ros.segmentation.checkpoint import load_checkpoint
from fgsn_ros.segmentation.segmenter import Segmenter, SegmenterSettings
from fgsn_ros.terminal import say


@dataclass(frozen=True)
class Map:
    """Triangulate and label points along a recording with poses, or with odometry to make them."""

    recording_path: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RECORDING")]
    """rosbag2, ROS 1 bag, KITTI folder, or folder of images with TUM poses"""
    checkpoint: Path
    """trained network that labels the points (.safetensors or .onnx)"""
    output: Path
    """map folder to make"""
    ply: Path | None = None
    """also write the points, coloured by label, to this PLY file"""
    overwrite: bool = False
    """replace the map folder and the PLY file"""
    recording: RecordingSettings = field(default_factory=RecordingSettings)
    segmenter: SegmenterSettings = field(default_factory=SegmenterSettings)
    mapping: MapSettings = field(default_factory=MapSettings)

    def run(self) -> None:
        """Build and save the map."""
        check_folder(self.output, MAP_FOLDER, self.overwrite, inputs_of(self))
        if self.ply is not None:
            check_apart(self.ply, self.output)
            check_file(self.ply, self.overwrite, inputs_of(self))
        segmenter = Segmenter(load_checkpoint(self.checkpoint), self.segmenter)
        (recording,) = with_poses([open_recording(self.recording_path, self.recording)])
        semantic_map = write_map(self.output, recording, segmenter, self.mapping, self.overwrite)
        if self.ply is not None:
            export_ply(self.ply, semantic_map, self.overwrite)
        say(f"{self.output}: {len(semantic_map)} points, {len(semantic_map.keyframes)} key frames")
