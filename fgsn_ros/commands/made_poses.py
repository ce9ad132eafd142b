"""Recordings without poses, for commands that need them: poses are made first, and it is said."""

import logging
from collections.abc import Sequence

from fgsn_ros.errors import RecordingError
from fgsn_ros.mapping.sfm.recording_poses import PoseSettings, WithPoses, pose_recordings
from fgsn_ros.mapping.sfm.report import facts_of, text
from fgsn_ros.recordings.recording import Recording
from fgsn_ros.terminal import say

_log = logging.getLogger(__name__)


def with_poses(recordings: Sequence[Recording]) -> list[Recording]:
    """The recordings; where all hold odometry and no poses, with those that `fgsn poses` makes.

    Raises:
        RecordingError: poses cannot be made, or not in one frame; or some recordings hold poses
            and others, which have odometry alone, do not.
    """
    raw = [one.ground_truth is None and one.odometry is not None for one in recordings]
    if not any(raw):
        return list(recordings)
    if not all(raw):
        posed = [one.name for one, is_raw in zip(recordings, raw, strict=True) if not is_raw]
        lacking = [one.name for one, is_raw in zip(recordings, raw, strict=True) if is_raw]
        raise RecordingError(
            f"{', '.join(lacking)}: no poses, and {', '.join(posed)} has some, in a frame of its "
            "own; make those of all together by `fgsn poses`, and give them"
        )
    names = ", ".join(one.name for one in recordings)
    _log.warning(
        "%s: no poses; they are made first, of images and odometry, as `fgsn poses` does", names
    )
    made = pose_recordings(recordings, PoseSettings())
    say(text(facts_of(made)))
    if made.group.max() > 0:
        raise RecordingError(
            f"{names}: their poses are not in one frame, for nothing that all of them share was "
            "found; give poses in one frame"
        )
    return [
        WithPoses(one, trajectory)
        for one, trajectory in zip(recordings, made.trajectories, strict=True)
    ]
