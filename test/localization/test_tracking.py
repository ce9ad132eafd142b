from types import SimpleNamespace

import numpy as np
import pytest

from fgsn_ros.errors import SettingsError
from fgsn_ros.localization.tracking import Tracking, TrackingSettings

SETTINGS = TrackingSettings(quality_time_s=1.0, lost_quality=0.5, lost_std_m=3.0, lost_after_s=2.0)


def estimate(stamp, quality, std_m=0.1):
    covariance = np.diag([std_m**2 / 2, std_m**2 / 2, 0.0, 0.0, 0.0, 0.0])
    return SimpleNamespace(stamp=stamp, match_quality=quality, covariance=covariance)


def follow(tracking, start, seconds, quality, std_m=0.1):
    for stamp in np.arange(start, start + seconds, 0.1):
        tracking.add(estimate(stamp, quality, std_m))


def test_the_quality_follows_with_its_time_constant():
    tracking = Tracking(SETTINGS)
    assert tracking.quality is None
    tracking.add(estimate(0.0, 1.2))
    assert tracking.quality == 1.0
    tracking.add(estimate(1.0, 0.0))
    assert tracking.quality == pytest.approx(np.exp(-1.0))


def test_a_pose_is_lost_after_a_while_without_agreement_and_found_again():
    tracking = Tracking(SETTINGS)
    follow(tracking, 0.0, 5.0, 0.8)
    assert not tracking.lost
    follow(tracking, 5.0, 2.0, 0.2)
    assert not tracking.lost
    follow(tracking, 7.0, 2.0, 0.2)
    assert tracking.lost
    follow(tracking, 9.0, 2.0, 0.9)
    assert not tracking.lost


def test_one_bad_frame_in_ten_loses_nothing():
    tracking = Tracking(SETTINGS)
    for k in range(100):
        tracking.add(estimate(0.1 * k, 0.0 if k % 10 == 0 else 0.9))
        assert not tracking.lost


def test_a_pose_that_nobody_knows_better_than_three_metres_is_lost_whatever_the_labels_say():
    tracking = Tracking(SETTINGS)
    follow(tracking, 0.0, 4.0, 0.9, std_m=4.0)
    assert tracking.lost


def test_without_visible_points_it_is_lost():
    tracking = Tracking(SETTINGS)
    follow(tracking, 0.0, 1.0, 0.9)
    follow(tracking, 1.0, 5.0, float("nan"))
    assert tracking.lost
    assert tracking.quality < 0.05


def test_a_new_start_forgets():
    tracking = Tracking(SETTINGS)
    follow(tracking, 0.0, 5.0, 0.0)
    assert tracking.lost
    tracking.restart()
    assert not tracking.lost
    assert tracking.quality is None


@pytest.mark.parametrize("name", ["quality_time_s", "lost_quality", "lost_std_m", "lost_after_s"])
def test_settings_out_of_range_are_refused(name):
    with pytest.raises(SettingsError, match=name):
        TrackingSettings(**{name: -1.0})
