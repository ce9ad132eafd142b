"""Where an IMU has up to be, and drives on slopes that stay on them."""

import dataclasses

import numpy as np
import pytest
from blind_drive import drives_of, group_of, imu_of, loop, on_slope, session_of

from fgsn_ros.geometry import poses
from fgsn_ros.mapping.sfm.adjustment import (
    CalibrationTrust,
    Knowledge,
    Observations,
    Verticals,
    adjust,
)
from fgsn_ros.mapping.sfm.gravity import ImuTrust, session_gravity
from fgsn_ros.mapping.sfm.group_poses import Priors
from fgsn_ros.mapping.sfm.placing import graph_poses
from fgsn_ros.recordings.odometry import OdometryNoise

EXACT = OdometryNoise(0.0, 0.0, 0.0, 0.0, 0.0)
TURNED = poses.from_xyz_rpy(np.zeros(3), [np.pi, 0.1, 2.0])[:3, :3]
"""of an IMU that hangs upside down"""


def up_of(truth):
    """(N, 3) in base_link."""
    return truth.poses[:, 2, :3]


def angles_deg(one, other):
    return np.degrees(np.arccos(np.clip((one * other).sum(axis=1), -1.0, 1.0)))


def slope(length_m=120.0, slope_deg=5.0):
    """A closed way on a plane that rises to the east, and a session on it."""
    truth = on_slope(loop(length_m), slope_deg)
    return truth, session_of(truth, noise=EXACT)


@pytest.mark.parametrize("R_base_imu", [np.eye(3), TURNED])
def test_an_orientation_tells_up_however_the_imu_is_mounted(R_base_imu):
    truth, session = slope()
    imu = imu_of(truth, R_base_imu=R_base_imu, oriented=True)
    found = session_gravity(session, imu, ImuTrust(orientation_deg=0.5, shared_s=4.0))
    assert found.source == "orientation"
    up = up_of(truth)[found.verticals.pose]
    # means of a tenth of a second, in which the way turns by 0.3 deg about a slope of 5 deg
    assert angles_deg(found.verticals.up, up).max() < 0.03
    assert len(found.verticals) >= 119
    # 2 s before it, 2 s after it and itself share the evidence of one
    assert found.verticals.sigma_rad[50] == pytest.approx(np.radians(0.5) * np.sqrt(5.0))


@pytest.mark.parametrize("R_base_imu", [np.eye(3), TURNED])
def test_an_accelerometer_tells_up_in_a_curve(R_base_imu):
    truth = loop(60.0)
    fast = dataclasses.replace(truth, stamps=truth.stamps[0] + 0.25 * np.arange(60))
    # 4 m/s on a circle of 9.5 m: over a second some 1.4 m/s^2, by which up would lie 8 deg off
    session, imu = session_of(fast, noise=EXACT), imu_of(fast, 50.0, R_base_imu)
    tilted = angles_deg(imu.force @ R_base_imu.T / 9.9, np.array([[0.0, 0.0, 1.0]]))
    assert np.median(tilted) > 7.0
    found = session_gravity(session, imu, ImuTrust())
    assert found.source == "acceleration"
    assert np.median(angles_deg(found.verticals.up, up_of(fast)[found.verticals.pose])) < 1.0


def test_an_accelerometer_that_shakes_tells_up_on_a_slope():
    truth, session = slope()
    imu = imu_of(truth, 50.0, noise=1.0)
    found = session_gravity(session, imu, ImuTrust())
    # 1 m/s^2 over the root of 200 messages is 0.4 deg on each axis; and the way turns by 6 deg in
    # half of the time of the mean, which odometry follows in the plane only
    assert np.median(angles_deg(found.verticals.up, up_of(truth)[found.verticals.pose])) < 1.2
    assert len(found.verticals) > 100


def test_gravity_keeps_a_drive_on_its_slope_that_the_level_prior_would_have_bent():
    truth, session = slope()
    drives = drives_of([session])
    T = truth.poses
    group = group_of(drives, [Priors()])
    odometry = dataclasses.replace(
        group.odometry[0],
        T_first_second=poses.compose(poses.invert(T[:-1]), T[1:]),
    )
    start = drives.T_session_base  # level
    level = graph_poses(start, odometry, group.known, 100)
    gravity = session_gravity(session, imu_of(truth, 50.0), ImuTrust())
    prior = group_of(drives, [Priors(gravity)]).known
    found = graph_poses(start, odometry, prior, 100)
    assert angles_deg(level[:, 2, :3], up_of(truth)).max() > 4.0
    assert angles_deg(found[:, 2, :3], up_of(truth)).max() < 1.0
    rise = np.ptp(T[:, 2, 3])
    assert np.ptp(found[:, 2, 3]) == pytest.approx(rise, rel=0.2)
    assert np.ptp(level[:, 2, 3]) < 0.2 * rise


def test_exact_verticals_are_reached():
    truth, _ = slope(40.0)
    T = truth.poses
    every = np.arange(len(T))
    known = Knowledge(0.1, CalibrationTrust(), Verticals(every, T[:, 2, :3], np.full(40, 0.01)))
    session = session_of(truth, noise=EXACT)
    steps = dataclasses.replace(
        group_of(drives_of([session]), [Priors()]).odometry[0],
        T_first_second=poses.compose(poses.invert(T[:-1]), T[1:]),
    )
    turned = poses.compose(poses.from_xyz_rpy(np.zeros(3), [0.1, 0.05, 0.0]), T)
    found = graph_poses(turned, steps, known, 100)
    np.testing.assert_allclose(found[:, 2, :3], T[:, 2, :3], atol=1e-5)


def test_without_verticals_and_positions_the_level_prior_is_what_it_was_to_the_bit():
    T = on_slope(loop(12.0), 5.0).poses
    none, flat = np.zeros(0, np.int64), np.zeros((0, 2))
    nothing = Observations(none, none, flat, flat, none, np.zeros((0, 4, 4)))
    steps = group_of(drives_of([session_of(loop(12.0))]), [Priors()]).odometry[0]
    plain = Knowledge(0.1, CalibrationTrust())
    level = np.tile([0.0, 0.0, 1.0], (12, 1))
    said = Knowledge(0.1, CalibrationTrust(), Verticals(np.arange(12), level, np.full(12, 0.1)))
    found = [
        adjust(T, np.zeros((0, 3)), nothing, steps, flat, known, 1.0, 20).T_map_base
        for known in (plain, said)
    ]
    assert (found[0] == found[1]).all()


def test_an_orientation_that_never_changes_is_none():
    truth, session = slope()
    imu = imu_of(truth, 50.0)
    imu = dataclasses.replace(imu, q_xyzw=np.tile([0.0, 0.0, 0.0, 1.0], (len(imu.stamps), 1)))
    assert session_gravity(session, imu, ImuTrust()).source == "acceleration"


def test_an_imu_whose_numbers_cannot_be_gravity_is_not_used_and_it_is_said(caplog):
    truth, session = slope()
    imu = imu_of(truth)
    in_g = dataclasses.replace(imu, force=imu.force / 9.81)
    assert session_gravity(session, in_g, ImuTrust()) is None
    assert "its specific force is 1.00 m/s^2 (median), not 9.81" in caplog.text
    on_its_side = poses.from_xyz_rpy(np.zeros(3), [np.pi / 2, 0.0, 0.0])[:3, :3]
    wrong = dataclasses.replace(imu, R_base_imu=on_its_side)
    assert session_gravity(session, wrong, ImuTrust()) is None
    assert "by it the robot is tilted by 90 deg (median); check its mounting" in caplog.text
    late = dataclasses.replace(imu, stamps=imu.stamps + 86_400.0)
    assert session_gravity(session, late, ImuTrust()) is None
    assert "the IMU is not used at any key frame: its messages (" in caplog.text


def test_a_fall_to_the_side_has_no_vertical():
    truth, session = slope()
    imu = imu_of(truth, oriented=True)
    q_xyzw, fallen = imu.q_xyzw.copy(), np.abs(imu.stamps - truth.stamps[60]) < 2.0
    q_xyzw[fallen] = [np.sqrt(0.5), 0.0, 0.0, np.sqrt(0.5)]
    found = session_gravity(session, dataclasses.replace(imu, q_xyzw=q_xyzw), ImuTrust())
    assert 60 not in found.verticals.pose
    assert found.verticals.up[:, 2].min() > 0.99


def test_bumps_have_no_vertical():
    truth, session = slope()
    imu = imu_of(truth, 50.0)
    force = imu.force.copy()
    shaken = (imu.stamps >= truth.stamps[60]) & (imu.stamps < truth.stamps[64])
    force[shaken] *= 1.5
    found = session_gravity(session, dataclasses.replace(imu, force=force), ImuTrust())
    assert 62 not in found.verticals.pose
    assert {50, 70} <= set(found.verticals.pose.tolist())
