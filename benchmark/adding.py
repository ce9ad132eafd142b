"""Adding a drive to a map that ends half-way, in another season.

    fgsn simulate drive --town-seed 703 --season summer --drive-seed 1 --duration-s 30 \
        --rate-hz 5 --width 448 --height 336 --output summer
    fgsn simulate drive --town-seed 703 --season winter --drive-seed 2 --duration-s 30 \
        --rate-hz 5 --width 448 --height 336 --output winter
    python benchmark/adding.py --summer summer --winter winter --work /tmp/adding

The map is of the first half of the summer drive. The winter drive over the whole way is added to
it, without its poses. The summer drive is localized on the map before and after: its second half is
new to the first map, and what lies beyond the end of the winter drive to both. Label maps and maps
are kept in `work`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import tyro
from scoring import markdown_table, segmented_once, write_results

from fgsn_ros.commands.adding import AddedRecording, add_recording
from fgsn_ros.commands.demo import PACKAGED_CHECKPOINT
from fgsn_ros.commands.start import Start
from fgsn_ros.evaluation.trajectory_errors import compare
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.trajectory import Trajectory
from fgsn_ros.localization.estimate import Estimate
from fgsn_ros.localization.initial_pose import InitialPose
from fgsn_ros.localization.localizer import LocalizerSettings
from fgsn_ros.localization.online import OnlineLocalizer
from fgsn_ros.localization.pipeline import Labels, localize
from fgsn_ros.localization.tracking import TrackingStatus
from fgsn_ros.mapping.builder import MapSettings, write_map
from fgsn_ros.mapping.feature_builder import LocalFeatureSettings
from fgsn_ros.mapping.map_files import load_map
from fgsn_ros.mapping.sfm.recording_poses import WithPoses
from fgsn_ros.recordings.open import open_recording
from fgsn_ros.recordings.recording import Recording, require_ground_truth
from fgsn_ros.segmentation.checkpoint import load_checkpoint
from fgsn_ros.segmentation.segmenter import Segmenter

_STREET_M = 6.0
_EVERY = 10


@dataclass(frozen=True)
class Adding:
    """Add a drive to a map, and localize another before and after."""

    summer: Path
    """simulated bag whose first half is mapped, and all of which is localized"""
    winter: Path
    """simulated bag of the same way, which is added"""
    work: Path = Path("benchmark/work/adding")
    """folder that keeps label maps and maps"""
    output: Path = Path("benchmark/results")
    """folder of adding.md and adding.json"""
    seeds: int = 1
    """runs of the filter that each row is over"""

    @cached_property
    def _segmenter(self) -> Segmenter:
        return Segmenter(load_checkpoint(PACKAGED_CHECKPOINT))

    def run(self) -> None:
        """Print and write the table."""
        self.work.mkdir(parents=True, exist_ok=True)
        rows = list(self.rows())
        text = markdown_table(rows)
        print(text)
        write_results(self.output, "adding", text, rows)

    def rows(self) -> Iterator[dict[str, str]]:
        """A row a map and a half of the summer drive."""
        summer, winter = (open_recording(path) for path in (self.summer, self.winter))
        truth = require_ground_truth(summer)
        middle = float(truth.stamps[0] + truth.stamps[-1]) / 2.0
        half = WithPoses(summer, truth.between(float(truth.stamps[0]), middle))
        leaves = _leaves(truth, require_ground_truth(winter), middle)
        spans = {
            "first half": (-np.inf, middle),
            "the added street": (middle, leaves),
            "beyond": (leaves, np.inf),
        }
        plain = MapSettings(local_features=LocalFeatureSettings(kind="none"))
        before, after = (self.work / name for name in ("before", "after"))
        write_map(before, half, self._segmenter, plain, overwrite=True)
        for span, figures in self._judged(before, summer, spans).items():
            yield {"map": "before", "judged": span, **figures, **_told(None)}
        changed = self._added(after, before, winter, plain)
        _say_errors(winter, changed)
        for span, figures in self._judged(after, summer, spans).items():
            yield {"map": "after", "judged": span, **figures, **_told(changed)}

    def _labels(self, recording: Recording) -> Labels:
        cache = self.work / f"labels-{recording.name}.npz"
        return segmented_once(recording, self._segmenter, cache)

    def _added(
        self, path: Path, before: Path, recording: Recording, settings: MapSettings
    ) -> AddedRecording:
        T = _start(recording).T_map_base
        x, y, z = T[:3, 3].tolist()
        yaw_deg = float(np.degrees(poses.to_rpy(T)[2]))
        start = Start(pose=(x, y, z, yaw_deg))
        labels = self._labels(recording)
        return add_recording(
            path, before, recording, self._segmenter, start, settings, True, labels
        )

    def _judged(
        self, path: Path, recording: Recording, spans: Mapping[str, tuple[float, float]]
    ) -> dict[str, dict[str, str]]:
        """Errors of a drive localized on a map by several seeds, for each span of time."""
        runs = [self._localized(path, recording, seed) for seed in range(self.seeds)]
        stamps, position, sure = (np.concatenate(each) for each in zip(*runs, strict=True))
        figures = {}
        for name, (low, high) in spans.items():
            inside = (stamps >= low) & (stamps < high)
            if not inside.any():
                continue
            figures[name] = {
                "median [m]": f"{np.median(position[inside]):.2f}",
                "95 % [m]": f"{np.percentile(position[inside], 95):.2f}",
                "tracked": f"{np.mean(sure[inside]):.0%}",
            }
        return figures

    def _localized(self, path: Path, recording: Recording, seed: int) -> tuple[np.ndarray, ...]:
        """Stamps (F,), position errors (F,) [m], and whether the pose counted as tracked (F,)."""
        tracking: dict[float, bool] = {}

        def keep(estimate: Estimate, online: OnlineLocalizer) -> None:
            tracking[estimate.stamp] = online.status == TrackingStatus.TRACKING

        run = localize(
            recording,
            load_map(path),
            self._segmenter.checkpoint,
            _start(recording),
            LocalizerSettings(random_seed=seed),
            labels=self._labels(recording),
            on_estimate=[keep],
        )
        errors = compare(run.trajectory, require_ground_truth(recording))
        sure = np.array([tracking[float(stamp)] for stamp in errors.stamps])
        return errors.stamps, errors.position_m, sure


def _leaves(drive: Trajectory, other: Trajectory, after: float) -> float:
    """Stamp [s] from which a drive is farther from another's way than its street is wide."""
    apart = np.linalg.norm(
        drive.poses[:, None, :2, 3] - other.poses[None, ::_EVERY, :2, 3], axis=2
    ).min(axis=1)
    gone = drive.stamps[(apart > _STREET_M) & (drive.stamps > after)]
    return float(gone[0]) if len(gone) else np.inf


def _start(recording: Recording) -> InitialPose:
    """Where a simulated drive begins, known by a metre and four degrees."""
    return InitialPose.around(require_ground_truth(recording).poses[0], 1.0, float(np.radians(4.0)))


def _told(changed: AddedRecording | None) -> dict[str, str]:
    names = "added", "merged", "confirmed", "contradicted", "replaced", "dropped", "after"
    if changed is None:
        return dict.fromkeys(names, "")
    return {name: str(getattr(changed.added, name)) for name in names}


def _say_errors(recording: Recording, changed: AddedRecording) -> None:
    """How far from the truth a drive was added, every twentieth frame of its way."""
    truth = require_ground_truth(recording)
    errors = compare(changed.registered.trajectory, truth).position_m
    print(changed.text())
    print("error of the added poses [m]:", " ".join(f"{e:.2f}" for e in errors[::20]))


if __name__ == "__main__":
    tyro.cli(Adding, description=__doc__).run()
