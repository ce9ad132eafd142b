from types import SimpleNamespace

import numpy as np
import pytest

from fgsn_ros.errors import SettingsError
from fgsn_ros.geometry import poses
from fgsn_ros.localization.probing import Comparison, ProbeSettings
from fgsn_ros.localization.tracking import (
    NEARBY_M,
    Tracking,
    TrackingSettings,
    TrackingStatus,
)

TRACKING = TrackingSettings(quality_time_s=1.0, lost_quality=0.5, lost_std_m=3.0, lost_after_s=2.0)


def estimate(stamp, quality, std_m=0.1):
    covariance = np.diag([std_m**2 / 2, std_m**2 / 2, 0.0, 0.0, 0.0, 0.0])
    return SimpleNamespace(stamp=stamp, match_quality=quality, covariance=covariance)


def follow(tracking, start, seconds, quality, std_m=0.1):
    for stamp in np.arange(start, start + seconds, 0.1):
        tracking.add(estimate(stamp, quality, std_m))


def test_the_quality_follows_with_its_time_constant():
    tracking = Tracking(TRACKING)
    assert tracking.quality is None
    tracking.add(estimate(0.0, 1.2))
    assert tracking.match_quality == 1.0
    tracking.add(estimate(1.0, 0.0))
    assert tracking.match_quality == pytest.approx(np.exp(-1.0))


def test_the_quality_is_that_of_a_wrong_pose_until_the_pose_is_confirmed():
    tracking = Tracking(TRACKING)
    follow(tracking, 0.0, 10.0, 1.0)
    assert tracking.quality == pytest.approx(TRACKING.lost_quality)
    confirmed = confirmed_tracking()
    assert confirmed.quality == pytest.approx(confirmed.match_quality)
    confirmed.doubt()
    assert confirmed.quality < TRACKING.lost_quality


def test_while_local_features_contradict_odometry_a_confirmed_pose_is_not_tracked():
    tracking = confirmed_tracking()
    stamp, quality = tracking._stamp, tracking.quality
    assert tracking.status_at(stamp) == TrackingStatus.TRACKING
    tracking.slipping = True
    assert tracking.status_at(stamp) == TrackingStatus.CONVERGING
    assert tracking.quality == pytest.approx(TRACKING.lost_quality * quality)
    tracking.slipping = False
    assert tracking.status_at(stamp) == TrackingStatus.TRACKING


def test_a_pose_is_lost_after_a_while_without_agreement_and_found_again():
    tracking = Tracking(TRACKING)
    follow(tracking, 0.0, 5.0, 0.8)
    assert not tracking.lost
    follow(tracking, 5.0, 2.0, 0.2)
    assert not tracking.lost
    follow(tracking, 7.0, 2.0, 0.2)
    assert tracking.lost
    follow(tracking, 9.0, 2.0, 0.9)
    assert not tracking.lost


def test_one_bad_frame_in_ten_loses_nothing():
    tracking = Tracking(TRACKING)
    for k in range(100):
        tracking.add(estimate(0.1 * k, 0.0 if k % 10 == 0 else 0.9))
        assert not tracking.lost


def test_a_pose_that_nobody_knows_better_than_three_metres_is_lost_whatever_the_labels_say():
    tracking = Tracking(TRACKING)
    follow(tracking, 0.0, 4.0, 0.9, std_m=4.0)
    assert tracking.lost


def test_without_visible_points_it_is_lost():
    tracking = Tracking(TRACKING)
    follow(tracking, 0.0, 1.0, 0.9)
    follow(tracking, 1.0, 5.0, float("nan"))
    assert tracking.lost
    assert tracking.quality < 0.05


def test_a_new_start_forgets():
    tracking = Tracking(TRACKING)
    follow(tracking, 0.0, 5.0, 0.0)
    assert tracking.lost
    tracking.restart()
    assert not tracking.lost
    assert tracking.quality is None


def comparison(lead, offset_m=0.0, views=10):
    """A pose beside another one that lies so far ahead of it."""
    other = poses.from_planar(offset_m, 0.0, 0.0)
    return Comparison(lead, 0.0, other, -100.0, views, np.eye(4))


def confirmed_tracking():
    tracking = Tracking(TRACKING)
    follow(tracking, 0.0, 10.0, 0.85)
    for _ in range(2):
        tracking.compare(estimate(10.0, 0.85), comparison(30.0), ProbeSettings())
    assert tracking.confirmed
    return tracking


def test_labels_that_fit_much_worse_than_usual_put_the_pose_in_doubt_within_two_seconds():
    tracking = confirmed_tracking()
    follow(tracking, 10.0, 0.3, 0.5)
    assert tracking.confirmed
    assert tracking.astray_since is None
    since = []
    for stamp in np.arange(10.3, 12.0, 0.1):
        tracking.add(estimate(stamp, 0.5))
        since += [] if tracking.astray_since is None else [tracking.astray_since]
    assert not tracking.confirmed
    assert since == [pytest.approx(10.0)]  # said once
    assert not tracking.lost


def test_a_place_where_labels_fit_a_little_worse_is_no_doubt():
    tracking = confirmed_tracking()
    follow(tracking, 10.0, 30.0, 0.66)
    assert tracking.confirmed


def test_a_bad_frame_is_no_doubt():
    tracking = confirmed_tracking()
    tracking.add(estimate(10.1, 0.0))
    assert tracking.confirmed


def test_the_quality_falls_with_the_probability_of_another_pose():
    tracking = Tracking(TRACKING)
    tracking.add(estimate(0.0, 0.8))
    tracking.compare(estimate(0.0, 0.8), comparison(0.0), ProbeSettings())
    assert tracking.quality == pytest.approx(TRACKING.lost_quality * 0.4)
    tracking.compare(estimate(0.0, 0.8), comparison(-50.0), ProbeSettings())
    assert tracking.quality == pytest.approx(0.0, abs=1e-9)


def test_a_pose_that_was_confirmed_has_a_lead():
    tracking = confirmed_tracking()
    tracking.compare(estimate(10.0, 0.85), comparison(-5.0, 40.0), ProbeSettings(lead=25.0))
    assert tracking.quality == pytest.approx(0.85, abs=1e-6)
    assert np.sqrt(tracking.spread[0, 0]) < 0.01


def test_the_covariance_spreads_to_the_other_pose_and_that_fades():
    tracking = Tracking(TRACKING)
    tracking.add(estimate(0.0, 0.8))
    assert not tracking.spread.any()
    tracking.compare(estimate(0.0, 0.8), comparison(-50.0, 4.0), ProbeSettings())
    assert tracking.spread[0, 0] == pytest.approx(16.0)
    tracking.compare(estimate(3.0, 0.8), comparison(80.0, 4.0), ProbeSettings())
    assert tracking.spread[0, 0] == pytest.approx(16.0 * np.exp(-1.0))
    tracking.restart()
    assert not tracking.spread.any()


def test_the_robot_is_found_where_two_comparisons_in_a_row_prefer_one_place():
    settings = ProbeSettings(least_views=3, lead=5.0, found_lead=25.0)
    nowhere = [Comparison(-np.inf, 100.0, np.eye(4), third, 3) for third in (90.0, 70.0, 60.0)]
    tracking = Tracking(TRACKING)
    found = [tracking.search(nowhere[k], settings) for k in (1, 0, 1, 2)]
    assert found == [False, False, False, True]


def test_a_pose_that_was_found_needs_more_to_be_confirmed_than_one_that_was_given():
    settings = ProbeSettings(lead=25.0, found_lead=100.0)
    for found, confirmed in ((False, True), (True, False)):
        tracking = Tracking(TRACKING)
        tracking.restart(found)
        follow(tracking, 0.0, 5.0, 0.85)
        for _ in range(5):
            tracking.compare(estimate(5.0, 0.85), comparison(60.0), settings)
        assert tracking.confirmed == confirmed
    for _ in range(2):
        tracking.compare(estimate(5.0, 0.85), comparison(110.0), settings)
    assert tracking.confirmed


@pytest.mark.parametrize(
    ("offset_m", "probable"), [(NEARBY_M - 1.0, True), (NEARBY_M + 1.0, False)]
)
def test_what_is_far_from_a_confirmed_pose_must_lead_by_more_to_make_it_unsure(offset_m, probable):
    tracking = confirmed_tracking()
    settings = ProbeSettings(lead=25.0, found_lead=100.0)
    tracking.compare(estimate(10.0, 0.85), comparison(-60.0, offset_m), settings)
    assert (tracking.quality < 0.01) == probable
    assert (tracking.spread[0, 0] > 1.0) == probable


def test_few_views_find_nothing():
    one = Comparison(-np.inf, 100.0, np.eye(4), 0.0, 2)
    tracking = Tracking(TRACKING)
    assert not any(tracking.search(one, ProbeSettings(least_views=3)) for _ in range(5))


@pytest.mark.parametrize(
    "name", ["quality_time_s", "lost_quality", "lost_std_m", "lost_after_s", "drop"]
)
def test_tracking_settings_out_of_range_are_refused(name):
    with pytest.raises(SettingsError, match=name):
        TrackingSettings(**{name: -1.0})
