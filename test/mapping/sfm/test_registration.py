import numpy as np
import pytest

from fgsn_ros.errors import MapError
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.trajectory import Trajectory
from fgsn_ros.mapping.sfm import registration
from fgsn_ros.mapping.sfm.registration import Anchors, register

COUNT, STEP_M = 200, 1.5
STAMPS = 10.0 + 0.2 * np.arange(COUNT)


def truth():
    """T_map_base along a hill and a curve, with a body that nods."""
    s = STEP_M * np.arange(COUNT)
    yaw = 0.004 * s
    xy = np.cumsum(STEP_M * np.c_[np.cos(yaw), np.sin(yaw)], axis=0)
    rpy = np.c_[0.0 * s, 0.01 * np.sin(s) - 0.02, yaw]
    return poses.from_xyz_rpy(np.c_[xy, 0.02 * s], rpy)


def drive_of(true, metre=1.0):
    """The same motion in a frame of its own, where a metre of the map has another length."""
    T = poses.compose(poses.invert(true[40]), true)
    T[:, :3, 3] *= metre
    return Trajectory(STAMPS, T)


def anchors_at(chosen, T, sigma=(0.2, 0.1, 0.05, 0.01, 0.01, 0.01)):
    covariance = np.tile(np.diag(np.square(sigma)), (len(T), 1, 1))
    return Anchors(STAMPS[chosen], T, covariance)


def errors_of(registered, true):
    known = np.isin(STAMPS, registered.trajectory.stamps)
    return np.linalg.norm((registered.trajectory.poses - true[known])[:, :3, 3], axis=1)


def test_exact_anchors_give_back_the_exact_drive():
    true, chosen = truth(), np.arange(20, 150)
    registered = register(drive_of(true), anchors_at(chosen, true[chosen]), "drive")
    assert errors_of(registered, true).max() < 1e-3
    assert registered.scale == pytest.approx(1.0, abs=1e-9)
    assert (registered.tracked, registered.disagreeing) == (130, 0)
    np.testing.assert_allclose(
        registered.trajectory.poses, true[: len(registered.trajectory)], atol=1e-3
    )


def test_the_wheels_scale_is_told_by_the_anchors():
    true, chosen = truth(), np.arange(20, 150)
    registered = register(drive_of(true, 0.97), anchors_at(chosen, true[chosen]), "drive")
    assert registered.scale == pytest.approx(1.0 / 0.97, rel=1e-6)
    assert errors_of(registered, true).max() < 1e-2


def test_noise_of_the_anchors_is_smoothed_by_the_drives_shape():
    true, chosen = truth(), np.arange(20, 150)
    rng = np.random.default_rng(3)
    noise = poses.exp(rng.normal(size=(len(chosen), 6)) * [0.2, 0.1, 0.03, 0.003, 0.003, 0.005])
    registered = register(
        drive_of(true), anchors_at(chosen, poses.compose(true[chosen], noise)), "drive"
    )
    errors = errors_of(registered, true)
    assert np.median(errors[20:150]) < 0.08
    assert errors.max() < 0.8
    steps = np.linalg.norm(np.diff(registered.trajectory.poses[:, :3, 3], axis=0), axis=1)
    assert np.abs(steps - STEP_M).max() < 0.02


def test_anchors_of_another_place_are_outvoted_and_counted():
    true, chosen = truth(), np.arange(20, 150)
    T = true[chosen].copy()
    T[:30, :3, 3] += [30.0, 5.0, 0.0]
    registered = register(drive_of(true), anchors_at(chosen, T), "drive")
    assert (registered.tracked, registered.disagreeing) == (100, 30)
    assert errors_of(registered, true).max() < 0.5


def test_a_drive_is_placed_within_reach_of_tracked_poses_only(monkeypatch):
    monkeypatch.setattr(registration, "REACH_M", 30.7)
    true, chosen = truth(), np.r_[0:40, 120:150]
    registered = register(drive_of(true), anchors_at(chosen, true[chosen]), "drive")
    placed = np.isin(STAMPS, registered.trajectory.stamps)
    near = np.abs(np.arange(COUNT)[:, None] - chosen).min(axis=1) * STEP_M
    np.testing.assert_array_equal(placed, near < 30.7)
    assert not registered.trajectory.covers(STAMPS[80])
    assert registered.trajectory.covers(STAMPS[45])


def test_anchors_that_contradict_the_motion_are_refused():
    true, chosen = truth(), np.arange(20, 150)
    rng = np.random.default_rng(1)
    T = true[chosen].copy()
    T[:, :2, 3] += rng.uniform(-30.0, 30.0, (len(chosen), 2))
    with pytest.raises(MapError, match=r"contradict the motion|a metre of its odometry"):
        register(drive_of(true), anchors_at(chosen, T), "drive")


def test_a_scale_that_no_wheels_have_is_refused():
    true, chosen = truth(), np.arange(20, 150)
    with pytest.raises(MapError, match=r"a metre of its odometry is 0\.50 m"):
        register(drive_of(true, 2.0), anchors_at(chosen, true[chosen]), "drive")


def test_a_drive_that_was_tracked_on_a_few_metres_is_refused():
    true, chosen = truth(), np.r_[20:30, 100:108]
    with pytest.raises(MapError, match="tracked on 24 m of the map, too few"):
        register(drive_of(true), anchors_at(chosen, true[chosen]), "drive")


def test_a_drive_that_was_not_tracked_is_refused():
    true = truth()
    anchors = Anchors(STAMPS[:3] + 0.05, true[:3], np.tile(np.eye(6), (3, 1, 1)))
    with pytest.raises(MapError, match="was not tracked"):
        register(drive_of(true), anchors, "drive")


def test_a_robot_that_stands_still_now_and_then_is_placed():
    true = truth()
    true[60:90] = true[60]
    true[90:] = poses.compose(true[60], poses.compose(poses.invert(truth()[90]), truth()[90:]))
    chosen = np.arange(20, 150)
    registered = register(drive_of(true), anchors_at(chosen, true[chosen]), "drive")
    assert errors_of(registered, true).max() < 1e-2
