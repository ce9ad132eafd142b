"""`fgsn teach`: from raw recordings of several seasons to a trained network and a map."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro

from fgsn_ros.commands.correspondences import settings_of_each
from fgsn_ros.commands.paths import inputs_of
from fgsn_ros.commands.teaching import (
    LOCALIZED_FOLDER,
    Facts,
    Round,
    Teaching,
    TeachSettings,
    helps,
    off_m,
    told,
)
from fgsn_ros.config import leaves, require, require_extra
from fgsn_ros.documents import parse_json
from fgsn_ros.errors import OutputError
from fgsn_ros.mapping.map_files import MAP_FOLDER
from fgsn_ros.mapping.sfm.report import POSES_FOLDER
from fgsn_ros.outputs import check_no_input, whole_file, whole_folder
from fgsn_ros.recordings.open import open_recording
from fgsn_ros.recordings.recording import RecordingSettings
from fgsn_ros.terminal import say
from fgsn_ros.text_files import read_text

BEGUN, REPORT = "teach.json", "report.json"


@dataclass(frozen=True, kw_only=True)
class Teach(TeachSettings):
    """Train a network and make a map of raw recordings: images, calibration, mounting, odometry.

    Poses of all, pairs across the seasons, a network trained on them, a map of the first; then the
    network localizes the others on that map, which gives other poses and pairs, and a network of
    these, which is kept if it localizes nearer to where the points of both meet. Poses in the
    recordings are not used.
    """

    recording_paths: Annotated[
        tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RECORDING RECORDING [...]")
    ]
    """rosbag2, ROS 1 bag or KITTI folder with odometry, of the same streets in several seasons; the
    first is mapped"""
    resume: bool = False
    """go on with the run in `output`, which was stopped"""
    recording: RecordingSettings = field(default_factory=RecordingSettings)
    """Of every recording. Topics that one bag lacks and another has are passed over."""

    def run(self) -> None:
        """Make what is missing, and name what is kept."""
        require_extra("train", "torch", "torchvision", "faiss", "h5py", "tensorboard")
        require(len(self.recording_paths) > 1, "name recordings of two seasons, or more")
        require(self.recording.poses is None, "poses are made here; leave out --recording.poses")
        self.training(self.output, self.output)  # its file is good
        each = settings_of_each(self.recording_paths, self.recording)
        recordings = [open_recording(*one) for one in zip(self.recording_paths, each, strict=True)]
        self._begin()
        if not (self.output / REPORT).exists():
            self._teach(Teaching(self, recordings))
        say(table(told(self.output / REPORT, "kept", "rounds")))
        say(f"{self.output}: checkpoint.safetensors, map and poses")

    def _begin(self) -> None:
        """Note what the run is of, or refuse to go on with another.

        Raises:
            OutputError: the folder is there (without `resume`), or there is none to resume in.
        """
        check_no_input(self.output, inputs_of(self))
        begun, described = self.output / BEGUN, self._described()
        if not self.resume:
            if self.output.exists():
                raise OutputError(
                    f"{self.output} exists already; go on with it by --resume, or choose another "
                    "output"
                )
            with whole_file(begun) as temporary:
                temporary.write_text(json.dumps(described, indent=2) + "\n")
            return
        try:
            before = dict(parse_json(read_text(begun)))
        except (OSError, ValueError, TypeError) as error:
            raise OutputError(f"{self.output} holds no run to resume") from error
        names = [key for key in described | before if described.get(key) != before.get(key)]
        if names:
            raise OutputError(
                f"{self.output} was begun with {names[0]} {before.get(names[0])}; resume with "
                "the same, or choose another output"
            )

    def _described(self) -> dict[str, str]:
        """The settings in words; paths by name alone, as folders may move.

        A start is left out: a run that has found none goes on with one.
        """

        def plain(value: Any) -> str:
            values = value if isinstance(value, tuple) else (value,)
            return ", ".join(v.name if isinstance(v, Path) else str(v) for v in values)

        described = {one.name: plain(one.default) for one in leaves(self)}
        described["train"] = read_text(self.train)
        free = {name for name in described if name.startswith("start.")} | {"output", "resume"}
        return {name: value for name, value in described.items() if name not in free}

    def _teach(self, teaching: Teaching) -> None:
        made = [teaching.first()]
        while len(made) <= self.rounds:
            following = teaching.after(made[-1])
            if following is None:
                break
            made.append(following)
        facts = [teaching.facts(one, made) for one in made]
        kept = 0
        for number in range(1, len(made)):
            why = helps(facts[number], facts[kept])
            facts[number]["not_kept"] = why or None
            kept = kept if why else number
        self._publish(made[kept])
        with whole_file(self.output / REPORT) as temporary:
            report = {"kept": kept, "rounds": facts}
            temporary.write_text(json.dumps(report, indent=2, allow_nan=False) + "\n")

    def _publish(self, kept: Round) -> None:
        """Copies of what is kept, where it is looked for first."""
        with whole_folder(self.output / "map", MAP_FOLDER, overwrite=True) as temporary:
            shutil.copytree(kept.map, temporary, dirs_exist_ok=True)
        layout = POSES_FOLDER if (kept.poses / POSES_FOLDER.file).exists() else LOCALIZED_FOLDER
        with whole_folder(self.output / "poses", layout, overwrite=True) as temporary:
            shutil.copytree(kept.poses, temporary, dirs_exist_ok=True)
        with whole_file(self.output / kept.checkpoint.name) as temporary:
            shutil.copy(kept.checkpoint, temporary)


def table(report: Facts) -> str:
    """A line a round, and which is kept, and why."""
    rows = [_HEAD, *(_row(one) for one in report["rounds"])]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    lines.append(f"kept: round {report['kept']}")
    lines += [
        f"not kept: round {one['round']}: {one['not_kept']}"
        for one in report["rounds"]
        if one.get("not_kept")
    ]
    return "\n".join(lines)


_HEAD = (
    "round",
    "poses",
    "pairs",
    "held out",
    "points that meet",
    "consistency",
    "information [nat]",
    "tracked",
    "off [m]",
)


def _row(facts: Facts) -> Sequence[str]:
    localized = facts["localized"]
    tracked = sum(one["tracked"] for one in localized)
    frames = sum(one["frames"] for one in localized)
    return (
        str(facts["round"]),
        facts["poses"],
        str(facts["pairs"]),
        str(facts["held_out"]),
        f"{facts['meeting']:.1%}",
        f"{facts['consistency']:.1%}",
        f"{facts['information']:.3f}",
        f"{tracked} of {frames}" if localized else "-",
        f"{off_m(facts):.2f}" if localized else "-",
    )
