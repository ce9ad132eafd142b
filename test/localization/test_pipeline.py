import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import street

from fgsn_ros.errors import LocalizationError, MapError, RecordingError
from fgsn_ros.geometry.trajectory import Trajectory
from fgsn_ros.localization.initial_pose import InitialPose
from fgsn_ros.localization.localizer import LocalizerSettings
from fgsn_ros.localization.measurement import MeasurementSettings
from fgsn_ros.localization.pipeline import SEARCHED, localize
from fgsn_ros.localization.probing import ProbeSettings
from fgsn_ros.recordings.recording import Frame

SETTINGS = LocalizerSettings(
    min_particles=300,
    max_particles=300,
    measurement=MeasurementSettings(points=500),
    probe=ProbeSettings(found_lead=street.FOUND_LEAD),
)
STD = 0.3, 0.02


def recording(drive, first=0, last=20, odometry=True):
    """Frames hold their index in place of a picture."""
    frames = [
        Frame(float(drive.stamps[i]), "camera", np.full((320, 512, 3), i, np.uint8))
        for i in range(first, last)
    ]
    return SimpleNamespace(
        name="street",
        cameras=drive.mounts,
        odometry=drive.odometry if odometry else None,
        frame_count=len(frames),
        frames=lambda: iter(frames),
    )


def given(drive):
    return InitialPose.around(drive.truth.at(drive.stamps[0]), *STD)


def run(drive, recorded, initial=given, fingerprint="a" * 64, progress=False, **kwargs):
    checkpoint = SimpleNamespace(fingerprint=fingerprint, log_ratio=drive.log_ratio)
    return localize(
        recorded,
        drive.semantic_map,
        checkpoint,
        initial(drive) if initial is given else initial,
        SETTINGS,
        labels=lambda frame: drive.label_maps[frame.image[0, 0, 0]],
        progress=progress,
        **kwargs,
    )


def test_a_recording_is_localized_at_each_frames_own_stamp(drive):
    result = run(drive, recording(drive))
    np.testing.assert_array_equal(result.trajectory.stamps, drive.stamps[:20])
    truth = drive.truth.at(drive.stamps[:20])
    errors = np.linalg.norm(result.trajectory.poses[:, :2, 3] - truth[:, :2, 3], axis=1)
    assert errors[5:].max() < 0.4
    assert result.covariances.shape == (20, 6, 6)
    assert [s.stamp for s in result.snapshots] == [drive.stamps[0], drive.stamps[10]]
    assert result.snapshots[0].poses.shape == (150, 4, 4)
    assert result.skipped == {}
    assert {"frames", "labels", "weigh"} <= result.seconds.keys()


def test_a_replay_is_the_same_to_the_bit(drive):
    first, second = (run(drive, recording(drive, last=6)) for _ in range(2))
    np.testing.assert_array_equal(first.trajectory.poses, second.trajectory.poses)


def test_without_an_initial_pose_the_robot_is_found_and_poses_begin_there(drive):
    result = run(drive, recording(drive, last=60), initial=None)
    searched = 60 - len(result.trajectory)
    assert result.skipped == {SEARCHED: searched}
    # Three views 2 m apart, twice, at 0.8 m a frame; places are chosen over some frames.
    assert 5 <= searched <= 30
    assert result.trajectory.stamps[0] == drive.stamps[searched]
    truth = drive.truth.at(result.trajectory.stamps)
    errors = np.linalg.norm(result.trajectory.poses[:, :2, 3] - truth[:, :2, 3], axis=1)
    assert errors.max() < 0.5


def test_a_robot_that_is_not_found_ends_the_run_and_says_so(drive):
    with pytest.raises(LocalizationError, match="not found on the map in 2 frames of street"):
        run(drive, recording(drive, last=2), initial=None)


def test_every_estimate_is_handed_to_the_caller(drive):
    seen = []
    run(drive, recording(drive, last=4), on_estimate=[lambda e, _: seen.append(e.stamp)])
    assert seen == drive.stamps[:4].tolist()


def test_every_label_map_is_handed_to_the_caller_before_its_estimate(drive):
    seen = []
    run(
        drive,
        recording(drive, last=3),
        on_labels=[lambda frame, _: seen.append(("labels", frame.stamp))],
        on_estimate=[lambda e, _: seen.append(("estimate", e.stamp))],
    )
    expected = [(kind, stamp) for stamp in drive.stamps[:3] for kind in ("labels", "estimate")]
    assert seen == expected


def test_observers_are_called_in_turn_with_the_localizer_as_it_is_then(drive):
    seen = []
    run(
        drive,
        recording(drive, last=2),
        on_estimate=[
            lambda e, online: seen.append(("first", e.stamp == online.stamp)),
            lambda e, online: seen.append(("second", len(online.particles[1]) == 300)),
        ],
    )
    assert seen == [("first", True), ("second", True)] * 2


def test_a_terminal_has_a_progress_bar_for_reading_labelling_and_filter(drive, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    run(drive, recording(drive, last=4), progress=True)
    shown = capsys.readouterr().err
    for stage in ("frames", "labels", "filter"):
        assert f"{stage}: 100%" in shown


def test_a_file_has_the_filters_bar_and_nothing_to_move_a_cursor_by(drive, capsys):
    run(drive, recording(drive, last=4), progress=True)
    shown = capsys.readouterr().err
    assert "filter: 100%" in shown
    assert "frames" not in shown
    assert "\x1b" not in shown


def test_a_robot_localizes_without_pytorch_and_open3d():
    script = Path(__file__).parents[1] / "shared" / "localize_street.py"
    command = [sys.executable, script, "torch", "open3d", "matplotlib"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr


def test_a_damaged_frame_ends_the_run(drive):
    def frames():
        yield from recording(drive, last=3).frames()
        raise RecordingError("frame 3 is damaged")

    recorded = recording(drive)
    recorded.frames = frames
    with pytest.raises(RecordingError, match="frame 3"):
        run(drive, recorded)


def test_frames_before_the_initial_pose_are_skipped_and_counted(drive):
    initial = InitialPose.around(drive.truth.at(drive.stamps[3]), *STD, float(drive.stamps[3]))
    result = run(drive, recording(drive, last=8), initial)
    assert result.skipped == {"before the initial pose": 3}
    assert len(result.trajectory) == 5


def test_a_recording_without_odometry_is_refused(drive):
    with pytest.raises(RecordingError, match="no odometry"):
        run(drive, recording(drive, odometry=False))


def test_a_map_of_another_checkpoint_is_refused(drive):
    with pytest.raises(MapError, match="labelled by"):
        run(drive, recording(drive), fingerprint="b" * 64)


def test_odometry_that_jumps_is_followed_on(drive, caplog):
    recorded = recording(drive)
    poses = drive.odometry.poses.copy()
    poses[40:, 0, 3] += 500.0
    recorded.odometry = Trajectory(drive.odometry.stamps, poses)
    found = run(drive, recorded)
    assert "odometry was reset at 0.800 s" in caplog.text
    truth = drive.truth.at(found.trajectory.stamps)
    errors = np.linalg.norm((found.trajectory.poses - truth)[:, :2, 3], axis=1)
    assert errors[-5:].max() < 0.4


def test_frames_after_the_last_odometry_are_skipped_and_counted(drive):
    recorded = recording(drive, last=10)
    kept = drive.odometry.stamps < drive.stamps[8]
    recorded.odometry = Trajectory(drive.odometry.stamps[kept], drive.odometry.poses[kept])
    result = run(drive, recorded)
    assert result.skipped == {"ahead of odometry": 2}
    assert len(result.trajectory) == 8


def test_a_recording_whose_frames_odometry_never_covers_is_refused(drive):
    recorded = recording(drive)
    late = [Frame(f.stamp + 100.0, f.camera, f.image) for f in recorded.frames()]
    recorded.frames = lambda: iter(late)
    with pytest.raises(LocalizationError, match="ahead of odometry"):
        run(drive, recorded)
