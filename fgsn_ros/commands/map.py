"""`fgsn map`: a labelled map from a recording, with poses or without, or from a COLMAP model."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from fgsn_ros.commands.adding import add_recording
from fgsn_ros.commands.made_poses import with_poses
from fgsn_ros.commands.paths import inputs_of
from fgsn_ros.commands.start import Start
from fgsn_ros.config import require
from fgsn_ros.mapping.builder import MapSettings, write_map
from fgsn_ros.mapping.colmap_map import open_colmap, write_colmap_map
from fgsn_ros.mapping.map_files import MAP_FOLDER, export_ply, load_map
from fgsn_ros.mapping.semantic_map import SemanticMap
from fgsn_ros.outputs import check_apart, check_file, check_folder
from fgsn_ros.recordings.open import open_recording
from fgsn_ros.recordings.recording import RecordingSettings
from fgsn_ros.segmentation.checkpoint import load_checkpoint
from fgsn_ros.segmentation.segmenter import Segmenter, SegmenterSettings
from fgsn_ros.terminal import say


@dataclass(frozen=True)
class Map:
    """Triangulate and label points along a recording with poses, or with odometry to make them.

    Or label the points of a COLMAP model.
    """

    checkpoint: Path
    """trained network that labels the points (.safetensors or .onnx)"""
    output: Path
    """map folder to make"""
    recording_path: Annotated[
        Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="RECORDING")
    ] = None
    """rosbag2, ROS 1 bag, KITTI folder, or folder of images with TUM poses"""
    colmap: Annotated[tuple[Path, Path] | None, tyro.conf.arg(metavar="MODEL IMAGES")] = None
    """in place of RECORDING: folder of a COLMAP model (.bin or .txt), and folder of its images"""
    similarity: Path | None = None
    """of a COLMAP model: file with scale, rotation and translation from the model to the map"""
    gps: Path | None = None
    """of a COLMAP model: file with lines 'image_name lat lon alt', which it is fitted to"""
    ply: Path | None = None
    """also write the points, coloured by label, to this PLY file"""
    add: bool = False
    """add the recording to the map that --map names: localized there from --start.pose, or looked
    for; it needs no poses"""
    map: Path | None = None
    """with --add: the map as it is; the output may be its folder, with --overwrite"""
    start: Start = field(default_factory=Start)
    overwrite: bool = False
    """replace the map folder and the PLY file"""
    recording: RecordingSettings = field(default_factory=RecordingSettings)
    segmenter: SegmenterSettings = field(default_factory=SegmenterSettings)
    mapping: MapSettings = field(default_factory=MapSettings)

    def run(self) -> None:
        """Build and save the map."""
        self._check()
        kept = [path for path in inputs_of(self) if path != self.map or not self.overwrite]
        check_folder(self.output, MAP_FOLDER, self.overwrite, kept)
        if self.ply is not None:
            check_apart(self.ply, self.output)
            check_file(self.ply, self.overwrite, inputs_of(self))
        segmenter = Segmenter(load_checkpoint(self.checkpoint), self.segmenter)
        semantic_map = self._written(segmenter)
        if self.ply is not None:
            export_ply(self.ply, semantic_map, self.overwrite)
        say(f"{self.output}: {len(semantic_map)} points, {len(semantic_map.keyframes)} key frames")

    def _check(self) -> None:
        """Refuse other than one source of the map, and what is of the other."""
        require(self.add == (self.map is not None), "--add and --map go together")
        require(not self.add or self.colmap is None, "--add takes a RECORDING, no COLMAP model")
        require(self.add or self.start == Start(), "--start is of use with --add only")
        require(
            (self.recording_path is None) != (self.colmap is None),
            "name what to map: a RECORDING, or a COLMAP model by --colmap MODEL IMAGES",
        )
        require(
            self.colmap is not None or (self.similarity is None and self.gps is None),
            "--similarity and --gps place a COLMAP model: they need --colmap MODEL IMAGES",
        )
        require(
            self.similarity is None or self.gps is None, "--similarity and --gps exclude each other"
        )
        require(
            self.colmap is None or self.recording == RecordingSettings(),
            "a COLMAP model is no recording; leave out --recording.*",
        )

    def _written(self, segmenter: Segmenter) -> SemanticMap:
        if self.recording_path is not None and self.map is not None:
            return self._added(self.recording_path, self.map, segmenter)
        if self.recording_path is not None:
            (recording,) = with_poses([open_recording(self.recording_path, self.recording)])
            return write_map(self.output, recording, segmenter, self.mapping, self.overwrite)
        assert self.colmap is not None
        model = open_colmap(*self.colmap, self.similarity, self.gps)
        if model.frame.fit:
            say(model.frame.fit)
        return write_colmap_map(self.output, model, segmenter, self.mapping, self.overwrite)

    def _added(self, recording: Path, onto: Path, segmenter: Segmenter) -> SemanticMap:
        opened = open_recording(recording, self.recording)
        settings = self.mapping, self.overwrite
        say(add_recording(self.output, onto, opened, segmenter, self.start, *settings).text())
        return load_map(self.output)
