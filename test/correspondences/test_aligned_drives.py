"""A drive whose poses are off is moved until its points meet those of another."""

from dataclasses import replace

import corridor
import numpy as np
import pytest

from fgsn_ros.correspondences.across_drives import CrossSettings
from fgsn_ros.correspondences.aligned_drives import meeting_poses
from fgsn_ros.correspondences.within_drive import SelfCorrespondenceSettings
from fgsn_ros.errors import RecordingError
from fgsn_ros.geometry.trajectory import Trajectory
from fgsn_ros.mapping.structure import StructureSettings

SETTINGS = SelfCorrespondenceSettings(structure=StructureSettings(frame_spacing_m=0.0))


def drive(off_m=(0.0, 0.0, 0.0)):
    """A drive through the corridor, its poses off by so much."""
    recording = corridor.Corridor(10)
    T = recording.ground_truth.poses.copy()
    T[:, :3, 3] += off_m
    recording.ground_truth = Trajectory(recording.ground_truth.stamps, T)
    return recording


def test_a_drive_is_moved_to_where_its_points_meet_those_of_the_other():
    anchors = meeting_poses(drive(), drive((0.1, 0.25, -0.2)), SETTINGS, CrossSettings())
    true = drive().ground_truth.at(anchors.stamps)
    assert len(anchors.stamps) >= 8
    apart = anchors.T_map_base[:, :3, 3] - true[:, :3, 3]
    assert np.median(np.linalg.norm(apart, axis=1)) < 0.1
    np.testing.assert_array_equal(anchors.T_map_base[:, :3, :3], true[:, :3, :3])


def test_drives_whose_points_meet_nowhere_are_refused():
    with pytest.raises(RecordingError, match="meet nowhere"):
        meeting_poses(drive(), drive((200.0, 0.0, 0.0)), SETTINGS, CrossSettings())


def test_how_far_a_drive_is_moved_is_limited():
    near = replace(CrossSettings(), alignment_m=0.1)
    anchors = meeting_poses(drive(), drive((0.0, 0.25, 0.0)), SETTINGS, near)
    moved = (
        anchors.T_map_base[:, 1, 3]
        - drive((0.0, 0.25, 0.0)).ground_truth.at(anchors.stamps)[:, 1, 3]
    )
    assert np.abs(moved).max() <= 0.1
