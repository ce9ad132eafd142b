"""Features and matches that a run keeps for another."""

import dataclasses

import numpy as np
import pytest
from raw_drive import RawDrive

from fgsn_ros.errors import RecordingError
from fgsn_ros.mapping.descriptors import FeatureSettings
from fgsn_ros.mapping.sfm import kept, session_poses
from fgsn_ros.mapping.sfm.kept import KeptWork
from fgsn_ros.mapping.sfm.keyframes import KeyFrameSettings
from fgsn_ros.mapping.sfm.recording_poses import PoseSettings, pose_recordings

SETTINGS = PoseSettings(
    neighbours=(1, 2, 3),
    keyframes=KeyFrameSettings(spacing_m=0.5, features=FeatureSettings(features=500)),
)
PAIRS = 7
"""Pairs that are kept together."""


@pytest.fixture(autouse=True)
def work(monkeypatch):
    """Counts of what is done, and small parts."""
    done = {"read": 0, "matched": 0}
    read, match = kept.read_session, session_poses.two_views

    def reading(*given):
        done["read"] += 1
        return read(*given)

    def matching(*given):
        done["matched"] += 1
        return match(*given)

    monkeypatch.setattr(kept, "read_session", reading)
    monkeypatch.setattr(session_poses, "two_views", matching)
    monkeypatch.setattr(session_poses, "_KEPT_AT_ONCE", PAIRS)
    return done


def drives():
    return [RawDrive(frames=10), RawDrive(seed=2, offset_m=0.4, frames=10)]


def test_what_is_kept_is_not_done_again_and_gives_the_same_poses(tmp_path, work):
    plain = pose_recordings(drives(), SETTINGS)
    for drive in drives():  # jobs of their own
        pose_recordings([drive], SETTINGS, KeptWork(tmp_path))
    work.update(read=0, matched=0)
    joined = pose_recordings(drives(), SETTINGS, KeptWork(tmp_path))
    assert work == {"read": 0, "matched": 0}
    np.testing.assert_array_equal(joined.T_map_base, plain.T_map_base)
    assert joined.group.tolist() == plain.group.tolist() == [0, 0]
    for one, other in zip(joined.sessions, plain.sessions, strict=True):
        assert one.frame_count == other.frame_count
        np.testing.assert_array_equal(one.stamps, other.stamps)
        for frame, same in zip(one.frames, other.frames, strict=True):
            assert (frame.stamp, frame.camera) == (same.stamp, same.camera)
            np.testing.assert_array_equal(frame.descriptors, same.descriptors)


def test_a_run_that_was_stopped_goes_on_where_it_was(tmp_path, work, monkeypatch):
    matching = session_poses.two_views

    def stopping(*given):
        if work["matched"] >= 2 * PAIRS + 3:
            raise KeyboardInterrupt
        return matching(*given)

    monkeypatch.setattr(session_poses, "two_views", stopping)
    with pytest.raises(KeyboardInterrupt):
        pose_recordings(drives()[:1], SETTINGS, KeptWork(tmp_path))
    monkeypatch.setattr(session_poses, "two_views", matching)
    work.update(read=0, matched=0)
    posed = pose_recordings(drives()[:1], SETTINGS, KeptWork(tmp_path))
    pairs = len(posed.neighbours[0].pairs)
    assert work == {"read": 0, "matched": pairs - 2 * PAIRS}
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    "other",
    [
        dataclasses.replace(SETTINGS, keyframes=KeyFrameSettings(spacing_m=0.7)),
        dataclasses.replace(
            SETTINGS, keyframes=dataclasses.replace(SETTINGS.keyframes, turn_deg=9)
        ),
    ],
)
def test_other_settings_are_other_work(tmp_path, work, other):
    pose_recordings(drives()[:1], SETTINGS, KeptWork(tmp_path))
    work.update(read=0)
    pose_recordings(drives()[:1], other, KeptWork(tmp_path))
    assert work["read"] == 1


def test_another_recording_is_other_work(tmp_path, work):
    pose_recordings(drives()[:1], SETTINGS, KeptWork(tmp_path))
    work.update(read=0)
    other = RawDrive(frames=10)
    mounts = {
        name: dataclasses.replace(mount, camera=dataclasses.replace(mount.camera, fx=191.0))
        for name, mount in other.cameras.items()
    }
    other.cameras = mounts
    pose_recordings([other], SETTINGS, KeptWork(tmp_path))
    pose_recordings([RawDrive(frames=9)], SETTINGS, KeptWork(tmp_path))
    assert work["read"] == 2


@pytest.mark.parametrize("pattern", ["session-*.npz", "session-*.npy", "matches-*.npz"])
def test_a_damaged_file_is_named(tmp_path, pattern):
    pose_recordings(drives()[:1], SETTINGS, KeptWork(tmp_path))
    path = next(iter(sorted(tmp_path.glob(pattern))))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(RecordingError, match="is damaged; remove it, and it is made anew"):
        pose_recordings(drives()[:1], SETTINGS, KeptWork(tmp_path))
