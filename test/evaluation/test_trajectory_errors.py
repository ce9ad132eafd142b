import numpy as np
import pytest

from fgsn_ros.errors import TrajectoryError
from fgsn_ros.evaluation.trajectory_errors import (
    Summary,
    compare,
    dead_reckoning,
    lost,
    recall_percent,
    score,
)
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.trajectory import Trajectory


def circle(stamps, radius=20.0, speed=5.0):
    """A left turn at constant speed on a slope."""
    angle = speed * np.asarray(stamps) / radius
    T = poses.from_planar(radius * np.sin(angle), radius * (1 - np.cos(angle)), angle)
    slope = poses.from_xyz_rpy([3.0, -2.0, 7.0], [0.05, -0.08, 2.5])
    return Trajectory(stamps, poses.compose(slope, T))


def moved(trajectory, xyz, rpy_deg=(0.0, 0.0, 0.0)):
    """The trajectory with each pose moved in its own body frame."""
    offset = poses.from_xyz_rpy(xyz, np.radians(rpy_deg))
    return Trajectory(trajectory.stamps, poses.compose(trajectory.poses, offset))


def test_a_trajectory_has_no_error_against_itself():
    trajectory = circle(np.arange(0, 10, 0.1))
    errors = compare(trajectory, trajectory)
    assert errors.position_m.max() < 1e-12
    assert errors.rotation_deg.max() < 1e-6
    assert errors.left_out == 0


def test_errors_are_split_in_the_body_frame_of_the_reference():
    reference = circle(np.arange(0, 10, 0.1))
    errors = compare(moved(reference, (0.3, -0.2, 0.1), (0, 0, -4.0)), reference)
    np.testing.assert_allclose(errors.longitudinal_m, 0.3, atol=1e-12)
    np.testing.assert_allclose(errors.lateral_m, -0.2, atol=1e-12)
    np.testing.assert_allclose(errors.height_m, 0.1, atol=1e-12)
    np.testing.assert_allclose(errors.position_m, np.sqrt(0.14), atol=1e-12)
    np.testing.assert_allclose(errors.heading_deg, 4.0, atol=1e-9)


def test_tilt_counts_in_the_rotation_and_not_in_the_heading():
    reference = circle(np.arange(0, 5, 0.1))
    errors = compare(moved(reference, (0, 0, 0), (3.0, 0, 0)), reference)
    np.testing.assert_allclose(errors.rotation_deg, 3.0, atol=1e-9)
    np.testing.assert_allclose(errors.heading_deg, 0.0, atol=1e-9)


def test_a_constant_offset_is_an_error_and_not_aligned_away():
    reference = circle(np.arange(0, 10, 0.1))
    shift = poses.from_xyz_rpy([1.0, 2.0, 2.0], [0.0, 0.0, 0.0])
    estimate = Trajectory(reference.stamps, poses.compose(shift, reference.poses))
    np.testing.assert_allclose(compare(estimate, reference).position_m, 3.0, atol=1e-12)


def test_the_reference_is_interpolated_to_the_stamps_of_the_estimate():
    estimate, reference = circle(np.arange(0.05, 9, 0.1)), circle(np.arange(0, 10, 0.5))
    errors = compare(estimate, reference)
    assert (errors.stamps == estimate.stamps).all()
    assert errors.position_m.max() < 1e-6


def test_poses_outside_the_reference_are_counted_and_left_out():
    estimate, reference = circle(np.arange(0, 10.05, 0.1)), circle(np.arange(2, 9.01, 0.25))
    errors = compare(estimate, reference)
    assert errors.stamps[0] == pytest.approx(2.0)
    assert errors.stamps[-1] <= 9.0
    assert errors.left_out + len(errors.stamps) == len(estimate)
    assert errors.left_out >= 30


def test_a_hole_of_the_reference_is_no_reference():
    """A turn of 4 s, of which the reference has the ends: a chord would be 2.7 m off."""
    estimate = circle(np.arange(0, 10.05, 0.1))
    known = (estimate.stamps <= 3.05) | (estimate.stamps >= 6.95)
    reference = Trajectory(estimate.stamps[known], estimate.poses[known])
    errors = compare(estimate, reference)
    assert errors.position_m.max() < 1e-12
    assert errors.left_out == 39
    taken = Trajectory(reference.stamps, reference.poses, max_gap_s=4.0)
    assert compare(estimate, taken).left_out == 0


def test_a_reference_with_a_pose_on_no_side_is_one_clear_error():
    estimate = circle(np.arange(4.0, 6.0, 0.1))
    reference = circle(np.r_[0.0:3.0:0.1, 7.0:9.0:0.1])
    with pytest.raises(TrajectoryError, match=r"none of 20 estimated poses .* max_pose_gap_s"):
        compare(estimate, reference)


def test_no_common_time_is_one_clear_error():
    with pytest.raises(TrajectoryError, match="no time in common") as error:
        compare(circle(np.arange(0, 1, 0.1)), circle(np.arange(100, 101, 0.1)))
    assert "(0.000 to 0.900 s)" in str(error.value)
    assert "(100.000 to 100.900 s)" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("offsets", "expected"),
    [
        ([0.1] * 30 + [2.1] * 11, True),
        ([0.1] * 30 + [2.1] * 10 + [1.9], False),  # back at the very end
        ([9.0] * 40 + [1.9], False),
        ([9.0] * 35 + [1.9] + [9.0] * 5, False),  # once near within the last second
        ([0.1] * 41, False),
    ],
)
def test_lost_means_above_two_metres_throughout_the_last_second(offsets, expected):
    reference = Trajectory(np.arange(41) * 0.1, poses.identity((41,)))
    estimate = Trajectory(reference.stamps, poses.from_planar(offsets, 0.0, 0.0))
    assert lost(compare(estimate, reference)) is expected


def test_dead_reckoning_with_perfect_odometry_is_the_truth():
    truth = circle(np.arange(0, 10, 0.1))
    T_odom_map = poses.from_xyz_rpy([5.0, 6.0, 0.0], [0.0, 0.0, -1.0])
    odometry = Trajectory(truth.stamps, poses.compose(T_odom_map, truth.poses))
    estimate = dead_reckoning(odometry, truth.at(2.0), truth.stamps[20:])
    np.testing.assert_allclose(estimate.poses, truth.poses[20:], atol=1e-10)
    early = dead_reckoning(odometry, truth.at(0.5), truth.stamps[20:], initial_stamp=0.5)
    np.testing.assert_allclose(early.poses, truth.poses[20:], atol=1e-2)


def test_dead_reckoning_scales_with_the_odometry():
    stamps = np.arange(11.0)
    odometry = Trajectory(stamps, poses.from_planar(1.02 * stamps, 0.0, 0.0))
    start = poses.from_planar(10.0, 20.0, np.pi / 2)
    end = dead_reckoning(odometry, start, stamps).poses[-1]
    np.testing.assert_allclose(end[:3, 3], [10.0, 30.2, 0.0], atol=1e-9)


def test_dead_reckoning_leaves_out_stamps_without_odometry():
    odometry = circle(np.arange(0, 5.01, 0.1))
    estimate = dead_reckoning(odometry, poses.identity(), [1.0, 4.0, 6.0])
    assert estimate.stamps.tolist() == [1.0, 4.0]
    with pytest.raises(TrajectoryError, match="no pose at"):
        dead_reckoning(odometry, poses.identity(), [7.0, 8.0])


def test_recall_counts_both_thresholds():
    percent = recall_percent([0.25, 0.1, 0.4, 4.0, 6.0], [2.0, 3.0, 1.0, 9.0, 1.0])
    assert percent == pytest.approx((20.0, 60.0, 80.0))
    with pytest.raises(ValueError, match="at least one"):
        recall_percent([], [])


def test_a_summary_is_of_absolute_errors():
    summary = Summary.of([-3.0, 4.0, 0.0, 0.0, 0.0])
    assert summary.median == 0.0
    assert summary.rmse == pytest.approx(np.sqrt(5.0))
    assert summary.p95 == pytest.approx(3.8)
    assert summary.maximum == 4.0


def test_a_score_skips_the_first_seconds():
    reference = circle(np.arange(0, 5.01, 0.1))
    offset = np.where(reference.stamps < 0.95, 8.0, 0.1)
    side = poses.from_planar(0.0, offset, 0.0)
    estimate = Trajectory(reference.stamps, poses.compose(reference.poses, side))
    assert score(estimate, reference).position_m.maximum == pytest.approx(8.0)
    after = score(estimate, reference, skip_s=1.0)
    assert after.frames == len(estimate) - 10
    assert after.lateral_m.maximum == pytest.approx(0.1)
    assert after.recall_percent == (100.0, 100.0, 100.0)
    with pytest.raises(TrajectoryError, match="skip less"):
        score(estimate, reference, skip_s=60.0)
