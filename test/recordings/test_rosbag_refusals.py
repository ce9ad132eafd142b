import dataclasses
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from rosbags.rosbag2 import Writer

from fgsn_ros.errors import OutputError, RecordingError
from fgsn_ros.recordings.bag_files import read_topics, scan_bag
from fgsn_ros.recordings.open import open_recording
from fgsn_ros.recordings.recording import RecordingSettings, require_odometry
from fgsn_ros.recordings.rosbag_writer import RecordingWriter, Storage

STORAGES: list[Storage] = ["mcap", "sqlite3"]
ODOMETRY = "nav_msgs/msg/Odometry"


def without(*topics: str):
    return lambda topic, stamp, message: [] if topic in topics else [(stamp, message)]


def test_a_writer_that_fails_leaves_nothing(tmp_path, drive, write_drive) -> None:
    with pytest.raises(ZeroDivisionError), RecordingWriter(tmp_path / "drive") as writer:
        writer.write_odometry(1.0, np.eye(4))
        _ = 1 / 0
    assert list(tmp_path.iterdir()) == []
    write_drive(tmp_path / "drive", drive)
    with pytest.raises(OutputError, match="exists"):
        write_drive(tmp_path / "drive", drive)
    write_drive(tmp_path / "drive", drive, overwrite=True)


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), sqlite3.OperationalError("disk is full")]
)
def test_a_full_disk_is_one_line_and_leaves_nothing(
    tmp_path, drive, monkeypatch, error, write_drive
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(Writer, "write", fail)
    with pytest.raises(OutputError, match="free space") as caught:
        write_drive(tmp_path / "drive", drive)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("share", [0.0, 0.1, 0.3, 0.5, 0.7, 0.9])
def test_a_truncated_bag_is_refused(tmp_path, drive, storage, share, refused, write_drive) -> None:
    write_drive(tmp_path / "drive", drive, storage)
    file = next(f for f in (tmp_path / "drive").iterdir() if f.suffix != ".yaml")
    file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])
    assert "truncated" in refused(tmp_path / "drive")
    assert "truncated" in refused(file)


@pytest.mark.parametrize("storage", STORAGES)
def test_an_empty_bag_is_refused(tmp_path, storage, refused) -> None:
    with RecordingWriter(tmp_path / "drive", storage):
        pass
    assert "empty" in refused(tmp_path / "drive")
    (tmp_path / "none.bag").write_bytes(b"")
    assert "empty" in refused(tmp_path / "none.bag")
    (tmp_path / "other").mkdir()
    assert "no recording" in refused(tmp_path / "other")
    assert "no recording" in refused(tmp_path / "missing")


@pytest.mark.parametrize("content", ["", "a: [", "rosbag2_bagfile_information: {version: x}"])
def test_a_damaged_metadata_file_is_refused(tmp_path, drive, content, refused, write_drive) -> None:
    write_drive(tmp_path / "drive", drive)
    (tmp_path / "drive/metadata.yaml").write_text(content)
    assert "drive" in refused(tmp_path / "drive")


def test_a_bag_without_odometry_says_how_to_derive_it(tmp_path, drive, write_edited) -> None:
    path = write_edited(tmp_path / "drive", drive, without("/odom"))
    recording = open_recording(path)
    assert recording.odometry is None
    with pytest.raises(RecordingError, match="derive_odometry"):
        require_odometry(recording)
    derived = open_recording(path, RecordingSettings(derive_odometry=True, seed=4))
    np.testing.assert_array_equal(derived.odometry.stamps, drive.ground_truth.stamps)
    assert "+2.0%" in derived.odometry_origin
    assert "seed 4" in derived.odometry_origin


@pytest.mark.parametrize(
    ("topics", "said"),
    [
        (["/camera/camera_info"], "camera_info"),
        (["/tf_static"], "tf_static"),
        (["/camera/image/compressed"], "no images"),
    ],
)
def test_a_bag_that_lacks_a_topic_names_it(
    tmp_path, drive, topics, said, refused, write_edited
) -> None:
    assert said in refused(write_edited(tmp_path / "drive", drive, without(*topics)))


def test_a_bag_without_poses_cannot_derive_odometry(tmp_path, drive, refused, write_edited) -> None:
    path = write_edited(tmp_path / "drive", drive, without("/odom", "/ground_truth"))
    assert "poses" in refused(path, RecordingSettings(derive_odometry=True))


def test_another_image_size_than_the_camera_infos_is_refused(
    tmp_path, drive, refused, write_edited
) -> None:
    def edit(topic, stamp, message):
        if topic == "/camera/camera_info":
            message = dataclasses.replace(message, width=60)
        return [(stamp, message)]

    said = refused(write_edited(tmp_path / "drive", drive, edit))
    assert "64x40" in said
    assert "60x40" in said


def test_an_uncalibrated_camera_is_refused(tmp_path, drive, refused, write_edited) -> None:
    def edit(topic, stamp, message):
        if topic == "/camera/camera_info":
            message = dataclasses.replace(message, k=np.zeros(9))
        return [(stamp, message)]

    assert "/camera/camera_info" in refused(write_edited(tmp_path / "drive", drive, edit))


def test_the_first_calibrated_camera_info_counts_and_an_empty_frame_is_the_images(
    tmp_path, drive, write_edited
) -> None:
    def edit(topic, stamp, message):
        if topic != "/camera/camera_info":
            return [(stamp, message)]
        header = dataclasses.replace(message.header, frame_id="")
        message = dataclasses.replace(message, header=header)
        return [(stamp, dataclasses.replace(message, k=np.zeros(9), width=0)), (stamp, message)]

    recording = open_recording(write_edited(tmp_path / "drive", drive, edit))
    mount, wanted = recording.cameras["camera"], drive.cameras["camera"]
    assert (mount.camera, mount.frame_id) == (wanted.camera, wanted.frame_id)
    np.testing.assert_allclose(mount.T_base_camera, wanted.T_base_camera, atol=1e-9)


def changed_pose(topic, stamps, change):
    """Edit that changes the messages of a topic recorded at some stamps."""

    def edit(name, stamp, message):
        if name == topic and stamp in stamps:
            change(message)
        return [(stamp, message)]

    return edit


def not_finite(message):
    message.pose.pose.position.y = np.nan


def w_lost(message):
    message.pose.pose.orientation.w = 0.3 * message.pose.pose.orientation.w


def no_rotation(message):
    message.pose.pose.orientation = type(message.pose.pose.orientation)(0.0, 0.0, 0.0, 0.0)


def late(message):
    message.header.stamp.sec -= 1
    message.header.stamp.nanosec -= 20_000_000  # no other's stamp


BAD_POSES = {
    not_finite: "not finite",
    w_lost: "with a quaternion whose length is not 1",
    no_rotation: "with a quaternion of zeros",
    late: "out of order in time",
}


@pytest.mark.parametrize("topic", ["/odom", "/ground_truth"])
@pytest.mark.parametrize(("change", "reason"), BAD_POSES.items())
def test_one_bad_pose_is_left_out_and_more_than_a_tenth_are_refused(
    tmp_path, drive, topic, change, reason, refused, write_edited, caplog
) -> None:
    truth = getattr(drive, "odometry" if topic == "/odom" else "ground_truth")
    stamps = truth.stamps
    bad = 20
    path = write_edited(tmp_path / "one", drive, changed_pose(topic, stamps[[bad]], change))
    recording = open_recording(path)
    read = recording.odometry if topic == "/odom" else recording.ground_truth
    np.testing.assert_allclose(read.stamps, np.delete(stamps, bad), rtol=0, atol=1e-6)
    np.testing.assert_allclose(read.poses, np.delete(truth.poses, bad, axis=0), atol=1e-9)
    assert f"{topic}: 1 of {len(stamps)} poses: 1 {reason}" in caplog.text
    many = write_edited(tmp_path / "many", drive, changed_pose(topic, stamps[20:26], change))
    said = refused(many)
    assert f"{topic}: 6 of {len(stamps)} poses: 6 {reason}" in said
    assert "cannot be left out" in said


def test_odometry_before_the_driver_is_initialised_is_left_out_however_much(
    tmp_path, drive, write_edited, caplog
) -> None:
    stamps = drive.odometry.stamps
    edit = changed_pose("/odom", stamps[:15], no_rotation)
    odometry = open_recording(write_edited(tmp_path / "drive", drive, edit)).odometry
    np.testing.assert_allclose(odometry.stamps, stamps[15:], rtol=0, atol=1e-6)
    assert "15 before the first usable pose" in caplog.text


def test_a_damaged_image_is_refused_with_its_time(tmp_path, drive, refused, write_edited) -> None:
    def edit(topic, stamp, message):
        if topic == "/camera/image/compressed" and stamp > drive.start + 0.3:
            message = dataclasses.replace(message, data=message.data[: len(message.data) // 2])
        return [(stamp, message)]

    assert "1700000000.750000" in refused(write_edited(tmp_path / "drive", drive, edit))


def test_a_frame_range_is_refused_for_bags(tmp_path, drive, refused, write_drive) -> None:
    write_drive(tmp_path / "drive", drive)
    assert "first" in refused(tmp_path / "drive", RecordingSettings(first=1))


def test_the_real_wheel_odometry_is_a_bag_without_images(
    shared_data: Path, tmp_path, refused
) -> None:
    bag = shared_data / "husky_wheel_odometry/test2.bag"
    assert "no images" in refused(bag)
    odometry = scan_bag(bag, read_topics(bag), []).odometry["/jackal_velocity_controller/odom"]
    assert (odometry.frame, odometry.child_frame) == ("odom", "base_link")
    assert odometry.trajectory(bag).length_m() == pytest.approx(84.2, abs=0.1)
    shutil.copy(bag, tmp_path / "cut.bag")
    data = bag.read_bytes()
    for share in (0.001, 0.3, 0.7, 0.999):
        (tmp_path / "cut.bag").write_bytes(data[: int(share * len(data))])
        assert "truncated" in refused(tmp_path / "cut.bag")
