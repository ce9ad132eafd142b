"""Drives through a rendered corridor, with odometry that drifts and nothing else."""

import dataclasses

import numpy as np
import pytest
from blind_drive import ORIGIN, fixes_of, imu_of
from raw_drive import RawDrive

from fgsn_ros.errors import RecordingError
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.geodesy import east_north_up
from fgsn_ros.mapping.descriptors import FeatureSettings
from fgsn_ros.mapping.sfm.gps import GpsTrust
from fgsn_ros.mapping.sfm.joining import JoiningSettings
from fgsn_ros.mapping.sfm.keyframes import KeyFrameSettings
from fgsn_ros.mapping.sfm.recording_poses import PoseSettings, pose_recordings
from fgsn_ros.mapping.sfm.report import facts_of, text, write_poses
from fgsn_ros.recordings.sensors import Sensors

SETTINGS = PoseSettings(
    neighbours=(1, 2, 3),
    keyframes=KeyFrameSettings(spacing_m=0.5, features=FeatureSettings(features=500)),
)

LOOPS = JoiningSettings(loop_after_m=5.0)


class ElsewhereDrive(RawDrive):
    """A corridor of the same shape with other walls."""

    def __init__(self, **values):
        super().__init__(**values)
        self._texture = self._texture[::-1, ::-1].T.copy() ** 2 / 255.0


class SurveyedDrive(RawDrive):
    """With an RTK receiver and an IMU; the corridor lies askew to east and north."""

    T_enu_map = poses.from_planar(100.0, -50.0, 2.0)

    def sensors(self):
        truth = self.truth.with_poses(poses.compose(self.T_enu_map, self.truth.poses))
        return Sensors(fixes_of(truth, 0.02), imu_of(truth, 50.0, oriented=True))


class SurveyedElsewhere(SurveyedDrive, ElsewhereDrive):
    """In the other corridor, with the same instruments."""

    T_enu_map = poses.from_planar(-20.0, 10.0, -0.5)


def turned(mount, T_turn):
    """The mounting, turned about the camera."""
    T_base_camera = mount.T_base_camera.copy()
    T_base_camera[:3, :3] = T_turn[:3, :3] @ T_base_camera[:3, :3]
    return dataclasses.replace(mount, T_base_camera=T_base_camera)


def errors_m(estimated, truth):
    """Distances (N,) after moving the first pose to the true one."""
    T = poses.compose(truth.poses[0], poses.invert(estimated.poses[0]))
    moved = poses.compose(T, estimated.poses)
    return np.linalg.norm(moved[:, :3, 3] - truth.at(estimated.stamps)[:, :3, 3], axis=1)


@pytest.fixture(scope="module")
def joined():
    drives = RawDrive(frames=14), RawDrive("second", seed=2, offset_m=0.4, frames=12)
    return drives, pose_recordings(drives, SETTINGS)


def test_every_frame_gets_a_pose_that_is_better_than_odometrys(joined):
    for drive, made in zip(joined[0], joined[1].trajectories, strict=True):
        assert made.stamps.tolist() == drive.truth.stamps.tolist()
        reckoned = errors_m(drive.odometry, drive.truth)
        # 1 % of the way, which is the length's noise over so short a drive
        assert errors_m(made, drive.truth).max() < 0.08
        assert errors_m(made, drive.truth).max() < 0.5 * reckoned.max()


def test_drives_of_one_place_come_out_in_one_frame(joined):
    drives, posed = joined
    assert posed.group.tolist() == [0, 0]
    first, second = (each.poses[0] for each in posed.trajectories)
    true = poses.compose(poses.invert(drives[0].truth.poses[0]), drives[1].truth.poses[0])
    apart = poses.compose(poses.invert(first), second)
    assert apart[:3, 3] == pytest.approx(true[:3, 3], abs=0.05)
    assert float(poses.rotation_angle(poses.compose(poses.invert(true), apart))) < 0.005


def test_the_map_frame_begins_at_the_first_key_frame_and_is_level(joined):
    first = joined[1].trajectories[0].poses[0]
    assert first[:3, 3] == pytest.approx(np.zeros(3), abs=0.01)
    assert float(poses.to_rpy(first)[2]) == pytest.approx(0.0, abs=0.01)
    assert first[2, 2] > np.cos(np.radians(2.0))


def test_what_is_written_can_be_read_and_tells_what_was_joined(joined, tmp_path):
    from fgsn_ros.geometry.trajectory import read_tum

    posed = joined[1]
    facts = write_poses(tmp_path, posed, picture=False)
    back = read_tum(tmp_path / "second.tum")
    assert back.poses == pytest.approx(posed.trajectories[1].poses, abs=1e-6)
    assert facts["sessions"][1]["joined"][0]["with"] == "first"
    assert "joined with first" in text(facts)
    assert facts["sessions"][0]["reprojection_error_px"] < 1.0


def test_the_model_projects_its_points_to_its_pixels(joined, tmp_path):
    write_poses(tmp_path, joined[1], picture=False)
    lines = {
        name: [
            line for line in (tmp_path / "colmap" / name).read_text().splitlines() if line[0] != "#"
        ]
        for name in ("cameras.txt", "images.txt", "points3D.txt")
    }
    fx, fy, cx, cy, k1 = (float(v) for v in lines["cameras.txt"][0].split()[4:9])
    points = {row.split()[0]: np.array(row.split()[1:4], float) for row in lines["points3D.txt"]}
    w, x, y, z, *t = (float(v) for v in lines["images.txt"][2].split()[1:8])
    shown = np.array(lines["images.txt"][3].split()).reshape(-1, 3)
    T_camera_map = poses.from_quaternion(np.array(t), np.array([x, y, z, w]))
    inside = poses.transform(T_camera_map, np.stack([points[p] for p in shown[:, 2]]))
    rays = inside[:, :2] / inside[:, 2:]
    rays *= 1.0 + k1 * (rays**2).sum(axis=1, keepdims=True)
    error = rays * (fx, fy) + (cx, cy) - shown[:, :2].astype(float)
    assert np.median(np.linalg.norm(error, axis=1)) < 1.0


def test_drives_of_different_places_are_said_to_be_apart():
    drives = RawDrive(frames=8), ElsewhereDrive(name="elsewhere", seed=3, frames=8)
    posed = pose_recordings(drives, SETTINGS)
    assert posed.group.tolist() == [0, 1]
    assert "not in one frame" in text(facts_of(posed))


def test_a_stretch_in_the_dark_is_bridged_by_odometry_and_said_to_be_weak():
    drive = RawDrive(frames=14, dark_from=10)
    posed = pose_recordings([drive], SETTINGS)
    weak = facts_of(posed)["sessions"][0]["weak_stretches"]
    assert len(posed.trajectories[0]) == 14
    assert weak[-1]["points"] == 0
    assert weak[-1]["to_s"] == pytest.approx(drive.truth.stamps[-1])
    assert errors_m(posed.trajectories[0], drive.truth).max() < 0.3


def test_a_recording_that_stands_still_is_refused():
    drive = RawDrive(frames=6, step_m=0.0)
    with pytest.raises(RecordingError, match="stands still"):
        pose_recordings([drive], SETTINGS)


def test_a_recording_without_texture_is_refused():
    with pytest.raises(RecordingError, match="lack texture"):
        pose_recordings([RawDrive(frames=6, blank=True)], SETTINGS)


def test_reversed_odometry_is_refused():
    drive = RawDrive(frames=8)
    T = drive.odometry.poses.copy()
    T[:, :2, 3] *= -1.0
    drive.odometry = dataclasses.replace(drive.odometry, poses=T)
    with pytest.raises(RecordingError, match="reversed"):
        pose_recordings([drive], SETTINGS)


def test_a_camera_that_is_turned_against_its_mounting_is_said_with_by_how_much(joined):
    assert "measure it again" not in text(facts_of(joined[1]))
    drive = RawDrive(frames=10)
    T_turn = poses.from_xyz_rpy(np.zeros(3), np.radians([0.0, 3.0, -6.0]))
    drive.cameras = {"camera": turned(drive.mount, T_turn)}
    facts = facts_of(pose_recordings([drive], SETTINGS))
    found = facts["sessions"][0]["mounting"]["camera"]
    assert found["yaw_deg"] == pytest.approx(6.0, abs=1.0)
    assert found["pitch_deg"] == pytest.approx(-3.0, abs=1.0)
    assert "mounting of camera: the images say that it is turned by +" in text(facts)


def test_places_that_the_robot_comes_back_to_close_loops():
    drive = RawDrive(there_and_back=9)
    posed = pose_recordings([drive], dataclasses.replace(SETTINGS, joining=LOOPS))
    assert facts_of(posed)["sessions"][0]["loops"] >= 3
    made = errors_m(posed.trajectories[0], drive.truth)
    assert made.max() < 0.5 * errors_m(drive.odometry, drive.truth).max()
    assert made.max() < 0.1


def test_a_focal_length_that_the_images_contradict_is_said(joined):
    facts = facts_of(joined[1])
    assert "calibrate it again" not in text(facts)
    facts["sessions"][0]["calibration"]["camera"]["focal"] = -0.04
    assert "its focal length is -4.0% off; calibrate it again" in text(facts)


def test_drives_that_share_no_images_are_joined_by_gps_and_it_is_said(tmp_path):
    drives = SurveyedDrive(frames=10), SurveyedElsewhere(name="elsewhere", seed=3, frames=8)
    settings = dataclasses.replace(SETTINGS, gps=GpsTrust(shared_s=0.0))
    posed = pose_recordings(drives, settings)
    assert posed.group.tolist() == [0, 0]
    assert len(posed.placements) == 0
    facts = write_poses(tmp_path, posed, picture=True)
    assert (tmp_path / "poses.png").stat().st_size > 0
    origin = east_north_up(np.array([list(facts["frames"][0]["origin"].values())]), ORIGIN)[0]
    for drive, made in zip(drives, posed.trajectories, strict=True):
        true = poses.compose(drive.T_enu_map, drive.truth.at(made.stamps))
        # a fix is believed to 5 cm at best, and there is one a pose
        off = np.linalg.norm((made.poses - true)[:, :3, 3] + origin, axis=1)
        assert off.max() < 0.08
        turned = poses.rotation_angle(poses.compose(poses.invert(true), made.poses))
        assert np.degrees(turned).max() < 1.5
    first = facts["sessions"][0]
    assert first["gps"]["used"] == 10
    assert first["gps"]["disagreeing"] == 0
    assert first["gps"]["residual_m"]["median"] < 0.05
    assert first["imu"]["source"] == "orientation"
    assert first["imu"]["tilt_residual_deg"]["median"] < 0.5
    assert first["joined_by_gps"][0]["with"] == "elsewhere"
    assert 0.01 < first["joined_by_gps"][0]["sigma_m"] < 0.1
    said = text(facts)
    assert "joined with elsewhere by GPS alone, to 0.0" in said
    assert "GPS: 10 fixes used, 0 of them disagree, 0 left out" in said
    assert "IMU: up by its orientation at 10 key frames" in said
    assert "x of the map is east, y north; its origin is at 48.4995" in said
    assert "not in one frame" not in said


def test_an_imu_and_gps_that_say_nothing_change_nothing():
    class Mute(RawDrive):
        def sensors(self):
            return Sensors()

    posed = pose_recordings([Mute(frames=8)], SETTINGS)
    plain = pose_recordings([RawDrive(frames=8)], SETTINGS)
    assert (posed.T_map_base == plain.T_map_base).all()
    facts = facts_of(posed)["sessions"][0]
    assert facts["gps"] is None
    assert facts["imu"] is None
    assert facts["contradiction"] is None


def test_a_stretch_in_the_dark_is_bridged_by_gps_too_and_it_is_said():
    drive = SurveyedDrive(frames=14, dark_from=10)
    posed = pose_recordings([drive], dataclasses.replace(SETTINGS, gps=GpsTrust(shared_s=0.0)))
    weak = facts_of(posed)["sessions"][0]["weak_stretches"][-1]
    assert weak["gps_fixes"] >= 4
    assert f"0 points: by odometry and {weak['gps_fixes']} GPS fixes" in text(facts_of(posed))
    assert errors_m(posed.trajectories[0], drive.truth)[-1] < 0.3
