"""Raw recordings of several seasons teach a network, and the network says where they lie: rounds.

    OUTPUT/teach.json        what the run was begun with
    OUTPUT/kept              features and matches, as `fgsn poses --keep` keeps them
    OUTPUT/structure         poses of images and odometry, as `fgsn poses` makes them
    OUTPUT/joined            where they are not in one frame: a map by the first network's labels,
                             and the other recordings localized on it
    OUTPUT/0                 the first round: pairs, network, map, and the other recordings
                             localized on that map, whose poses are the next round's

Each part appears whole, and one that is there is not made again.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from fgsn_ros.commands.adding import tracked_poses
from fgsn_ros.commands.start import Start
from fgsn_ros.config import load_yaml, override, require
from fgsn_ros.correspondences.across_drives import CrossSettings, write_cross_correspondences
from fgsn_ros.correspondences.aligned_drives import meeting_poses
from fgsn_ros.correspondences.files import CorrespondenceFolder
from fgsn_ros.correspondences.images import ImageCache
from fgsn_ros.correspondences.sets import read_correspondence_sets, validation_pairs
from fgsn_ros.correspondences.within_drive import SelfCorrespondenceSettings
from fgsn_ros.documents import parse_json
from fgsn_ros.errors import LocalizationError, MapError, RecordingError
from fgsn_ros.geometry.trajectory import Trajectory, read_tum, write_tum
from fgsn_ros.localization.initial_pose import InitialPose
from fgsn_ros.mapping.builder import MapSettings, write_map
from fgsn_ros.mapping.map_files import load_map
from fgsn_ros.mapping.sfm.kept import KeptWork
from fgsn_ros.mapping.sfm.recording_poses import PoseSettings, WithPoses, pose_recordings
from fgsn_ros.mapping.sfm.registration import Anchors, register
from fgsn_ros.mapping.sfm.report import POSES_FOLDER, file_names, text, write_poses
from fgsn_ros.outputs import Layout, whole_folder
from fgsn_ros.recordings.recording import Recording
from fgsn_ros.segmentation.checkpoint import load_checkpoint
from fgsn_ros.segmentation.segmenter import Segmenter, SegmenterSettings
from fgsn_ros.terminal import say
from fgsn_ros.text_files import read_text
from fgsn_ros.training.settings import TrainSettings

Facts = dict[str, Any]
Localized = tuple[Trajectory, Facts]
"""Poses of a recording on a map, and what is to say of them."""
LOCALIZED_FOLDER = Layout("localized.json", '"localized"', ("*.tum",))
_OF_TEACHING = {"data", "output", "init", "resume"}
_STRUCTURE, _JOINED = "structure", "joined"
_PASSES, _SETTLED_M = 4, 0.02
"""Most alignments by points, each of which finds a part of an offset, and when there is no more to
find [m]."""
_MEETING_NOISE = 0.01
"""Share of the points that meet by which poses as good as others may fall short: in a simulated
town, winter's poses moved by 0.1 m along the road cost 2.6 % of them, by 0.3 m 19 %."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TeachSettings:
    """How raw recordings teach a network."""

    init: Path
    """network to begin with, each round anew (.safetensors)"""
    train: Path
    """settings of `fgsn train` (YAML), such as config/train.yaml"""
    output: Path
    """folder to make: checkpoint.safetensors, map, poses, report.json, and what each round made"""
    rounds: int = 1
    """rounds after the first, each with poses that the network of the one before has found; >= 0"""
    start: Start = field(default_factory=Start)
    """Of recordings that local features do not join with the first; without a pose they are looked
    for."""
    poses: PoseSettings = field(default_factory=PoseSettings)
    pairs: SelfCorrespondenceSettings = field(default_factory=SelfCorrespondenceSettings)
    across: CrossSettings = field(default_factory=CrossSettings)
    """Of pairs between recordings."""
    mapping: MapSettings = field(default_factory=MapSettings)
    segmenter: SegmenterSettings = field(default_factory=SegmenterSettings)

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.rounds >= 0, "rounds must be at least 0")
        offset = self.start.offset_m or self.start.offset_deg
        require(not offset, "a recording starts at --start.pose or is looked for, without offset")

    def training(self, data: Path, output: Path) -> TrainSettings:
        """Settings of a run of `fgsn train`; one that was stopped goes on.

        Raises:
            SettingsError: the file cannot be read, or sets what is not for it to set.
        """
        values = load_yaml(self.train)
        taken = sorted(_OF_TEACHING & values.keys())
        require(not taken, f"{self.train} sets {', '.join(taken)}, which teaching sets itself")
        settings = override(TrainSettings(data, output, init=self.init), values, str(self.train))
        known = settings.objective in ("fgsn", "statistics")
        require(known, f"{self.train}: the objective must be fgsn or statistics")
        return replace(settings, resume=settings.state.exists())


@dataclass(frozen=True)
class Round:
    """What one round makes, and of which poses."""

    number: int
    folder: Path
    poses: Path
    """folder of a TUM file of each recording"""
    origin: str
    """of the poses, in words"""

    @property
    def pairs(self) -> Path:
        """Correspondences of the recordings."""
        return self.folder / "pairs"

    @property
    def network(self) -> Path:
        """Folder of the training run."""
        return self.folder / "network"

    @property
    def checkpoint(self) -> Path:
        """The trained network."""
        return self.network / "checkpoint.safetensors"

    @property
    def map(self) -> Path:
        """Map of the first recording."""
        return self.folder / "map"

    @property
    def localized(self) -> Path:
        """Folder of the recordings' poses by this map and network."""
        return self.folder / "localized"


class Teaching:
    """Makes the rounds of recordings, the first of which is mapped; their own poses are not used.

    Raises:
        FgsnError: of any step, when it is made.
    """

    def __init__(self, settings: TeachSettings, recordings: Sequence[Recording]) -> None:
        self._settings = settings
        self._recordings = recordings
        self._folder = settings.output

    def first(self) -> Round:
        """The round with poses by structure from motion, or, where it does not join, by labels.

        Raises:
            RecordingError: a recording is joined with the first by neither.
        """
        apart = self._structure()
        poses, origin = self._folder / _STRUCTURE, "by local features"
        if apart:
            poses, origin = self._joined_by_labels(apart), "by labels of the first network"
        return self._made(Round(0, self._folder / "0", poses, origin))

    def after(self, last: Round) -> Round | None:
        """The next round, or None, and said, where its poses cannot be had."""
        report = told(last.localized / LOCALIZED_FOLDER.file)
        if "failed" in report:
            _log.warning("no round %d: %s", last.number + 1, report["failed"])
            return None
        number = last.number + 1
        origin = f"by the network of round {last.number}"
        return self._made(Round(number, self._folder / str(number), last.localized, origin))

    def facts(self, made: Round, judged_on: Sequence[Round]) -> Facts:
        """What needs no ground truth to say how good a round is.

        Args:
            made: The round.
            judged_on: Rounds on whose held-out pairs the labels are judged.
        """
        pairs = CorrespondenceFolder(made.pairs).told()
        localized = told(made.localized / LOCALIZED_FOLDER.file, "localized")
        summaries = [self._summary(made, other) for other in judged_on]
        return {
            "round": made.number,
            "poses": made.origin,
            "pairs": sum(one.pairs for one in pairs[1:]),
            "held_out": sum(one.held_out for one in pairs[1:]),
            "meeting": float(np.mean([one.meeting for one in pairs[1:]])),
            "consistency": float(np.mean([one["consistency"] for one in summaries])),
            "information": float(np.mean([one["information"] for one in summaries])),
            "localized": localized["localized"],
        }

    def _made(self, this: Round) -> Round:
        """The round, with the parts that it lacks."""
        recordings = [self._with_poses(k, this.poses) for k in range(len(self._recordings))]
        settings = self._settings
        if not this.pairs.exists():
            write_cross_correspondences(recordings, this.pairs, settings.pairs, settings.across)
        self._train(this)
        self._map(this.map, recordings[0], this.checkpoint)
        if not this.localized.exists():
            others = range(1, len(recordings))
            try:
                found = self._localized(others, recordings, this.map, this.checkpoint)
                self._write_localized(this.localized, recordings, found)
            except (MapError, LocalizationError) as error:
                self._write_localized(this.localized, recordings, {}, failed=str(error))
        return this

    def _train(self, this: Round) -> None:
        from fgsn_ros.training.trainer import train

        there = this.checkpoint.exists() and load_checkpoint(this.checkpoint).log_ratio is not None
        if not there:  # the statistics come last
            train(self._settings.training(this.pairs, this.network))

    def _map(self, folder: Path, recording: Recording, checkpoint: Path) -> None:
        if not folder.exists():
            write_map(folder, recording, self._segmenter(checkpoint), self._settings.mapping)

    def _segmenter(self, checkpoint: Path) -> Segmenter:
        return Segmenter(load_checkpoint(checkpoint), self._settings.segmenter)

    def _with_poses(self, number: int, folder: Path) -> WithPoses:
        return WithPoses(self._recordings[number], read_tum(folder / f"{self._names[number]}.tum"))

    @property
    def _names(self) -> list[str]:
        """Of the recordings' TUM files."""
        return file_names(self._recordings)

    def _structure(self) -> list[int]:
        """Make the first poses; the recordings that are not in the frame of the first."""
        folder = self._folder / _STRUCTURE
        if not folder.exists():
            kept = KeptWork(self._folder / "kept")
            posed = pose_recordings(self._recordings, self._settings.poses, kept)
            with whole_folder(folder, POSES_FOLDER) as temporary:
                said = text(write_poses(temporary, posed, picture=False))
            say(said)
        sessions = told(folder / POSES_FOLDER.file, "sessions")["sessions"]
        return [number for number, one in enumerate(sessions) if one["frame"] != 0]

    def _joined_by_labels(self, apart: Sequence[int]) -> Path:
        """Folder of the poses of all: those that are apart are localized on a map of the first."""
        folder, init = self._folder / _JOINED, self._settings.init
        names = ", ".join(self._recordings[number].name for number in apart)
        _log.warning("%s: not joined by local features; the labels of %s are tried", names, init)
        raw = [self._with_poses(k, self._folder / _STRUCTURE) for k in range(len(self._names))]
        if not (folder / "localized").exists():
            self._map(folder / "map", raw[0], init)
            try:
                found = self._localized(apart, raw, folder / "map", init, joined=False)
            except (MapError, LocalizationError) as error:
                raise RecordingError(
                    f"{names}: neither local features nor labels join it with {raw[0].name} "
                    f"({error}); --resume with its start there, --start.pose, or try another --init"
                ) from error
            self._write_localized(folder / "localized", raw, found)
        return folder / "localized"

    def _localized(
        self,
        numbers: Sequence[int],
        recordings: Sequence[WithPoses],
        map_folder: Path,
        checkpoint: Path,
        joined: bool = True,
    ) -> dict[int, Localized]:
        """Recordings placed as a map's labels say, in the shape that structure from motion has.

        They end where their points meet the first's. They start where they are, if they are joined
        with it, else where the settings say.

        Raises:
            MapError: one is not tracked, or not as its shape has it.
            LocalizationError: one is not found.
        """
        localized = {}
        for number in numbers:
            reference = recordings[number].ground_truth if joined else None
            anchors = self._tracked(number, map_folder, checkpoint, reference)
            localized[number] = self._placed(number, recordings[0], anchors)
        return localized

    def _write_localized(
        self,
        folder: Path,
        recordings: Sequence[WithPoses],
        found: Mapping[int, Localized],
        **facts: str,
    ) -> None:
        """Write poses of all recordings, those that were not localized as they are."""
        with whole_folder(folder, LOCALIZED_FOLDER) as temporary:
            for number, name in enumerate(self._names):
                own = recordings[number].ground_truth
                write_tum(temporary / f"{name}.tum", found[number][0] if number in found else own)
            report = {"localized": [of_one for _, of_one in found.values()], **facts}
            written = json.dumps(report, indent=2, allow_nan=False) + "\n"
            (temporary / LOCALIZED_FOLDER.file).write_text(written)

    def _tracked(
        self, number: int, map_folder: Path, checkpoint: Path, reference: Trajectory | None
    ) -> Anchors:
        """Poses of a recording on a map, where labels confirm them."""
        recording, segmenter = self._recordings[number], self._segmenter(checkpoint)
        return tracked_poses(
            recording,
            load_map(map_folder),
            segmenter.checkpoint,
            self._initial(recording, reference),
            lambda frame: segmenter.segment(frame.image),
        )

    def _placed(self, number: int, first: WithPoses, anchors: Anchors) -> Localized:
        """The way of a recording where it was tracked, moved to where its points meet the first's.

        Geometry says without labels how far off the tracked poses are.
        """
        recording = self._recordings[number]
        found = register(self._shape(number), anchors, recording.name)
        placed = self._aligned(number, first, found.trajectory)
        tracked = Trajectory(anchors.stamps, anchors.T_map_base)
        return placed, {
            "name": recording.name,
            "frames": recording.frame_count,
            "tracked": found.tracked,
            "elsewhere": found.disagreeing,
            "scale": found.scale,
            "off_m": _apart_m(tracked, placed),
        }

    def _initial(self, recording: Recording, reference: Trajectory | None) -> InitialPose | None:
        """Where a recording begins: as before, as the settings say, or anywhere."""
        start = self._settings.start if reference is None else Start()
        if reference is None and start.pose is None:
            return None
        return start.initial(recording, reference, np.random.default_rng(0))

    def _aligned(self, number: int, first: WithPoses, found: Trajectory) -> Trajectory:
        """Poses of a recording, where labels have placed it, for its points to meet the first's."""
        settings, recording = self._settings, self._recordings[number]
        if settings.across.alignment_m == 0.0:
            return found
        try:
            for _ in range(_PASSES):
                placed = WithPoses(recording, found)
                anchors = meeting_poses(first, placed, settings.pairs, settings.across)
                before = found
                found = register(self._shape(number), anchors, recording.name).trajectory
                if _apart_m(before, found) < _SETTLED_M:
                    break
        except (RecordingError, MapError) as error:
            _log.warning("%s lies where labels have it: %s", recording.name, error)
        return found

    def _shape(self, number: int) -> Trajectory:
        """The way of a recording as structure from motion has it."""
        return self._with_poses(number, self._folder / _STRUCTURE).ground_truth

    def _summary(self, made: Round, other: Round) -> dict[str, float]:
        """Of a round's labels on the held-out pairs of another, or of its own."""
        from fgsn_ros.segmentation.networks import STRIDE
        from fgsn_ros.training.statistics import label_pairs

        settings = replace(self._settings.segmenter, stride=STRIDE)
        segmenter = Segmenter(load_checkpoint(made.checkpoint), settings)
        pairs = validation_pairs(read_correspondence_sets(other.pairs))
        title = f"labels of round {made.number} on pairs of round {other.number}"
        return label_pairs(segmenter, pairs, ImageCache(0), title=title).summary()


def _apart_m(one: Trajectory, other: Trajectory) -> float:
    """Median distance of the poses that both have."""
    _, first, second = np.intersect1d(one.stamps, other.stamps, return_indices=True)
    apart = (other.poses[second] - one.poses[first])[:, :3, 3]
    return float(np.median(np.linalg.norm(apart, axis=1)))


def helps(this: Mapping[str, Any], last: Mapping[str, Any]) -> str:
    """Why a round is not to be kept in place of another, by the facts of both; empty if it is."""
    if this["meeting"] < (1.0 - _MEETING_NOISE) * last["meeting"]:
        return "by its poses, fewer points of the recordings lie in one place"
    if off_m(this) >= off_m(last):
        return "its network localizes no nearer to where the points meet"
    return ""


def off_m(facts: Mapping[str, Any]) -> float:
    """How far off a round's network localizes, by geometry: of several recordings, the mean."""
    localized = facts["localized"]
    return float(np.mean([one["off_m"] for one in localized])) if localized else float("inf")


def told(path: Path, *needed: str) -> Facts:
    """The facts in a report of a run.

    Raises:
        RecordingError: it is damaged.
    """
    try:
        facts = dict(parse_json(read_text(path)))
        missing = [name for name in needed if name not in facts]
    except (OSError, ValueError, TypeError) as error:
        raise RecordingError(f"{path} is damaged; remove its folder, and resume") from error
    if missing:
        raise RecordingError(f"{path} lacks {missing[0]}; remove its folder, and resume")
    return facts
