"""`fgsn localize`: localize a recording on a map."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from fgsn_ros.commands.compilation import compilation_said
from fgsn_ros.commands.paths import inputs_of
from fgsn_ros.commands.result_folder import Localization, Result
from fgsn_ros.commands.start import Start
from fgsn_ros.commands.view import View, check_view
from fgsn_ros.evaluation.report import RESULT_FOLDER, evaluation_table
from fgsn_ros.localization.localizer import LocalizerSettings
from fgsn_ros.localization.pipeline import LocalizationRun, require_log_ratio
from fgsn_ros.locating.feature_poses import FeaturePoses, FeaturePoseSettings
from fgsn_ros.mapping.local_features import has_local_features, load_local_features
from fgsn_ros.mapping.map_files import load_map
from fgsn_ros.outputs import check_folder, whole_folder
from fgsn_ros.recordings.open import open_recording, read_reference
from fgsn_ros.recordings.recording import RecordingSettings
from fgsn_ros.segmentation.checkpoint import load_checkpoint
from fgsn_ros.segmentation.segmenter import Segmenter, SegmenterSettings
from fgsn_ros.terminal import say


@dataclass(frozen=True)
class Localize:
    """Localize a recording on a map, and report the errors where there is a reference."""

    recording_path: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RECORDING")]
    """rosbag2, ROS 1 bag, KITTI folder, or folder of images with TUM poses"""
    map: Path
    """map folder made by `fgsn map`"""
    checkpoint: Path
    """the network that labelled the map (.safetensors or .onnx)"""
    output: Path
    """folder to make: trajectory.tum, metrics.json, plots, and a rosbag2 of the run"""
    reference: Path | None = None
    """reference trajectory in the map frame (TUM text); else the recording's ground truth"""
    bag: bool = True
    """write the rosbag2 of the run"""
    skip_s: float = 0.0
    """seconds after the first pose that are left out of the errors, >= 0"""
    view: View | None = None
    """show the run in Rerun: --view opens a window, --view run.rrd writes a file"""
    features: bool = True
    """weigh the map's local features, if it has them, beside the labels: a sharper pose where looks
    have not changed, for the time that it takes to find and match them in each image"""
    overwrite: bool = False
    """replace the output folder"""
    start: Start = field(default_factory=Start)
    recording: RecordingSettings = field(default_factory=RecordingSettings)
    segmenter: SegmenterSettings = field(default_factory=SegmenterSettings)
    localizer: LocalizerSettings = field(default_factory=LocalizerSettings)
    feature_poses: FeaturePoseSettings = field(default_factory=FeaturePoseSettings)
    """what local features measure"""

    def run(self) -> None:
        """Localize, write the result folder, and print the table of errors."""
        check_folder(self.output, RESULT_FOLDER, self.overwrite, inputs_of(self))
        check_view(self.view, self.overwrite, self.output, inputs_of(self))
        with compilation_said(about_s=26 if self._weighs_features else 15):
            result = self._result()
        say(evaluation_table(result.metrics))
        say(f"{self.output}: {_speed(result.run)}")

    @property
    def _weighs_features(self) -> bool:
        return self.features and has_local_features(self.map)

    def _result(self) -> Result:
        semantic_map = load_map(self.map)
        segmenter = Segmenter(load_checkpoint(self.checkpoint), self.segmenter)
        finder = None
        if self._weighs_features:
            local = load_local_features(self.map, semantic_map)
            log_ratio = require_log_ratio(segmenter.checkpoint)
            finder = FeaturePoses(semantic_map, local, log_ratio, self.feature_poses)
        recording = open_recording(self.recording_path, self.recording)
        reference = recording.ground_truth
        if self.reference is not None:
            reference = read_reference(self.reference, recording, self.recording.max_pose_gap_s)
        localization = Localization(
            recording,
            reference,
            semantic_map,
            segmenter,
            self.start,
            self.localizer,
            self.view,
            finder,
        )
        with whole_folder(self.output, RESULT_FOLDER, self.overwrite) as folder:
            return localization.write(folder, self.bag, self.skip_s)


def _speed(run: LocalizationRun) -> str:
    """Frames/s, and the share of the time that each step was at work; some were at the same."""
    steps = sorted(run.seconds.items(), key=lambda item: -item[1])
    shares = ", ".join(f"{step} {seconds / run.elapsed_s:.0%}" for step, seconds in steps)
    return f"{len(run.estimates) / run.elapsed_s:.1f} frames/s; at work: {shares}"
