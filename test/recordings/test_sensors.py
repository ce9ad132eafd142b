"""GPS fixes and inertial measurements of bags: what is read, left out, asked for and said."""

import numpy as np
import pytest
from sensor_messages import FORCE, fix, imu

from fgsn_ros.errors import RecordingError
from fgsn_ros.geometry import poses
from fgsn_ros.messages.poses import make_transform, make_transforms
from fgsn_ros.messages.types import BAG_TYPES
from fgsn_ros.recordings.open import open_recording
from fgsn_ros.recordings.recording import RecordingSettings
from fgsn_ros.recordings.rosbag_writer import RecordingWriter
from fgsn_ros.recordings.sensors import Sensors, sensors_of

NAN = float("nan")


MOUNTS = {
    "gps": poses.from_xyz_rpy([-0.5, 0.3, 1.2], np.zeros(3)),
    "imu": poses.from_xyz_rpy(np.zeros(3), [np.pi, 0.0, 0.0]),
}


@pytest.fixture
def bag_of(tmp_path, drive):
    """Writes a bag of a drive with more messages, each (topic, message)."""

    def written(*messages, mounts=MOUNTS):
        with RecordingWriter(tmp_path / "bag") as writer:
            for name, mount in drive.cameras.items():
                writer.add_camera(name, mount)
            for stamp, T in zip(drive.odometry.stamps, drive.odometry.poses, strict=True):
                writer.write_odometry(float(stamp), T)
            for frame in drive.frames():
                writer.write_image(frame)
            transforms = [
                make_transform(BAG_TYPES, drive.start, "base_link", frame, T)
                for frame, T in mounts.items()
            ]
            if transforms:
                writer.write(
                    "/tf_static", drive.start, make_transforms(BAG_TYPES, transforms), latched=True
                )
            for i, (topic, message) in enumerate(messages):
                writer.write(topic, drive.start + 0.1 * i, message)
        return tmp_path / "bag"

    return written


def read(path, **settings):
    return open_recording(path, RecordingSettings(**settings)).sensors()


def test_fixes_and_orientations_come_with_where_they_were_measured(bag_of):
    tilted = poses.to_quaternion(poses.from_xyz_rpy(np.zeros(3), [0.1, 0.2, 0.3]))[1]
    found = read(
        bag_of(
            ("/fix", fix(12.0, place=(48.6, 9.1, 401.0))),
            ("/fix", fix(11.0)),  # in the order of their stamps
            ("/imu/data", imu(11.5, q_xyzw=tuple(tilted))),
        )
    )
    assert found.gps.stamps.tolist() == [11.0, 12.0]
    np.testing.assert_allclose(found.gps.positions, [[48.5, 9.0, 400.0], [48.6, 9.1, 401.0]])
    np.testing.assert_allclose(found.gps.covariance[0], np.diag([4.0, 4.0, 9.0]))
    np.testing.assert_allclose(found.gps.antenna, [-0.5, 0.3, 1.2])
    assert found.gps.left_out == 0
    np.testing.assert_allclose(found.imu.q_xyzw, [tilted])
    np.testing.assert_allclose(found.imu.sigma_rad, [0.1])
    np.testing.assert_allclose(found.imu.force, [FORCE])
    np.testing.assert_allclose(found.imu.R_base_imu, np.diag([1.0, -1.0, -1.0]), atol=1e-12)


def test_a_bag_without_any_holds_none_and_neither_does_another_recording(bag_of, kitti_folder):
    assert read(bag_of()) == Sensors()
    assert sensors_of(open_recording(kitti_folder, RecordingSettings())) == Sensors()


def test_what_is_no_position_is_left_out_and_said_once_whatever_its_share(bag_of, caplog):
    bad = (
        fix(1.0, status=-1),
        fix(2.0, status=-1),
        fix(3.0, place=(NAN, 9.0, 400.0)),
        fix(4.0, place=(148.5, 9.0, 400.0)),
    )
    found = read(bag_of(*(("/fix", each) for each in bad), ("/fix", fix(5.0)), ("/fix", fix(5.0))))
    assert found.gps.stamps.tolist() == [5.0]
    assert found.gps.left_out == 4
    assert "4 of 6 fixes of /fix: 2 without a fix (first: recorded at" in caplog.text
    assert "1 not finite" in caplog.text
    assert "1 not on the earth" in caplog.text


def test_what_a_fix_does_not_know_is_unknown(bag_of):
    fixes = [
        fix(1.0, place=(48.5, 9.0, NAN)),
        fix(2.0, kind=0),
        fix(3.0, covariance=(0.0, 0.0, 0.0)),
        fix(4.0, covariance=(1.0, -1.0, 1.0)),
        fix(5.0, covariance=(1.0, NAN, 1.0)),
    ]
    found = read(bag_of(*(("/fix", each) for each in fixes))).gps
    assert np.isnan(found.positions[:, 2]).tolist() == [True, *[False] * 4]
    assert np.isnan(found.covariance).all(axis=(1, 2)).tolist() == [False, *[True] * 4]


def test_an_imu_without_an_orientation_gives_its_forces_alone(bag_of):
    messages = [imu(1.0, known=-1.0), imu(2.0, q_xyzw=(0.0, 0.0, 0.0, 0.0)), imu(3.0, known=0.0)]
    found = read(bag_of(*(("/imu", each) for each in messages))).imu
    assert np.isnan(found.q_xyzw[:, 0]).tolist() == [True, True, False]
    assert np.isnan(found.sigma_rad).all()
    np.testing.assert_allclose(found.force, [FORCE] * 3)


def test_broken_inertial_messages_are_left_out(bag_of, caplog):
    messages = [
        imu(1.0, force=(NAN, 0.0, 9.8)),
        imu(2.0, q_xyzw=(NAN, 0.0, 0.0, 1.0)),
        imu(3.0),
    ]
    found = read(bag_of(*(("/imu", each) for each in messages))).imu
    assert found.stamps.tolist() == [3.0]
    assert "2 of 3 messages of /imu: 2 not finite" in caplog.text


def test_an_antenna_that_nobody_mounted_is_said_and_an_imu_is_not_used(bag_of, caplog):
    found = read(bag_of(("/fix", fix(1.0)), ("/imu", imu(1.0)), mounts={}))
    assert found.gps.antenna is None
    assert found.imu is None
    assert "/fix: the antenna's frame 'gps' has no static transform to base_link" in caplog.text
    assert "/imu is not used: its frame 'imu' has no static transform to base_link" in caplog.text


@pytest.mark.parametrize(
    ("kind", "message", "setting"),
    [("NavSatFix", fix, "gps_topic"), ("Imu", imu, "imu_topic")],
)
def test_of_several_topics_none_is_used_unless_it_is_named(bag_of, caplog, kind, message, setting):
    path = bag_of(("/a", message(1.0)), ("/b", message(2.0)))
    found = read(path)
    assert found.gps is None
    assert found.imu is None
    assert caplog.messages[-1].endswith(
        f"has several sensor_msgs/{kind} topics: /a, /b; none is used: name one by the setting "
        f"{setting}"
    )
    found = read(path, **{setting: "/b"})
    assert (found.gps or found.imu).stamps.tolist() == [2.0]
    with pytest.raises(RecordingError, match=f"has no sensor_msgs/{kind} on /c, named by"):
        read(path, **{setting: "/c"})


def test_nothing_usable_is_none(bag_of, caplog):
    found = read(bag_of(("/fix", fix(1.0, status=-1))))
    assert found.gps is None
    assert "1 of 1 fixes of /fix: 1 without a fix" in caplog.text
