"""A wrong focal length of a drive with curves: what the images say, and what becomes of it."""

import dataclasses

import numpy as np
import pytest
from raw_drive import NOISE, RawDrive

from fgsn_ros.geometry import poses
from fgsn_ros.geometry.trajectory import Trajectory
from fgsn_ros.mapping.descriptors import FeatureSettings
from fgsn_ros.mapping.sfm.keyframes import KeyFrameSettings
from fgsn_ros.mapping.sfm.recording_poses import PoseSettings, pose_recordings
from fgsn_ros.mapping.sfm.report import text, write_poses
from fgsn_ros.recordings.camera_files import read_camera
from fgsn_ros.recordings.odometry import derive_odometry

SETTINGS = PoseSettings(
    neighbours=(1, 2, 3),
    keyframes=KeyFrameSettings(spacing_m=0.5, features=FeatureSettings(features=400)),
)
TRUE_PX = 190.0


def weaving(factor):
    """A drive in curves whose camera_info has a focal length that is off by a factor."""
    drive = RawDrive(frames=12)
    s = 0.6 * np.arange(12)
    rpy = np.c_[0.0 * s, 0.0 * s, 0.25 * np.sin(s / 1.5)]
    T = poses.from_xyz_rpy(np.c_[s, 0.3 * np.sin(s / 1.5), 0.0 * s], rpy)
    drive.truth = Trajectory(drive.truth.stamps, T)
    drive.odometry = derive_odometry(drive.truth, NOISE, np.random.default_rng(1))
    images = list(drive.frames())
    drive.frames = lambda: iter(images)
    mount = drive.cameras["camera"]
    wrong = dataclasses.replace(mount.camera, fx=TRUE_PX * factor, fy=TRUE_PX * factor)
    drive.cameras = {"camera": dataclasses.replace(mount, camera=wrong)}
    return drive


def test_a_right_calibration_is_not_doubted(caplog):
    pose_recordings([weaving(1.0)], SETTINGS)
    assert "contradicts" not in caplog.text


def test_a_focal_length_a_fifth_too_long_is_said_to_contradict_the_images(caplog):
    pose_recordings([weaving(1.2)], SETTINGS)
    assert "calibration contradicts the images" in caplog.text
    assert "refine-calibration" in caplog.text


def test_a_rough_calibration_is_refined_on_request_and_written(tmp_path, caplog):
    settings = dataclasses.replace(SETTINGS, refine_calibration=True)
    posed = pose_recordings([weaving(1.2)], settings)
    facts = write_poses(tmp_path, posed, picture=False)
    camera, _ = read_camera(tmp_path / "camera.yaml")
    assert camera.fx == pytest.approx(TRUE_PX, rel=0.02)
    assert "refined: focal length" in text(facts)
    assert "contradicts" not in caplog.text
