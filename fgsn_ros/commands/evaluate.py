"""`fgsn evaluate`: errors of one trajectory against another."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from fgsn_ros.commands.paths import inputs_of
from fgsn_ros.evaluation.consistency import read_covariances
from fgsn_ros.evaluation.report import RESULT_FOLDER, evaluation_table, summarize, write_report
from fgsn_ros.geometry.trajectory import read_tum
from fgsn_ros.outputs import check_folder, whole_folder
from fgsn_ros.recordings.recording import require_gap
from fgsn_ros.terminal import say


@dataclass(frozen=True)
class Evaluate:
    """Compare an estimated trajectory with a reference in the same frame, without alignment."""

    estimate: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="ESTIMATE")]
    """trajectory to judge, TUM text"""
    reference: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="REFERENCE")]
    """reference trajectory, TUM text"""
    covariances: Path | None = None
    """covariances.txt of the estimate, as `fgsn localize` writes it: are the errors as it says?"""
    output: Path | None = None
    """folder for metrics.json and plots; without it the table is printed alone"""
    skip_s: float = 0.0
    """seconds after the first pose that are left out of the errors, >= 0"""
    max_pose_gap_s: float | None = None
    """longest time between two reference poses that is interpolated over [s], > 0; poses in a
    longer hole have no reference. None: 2.5 times the median step, at least 0.5 and at most 10 s"""
    overwrite: bool = False
    """replace the output folder"""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require_gap(self.max_pose_gap_s)

    def run(self) -> None:
        """Print the table, and write the report where an output is named."""
        if self.output is not None:
            check_folder(self.output, RESULT_FOLDER, self.overwrite, inputs_of(self))
        estimate = read_tum(self.estimate)
        reference = read_tum(self.reference, self.max_pose_gap_s)
        covariances = None
        if self.covariances is not None:
            covariances = read_covariances(self.covariances, estimate.stamps)
        facts = {"estimate": self.estimate.name, "reference": self.reference.name}
        if self.output is None:
            metrics = summarize(estimate, reference, None, facts, self.skip_s, covariances)
        else:
            with whole_folder(self.output, RESULT_FOLDER, self.overwrite) as folder:
                metrics = write_report(
                    folder, estimate, reference, None, facts, self.skip_s, covariances
                )
        say(evaluation_table(metrics))
