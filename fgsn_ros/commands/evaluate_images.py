"""`fgsn evaluate images`: located images against known poses, by condition."""

import json
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated

import tyro

from fgsn_ros.commands.paths import inputs_of
from fgsn_ros.config import require
from fgsn_ros.evaluation.located_images import image_errors, recall_by_group, recall_table
from fgsn_ros.evaluation.trajectory_errors import THRESHOLDS
from fgsn_ros.outputs import check_file, whole_file
from fgsn_ros.recordings.benchmark_lists import KnownPose, read_pose_list
from fgsn_ros.recordings.cmu_seasons import cmu_query_poses, is_cmu_slice
from fgsn_ros.recordings.robotcar_seasons import robotcar_root, robotcar_training_poses
from fgsn_ros.terminal import say

LOCATED_FILE = "poses.txt"


@dataclass(frozen=True)
class EvaluateImages:
    """State the recall of located images by condition, as visuallocalization.net does.

    Images with known poses that are not located count as wrong.
    """

    located: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="LOCATED")]
    """output of `fgsn locate`, or a file of lines `name qw qx qy qz tx ty tz`, world to camera"""
    known: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="KNOWN...")]
    """files of such lines, one for each condition; slices of Extended CMU Seasons; or RobotCar
    Seasons with its robotcar_v2_train.txt"""
    centres: bool = False
    """the files of known poses hold the camera's centre in place of the translation"""
    output: Path | None = None
    """JSON file for the figures; without it the table is printed alone"""
    overwrite: bool = False
    """replace the output file"""

    def run(self) -> None:
        """Print the table, and write the figures where an output is named."""
        require(len(self.known) > 0, "name files or folders of known poses")
        if self.output is not None:
            check_file(self.output, self.overwrite, inputs_of(self))
        folder = self.located.is_dir()
        located = read_pose_list(self.located / LOCATED_FILE if folder else self.located)
        known = [pose for path in self.known for pose in self._known(path)]
        errors = image_errors(located, known)
        recalls = recall_by_group(errors)
        if self.output is not None:
            content = {"thresholds_m_deg": THRESHOLDS, "conditions": recalls}
            with whole_file(self.output, self.overwrite) as temporary:
                temporary.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")
        say(recall_table(recalls))

    def _known(self, path: Path) -> list[KnownPose]:
        """Known poses of a path, each with its conditions."""
        root = robotcar_root(path) if path.is_dir() else None
        if root is not None:
            return robotcar_training_poses(root)
        if path.is_dir() and is_cmu_slice(path):
            return cmu_query_poses(path)
        poses_of = read_pose_list(path, self.centres)
        if len(self.known) > 1:
            return [KnownPose(name, T, (path.stem,)) for name, T in poses_of.items()]
        return [KnownPose(name, T, _folder(name)) for name, T in poses_of.items()]


def _folder(name: str) -> tuple[str, ...]:
    """The condition of an image of a single list: the folder that its name begins with."""
    parts = PurePosixPath(name).parts
    return (parts[0],) if len(parts) > 1 else ()
