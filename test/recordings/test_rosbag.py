import dataclasses

import numpy as np
import pytest
from rosbags.highlevel import AnyReader
from rosbags.interfaces import QosDurability

from fgsn_ros.errors import RecordingError
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.trajectory import Trajectory, write_tum
from fgsn_ros.messages.images import make_camera_info, make_image, make_jpeg
from fgsn_ros.messages.poses import make_odometry, make_pose, make_transform, make_transforms
from fgsn_ros.messages.types import BAG_TYPES, make_header
from fgsn_ros.recordings.open import open_recording, read_reference
from fgsn_ros.recordings.recording import Frame, RecordingSettings
from fgsn_ros.recordings.rosbag_writer import RecordingWriter, Storage

STORAGES: list[Storage] = ["mcap", "sqlite3"]


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("quality", [95, None])
def test_a_written_drive_reads_back_the_same(
    tmp_path, drive, storage, quality, write_drive
) -> None:
    write_drive(tmp_path / "drive", drive, storage, quality)
    recording = open_recording(tmp_path / "drive")
    assert recording.name == "drive"
    assert recording.odometry_origin == "recorded"
    for read, made in [
        (recording.odometry, drive.odometry),
        (recording.ground_truth, drive.ground_truth),
    ]:
        np.testing.assert_array_equal(read.stamps, made.stamps)
        np.testing.assert_allclose(read.poses, made.poses, atol=1e-12)
    (mount, made_mount) = (recording.cameras["camera"], drive.cameras["camera"])
    assert (mount.camera, mount.frame_id) == (made_mount.camera, made_mount.frame_id)
    np.testing.assert_allclose(mount.T_base_camera, made_mount.T_base_camera, atol=1e-12)
    frames = list(recording.frames())
    assert len(frames) == recording.frame_count == drive.frame_count
    for read, made in zip(frames, drive.frames(), strict=True):
        assert (read.stamp, read.camera, read.image.shape) == (made.stamp, "camera", (40, 64, 3))
        error = np.abs(read.image.astype(int) - made.image)
        assert error.max() == 0 if quality is None else error.mean() < 3.0


def test_static_transforms_are_offered_latched_and_times_are_those_of_the_headers(
    tmp_path, drive, write_drive
):
    write_drive(tmp_path / "drive", drive)
    with AnyReader([tmp_path / "drive"]) as reader:
        by_topic = {connection.topic: connection for connection in reader.connections}
        assert set(by_topic) == {
            "/camera/camera_info",
            "/camera/image/compressed",
            "/odom",
            "/ground_truth",
            "/tf_static",
        }
        (qos,) = by_topic["/tf_static"].ext.offered_qos_profiles
        assert qos.durability == QosDurability.TRANSIENT_LOCAL
        for connection, time, data in reader.messages([by_topic["/odom"]]):
            stamp = reader.deserialize(data, connection.msgtype).header.stamp
            assert time == stamp.sec * 10**9 + stamp.nanosec


def test_class_and_depth_beside_the_images_do_not_count_as_cameras(tmp_path, drive) -> None:
    depth = np.linspace(0, 90, 40 * 64, dtype=np.float32).reshape(40, 64)
    with RecordingWriter(tmp_path / "drive") as writer:
        writer.add_camera("camera", drive.cameras["camera"])
        frame = next(drive.frames())
        writer.write_image(frame)
        writer.write_class(frame.stamp, "camera", np.full((40, 64), 7, np.uint8))
        writer.write_depth(frame.stamp, "camera", depth)
        writer.write_odometry(frame.stamp, np.eye(4))
    assert len(list(open_recording(tmp_path / "drive").frames())) == 1
    with AnyReader([tmp_path / "drive"]) as reader:
        connections = [c for c in reader.connections if c.topic == "/camera/depth"]
        ((connection, _, data),) = reader.messages(connections)
        message = reader.deserialize(data, connection.msgtype)
    assert (message.encoding, message.step) == ("32FC1", 256)
    np.testing.assert_array_equal(message.data.view(np.float32).reshape(40, 64), depth)


def test_several_cameras_come_interleaved_by_stamp(tmp_path, drive, refused, write_drive) -> None:
    side = dataclasses.replace(drive.cameras["camera"], frame_id="side_optical")
    drive.cameras["side/camera"] = side
    write_drive(tmp_path / "drive", drive)
    assert "image_topics" in refused(tmp_path / "drive")
    names = ("/camera/image/compressed", "/side/camera/image")
    recording = open_recording(tmp_path / "drive", RecordingSettings(image_topics=names))
    assert set(recording.cameras) == {"camera", "side/camera"}
    frames = list(recording.frames())
    assert recording.frame_count == len(frames) == 16
    assert [frame.stamp for frame in frames] == sorted(2 * drive.stamps.tolist())


@pytest.mark.parametrize("storage", STORAGES)
def test_the_storage_file_alone_will_do(tmp_path, drive, storage, write_drive) -> None:
    write_drive(tmp_path / "drive", drive, storage)
    (tmp_path / "drive/metadata.yaml").unlink()
    file = next((tmp_path / "drive").iterdir())
    for path in (tmp_path / "drive", file):
        assert len(list(open_recording(path).frames())) == drive.frame_count


def test_poses_of_a_tum_file_replace_the_ground_truth(tmp_path, drive, write_edited) -> None:
    path = write_edited(tmp_path / "drive", drive, lambda topic, stamp, message: [(stamp, message)])
    raised = Trajectory(
        drive.ground_truth.stamps,
        poses.from_xyz_rpy([0, 0, 9], [0, 0, 0]) @ drive.ground_truth.poses,
    )
    write_tum(tmp_path / "poses.txt", raised)
    recording = open_recording(path, RecordingSettings(poses=tmp_path / "poses.txt"))
    np.testing.assert_allclose(recording.ground_truth.poses, raised.poses, atol=1e-8)
    reference = read_reference(tmp_path / "poses.txt", recording)
    np.testing.assert_array_equal(reference.poses, recording.ground_truth.poses)


@pytest.mark.parametrize("topic", ["/odom", "/camera/image/compressed"])
def test_a_repeated_message_is_dropped(tmp_path, drive, topic, write_edited) -> None:
    def edit(name, stamp, message):
        return [(stamp, message)] * (1 + (name == topic))

    recording = open_recording(write_edited(tmp_path / "drive", drive, edit))
    assert len(recording.odometry) == 41
    assert len(list(recording.frames())) == drive.frame_count


def test_several_odometry_topics_are_named_with_their_setting(tmp_path, drive, refused) -> None:
    with RecordingWriter(tmp_path / "drive") as writer:
        writer.add_camera("camera", drive.cameras["camera"])
        for stamp, T in zip(drive.odometry.stamps, drive.odometry.poses, strict=True):
            writer.write_odometry(float(stamp), T)
            other = make_odometry(BAG_TYPES, float(stamp), "odom", "base_link", np.eye(4))
            writer.write("/other/odom", float(stamp), other)
        writer.write_image(next(drive.frames()))
    said = refused(tmp_path / "drive")
    assert all(name in said for name in ("/odom", "/other/odom", "odometry_topic"))
    both = RecordingSettings(odometry_topic="/odom", ground_truth_topic="/other/odom")
    recording = open_recording(tmp_path / "drive", both)
    np.testing.assert_allclose(recording.odometry.poses, drive.odometry.poses, atol=1e-12)
    np.testing.assert_allclose(recording.ground_truth.poses, np.eye(4)[None].repeat(41, 0))
    assert "/nothing" in refused(tmp_path / "drive", RecordingSettings(odometry_topic="/nothing"))


def test_the_mounting_follows_a_chain_of_static_and_constant_transforms(tmp_path, drive) -> None:
    mount = drive.cameras["camera"]
    T_base_mast, T_mast_camera = poses.from_xyz_rpy([0.3, 0, 1], [0, 0, 0.4]), mount.T_base_camera
    stamp = drive.start
    with RecordingWriter(tmp_path / "drive") as writer:
        for i in range(4):
            T_odom_base = poses.from_planar(float(i), 0.0, 0.1 * i)
            transforms = [
                make_transform(BAG_TYPES, stamp + i, "odom", "base_link", T_odom_base),
                # The mast is the base's parent here: the chain goes up and down.
                make_transform(
                    BAG_TYPES, stamp + i, "/mast", "base_link", poses.invert(T_base_mast)
                ),
            ]
            writer.write_transforms(stamp + i, *transforms)
            writer.write_odometry(stamp + i, T_odom_base)
        static = make_transform(BAG_TYPES, stamp, "mast", mount.frame_id, T_mast_camera)
        writer.write("/tf_static", stamp, make_transforms(BAG_TYPES, [static]), latched=True)
        header = make_header(BAG_TYPES, stamp, mount.frame_id)
        info = make_camera_info(BAG_TYPES, header, mount.camera)
        writer.write("/camera/camera_info", stamp, info)
        image = make_jpeg(BAG_TYPES, header, next(drive.frames()).image, 90)
        writer.write("/camera/image_raw/compressed", stamp, image)
    read = open_recording(tmp_path / "drive").cameras["camera"].T_base_camera
    np.testing.assert_allclose(read, T_base_mast @ T_mast_camera, atol=1e-9)


def test_a_frame_that_moves_is_no_mounting(tmp_path, drive, refused) -> None:
    mount, frame = drive.cameras["camera"], next(drive.frames())
    with RecordingWriter(tmp_path / "drive") as writer:
        for stamp, T in zip(drive.odometry.stamps, drive.odometry.poses, strict=True):
            moving = make_transform(BAG_TYPES, float(stamp), "base_link", mount.frame_id, T)
            writer.write_transforms(float(stamp), moving)
            writer.write_odometry(float(stamp), T)
        header = make_header(BAG_TYPES, frame.stamp, mount.frame_id)
        info = make_camera_info(BAG_TYPES, header, mount.camera)
        writer.write("/camera/camera_info", frame.stamp, info)
        image = make_image(BAG_TYPES, header, "rgb8", frame.image)
        writer.write("/camera/image", frame.stamp, image)
    assert mount.frame_id in refused(tmp_path / "drive")


def test_ground_truth_of_another_body_frame_is_carried_to_the_base(
    tmp_path, drive, write_edited
) -> None:
    T_base_gps = poses.from_xyz_rpy([-0.5, 0.2, 1.0], [0, 0, 1.0])

    def edit(topic, stamp, message):
        if topic == "/tf_static":
            gps = make_transform(BAG_TYPES, stamp, "base_link", "gps", T_base_gps)
            message.transforms.append(gps)
        if topic == "/ground_truth":
            message.child_frame_id = "gps"
            T = drive.ground_truth.at(stamp) @ T_base_gps
            message.pose.pose = make_pose(BAG_TYPES, T)
        return [(stamp, message)]

    recording = open_recording(write_edited(tmp_path / "drive", drive, edit))
    np.testing.assert_allclose(recording.ground_truth.poses, drive.ground_truth.poses, atol=1e-9)


def test_images_are_read_one_by_one(tmp_path, drive, write_edited) -> None:
    def edit(topic, stamp, message):
        if topic == "/camera/image/compressed" and stamp > drive.start + 0.3:
            message = dataclasses.replace(message, data=np.zeros(3, np.uint8))
        return [(stamp, message)]

    frames = open_recording(write_edited(tmp_path / "drive", drive, edit)).frames()
    assert isinstance(next(frames), Frame)
    assert isinstance(next(frames), Frame)
    with pytest.raises(RecordingError):
        next(frames)
