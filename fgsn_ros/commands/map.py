"""`fgsn map`: a labelled map from a recording, whose poses are made first if it has none."""

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from fgsn_ros.commands.adding import add_recording
from fgsn_ros.commands.paths import inputs_of
from fgsn_ros.commands.start import Start
from fgsn_ros.config import require
from fgsn_ros.mapping.builder import MapSettings, write_map
from fgsn_ros.mapping.map_files import MAP_FOLDER, export_ply, load_map
from fgsn_ros.mapping.semantic_map import SemanticMap
from fgsn_ros.mapping.sfm.recording_poses import PoseSettings, WithPoses, pose_recordings
from fgsn_ros.mapping.sfm.report import facts_of, text
from fgsn_ros.outputs import check_apart, check_file, check_folder
from fgsn_ros.recordings.open import open_recording
from fgsn_ros.recordings.recording import Recording, RecordingSettings
from fgsn_ros.segmentation.checkpoint import load_checkpoint
from fgsn_ros.segmentation.segmenter import Segmenter, SegmenterSettings
from fgsn_ros.terminal import say

_log = logging.getLogger(__name__)


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

    def __post_init__(self) -> None:
        """Check what goes together."""
        require(self.add == (self.map is not None), "--add and --map go together")
        require(self.add or self.start == Start(), "--start is of use with --add only")

    def run(self) -> None:
        """Build and save the map."""
        kept = [path for path in inputs_of(self) if path != self.map or not self.overwrite]
        check_folder(self.output, MAP_FOLDER, self.overwrite, kept)
        if self.ply is not None:
            check_apart(self.ply, self.output)
            check_file(self.ply, self.overwrite, inputs_of(self))
        segmenter = Segmenter(load_checkpoint(self.checkpoint), self.segmenter)
        if self.map is not None:
            recording = open_recording(self.recording_path, self.recording)
            said = add_recording(
                self.output,
                self.map,
                recording,
                segmenter,
                self.start,
                self.mapping,
                self.overwrite,
            ).text()
            self._finish(load_map(self.output), said)
            return
        recording = _with_poses(open_recording(self.recording_path, self.recording))
        semantic_map = write_map(self.output, recording, segmenter, self.mapping, self.overwrite)
        points, keyframes = len(semantic_map), len(semantic_map.keyframes)
        self._finish(semantic_map, f"{points} points, {keyframes} key frames")

    def _finish(self, semantic_map: SemanticMap, said: str) -> None:
        if self.ply is not None:
            export_ply(self.ply, semantic_map, self.overwrite)
        say(f"{self.output}: {said}")


def _with_poses(recording: Recording) -> Recording:
    """The recording; where it holds odometry and no poses, with those that `fgsn poses` makes."""
    if recording.ground_truth is not None or recording.odometry is None:
        return recording
    _log.warning(
        "%s holds no poses: they are made first, of its images and odometry, as `fgsn poses` does",
        recording.name,
    )
    posed = pose_recordings([recording], PoseSettings())
    say(text(facts_of(posed)))
    return WithPoses(recording, posed.trajectories[0])
