"""KITTI 00: map of a road's first pass, localization of the second, from a wrong start.

    python benchmark/kitti.py --data kitti00 \
        --checkpoint K100=k100/checkpoint.safetensors --checkpoint K20=k20/checkpoint.safetensors

The map is of frames 110-212; frames 1566-1640 start 1.5 m and 3 deg off, with odometry derived from
KITTI's own poses (2 % scale error, yaw drift and noise), once a seed. Errors are against
pass2_reference_tum.txt, after the first second. Prints a row a checkpoint, pooled over the seeds,
and writes it with every run's numbers to kitti.md and kitti.json.
"""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from scoring import Result, figures, judged, markdown_table, segmented_once, write_results

from fgsn_ros.commands.start import Start
from fgsn_ros.config import require
from fgsn_ros.correspondences.images import ImageCache
from fgsn_ros.evaluation.trajectory_errors import dead_reckoning
from fgsn_ros.geometry.trajectory import Trajectory
from fgsn_ros.localization.initial_pose import InitialPose
from fgsn_ros.localization.localizer import LocalizerSettings
from fgsn_ros.localization.pipeline import Labels, localize
from fgsn_ros.mapping.builder import MapSettings, build_map
from fgsn_ros.mapping.semantic_map import SemanticMap
from fgsn_ros.recordings.odometry import OdometryNoise
from fgsn_ros.recordings.open import open_recording, read_reference
from fgsn_ros.recordings.recording import Recording, RecordingSettings, require_odometry
from fgsn_ros.segmentation.checkpoint import Checkpoint, load_checkpoint
from fgsn_ros.segmentation.segmenter import Segmenter
from fgsn_ros.training.statistics import with_statistics

PASS_1, PASS_2 = (110, 212), (1566, 1640)


@dataclass(frozen=True)
class Kitti:
    """Localize KITTI 00's second pass on a map of its first."""

    checkpoint: Annotated[tuple[str, ...], tyro.conf.UseAppendAction]
    """NAME=PATH of a checkpoint; may be given several times"""
    data: Path
    """folder with image_0, calib.txt, times.txt, poses_00.txt and pass2_reference_tum.txt"""
    correspondences: Path | None = None
    """correspondence folder of pass 1, to count the statistics of checkpoints that have none"""
    output: Path = Path("benchmark/results")
    """folder of kitti.md and kitti.json"""
    seeds: int = 10
    """runs a checkpoint, >= 1"""
    skip_s: float = 1.0
    """seconds at the start that are not judged, >= 0"""
    start: Start = field(default_factory=lambda: Start(offset_m=1.5, offset_deg=3.0))
    odometry_noise: OdometryNoise = field(default_factory=OdometryNoise)
    map: MapSettings = field(default_factory=MapSettings)
    localizer: LocalizerSettings = field(default_factory=LocalizerSettings)

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(all("=" in each for each in self.checkpoint), "checkpoint must be NAME=PATH")
        require(self.seeds >= 1, "seeds must be >= 1")

    def run(self) -> None:
        """Localize with every checkpoint and seed; print and write the table."""
        recordings = [self._pass_2(seed) for seed in range(self.seeds)]
        reference = read_reference(self.data / "pass2_reference_tum.txt", recordings[0])
        starts = [
            self.start.initial(recording, reference, np.random.default_rng(seed))
            for seed, recording in enumerate(recordings)
        ]
        reckoned = [
            judged(_reckoned(recording, start), reference, self.skip_s)
            for recording, start in zip(recordings, starts, strict=True)
        ]
        table: dict[str, list[Result]] = {}
        for each in self.checkpoint:
            name, path = each.split("=", 1)
            case = self._case(name, Path(path), recordings[0])
            table[name] = [
                self._localized(case, recordings[seed], starts[seed], reference, seed)
                for seed in range(self.seeds)
            ]
            self._write(table, reckoned, recordings[0].odometry_origin)

    def _pass_2(self, seed: int) -> Recording:
        settings = RecordingSettings(
            first=PASS_2[0],
            last=PASS_2[1],
            poses=self.data / "poses_00.txt",
            derive_odometry=True,
            odometry_noise=self.odometry_noise,
            seed=seed,
        )
        return open_recording(self.data, settings)

    def _case(self, name: str, path: Path, pass_2: Recording) -> "_Case":
        checkpoint = load_checkpoint(path)
        if checkpoint.log_ratio is None and self.correspondences is not None:
            checkpoint = with_statistics(checkpoint, self.correspondences, ImageCache(500))
        segmenter = Segmenter(checkpoint)
        pass_1 = open_recording(
            self.data,
            RecordingSettings(first=PASS_1[0], last=PASS_1[1], poses=self.data / "poses_00.txt"),
        )
        semantic_map = build_map(pass_1, segmenter, self.map)
        print(f"{name}: {checkpoint.label_count} labels, {len(semantic_map)} map points")
        return _Case(checkpoint, semantic_map, segmented_once(pass_2, segmenter))

    def _localized(
        self,
        case: "_Case",
        recording: Recording,
        start: InitialPose,
        reference: Trajectory,
        seed: int,
    ) -> Result:
        settings = dataclasses.replace(self.localizer, random_seed=seed)
        run = localize(
            recording,
            case.semantic_map,
            case.checkpoint,
            start,
            settings,
            labels=case.labels,
            progress=False,
        )
        return judged(run.trajectory, reference, self.skip_s)

    def _write(self, table: dict[str, list[Result]], reckoned: list[Result], odometry: str) -> None:
        named = {**table, "dead reckoning": reckoned}
        rows = [_row(name, figures(results)) for name, results in named.items()]
        text = "\n\n".join([markdown_table(rows), _NOTE.format(self=self, odometry=odometry)])
        values = {
            name: {"pooled": figures(results), "seeds": [figures([each]) for each in results]}
            for name, results in named.items()
        }
        write_results(self.output, "kitti", text, values)
        print(text)


_NOTE = (
    "{self.seeds} seeds, frames of all pooled; start {self.start.offset_m:g} m and "
    "{self.start.offset_deg:g} deg off; the first {self.skip_s:g} s left out. Position, lateral "
    "and longitudinal are medians [m], heading the median [deg]. Odometry {odometry} and so on."
)


@dataclass(frozen=True, eq=False)
class _Case:
    """What all runs of a checkpoint share."""

    checkpoint: Checkpoint
    semantic_map: SemanticMap
    labels: Labels


def _reckoned(recording: Recording, start: InitialPose) -> Trajectory:
    odometry = require_odometry(recording)
    stamps = [frame.stamp for frame in recording.frames() if frame.stamp >= (start.stamp or 0.0)]
    return dead_reckoning(odometry, start.T_map_base, stamps, start.stamp)


def _row(name: str, values: dict[str, float]) -> dict[str, str]:
    return {
        "labels": name,
        "position": f"{values['position']:.3f}",
        "lateral": f"{values['lateral']:.3f}",
        "longitudinal": f"{values['longitudinal']:.3f}",
        "heading": f"{values['heading']:.2f}",
        "95 %": f"{values['position 95 %']:.2f}",
        "max": f"{values['position max']:.2f}",
        "lost": f"{values['lost']:.0f} of {values['runs']:.0f}",
        "below 0.5 m after, median [s]": f"{values['found after, median [s]']:.1f}",
        "longest [s]": f"{values['found after, longest [s]']:.1f}",
    }


if __name__ == "__main__":
    tyro.cli(Kitti, description=__doc__).run()
