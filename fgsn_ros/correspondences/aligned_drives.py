"""Where a drive lies for its points to meet another's: what geometry alone says of its poses.

Labels, and features across seasons, place a drive to decimetres and may be off by as much all along
it. What is triangulated of walls, kerbs and trunks is in one place in every season.
"""

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.correspondences.across_drives import CrossSettings
from fgsn_ros.correspondences.same_points import TrackedPoints, aligning_offset
from fgsn_ros.correspondences.within_drive import SelfCorrespondenceSettings
from fgsn_ros.errors import RecordingError
from fgsn_ros.mapping.sfm.registration import Anchors
from fgsn_ros.mapping.structure import Reconstruction, StructureSettings, posed_frames
from fgsn_ros.recordings.recording import Recording

FloatArray = NDArray[np.float64]
_SIGMA = np.array([0.05, 0.05, 0.05, 0.01, 0.01, 0.01])
"""x y z [m] and roll pitch yaw [rad] of a pose whose points meet the other's."""


def meeting_poses(
    reference: Recording,
    target: Recording,
    settings: SelfCorrespondenceSettings,
    across: CrossSettings,
) -> Anchors:
    """Poses of a drive at which its points meet those of another, frame by frame.

    Each is moved, without a turn, by what `aligning_offset` finds; frames of which it finds nothing
    are left out.

    Args:
        reference: The other one; its ground truth is T_map_base.
        target: The drive, with poses in the same frame that are off by no more than
            `across.alignment_m`.
        settings: How points are made, and how far their views may differ.
        across: How far points may be apart.

    Raises:
        RecordingError: a recording has no ground truth, or the points nowhere meet.
    """
    (fixed, _), (moved, stamps) = (_tracked(one, settings.structure) for one in (reference, target))
    angle, limits_m = float(np.radians(settings.view_angle_deg)), across.alignment_limits_m
    offsets = np.array(
        [
            aligning_offset(fixed, moved, moved.tracked(frame)[0], limits_m, angle)
            for frame in range(len(stamps))
        ]
    )
    stamps, first = np.unique(stamps, return_index=True)  # of several cameras', one
    offsets = offsets[first]
    found = offsets.any(axis=1)
    if not found.any() or target.ground_truth is None:
        raise RecordingError(f"the points of {target.name} and {reference.name} meet nowhere")
    T = target.ground_truth.at(stamps[found])
    T[:, :3, 3] += offsets[found]
    return Anchors(stamps[found], T, np.tile(np.diag(_SIGMA**2), (len(T), 1, 1)))


def _tracked(recording: Recording, settings: StructureSettings) -> tuple[TrackedPoints, FloatArray]:
    """The points of a recording, and the stamps (F,) of the frames that track them."""
    reconstruction, stamps = Reconstruction(recording.cameras, settings), list[float]()
    title = f"tracking {recording.name}"
    for posed in posed_frames(recording, settings.frame_spacing_m, settings.frame_turn_deg, title):
        reconstruction.add(posed)
        stamps.append(posed.frame.stamp)
    return TrackedPoints(reconstruction.structure(), recording.cameras), np.array(stamps)
