"""Speed of `fgsn localize` on a recorded drive: 640x480 at 10 Hz, 2000 particles, 3000 points.

    python benchmark/whole_line.py --work /tmp/whole_line

The reference is a plain loop over the same frames in the same process: read, label, weigh, one
after the other. Both runs take turns; medians over the rounds. The bound is the plain loop's time
of work spread over all cores without a gap, as if each step had all the cores it can use: its CPU
time divided by the number of cores. Prints a table and writes whole_line.md and .json.
"""

import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import numpy as np
import tyro
from scoring import judged, markdown_table, write_results

from fgsn_ros.commands.demo import PACKAGED_CHECKPOINT
from fgsn_ros.commands.start import Start
from fgsn_ros.localization.device import StepTimes
from fgsn_ros.localization.initial_pose import InitialPose
from fgsn_ros.localization.localizer import Localizer, LocalizerSettings
from fgsn_ros.localization.measurement import MeasurementSettings
from fgsn_ros.localization.pipeline import localize
from fgsn_ros.mapping.builder import build_map
from fgsn_ros.mapping.map_files import load_map, save_map
from fgsn_ros.mapping.semantic_map import SemanticMap
from fgsn_ros.recordings.open import open_recording
from fgsn_ros.recordings.recording import Recording, require_ground_truth, require_odometry
from fgsn_ros.segmentation.checkpoint import load_checkpoint
from fgsn_ros.segmentation.segmenter import Segmenter
from fgsn_ros.simulation.bags import write_drive
from fgsn_ros.simulation.drive import DriveSettings, SimulatedDrive
from fgsn_ros.simulation.seasons import Season

_TOWN = 77


@dataclass(frozen=True)
class WholeLine:
    """Localize a winter drive, overlapped and one step after the other."""

    work: Path = Path("benchmark/work")
    """folder that keeps the drives and the map"""
    output: Path = Path("benchmark/results")
    """folder of whole_line.md and .json"""
    duration_s: float = 20.0
    """length of the drive [s]"""
    rounds: int = 3
    """runs of each"""
    localizer: LocalizerSettings = field(
        default_factory=lambda: LocalizerSettings(
            min_particles=2000, measurement=MeasurementSettings(points=3000)
        )
    )
    """the filter's settings"""

    def run(self) -> None:
        """Measure, print and write."""
        segmenter = Segmenter(load_checkpoint(PACKAGED_CHECKPOINT))
        segmenter.warm_up()
        semantic_map = self._map(segmenter)
        recording = open_recording(self._drive(Season.WINTER, 2, self.duration_s))
        case = Case(recording, semantic_map, segmenter, self.localizer)
        case.overlapped()  # compiles
        runs = [(case.overlapped(), case.in_turn()) for _ in range(self.rounds)]
        self._report(case, [run for run, _ in runs], [run for _, run in runs])

    def _report(self, case: "Case", overlapped: list["Timed"], in_turn: list["Timed"]) -> None:
        took, reference = (median(r.elapsed_s for r in runs) for runs in (overlapped, in_turn))
        cpu = median(run.cpu_s for run in in_turn)
        frames, cores = case.recording.frame_count, len(os.sched_getaffinity(0))
        facts = {
            "recording": f"{frames} frames in {self.duration_s:.0f} s",
            "`fgsn localize`": f"{took:.1f} s, {frames / took:.1f} frames/s",
            "against the recording": f"{self.duration_s / took:.2f} x its speed",
            "one step after the other": f"{reference:.1f} s, {frames / reference:.1f} frames/s",
            "against one after the other": f"{reference / took:.2f} x",
            "bound": f"{cpu / cores:.1f} s: {cpu:.1f} s of CPU time on {cores} cores",
            "median position error": f"{overlapped[0].error_m:.3f} m",
        }
        for step, seconds in sorted(in_turn[0].seconds.items(), key=lambda item: -item[1]):
            facts[f"{step}, in turn"] = f"{1e3 * seconds / frames:.1f} ms a frame"
        text = markdown_table({"what": key, "figure": value} for key, value in facts.items())
        print(text)
        write_results(self.output, "whole_line", text, facts)

    def _drive(self, season: Season, seed: int, duration_s: float) -> Path:
        path = self.work / f"line-{season.value}-{duration_s:g}"
        if not path.exists():
            drive = DriveSettings(
                town_seed=_TOWN, season=season, drive_seed=seed, duration_s=duration_s
            )
            write_drive(SimulatedDrive(drive), path)
        return path

    def _map(self, segmenter: Segmenter) -> SemanticMap:
        path = self.work / f"line-map-{self.duration_s:g}"
        if not path.exists():
            summer = open_recording(self._drive(Season.SUMMER, 1, 1.3 * self.duration_s))
            save_map(path, build_map(summer, segmenter))
        return load_map(path)


@dataclass(frozen=True)
class Timed:
    """A localized drive."""

    elapsed_s: float
    cpu_s: float
    seconds: dict[str, float]
    error_m: float


@dataclass(frozen=True)
class Case:
    """What is localized, and where."""

    recording: Recording
    semantic_map: SemanticMap
    segmenter: Segmenter
    settings: LocalizerSettings

    def overlapped(self) -> Timed:
        """As `fgsn localize` does it."""
        began, cpu = time.perf_counter(), time.process_time()
        run = localize(
            self.recording,
            self.semantic_map,
            self.segmenter.checkpoint,
            self._initial(),
            self.settings,
            lambda frame: self.segmenter.segment(frame.image),
        )
        took = time.perf_counter() - began
        truth = require_ground_truth(self.recording)
        error = judged(run.trajectory, truth).errors.position_m
        return Timed(took, time.process_time() - cpu, run.seconds, float(np.median(error)))

    def in_turn(self) -> Timed:
        """The plain loop."""
        began, cpu = time.perf_counter(), time.process_time()
        initial, odometry = self._initial(), require_odometry(self.recording)
        log_ratio = self.segmenter.checkpoint.log_ratio
        assert log_ratio is not None  # the packaged one has it
        localizer = Localizer(self.semantic_map, log_ratio, self.recording.cameras, self.settings)
        localizer.initialize(initial)
        for stamp, T in zip(odometry.stamps, odometry.poses, strict=True):
            localizer.add_odometry(float(stamp), T)
        times = StepTimes()
        frames = iter(self.recording.frames())
        while True:
            with times.timed("frames"):
                frame = next(frames, None)
            if frame is None:
                break
            with times.timed("labels"):
                label_map = self.segmenter.segment(frame.image)
            localizer.add_labels(frame.stamp, frame.camera, label_map)
        took = time.perf_counter() - began
        return Timed(
            took, time.process_time() - cpu, {**times.seconds, **localizer.seconds}, float("nan")
        )

    def _initial(self) -> InitialPose:
        truth, rng = require_ground_truth(self.recording), np.random.default_rng(0)
        return Start(offset_m=2.0, offset_deg=5.0).initial(self.recording, truth, rng)


if __name__ == "__main__":
    tyro.cli(WholeLine, description=__doc__).run()
