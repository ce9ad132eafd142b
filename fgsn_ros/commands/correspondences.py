"""`fgsn correspondences`: training data from recordings with poses."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import tyro

from fgsn_ros.commands.made_poses import with_poses
from fgsn_ros.commands.paths import inputs_of
from fgsn_ros.config import require, require_extra
from fgsn_ros.correspondences.across_drives import CrossSettings, write_cross_correspondences
from fgsn_ros.correspondences.files import CORRESPONDENCE_FOLDER
from fgsn_ros.correspondences.within_drive import (
    SelfCorrespondenceSettings,
    write_self_correspondences,
)
from fgsn_ros.errors import RecordingError
from fgsn_ros.outputs import check_folder
from fgsn_ros.recordings.bag_files import read_topics
from fgsn_ros.recordings.bag_paths import is_bag
from fgsn_ros.recordings.open import open_recording
from fgsn_ros.recordings.recording import Recording, RecordingSettings
from fgsn_ros.terminal import say

OWN_POSES = Path("own")
"""In the place of a pose file: the poses that the recording holds."""


@dataclass(frozen=True)
class Correspondences:
    """Correspondences within a recording, and between it and others, to train on.

    Where no recording holds poses, they are made first, as `fgsn poses` makes them.
    """

    recording_paths: Annotated[
        tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RECORDING [RECORDING ...]")
    ]
    """rosbag2, ROS 1 bag, KITTI folder, or folder of images with TUM poses. One alone: pairs of its
    own frames. Several (the same streets in other conditions, poses in one frame): pairs of the
    first with each other one, too"""
    output: Path
    """correspondence folder to make, for `fgsn train`"""
    overwrite: bool = False
    """replace the output folder"""
    poses: tyro.conf.UseAppendAction[tuple[Path, ...]] = ()
    """pose file (TUM) of each recording in their order, `--poses A.tum --poses B.tum`; `own` in the
    place of a file: the recording holds its poses, as simulated bags do"""
    recording: RecordingSettings = field(default_factory=RecordingSettings)
    """Of every recording. Topics that one bag lacks and another has are passed over."""
    pairs: SelfCorrespondenceSettings = field(default_factory=SelfCorrespondenceSettings)
    """Of pairs within the first recording, and of every pair: min_points, max_points,
    range_factor, view_angle_deg, validation_share, seed, structure."""
    across: CrossSettings = field(default_factory=CrossSettings)
    """Of pairs between recordings."""

    def run(self) -> None:
        """Write the folder."""
        require_extra("train", "h5py")
        check_folder(self.output, CORRESPONDENCE_FOLDER, self.overwrite, inputs_of(self))
        recordings = self._recordings()
        if len(recordings) == 1:
            count = write_self_correspondences(
                recordings[0], self.output, self.pairs, self.overwrite
            )
            say(f"{self.output}: {count} pairs of images")
            return
        written = write_cross_correspondences(
            recordings, self.output, self.pairs, self.across, self.overwrite
        )
        first, *others = written
        say(f"{self.output}: {first.pairs} pairs of images of {first.name} and {first.name}")
        for other in others:
            say(
                f"{self.output}: {other.pairs} pairs of images of {first.name} and {other.name}; "
                f"{other.meeting:.0%} of the points of {other.name} lie where {first.name} has one"
            )

    def _recordings(self) -> list[Recording]:
        """The recordings, each with poses."""
        paths = self.recording_paths
        require(len(paths) > 0, "name a recording, or several of the same streets")
        require(
            len(paths) == 1 or self.recording.poses is None,
            "recording.poses is of one recording; of several, give --poses for each of them",
        )
        require(
            len(self.poses) in (0, len(paths)),
            f"--poses is given {len(self.poses)} times for {len(paths)} recordings; give it once "
            "for each, in their order ('own' for one that holds its poses)",
        )
        settings = settings_of_each(paths, self.recording)
        if self.poses:
            settings = [
                replace(of_one, poses=None if file == OWN_POSES else file)
                for of_one, file in zip(settings, self.poses, strict=True)
            ]
        recordings = [open_recording(*item) for item in zip(paths, settings, strict=True)]
        recordings = with_poses(recordings)
        _require_poses(recordings)
        return recordings


def settings_of_each(
    paths: tuple[Path, ...], settings: RecordingSettings
) -> list[RecordingSettings]:
    """Settings of each recording: of several, a bag's name the topics that it has.

    Raises:
        RecordingError: a topic is in none of the bags.
    """
    if len(paths) == 1:
        return [settings]
    topics = [_topics(path) for path in paths]
    named = (*settings.image_topics, *settings.camera_info_topics)
    named += (settings.odometry_topic, settings.ground_truth_topic)
    named += (settings.gps_topic, settings.imu_topic)
    missing = [name for name in named if name and _base(name) not in set().union(*topics)]
    if missing:
        raise RecordingError(f"no recording has the topic {missing[0]}; name one that is there")
    return [_with_topics(settings, of_one) for of_one in topics]


def _topics(path: Path) -> set[str]:
    """Base names of a bag's topics; of another recording, none."""
    return {_base(name) for name in read_topics(path)} if path.exists() and is_bag(path) else set()


def _base(topic: str) -> str:
    return topic.removesuffix("/compressed")


def _with_topics(settings: RecordingSettings, topics: set[str]) -> RecordingSettings:
    """The settings without the topics that are not there; what is left out is found by type."""
    cameras = [index for index, name in enumerate(settings.image_topics) if _base(name) in topics]
    return replace(
        settings,
        image_topics=tuple(settings.image_topics[index] for index in cameras),
        camera_info_topics=tuple(
            settings.camera_info_topics[index] for index in cameras if settings.camera_info_topics
        ),
        odometry_topic=_if_there(settings.odometry_topic, topics),
        ground_truth_topic=_if_there(settings.ground_truth_topic, topics),
        gps_topic=_if_there(settings.gps_topic, topics),
        imu_topic=_if_there(settings.imu_topic, topics),
    )


def _if_there(topic: str, topics: set[str]) -> str:
    return topic if topic in topics else ""


def _require_poses(recordings: list[Recording]) -> None:
    """Say which recording lacks poses, and by which option to give them."""
    option = (
        "--recording.poses FILE.tum"
        if len(recordings) == 1
        else "--poses FILE.tum once for each recording, in their order ('own' for one with poses)"
    )
    for recording in recordings:
        if recording.ground_truth is None:
            raise RecordingError(f"{recording.name} has no poses; give them with {option}")
