"""A localized recording and its result folder."""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fgsn_ros.commands.result_bag import ResultBag, result_bag
from fgsn_ros.commands.start import Start, check_clocks
from fgsn_ros.commands.view import RunView, View
from fgsn_ros.evaluation.report import Metrics, write_report
from fgsn_ros.evaluation.trajectory_errors import dead_reckoning
from fgsn_ros.geometry.trajectory import Trajectory
from fgsn_ros.localization.initial_pose import InitialPose
from fgsn_ros.localization.localizer import LocalizerSettings
from fgsn_ros.localization.measured_pose import PoseFinder
from fgsn_ros.localization.pipeline import LocalizationRun, localize, require_log_ratio
from fgsn_ros.mapping.semantic_map import SemanticMap
from fgsn_ros.recordings.recording import Recording, require_odometry
from fgsn_ros.segmentation.segmenter import Segmenter


@dataclass(frozen=True, eq=False)
class Result:
    """What came of a localized recording."""

    run: LocalizationRun
    dead_reckoning: Trajectory
    """T_map_base from the same start, or the first pose found, by odometry alone"""
    metrics: Metrics


@dataclass(frozen=True, eq=False)
class Localization:
    """A recording to be localized on a map."""

    recording: Recording
    reference: Trajectory | None
    """T_map_base to judge by, and to start from unless `start` holds a pose"""
    semantic_map: SemanticMap
    segmenter: Segmenter
    """with the checkpoint that labelled the map"""
    start: Start
    settings: LocalizerSettings
    view: View | None = None
    """where the run is shown while it goes on, if anywhere"""
    finder: PoseFinder | None = None
    """measures poses by local features, beside the labels"""

    def write(self, folder: Path, bag: bool = True, skip_s: float = 0.0) -> Result:
        """Localize, and write trajectory, metrics, plots and, on request, the run's bag.

        Raises:
            MapError: the map was labelled by another checkpoint.
            RecordingError: the recording has no odometry or is damaged.
            LocalizationError: no initial pose is known, the reference is of another time, no frame
                could be used, or the robot was not found.
            OutputError: the folder cannot be written.
        """
        if self.reference is not None:
            check_clocks(require_odometry(self.recording), self.reference)
        rng = np.random.default_rng(self.settings.random_seed)
        initial = None
        if not self.start.unknown:
            initial = self.start.initial(self.recording, self.reference, rng)
        run = self._localized(initial, folder / "bag" if bag else None)
        found = run.trajectory
        begin, stamp = found.poses[0], float(found.stamps[0])
        if initial is not None:
            begin = initial.T_map_base
            stamp = stamp if initial.stamp is None else initial.stamp
        reckoned = dead_reckoning(require_odometry(self.recording), begin, found.stamps, stamp)
        metrics = write_report(
            folder,
            run.trajectory,
            self.reference,
            reckoned,
            self._facts(run),
            skip_s,
            run.covariances,
        )
        return Result(run, reckoned, metrics)

    def _localized(self, initial: InitialPose | None, bag_path: Path | None) -> LocalizationRun:
        with ExitStack() as stack:
            observers: list[ResultBag | RunView] = []
            cameras, odometry = self.recording.cameras, require_odometry(self.recording)
            if self.view is not None:
                log_ratio = require_log_ratio(self.segmenter.checkpoint)
                view = RunView(
                    self.view, cameras, odometry, self.reference, self.semantic_map, log_ratio
                )
                observers.append(stack.enter_context(view))
            if bag_path is not None:
                bag = result_bag(bag_path, cameras, odometry, self.semantic_map)
                observers.append(stack.enter_context(bag))
            return localize(
                self.recording,
                self.semantic_map,
                self.segmenter.checkpoint,
                initial,
                self.settings,
                lambda frame: self.segmenter.segment(frame.image),
                self.finder,
                on_labels=[observer.add_labels for observer in observers],
                on_estimate=[observer.add_estimate for observer in observers],
            )

    def _facts(self, run: LocalizationRun) -> dict[str, object]:
        return {
            "recording": self.recording.name,
            "odometry": self.recording.odometry_origin,
            "start": self.start,
            "localizer": self.settings,
            "skipped": run.skipped,
            "seconds": run.seconds,
            "elapsed_s": run.elapsed_s,
        }
