import numpy as np
import pytest

from fgsn_ros.geometry import poses
from fgsn_ros.geometry.cameras import T_BASE_OPTICAL
from fgsn_ros.mapping.sfm import adjustment
from fgsn_ros.mapping.sfm.adjustment import (
    CalibrationTrust,
    Knowledge,
    Observations,
    Relations,
    adjust,
)

FOCAL = np.array([400.0, 380.0])
KNOWN = Knowledge(0.3, CalibrationTrust(0.05, 0.05))
NOTHING_SEEN = Observations(
    np.zeros(0, int),
    np.zeros(0, int),
    np.zeros((0, 2)),
    np.zeros((0, 2)),
    np.zeros(0, int),
    np.zeros((0, 4, 4)),
)


def drive(count=6):
    """Poses (N, 4, 4) that move ahead and turn, the first at the origin."""
    s = np.arange(count, dtype=float)
    rpy = np.c_[0.01 * np.sin(s), 0.01 * (1.0 - np.cos(s)), 0.05 * s]
    return poses.from_xyz_rpy(np.c_[s, 0.1 * s, 0.0 * s], rpy)


def scene(rng, T, focal=0.0, radial=0.0):
    """Points (P, 3) that every pose sees, and how, by cameras whose calibration is off."""
    points = rng.uniform((9.0, -6.0, -2.0), (30.0, 6.0, 4.0), (60, 3))
    T_camera_base = poses.invert(T_BASE_OPTICAL)
    point, pose = (each.ravel() for each in np.mgrid[: len(points), : len(T)])
    inside = poses.transform(poses.compose(T_camera_base, poses.invert(T))[pose], points[point])
    rays = inside[:, :2] / inside[:, 2:]
    rays = np.exp(focal) * (1.0 + radial * (rays**2).sum(axis=1, keepdims=True)) * rays
    count = len(rays)
    seen = Observations(
        pose,
        point,
        rays,
        np.tile(FOCAL, (count, 1)),
        np.zeros(count, int),
        np.tile(T_camera_base, (count, 1, 1)),
    )
    return points, seen


def steps(T, scale=1.0, sigma=0.01, doubtful=False):
    """What is known of the motion from each pose to the next, its length off by a factor."""
    apart = poses.compose(poses.invert(T[:-1]), T[1:])
    apart[:, :3, 3] *= scale
    before = np.arange(len(T) - 1)
    return Relations(
        before, before + 1, apart, np.full((len(before), 6), sigma), np.full(len(before), doubtful)
    )


def disturbed(rng, T, size=0.02):
    moved = poses.compose(T, poses.exp(size * rng.normal(size=(len(T), 6))))
    moved[0] = T[0]
    return moved


def test_exact_sightings_and_motion_give_back_poses_and_points():
    rng, T = np.random.default_rng(1), drive()
    points, seen = scene(rng, T)
    start = points + rng.normal(0.0, 0.2, points.shape)
    done = adjust(
        disturbed(rng, T),
        start,
        seen,
        steps(T),
        np.zeros((1, 2)),
        Knowledge(1e6, KNOWN.calibration),
        1.0,
        60,
    )
    # Nothing says what is level here.
    turn = poses.compose(T[0], poses.invert(done.T_map_base[0]))
    assert poses.compose(turn, done.T_map_base) == pytest.approx(T, abs=1e-4)
    assert poses.transform(turn, done.points) == pytest.approx(points, abs=1e-2)
    assert done.error_px.max() < 1e-2


def test_sightings_taken_in_parts_give_what_all_at_once_give(monkeypatch):
    rng, T = np.random.default_rng(4), drive()
    points, seen = scene(rng, T)
    start = disturbed(rng, T), points + rng.normal(0.0, 0.2, points.shape), seen
    given = steps(T), np.zeros((1, 2)), KNOWN, 1.0, 5
    whole = adjust(*start, *given)
    monkeypatch.setattr(adjustment, "_SEEN_AT_ONCE", 7)  # a point's sightings fall apart
    parts = adjust(*start, *given)
    assert parts.T_map_base == pytest.approx(whole.T_map_base, abs=1e-9)
    assert parts.points == pytest.approx(whole.points, abs=1e-8)
    assert parts.calibration == pytest.approx(whole.calibration, abs=1e-9)


def test_a_wrong_calibration_is_found_from_the_sightings():
    rng, T = np.random.default_rng(2), drive(8)
    points, seen = scene(rng, T, focal=0.02, radial=-0.03)
    known = Knowledge(1e6, CalibrationTrust(1.0, 1.0))
    done = adjust(T, points, seen, steps(T), np.zeros((1, 2)), known, 1.0, 60)
    assert done.calibration == pytest.approx(np.array([[0.02, -0.03]]), abs=2e-3)


def test_the_length_of_the_motion_sets_the_scale():
    rng, T = np.random.default_rng(3), drive()
    points, seen = scene(rng, T)
    known = Knowledge(1e6, CalibrationTrust(1e-6, 1e-6))
    done = adjust(T, points, seen, steps(T, scale=1.02), np.zeros((1, 2)), known, 1.0, 60)
    lengths = np.linalg.norm(np.diff(done.T_map_base[:, :3, 3], axis=0), axis=1)
    true = np.linalg.norm(np.diff(T[:, :3, 3], axis=0), axis=1)
    assert lengths / true == pytest.approx(1.02, abs=2e-3)


def test_motion_alone_carries_over_where_nothing_is_seen():
    rng, T = np.random.default_rng(4), drive()
    level = Knowledge(1e6, KNOWN.calibration)
    start = disturbed(rng, T, 0.1)
    done = adjust(start, np.zeros((0, 3)), NOTHING_SEEN, steps(T), np.zeros((0, 2)), level, 1.0, 50)
    turn = poses.compose(T[0], poses.invert(done.T_map_base[0]))
    assert poses.compose(turn, done.T_map_base) == pytest.approx(T, abs=1e-5)


def test_a_doubtful_relation_that_all_others_contradict_hardly_counts():
    T = drive()
    wrong = Relations(
        np.array([0]),
        np.array([5]),
        poses.from_planar([40.0], [3.0], [1.0]),
        np.full((1, 6), 0.01),
        np.ones(1, bool),
    )
    known = Relations.joined([steps(T), wrong])
    level = Knowledge(1e6, KNOWN.calibration)
    done = adjust(T, np.zeros((0, 3)), NOTHING_SEEN, known, np.zeros((0, 2)), level, 1.0, 50)
    assert done.T_map_base == pytest.approx(T, abs=0.01)


def test_a_drive_that_is_tilted_as_a_whole_is_levelled():
    T = drive()
    T[:] = T[0]
    T[:, 0, 3] = np.arange(6)  # along x, level
    tilted = poses.compose(poses.from_xyz_rpy([0.0, 0.0, 0.0], [0.1, -0.05, 0.0]), T)
    apart = steps(tilted)
    done = adjust(tilted, np.zeros((0, 3)), NOTHING_SEEN, apart, np.zeros((0, 2)), KNOWN, 1.0, 50)
    assert done.T_map_base[:, 2, 2] == pytest.approx(1.0, abs=1e-6)
    assert done.T_map_base[:, 2, 3] == pytest.approx(0.0, abs=1e-3)
