"""Sessions placed by GPS: drives without images, whose odometry drifts."""

import dataclasses

import numpy as np
import pytest
from blind_drive import (
    ANTENNA,
    ORIGIN,
    drives_of,
    fixes_of,
    group_of,
    loop,
    session_of,
)

from fgsn_ros.geometry import poses
from fgsn_ros.geometry.geodesy import east_north_up, geodetic
from fgsn_ros.geometry.trajectory import Trajectory
from fgsn_ros.mapping.sfm.adjustment import CalibrationTrust, Knowledge, Positions
from fgsn_ros.mapping.sfm.gps import GpsTrust, alignment, positions_of, session_fixes
from fgsn_ros.mapping.sfm.group_poses import Priors
from fgsn_ros.mapping.sfm.placing import graph_poses, placed_by_gps
from fgsn_ros.recordings.odometry import OdometryNoise

EXACT = OdometryNoise(0.0, 0.0, 0.0, 0.0, 0.0)
EACH = GpsTrust(shared_s=0.0)


def posed_by_gps(truths, odometry, fixes):
    """Poses east-north-up of ORIGIN of sessions in one group, and what is known of where it is."""
    sessions = [
        session_of(truth, f"drive {i}", 1 + i, noise)
        for i, (truth, noise) in enumerate(zip(truths, odometry, strict=True))
    ]
    drives = drives_of(sessions)
    own = [session_fixes(s, g, EACH) for s, g in zip(sessions, fixes, strict=True)]
    frames = placed_by_gps(drives.T_session_base, np.arange(len(sessions)), drives, own)
    assert frames.group.tolist() == [0] * len(sessions)
    group = group_of(drives, [Priors(None, each) for each in own], range(len(sessions)))
    solution, where = group.solved_on_earth(frames.T_map_base, frames.on_earth[0])
    T = solution.T_map_base.copy()
    T[:, :3, 3] += east_north_up(where.origin[None], ORIGIN)[0]
    return T, where


def errors_m(T, truth):
    """(N,) in the plane [m]."""
    return np.linalg.norm((T - truth.poses)[:, :2, 3], axis=1)


def test_exact_odometry_and_fixes_give_back_where_the_robot_was_east_and_north():
    truth = loop(200.0)
    T, where = posed_by_gps([truth], [EXACT], [fixes_of(truth, 0.0)])
    assert pytest.approx(truth.poses, abs=2e-3) == T
    assert where.spread == 1.0
    assert where.log_scale[0] == pytest.approx(0.0, abs=1e-5)
    # the frame begins at the first pose, and says where on the earth that is
    first = geodetic(truth.poses[:1, :3, 3], ORIGIN)[0]
    assert where.origin == pytest.approx(first, abs=2e-3)
    assert where.origin[:2] == pytest.approx(first[:2], abs=2e-8)


def test_a_loop_whose_odometry_drifts_is_drawn_to_fixes_of_a_metre():
    truth, noise = loop(300.0), OdometryNoise(scale_error=0.02, yaw_drift_per_m=0.001)
    reckoned = session_of(truth, seed=1, noise=noise).T_odom_base
    drift = poses.compose(poses.compose(truth.poses[0], poses.invert(reckoned[0])), reckoned)
    assert errors_m(drift, truth).max() > 10.0
    T, where = posed_by_gps([truth], [noise], [fixes_of(truth, 1.0)])
    # between fixes, odometry's 0.03 m and 0.6 deg for each root of a metre carry the mean of some
    # ten of them: 1 m / sqrt(10) = 0.3 m on each axis
    assert np.sqrt(np.mean(errors_m(T, truth) ** 2)) < 0.3 * np.sqrt(2.0)
    assert np.exp(where.log_scale[0]) == pytest.approx(1.0 / 1.02, abs=0.01)
    assert where.spread == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("jump_m", [20.0, 5000.0])
def test_a_burst_of_wrong_fixes_bends_nothing(jump_m):
    truth, noise = loop(300.0), OdometryNoise(scale_error=0.02, yaw_drift_per_m=0.001)
    right = fixes_of(truth, 1.0)
    local = east_north_up(right.positions, ORIGIN)
    local[100:120, 0] += jump_m
    wrong = dataclasses.replace(right, positions=geodetic(local, ORIGIN))
    T, _ = posed_by_gps([truth], [noise], [right])
    bent, _ = posed_by_gps([truth], [noise], [wrong])
    # the twenty count for as much as one fix of 1 m at most, beside the ten around each pose
    assert errors_m(bent, truth)[100:120].max() < 1.0
    assert np.linalg.norm((bent - T)[:, :2, 3], axis=1).max() < 0.6


def test_fixes_that_are_worse_than_they_say_count_for_as_much_as_they_fit():
    truth, noise = loop(300.0), OdometryNoise(scale_error=0.0, yaw_drift_per_m=0.0)
    rough = fixes_of(truth, 2.0)
    boasting = dataclasses.replace(rough, covariance=rough.covariance * 1e-2)
    T, where = posed_by_gps([truth], [noise], [boasting])
    assert where.spread == pytest.approx(10.0, rel=0.15)
    assert np.sqrt(np.mean(errors_m(T, truth) ** 2)) < 1.0


def test_two_drives_that_share_nothing_but_gps_come_out_in_one_frame():
    noise = OdometryNoise(scale_error=0.01, yaw_drift_per_m=0.0005)
    truths = loop(300.0), loop(200.0, heading=-2.0, at=(15.0, -40.0))
    fixes = fixes_of(truths[0], 1.0), fixes_of(truths[1], 1.0, seed=9)
    T, where = posed_by_gps(truths, [noise, noise], fixes)
    for own, truth in zip(np.split(T, [300]), truths, strict=True):
        assert np.sqrt(np.mean(errors_m(own, truth) ** 2)) < 0.45
    # how surely each lies there: 1 m over the root of the fixes, less what Cauchy's weights cost,
    # and what the drift of the whole adds
    for session, count in ((0, 300), (1, 200)):
        assert 1.0 / np.sqrt(count) < where.placed[session].sigma_m < 1.0


def test_drives_that_share_images_are_placed_as_one():
    truth = loop(200.0)
    second = dataclasses.replace(truth, poses=truth.poses.copy())
    sessions = [session_of(truth, "a", 1, EXACT), session_of(second, "b", 1, EXACT)]
    drives = drives_of(sessions)
    fixes = session_fixes(sessions[1], fixes_of(truth, 0.0), EACH)
    frames = placed_by_gps(drives.T_session_base, np.array([0, 0]), drives, [None, fixes])
    first, other = np.split(frames.T_map_base, 2)
    np.testing.assert_allclose(first, other, atol=1e-9)
    assert set(frames.on_earth[0].placed) == {0, 1}
    assert float(poses.to_rpy(first[0])[2]) == pytest.approx(0.7, abs=1e-3)


def test_drives_far_from_each_other_are_in_frames_of_their_own():
    truth = loop(200.0)
    sessions = [session_of(truth, name, 1, EXACT) for name in "abc"]
    drives, near = drives_of(sessions), fixes_of(truth, 0.0)
    far = dataclasses.replace(near, positions=near.positions + np.eye(3)[0])  # 111 km north
    fixes = [session_fixes(s, g, EACH) for s, g in zip(sessions, (near, far, near), strict=True)]
    frames = placed_by_gps(drives.T_session_base, np.arange(3), drives, fixes)
    assert frames.group.tolist() == [0, 1, 0]
    assert frames.on_earth[1].origin[0] > 49.0


def test_a_way_that_is_too_short_for_its_fixes_is_not_turned_by_them(caplog):
    truth = loop(300.0)
    short = Trajectory(truth.stamps[:5], truth.poses[:5])
    drives = drives_of([session_of(short, "short", 1, EXACT)])
    fixes = session_fixes(drives.sessions[0], fixes_of(short, 3.0), EACH)
    frames = placed_by_gps(drives.T_session_base, np.array([0]), drives, [fixes])
    assert frames.on_earth == (None,)
    assert (frames.T_map_base == drives.T_session_base).all()
    assert "short: GPS is not used: it does not tell where the way leads" in caplog.text


def test_half_of_the_fixes_may_be_anywhere():
    truth = loop(200.0)
    session = session_of(truth, noise=EXACT)
    right = fixes_of(truth, 0.0)
    local = east_north_up(right.positions, ORIGIN)
    rng = np.random.default_rng(0)
    wrong = rng.permutation(200)[:80]
    local[wrong] += rng.uniform(-500.0, 500.0, (80, 3))
    fixes = dataclasses.replace(right, positions=geodetic(local, ORIGIN))
    found = alignment(
        drives_of([session]).T_session_base,
        positions_of({0: session_fixes(session, fixes, EACH)}, ORIGIN),
    )
    np.testing.assert_allclose(found.T_enu_map, truth.poses[0], atol=0.02)
    assert found.log_scale == pytest.approx(0.0, abs=1e-3)


def test_fixes_between_key_frames_are_carried_there_by_odometry_with_the_antenna():
    truth = loop(60.0)
    every = Trajectory(truth.stamps[::4], truth.poses[::4])
    odometry = session_of(truth, noise=EXACT).odometry
    session = dataclasses.replace(session_of(every, noise=EXACT), odometry=odometry)
    at_keys = odometry.at(every.stamps)
    frames = tuple(
        dataclasses.replace(frame, T_odom_base=T)
        for frame, T in zip(session.frames, at_keys, strict=True)
    )
    found = session_fixes(dataclasses.replace(session, frames=frames), fixes_of(truth, 0.0), EACH)
    there = poses.transform(every.poses[found.image], found.lever)
    true = poses.transform(truth.poses, np.broadcast_to(ANTENNA, (60, 3)))
    assert len(found) == 60
    np.testing.assert_allclose(there, true, atol=1e-9)


def test_what_a_fix_does_not_say_is_taken_from_the_settings():
    truth = loop(50.0)
    given = fixes_of(truth, 0.5)
    positions, covariance = given.positions.copy(), given.covariance.copy()
    covariance[10] = np.nan
    positions[20, 2] = np.nan
    fixes = dataclasses.replace(given, positions=positions, covariance=covariance, antenna=None)
    trust = GpsTrust(horizontal_m=4.0, vertical_m=8.0, unmounted_m=3.0, shared_s=4.0)
    found = session_fixes(session_of(truth, noise=EXACT), fixes, trust)
    sigma = 1.0 / np.diagonal(found.root, axis1=1, axis2=2)
    more = 3.0**2 + 0.05**2
    assert sigma[0] == pytest.approx(np.sqrt([0.25 + more] * 3))
    assert sigma[10] == pytest.approx(np.sqrt([16.0 + more, 16.0 + more, 64.0 + more]))
    assert sigma[20, 2] > 1000.0
    assert np.isfinite(found.places).all()
    assert not found.mounted
    # 2 s before it, 2 s after it and itself
    assert found.share[25] == pytest.approx(1.0 / 5.0)


def test_gps_of_another_time_is_not_used_and_it_is_said(caplog):
    truth = loop(50.0)
    late = fixes_of(truth)
    late = dataclasses.replace(late, stamps=late.stamps + 86_400.0)
    assert session_fixes(session_of(truth), late, GpsTrust()) is None
    assert "drive: GPS is not used: the fixes (" in caplog.text
    assert "24 hours apart" in caplog.text


def test_positions_move_a_whole_map_and_their_lever_turns_with_it():
    T = loop(40.0).poses
    lever = np.tile([2.0, -1.0, 0.5], (40, 1))
    there = poses.transform(T, lever)
    every = np.arange(40)
    known = Positions(every, lever, there, np.tile(10.0 * np.eye(3), (40, 1, 1)), np.ones(40))
    moved = poses.compose(poses.from_xyz_rpy([3.0, -2.0, 1.0], [0.0, 0.0, 0.2]), T)
    drives = drives_of([session_of(loop(40.0), noise=EXACT)])
    group = group_of(drives, [Priors()])
    knowledge = Knowledge(100.0, CalibrationTrust(), positions=known)
    found = graph_poses(moved, group.odometry[0], knowledge, 100)
    np.testing.assert_allclose(found, T, atol=1e-3)
