"""`fgsn map`: a labelled map from a recording with known poses."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from fgsn_ros.mapping.builder import MapSettings, write_map
from fgsn_ros.mapping.map_files import export_ply
from fgsn_ros.outputs import check_output
from fgsn_ros.recordings.open import open_recording
from fgsn_ros.recordings.recording import RecordingSettings
from fgsn_ros.segmentation.checkpoint import load_checkpoint
from fgsn_ros.segmentation.segmenter import Segmenter, SegmenterSettings


@dataclass(frozen=True)
class Map:
    """Triangulate and label points along a recording with ground-truth poses."""

    recording_path: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RECORDING")]
    """rosbag2, ROS 1 bag, KITTI folder, or folder of images with TUM poses"""
    checkpoint: Path
    """trained network that labels the points (.safetensors or .onnx)"""
    output: Path
    """map folder to make"""
    ply: Path | None = None
    """also write the points, coloured by label, to this PLY file"""
    overwrite: bool = False
    """replace the map folder"""
    recording: RecordingSettings = field(default_factory=RecordingSettings)
    segmenter: SegmenterSettings = field(default_factory=SegmenterSettings)
    mapping: MapSettings = field(default_factory=MapSettings)

    def run(self) -> None:
        """Build and save the map."""
        check_output(self.output, self.overwrite)
        if self.ply is not None:
            check_output(self.ply, overwrite=True)
        segmenter = Segmenter(load_checkpoint(self.checkpoint), self.segmenter)
        recording = open_recording(self.recording_path, self.recording)
        semantic_map = write_map(self.output, recording, segmenter, self.mapping, self.overwrite)
        if self.ply is not None:
            export_ply(self.ply, semantic_map)
        print(
            f"{self.output}: {len(semantic_map)} points, {len(semantic_map.keyframes)} key frames"
        )
