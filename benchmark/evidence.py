"""Labels, local features, and both, in one filter: errors, honesty and time on one recording.

    fgsn map summer --checkpoint fgsn_ros/data/town.onnx --output map
    python benchmark/evidence.py --map map --recording winter --seeds 5

The same map, starts, odometry and seeds for each; local features alone leave the labels out of the
weights, and out of nothing else. Beside the errors stands how true the covariance is: the mean
normalised squared error of x, y and yaw (3 if it is exact), its 95 % band for as many independent
samples as there are, and how many errors lie within 3 sigma. Time is of a frame, without its
segmentation. Writes evidence.md and evidence.json.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from numpy.typing import NDArray
from scoring import Result, figures, judged, markdown_table, segmented_once, write_results

from fgsn_ros.commands.demo import PACKAGED_CHECKPOINT
from fgsn_ros.commands.start import Start
from fgsn_ros.config import require
from fgsn_ros.evaluation.consistency import PlanarErrors, consistency, planar_errors
from fgsn_ros.evaluation.trajectory_errors import dead_reckoning
from fgsn_ros.geometry.cameras import CameraMount
from fgsn_ros.geometry.trajectory import Trajectory
from fgsn_ros.localization.localizer import LocalizerSettings
from fgsn_ros.localization.measured_pose import MeasuredPose
from fgsn_ros.localization.pipeline import LocalizationRun, localize, require_log_ratio
from fgsn_ros.locating.feature_poses import FeaturePoses, FeaturePoseSettings
from fgsn_ros.mapping.descriptors import ImageFeatures
from fgsn_ros.mapping.local_features import load_local_features
from fgsn_ros.mapping.map_files import load_map
from fgsn_ros.recordings.open import open_recording, read_reference
from fgsn_ros.recordings.recording import (
    Recording,
    RecordingSettings,
    require_ground_truth,
    require_odometry,
)
from fgsn_ros.segmentation.checkpoint import load_checkpoint
from fgsn_ros.segmentation.labels import LabelMap
from fgsn_ros.segmentation.segmenter import Segmenter

NO_LABELS = 1e-9
"""Independent points of a frame whose labels weigh nothing."""
STEPS = "propagate", "select", "features", "match", "weigh", "estimate", "probe", "resample"


@dataclass(frozen=True)
class Evidence:
    """Localize a recording by labels, by local features, and by both."""

    map: Path
    """map with local features"""
    recording: Path
    """recording to localize"""
    checkpoint: Path = PACKAGED_CHECKPOINT
    """network that labelled the map"""
    reference: Path | None = None
    """trajectory in the map frame (TUM text); else the recording's ground truth"""
    output: Path = Path("benchmark/results")
    """folder of evidence.md and evidence.json"""
    seeds: int = 5
    """runs of each, >= 1"""
    skip_s: float = 1.0
    """seconds at the start that are not judged, >= 0"""
    start: Start = field(default_factory=lambda: Start(offset_m=1.5, offset_deg=3.0))
    settings: RecordingSettings = field(default_factory=RecordingSettings)
    """of the recording; the seed counts from its own"""
    localizer: LocalizerSettings = field(default_factory=LocalizerSettings)
    feature_poses: FeaturePoseSettings = field(default_factory=FeaturePoseSettings)

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.seeds >= 1, "seeds must be >= 1")
        require(self.skip_s >= 0.0, "skip_s must be >= 0")

    def run(self) -> None:
        """Run all; print and write the table."""
        rows: list[dict[str, str]] = []
        values: dict[str, dict[str, Any]] = {}
        for name, results, honesty, seconds in self._columns():
            values[name] = {**figures(results), **honesty, "seconds": seconds}
            rows.append(_row(name, values[name]))
            text = "\n\n".join([markdown_table(rows), _NOTE.format(self=self)])
            write_results(self.output, "evidence", text, values)
        print(text)

    def _columns(
        self,
    ) -> Iterator[tuple[str, list[Result], dict[str, Any], dict[str, float]]]:
        segmenter = Segmenter(load_checkpoint(self.checkpoint))
        semantic_map = load_map(self.map)
        local = load_local_features(self.map, semantic_map)
        log_ratio = require_log_ratio(segmenter.checkpoint)
        finder = _Once(FeaturePoses(semantic_map, local, log_ratio, self.feature_poses))
        measurement = dataclasses.replace(self.localizer.measurement, independent_points=NO_LABELS)
        without = dataclasses.replace(self.localizer, measurement=measurement)
        recordings = [self._opened(seed) for seed in range(self.seeds)]
        labels = segmented_once(recordings[0], segmenter)
        reference = require_ground_truth(recordings[0])
        if self.reference is not None:
            reference = read_reference(self.reference, recordings[0])
        starts = [
            self.start.initial(each, reference, np.random.default_rng(seed))
            for seed, each in enumerate(recordings)
        ]
        reckoned = []
        for name, localizer, used in (
            ("labels", self.localizer, None),
            ("local features", without, finder),
            ("both", self.localizer, finder),
        ):
            runs: list[LocalizationRun] = []
            for seed, (recording, start) in enumerate(zip(recordings, starts, strict=True)):
                seeded = dataclasses.replace(localizer, random_seed=seed)
                run = localize(
                    recording,
                    semantic_map,
                    segmenter.checkpoint,
                    start,
                    seeded,
                    labels,
                    used,
                    progress=False,
                )
                runs.append(run)
                stamps = run.trajectory.stamps
                odometry = require_odometry(recording)
                reckoned.append(dead_reckoning(odometry, start.T_map_base, stamps, start.stamp))
            results = [judged(run.trajectory, reference, self.skip_s) for run in runs]
            errors = [self._errors(run, reference) for run in runs]
            yield name, results, _honesty(errors, len(runs)), _seconds(runs)
        dead = [judged(each, reference, self.skip_s) for each in reckoned[: self.seeds]]
        yield "dead reckoning", dead, {}, {}

    def _opened(self, seed: int) -> Recording:
        settings = dataclasses.replace(self.settings, seed=self.settings.seed + seed)
        return open_recording(self.recording, settings)

    def _errors(self, run: LocalizationRun, reference: Trajectory) -> PlanarErrors:
        found = planar_errors(run.trajectory, run.covariances, reference)
        return found[np.flatnonzero(found.stamps >= run.trajectory.stamps[0] + self.skip_s)]


class _Once:
    """A finder that extracts each image's features once; runs share them."""

    def __init__(self, finder: FeaturePoses) -> None:
        self._finder = finder
        self._kept: dict[bytes, ImageFeatures] = {}

    def extract(self, image: NDArray[np.uint8]) -> ImageFeatures:
        key = image[::8, ::8].tobytes()
        if key not in self._kept:
            self._kept[key] = self._finder.extract(image)
        return self._kept[key]

    def near(
        self,
        features: ImageFeatures,
        label_map: LabelMap,
        mount: CameraMount,
        T_map_base: NDArray[np.float64],
        covariance: NDArray[np.float64],
    ) -> MeasuredPose | None:
        return self._finder.near(features, label_map, mount, T_map_base, covariance)

    def anywhere(
        self, features: ImageFeatures, label_map: LabelMap, mount: CameraMount
    ) -> MeasuredPose | None:
        return self._finder.anywhere(features, label_map, mount)


def _honesty(runs: list[PlanarErrors], copies: int) -> dict[str, Any]:
    """The runs have the same images: errors of all seeds count as one run's."""
    judged_as = consistency(runs, copies)
    within = min(of_axis[2] for of_axis in judged_as.coverage_percent.values())
    return {"nees": judged_as.nees, "band": judged_as.band, "3 sigma": within}


def _seconds(runs: list[LocalizationRun]) -> dict[str, float]:
    """Time of a frame, by step [s]; features are those of the run that found them."""
    frames = len(runs[0].estimates)
    return {s: max(run.seconds.get(s, 0.0) for run in runs) / frames for s in STEPS}


_NOTE = (
    "{self.seeds} seeds, frames of all pooled; start {self.start.offset_m:g} m and "
    "{self.start.offset_deg:g} deg off; the first {self.skip_s:g} s left out. Position, lateral "
    "and longitudinal are medians [m], heading the median [deg]; 3 sigma: share of the errors in "
    "x, y or yaw within it, the worst of the three."
)


def _row(name: str, values: dict[str, Any]) -> dict[str, str]:
    spent = values["seconds"]
    row = {
        "by": name,
        "position": f"{values['position']:.3f}",
        "lateral": f"{values['lateral']:.3f}",
        "longitudinal": f"{values['longitudinal']:.3f}",
        "heading": f"{values['heading']:.2f}",
        "95 %": f"{values['position 95 %']:.2f}",
        "max": f"{values['position max']:.2f}",
        "lost": f"{values['lost']:.0f} of {values['runs']:.0f}",
    }
    if not spent:
        return {**row, "NEES": "", "band": "", "3 sigma [%]": "", "frame [ms]": ""}
    low, high = values["band"]
    return {
        **row,
        "NEES": f"{values['nees']:.1f}",
        "band": f"{low:.1f}-{high:.1f}",
        "3 sigma [%]": f"{values['3 sigma']:.1f}",
        "frame [ms]": f"{1e3 * sum(spent.values()):.0f}",
    }


if __name__ == "__main__":
    tyro.cli(Evidence, description=__doc__).run()
