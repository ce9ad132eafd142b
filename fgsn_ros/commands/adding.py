"""A recording added to a map: localized on it, then mapped in its frame."""

import logging
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from fgsn_ros.commands.start import Start
from fgsn_ros.errors import MapError
from fgsn_ros.localization.estimate import Estimate
from fgsn_ros.localization.initial_pose import InitialPose
from fgsn_ros.localization.online import OnlineLocalizer
from fgsn_ros.localization.pipeline import Labels, localize
from fgsn_ros.localization.tracking import TrackingStatus
from fgsn_ros.mapping.adding import Added, add_drive
from fgsn_ros.mapping.builder import MapSettings
from fgsn_ros.mapping.map_files import MAP_FOLDER, load_map
from fgsn_ros.mapping.semantic_map import SemanticMap, check_fingerprint
from fgsn_ros.mapping.sfm.recording_poses import PoseSettings, WithPoses, pose_recordings
from fgsn_ros.mapping.sfm.registration import Anchors, Registered, register
from fgsn_ros.outputs import whole_folder
from fgsn_ros.recordings.recording import Frame, Recording
from fgsn_ros.segmentation.checkpoint import Checkpoint
from fgsn_ros.segmentation.labels import LabelMap
from fgsn_ros.segmentation.segmenter import Segmenter

_DOUBTFUL = 0.15
"""Share of points contradicted: 0 and 6 % by simulated drives placed to 0.1 and 0.3 m, 19 % by one
that was 5 m off."""
_ENOUGH_POINTS = 0.4
"""Of the median of visible points: at the map's end a few far ones hold the pose badly."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AddedRecording:
    """What came of it."""

    registered: Registered
    added: Added

    def text(self) -> str:
        """In two lines: where the recording lies, and what it changed."""
        r = self.registered
        return (
            f"{r.tracked + r.disagreeing} frames tracked on the map, {r.disagreeing} of them "
            f"elsewhere; {len(r.trajectory)} poses, {r.residual_m:.2f} m (median) from the tracked "
            f"ones; a metre of the odometry is {r.scale:.4f} m\n{self.added.text()}"
        )


def add_recording(
    output: Path,
    map_folder: Path,
    recording: Recording,
    segmenter: Segmenter,
    start: Start,
    settings: MapSettings,
    overwrite: bool = False,
    labels: Labels | None = None,
) -> AddedRecording:
    """Write a map with a recording added to it; the output may be the map's own folder.

    The recording starts at `start.pose`, or is looked for on the whole map; ground truth of its own
    may be of another frame, and is not used. Labels of its frames may be given, as of a run before.

    Raises:
        MapError: the map is of another checkpoint, or the recording does not fit it.
        RecordingError: the recording has no odometry, is damaged, or shows too little.
        LocalizationError: the robot was not found on the map.
        OutputError: the folder exists (without overwrite) or cannot be written.
    """
    semantic_map = load_map(map_folder)
    check_fingerprint(semantic_map, segmenter.checkpoint.fingerprint)
    initial = _initial(start, recording)
    with whole_folder(output, MAP_FOLDER, overwrite) as folder:
        kept = _KeptLabels(folder / "labels", segmenter)
        try:
            label = labels or kept
            anchors = tracked_poses(recording, semantic_map, segmenter.checkpoint, initial, label)
            posed = pose_recordings([recording], PoseSettings())
            registered = register(posed.trajectories[0], anchors, recording.name)
            added = add_drive(
                folder,
                map_folder,
                WithPoses(recording, registered.trajectory),
                label,
                segmenter.checkpoint,
                settings,
                facts=_facts(registered),
            )
        finally:
            kept.close()
    if added.contradicted_share > _DOUBTFUL:
        _log.warning(
            "%s contradicts %.0f %% of the points that it sees: the place has changed much, or it "
            "was tracked wrongly; localize a drive on both maps before you use the new one",
            recording.name,
            100.0 * added.contradicted_share,
        )
    return AddedRecording(registered, added)


def _initial(start: Start, recording: Recording) -> InitialPose | None:
    """The start that is given, or None: looked for.

    Raises:
        MapError: it is an offset from ground truth, which may be of another frame than the map's.
    """
    if start.offset_m or start.offset_deg:
        raise MapError("a drive is added from --start.pose or an unknown start, without an offset")
    if start.pose is None:
        return None
    return start.initial(recording, None, np.random.default_rng(0))


def tracked_poses(
    recording: Recording,
    semantic_map: SemanticMap,
    checkpoint: Checkpoint,
    initial: InitialPose | None,
    labels: Labels,
) -> Anchors:
    """Poses of a recording on a map, where labels confirm them and enough points hold them.

    Their covariance is that of the particles: what other places are possible is settled by the
    drive's shape.

    Raises:
        MapError: they do nowhere.
    """
    tracked: dict[float, Estimate] = {}

    def keep(estimate: Estimate, online: OnlineLocalizer) -> None:
        if online.status == TrackingStatus.TRACKING:
            tracked[estimate.stamp] = replace(estimate, covariance=online.pose[1])

    localize(recording, semantic_map, checkpoint, initial, labels=labels, on_estimate=[keep])
    if not tracked:
        raise MapError(
            f"{recording.name} was not tracked on the map, so nothing is added; give its start by "
            "--start.pose, or check that it is of the same streets"
        )
    enough = _ENOUGH_POINTS * float(np.median([each.visible_points for each in tracked.values()]))
    stamps = [stamp for stamp in sorted(tracked) if tracked[stamp].visible_points >= enough]
    found = [tracked[stamp] for stamp in stamps]
    return Anchors(
        np.array(stamps),
        np.stack([each.T_map_base for each in found]),
        np.stack([each.covariance for each in found]),
    )


def _facts(registered: Registered) -> dict[str, object]:
    return {
        "tracked": registered.tracked,
        "tracked_elsewhere": registered.disagreeing,
        "poses": len(registered.trajectory),
        "metres": round(registered.trajectory.length_m(), 1),
        "scale": round(registered.scale, 5),
        "residual_m": round(registered.residual_m, 4),
    }


@dataclass(eq=False)
class _KeptLabels:
    """Label maps of frames: an image is segmented once, its labels put aside in a file."""

    path: Path
    segmenter: Segmenter
    _places: dict[tuple[float, str], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._file: Any = self.path.open("x+b")

    def __call__(self, frame: Frame) -> LabelMap:
        place = self._places.get((frame.stamp, frame.camera))
        if place is None:
            return self._segmented(frame)
        self._file.seek(place)
        labels, confidence = (np.load(self._file, allow_pickle=False) for _ in range(2))
        return LabelMap(labels, confidence, self.segmenter.stride, self.segmenter.label_count)

    def _segmented(self, frame: Frame) -> LabelMap:
        label_map = self.segmenter.segment(frame.image)
        self._places[frame.stamp, frame.camera] = self._file.seek(0, 2)
        for values in (label_map.labels, label_map.confidence):
            np.save(self._file, values, allow_pickle=False)
        return label_map

    def close(self) -> None:
        """Remove the file."""
        self._file.close()
        self.path.unlink(missing_ok=True)
