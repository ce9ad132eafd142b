"""`fgsn demo`: a simulated town mapped in summer, and a robot localized on that map in winter."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.commands.compilation import compilation_said
from fgsn_ros.commands.demo_picture import Scene, draw
from fgsn_ros.commands.paths import inputs_of
from fgsn_ros.commands.result_folder import Localization, Result
from fgsn_ros.commands.start import Start
from fgsn_ros.commands.view import View, check_view
from fgsn_ros.config import require, require_extra
from fgsn_ros.evaluation.report import RESULT_FOLDER, evaluation_table
from fgsn_ros.localization.localizer import LocalizerSettings
from fgsn_ros.mapping.builder import build_map
from fgsn_ros.mapping.map_files import save_map
from fgsn_ros.outputs import check_folder, whole_folder
from fgsn_ros.segmentation.checkpoint import load_checkpoint
from fgsn_ros.segmentation.segmenter import Segmenter
from fgsn_ros.simulation.drive import DriveSettings, SimulatedDrive
from fgsn_ros.simulation.seasons import Season
from fgsn_ros.terminal import say

PACKAGED_CHECKPOINT = Path(__file__).parent.parent / "data" / "town.onnx"
"""Trained on simulated towns other than the demo's; only for simulated drives."""
SHOWN_SHARE = 0.6
"""Share of the drive after which the picture's frame is taken."""


FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Demo:
    """Map a simulated town in summer, localize in winter from a start 2 m and 5 deg off."""

    output: Path = Path("demo")
    """folder to make: demo.png, trajectory.tum, metrics.json, plots, the map and the run's bag"""
    checkpoint: Path = PACKAGED_CHECKPOINT
    """network trained on other towns (.safetensors or .onnx)"""
    season: Season = Season.WINTER
    """season of the localized drive"""
    town_seed: int = 2024
    """seed of the town, >= 0"""
    duration_s: float = 22.0
    """length of both drives [s], in [2, 600]"""
    change: float = 1.0
    """how far looks change from drive to drive, 0 to 1, see `fgsn simulate drive`"""
    seed: int = 0
    """seed of the drives and of the start's offset, >= 0"""
    view: View | None = None
    """show the run in Rerun: --view opens a window, --view run.rrd writes a file"""
    overwrite: bool = False
    """replace the output folder"""
    start: Start = field(default_factory=lambda: Start(offset_m=2.0, offset_deg=5.0))
    localizer: LocalizerSettings = field(default_factory=LocalizerSettings)

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(2 <= self.duration_s <= 600, "duration_s must be in [2, 600]")
        require(min(self.seed, self.town_seed) >= 0, "seeds must be >= 0")
        require(0 <= self.change <= 1, "change must be in [0, 1]")

    def run(self) -> None:
        """Drive, map, localize; print the table and write the output folder."""
        require_extra("simulation", "open3d")
        check_folder(self.output, RESULT_FOLDER, self.overwrite, inputs_of(self))
        check_view(self.view, self.overwrite, self.output, inputs_of(self))
        with compilation_said(about_s=33):
            result = self._result()
        say(evaluation_table(result.metrics))
        say(f"the picture: {self.output / 'demo.png'}")

    def _result(self) -> Result:
        segmenter = Segmenter(load_checkpoint(self.checkpoint))
        summer, drive = self._drives()
        say(f"1 of 2: a map from a drive in {Season.SUMMER.value}")
        semantic_map = build_map(summer, segmenter)
        say(f"2 of 2: localize a drive in {self.season.value} on it, rendered frame by frame")
        localization = Localization(
            drive,
            drive.ground_truth,
            semantic_map,
            segmenter,
            self.start,
            self.localizer,
            self.view,
        )
        with whole_folder(self.output, RESULT_FOLDER, self.overwrite) as folder:
            save_map(folder / "map", semantic_map)
            result = localization.write(folder)
            draw(folder / "demo.png", _scene(localization, result, summer, drive))
        return result

    def _drives(self) -> tuple[SimulatedDrive, SimulatedDrive]:
        """The drive that is mapped and the one that is localized, in one town."""
        first = DriveSettings(
            town_seed=self.town_seed,
            drive_seed=2 * self.seed,
            duration_s=self.duration_s,
            change=self.change,
        )
        second = replace(first, season=self.season, drive_seed=2 * self.seed + 1)
        mapped = SimulatedDrive(first)
        return mapped, SimulatedDrive(second, mapped.town)


def _scene(
    localization: Localization, result: Result, summer: SimulatedDrive, drive: SimulatedDrive
) -> Scene:
    """What the picture shows: the drive, and its frame at SHOWN_SHARE beside the map's."""
    estimate = result.run.estimates[int(SHOWN_SHARE * len(result.run.estimates))]
    shown = drive.render(int(np.argmin(np.abs(drive.frame_stamps - estimate.stamp)))).image
    checkpoint = localization.segmenter.checkpoint
    assert checkpoint.log_ratio is not None  # it has localized
    return Scene(
        semantic_map=localization.semantic_map,
        log_ratio=checkpoint.log_ratio,
        mount=drive.cameras[estimate.camera],
        season=drive.settings.season.value,
        reference=drive.ground_truth,
        result=result,
        estimate=estimate,
        image=shown,
        label_map=localization.segmenter.segment(shown),
        mapped=_nearest_image(summer, estimate.T_map_base),
    )


def _nearest_image(drive: SimulatedDrive, T_map_base: FloatArray) -> NDArray[np.uint8]:
    positions = drive.ground_truth.at(drive.frame_stamps)[:, :3, 3]
    distances = np.linalg.norm(positions - T_map_base[:3, 3], axis=1)
    return drive.render(int(np.argmin(distances))).image
