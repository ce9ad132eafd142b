from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from played_drive import COVARIANCE, FAST, errors, home, messages, online_localizer, play

from fgsn_ros.errors import LocalizationError
from fgsn_ros.geometry import poses
from fgsn_ros.localization.initial_pose import InitialPose
from fgsn_ros.localization.localizer import Localizer
from fgsn_ros.localization.online import (
    MAX_WAITING,
    OnlineLocalizer,
    OnlineSettings,
)
from fgsn_ros.localization.tracking import TrackingStatus


def test_messages_late_and_early_give_the_very_estimates_of_a_replay(drive):
    localizer = Localizer(drive.semantic_map, drive.log_ratio, drive.mounts, FAST)
    localizer.initialize(home(drive, drive.stamps[0]))
    for stamp, T in zip(drive.odometry.stamps, drive.odometry.poses, strict=True):
        localizer.add_odometry(stamp, T)
    replayed = [
        localizer.add_labels(stamp, "camera", labels).T_map_base
        for stamp, labels in zip(drive.stamps, drive.label_maps, strict=True)
        if stamp <= drive.stamps[0] + 2.0
    ]
    for odometry_delay, labels_delay in ((0.0, 0.0), (0.3, 0.0), (0.0, 0.5)):
        online = online_localizer(drive)
        online.initialize(home(drive, drive.stamps[0]))
        queue = messages(drive, 2.1, odometry_delay, labels_delay)
        found = [estimate.T_map_base for estimate in play(online, queue)]
        np.testing.assert_array_equal(np.stack(found), np.stack(replayed[: len(found)]))
        assert len(found) >= len(replayed) - 1
        assert not online.counts


def test_an_initial_pose_of_the_past_is_carried_on_and_one_of_the_future_does_not_freeze(drive):
    for stamp in (drive.stamps[0], None, drive.stamps[0] + 1000.0):
        online = online_localizer(drive)
        late = messages(drive, 1.0)
        play(online, late)
        assert online.T_map_odom is None
        pose = drive.truth.at(drive.stamps[0] if stamp == drive.stamps[0] else late[-1][2])
        online.initialize(InitialPose(pose, COVARIANCE, stamp))
        assert online.T_map_odom is not None
        rest = [m for m in messages(drive, 3.0) if m[2] > late[-1][2]]
        estimates = play(online, rest)
        assert len(estimates) > 10
        assert errors(drive, estimates)[-5:].max() < 0.4


def test_cameras_given_by_name_are_where_they_are_said_to_be(drive):
    asked = online_localizer(drive)
    given = OnlineLocalizer(drive.semantic_map, drive.log_ratio, drive.mounts, FAST)
    for online in (asked, given):
        online.initialize(home(drive))
    expected, found = (play(online, messages(drive, 0.5)) for online in (asked, given))
    np.testing.assert_array_equal(found[-1].T_map_base, expected[-1].T_map_base)
    assert given.add_labels(drive.stamps[0], "rear", drive.label_maps[0]) == []
    assert given.counts == {"refused messages": 1}


def test_a_caller_may_end_where_a_message_cannot_be_used(drive):
    def end(error):
        raise error

    online = OnlineLocalizer(drive.semantic_map, drive.log_ratio, {}, FAST, refuse=end)
    with pytest.raises(LocalizationError, match="NaN"):
        online.add_odometry(0.0, np.full((4, 4), np.nan))


def test_the_pose_of_now_is_at_the_newest_odometry_and_starts_another_localizer(drive):
    online = online_localizer(drive)
    assert online.pose_now is None
    assert online.odometry_span is None
    online.initialize(home(drive))
    estimate = play(online, messages(drive, 1.0))[-1]
    first, last = online.odometry_span
    assert (first, last) == (drive.odometry.stamps[0], online.pose_now.stamp)
    moved = poses.invert(online.T_odom_base(estimate.stamp)) @ online.T_odom_base(last)
    np.testing.assert_allclose(online.pose_now.T_map_base, estimate.T_map_base @ moved, atol=1e-9)
    other = online_localizer(drive)
    other.initialize(online.pose_now)
    rest = [m for m in messages(drive, 2.0) if m[2] > last - 0.2]
    assert errors(drive, play(other, rest))[-3:].max() < 0.4


def test_labels_before_any_pose_are_counted_not_kept(drive):
    online = online_localizer(drive)
    assert play(online, messages(drive, 0.5)) == []
    assert online.counts["labels without an initial pose"] >= 4


def test_map_to_odom_follows_the_estimate(drive):
    online = online_localizer(drive)
    online.initialize(home(drive))
    estimate = play(online, messages(drive, 1.0))[-1]
    T_odom_base = drive.odometry.at(estimate.stamp)
    np.testing.assert_allclose(online.T_map_odom @ T_odom_base, estimate.T_map_base, atol=1e-9)


def test_time_that_starts_anew_resets_the_buffers_and_goes_home(drive, caplog):
    online = online_localizer(drive)
    online.initialize(home(drive))
    online.home = home(drive)
    play(online, messages(drive, 3.0))
    estimates = play(online, messages(drive, 3.0))
    assert "time went back" in caplog.text
    assert online.counts["time jumps"] == 1
    assert len(estimates) > 20
    assert errors(drive, estimates)[-5:].max() < 0.4


@pytest.mark.parametrize(
    ("recover", "status"),
    [(False, TrackingStatus.NO_POSE), (True, TrackingStatus.SEARCHING)],
)
def test_without_a_pose_to_go_home_to_it_searches_or_waits_for_one(drive, recover, status):
    online = online_localizer(drive, settings=OnlineSettings(recover=recover))
    online.initialize(home(drive))
    play(online, messages(drive, 1.0))
    assert play(online, messages(drive, 0.3, shift=-50.0)) == []
    assert online.T_map_odom is None
    assert not online.initialized
    assert online.status == status


@pytest.mark.parametrize("shift", [1000.0, 1.8e9], ids=["a pause", "a clock that is set"])
def test_a_jump_forward_does_not_freeze_the_filter(drive, shift):
    online = online_localizer(drive)
    online.initialize(home(drive))
    play(online, messages(drive, 1.0))
    rest = [m for m in messages(drive, 3.0, shift=shift) if m[0] > drive.stamps[0] + 1.0]
    estimates = play(online, rest)
    assert len(estimates) > 15
    assert errors(drive, estimates, shift=shift)[-5:].max() < 0.4


def test_odometry_out_of_order_is_dropped_and_counted(drive):
    online = online_localizer(drive)
    online.initialize(home(drive))
    play(online, messages(drive, 1.0))
    online.add_odometry(drive.stamps[0] + 0.5, np.eye(4))
    assert online.counts == {"odometry out of order": 1}
    assert online.T_map_odom is not None


def test_odometry_with_nan_is_refused_and_does_no_harm(drive, caplog):
    online = online_localizer(drive)
    online.initialize(home(drive))
    play(online, messages(drive, 1.0))
    online.add_odometry(drive.stamps[0] + 1.01, np.full((4, 4), np.nan))
    assert "NaN" in caplog.text
    assert online.counts["refused messages"] == 1
    assert online.initialized


@pytest.mark.parametrize("pause_s", [0.02, 1.6])
def test_odometry_that_was_reset_needs_no_person(drive, caplog, pause_s):
    online = online_localizer(drive)
    online.initialize(home(drive))
    queue = messages(drive, 5.8)
    before = drive.stamps[0] + 1.0
    play(online, [m for m in queue if m[0] <= before])
    assert online.status == TrackingStatus.TRACKING
    after = before + pause_s
    T_new_old = poses.invert(drive.odometry.at(after))
    rest = [m if m[1] else (*m[:3], T_new_old @ m[3]) for m in queue if m[0] >= after - 1e-9]
    first = next(k for k, message in enumerate(rest) if not message[1])
    assert play(online, rest[: first + 1]) == []
    assert online.counts["odometry resets"] == 1
    assert "was reset" in caplog.text
    assert online.status != TrackingStatus.TRACKING
    known = SimpleNamespace(stamp=before, T_map_base=online.pose_now.T_map_base)
    assert errors(drive, [known])[0] < 0.5  # it goes on from where it was
    estimates = play(online, rest[first + 1 :])
    # labels look for it over some metres, of which another street may have the better for a moment
    right = errors(drive, estimates)[-5:].max() < 0.4
    assert right == (online.status == TrackingStatus.TRACKING)
    assert right or pause_s > 0.02


def test_labels_wait_for_their_cameras_mounting_for_a_while(drive):
    known = {"from": drive.stamps[0] + 1.5}

    def mounting(name, stamp):
        return drive.mounts[name] if stamp >= known["from"] else None

    online = online_localizer(drive, mounting, OnlineSettings(mounting_wait_s=0.5))
    online.initialize(home(drive))
    estimates = play(online, messages(drive, 3.0))
    assert min(e.labels_stamp for e in estimates) >= known["from"]
    assert 10 <= online.counts["labels without a mounting"] <= 16
    known["from"] = 0.0
    assert len(play(online, [m for m in messages(drive, 4.0) if m[0] > drive.stamps[0] + 3.0])) > 5


def test_labels_far_ahead_of_odometry_are_dropped_at_last(drive):
    online = online_localizer(drive)
    online.initialize(home(drive))
    play(online, messages(drive, 0.5))
    for k in range(MAX_WAITING + 5):
        online.add_labels(1e6 + k, "camera", drive.label_maps[0])
    assert online.counts["labels ahead of odometry"] == 5
    rest = [m for m in messages(drive, 1.5) if m[0] > drive.stamps[0] + 0.5]
    assert len(play(online, rest)) >= 8


def test_label_maps_of_a_wrong_size_are_refused_and_the_next_ones_used(drive, caplog):
    online = online_localizer(drive)
    online.initialize(home(drive))
    play(online, messages(drive, 0.5))
    small = type(drive.label_maps[0])(
        np.zeros((3, 4), np.uint16), np.ones((3, 4), np.float32), 8, drive.label_maps[0].label_count
    )
    assert online.add_labels(drive.stamps[0] + 0.45, "camera", small) == []
    assert "does not fit" in caplog.text
    rest = [m for m in messages(drive, 1.5) if m[0] > drive.stamps[0] + 0.5]
    assert len(play(online, rest)) >= 8


@pytest.mark.parametrize("name", ["mounting_wait_s", "time_jump_s"])
def test_settings_out_of_range_are_refused(name):
    with pytest.raises(Exception, match=name):
        OnlineSettings(**{name: -1.0})


def stretches(queue, start, end, is_labels):
    """The messages without those of a kind between two times."""
    return [m for m in queue if not (m[1] == is_labels and start <= m[0] < end)]


def long_way(seconds, speed=1.0):
    """Odometry of a straight way (stamp, T), 50 Hz, as messages."""
    return [
        (t, 0, t, poses.from_planar(speed * t, 0.0, 0.0)) for t in np.arange(0.0, seconds, 0.02)
    ]


def test_a_way_without_labels_is_never_forgotten(drive):
    online = online_localizer(drive)
    online.initialize(home(drive, 0.0))
    started = drive.truth.at(drive.stamps[0])
    play(online, long_way(60.0))
    found = online.pose_now
    way = poses.invert(started) @ found.T_map_base
    assert way[0, 3] == pytest.approx(60.0, abs=0.5)
    assert found.stamp == pytest.approx(59.98)
    # Of 60 m: scale 3 % and heading 4 deg at the start; both still and more in the covariance.
    std = np.sqrt(np.diag(found.covariance))
    assert 2.5 < np.hypot(std[0], std[1]) < 8.0
    moved = poses.invert(started) @ online.pose[0]
    assert moved[0, 3] == pytest.approx(online.stamp, abs=1.0)
    assert online.stamp >= 60.0 - 10.0 - 2.0


def test_standing_without_labels_keeps_the_pose_as_sure_as_it_was(drive):
    online = online_localizer(drive)
    online.initialize(home(drive, 0.0))
    before = home(drive).covariance[0, 0]
    play(online, [(t, 0, t, np.eye(4)) for t in np.arange(0.0, 100.0, 0.02)])
    known = online.pose_now.covariance[0, 0] - 0.45**2
    assert known == pytest.approx(before, rel=0.2)
    assert online._localizer._history._stamps[0] >= online.stamp - 12.0


def test_after_an_outage_late_labels_give_the_very_estimates_of_labels_in_time(drive):
    """Labels are away for longer than odometry is remembered; the robot stands meanwhile."""
    found = []
    for delay in (0.0, 0.7):
        online = online_localizer(drive)
        online.initialize(home(drive, drive.stamps[0]))
        queue = messages(drive, 2.0, labels_delay=delay)
        away = 30.0
        later = [
            (a + away, kind, stamp + away, content)
            for a, kind, stamp, content in queue
            if stamp > drive.stamps[0] + 1.0
        ]
        first = [m for m in queue if m[2] <= drive.stamps[0] + 1.0]
        at = drive.odometry.at(drive.stamps[0] + 1.0)
        standing = [(t, 0, t, at) for t in np.arange(1.1, 30.9, 0.02)]
        everything = sorted([*first, *standing, *later], key=lambda m: m[:2])
        found.append(np.stack([e.T_map_base for e in play(online, everything)]))
    count = min(map(len, found))
    assert count > 15
    np.testing.assert_array_equal(found[0][:count], found[1][:count])


def test_without_labels_it_does_not_say_that_it_tracks(drive):
    online = online_localizer(drive)
    assert online.status == TrackingStatus.NO_POSE
    online.initialize(home(drive))
    play(online, messages(drive, 2.0))
    assert online.status == TrackingStatus.TRACKING
    outage = drive.stamps[0] + 2.0, drive.stamps[0] + 4.0
    rest = [m for m in stretches(messages(drive, 5.0), *outage, is_labels=1) if m[0] > outage[0]]
    play(online, [m for m in rest if m[0] < outage[1] - 0.1])
    assert online.status == TrackingStatus.NO_LABELS
    assert online.pose_to_save(0.0) is None
    estimates = play(online, [m for m in rest if m[0] >= outage[1] - 0.1])
    assert online.status == TrackingStatus.TRACKING
    assert errors(drive, estimates)[-3:].max() < 0.4


def test_without_odometry_it_does_not_say_that_it_tracks(drive, caplog):
    online = online_localizer(drive)
    online.initialize(home(drive))
    gap = drive.stamps[0] + 2.0, drive.stamps[0] + 4.0
    queue = stretches(messages(drive, 5.5), *gap, is_labels=0)
    play(online, [m for m in queue if m[0] < gap[1] - 0.1])
    assert online.status == TrackingStatus.NO_ODOMETRY
    assert online.status_at(gap[1]) == TrackingStatus.NO_ODOMETRY
    play(online, [m for m in queue if gap[1] - 0.1 <= m[0] < gap[1] + 0.03])
    assert online.counts["odometry gaps"] == 1
    assert "odometry paused for 2.0 s" in caplog.text
    assert online.counts["labels within a gap in odometry"] > 10
    assert online.status != TrackingStatus.TRACKING
    estimates = play(online, [m for m in queue if m[0] >= gap[1] + 0.03])
    assert online.status == TrackingStatus.TRACKING
    assert errors(drive, estimates)[-3:].max() < 0.4


def test_a_wrong_pose_is_not_tracked_and_is_found(drive, caplog):
    online = online_localizer(drive)
    T = drive.truth.at(drive.stamps[0]) @ poses.from_planar(20.0, 0.0, 0.0)
    online.initialize(InitialPose(T, COVARIANCE, drive.stamps[0]))
    estimates = []
    for message in messages(drive, 4.0):
        estimates += play(online, [message])
        far = estimates and errors(drive, estimates[-1:])[0] > 2.0
        assert not (far and online.status == TrackingStatus.TRACKING)
    assert online.counts["found elsewhere"] >= 1
    assert "localizing from there" in caplog.text
    assert errors(drive, estimates)[-5:].max() < 0.4
    assert online.status == TrackingStatus.TRACKING


def test_a_robot_without_a_pose_is_found_on_the_map(drive):
    online = online_localizer(drive)
    online.search()
    assert online.status == TrackingStatus.SEARCHING
    estimates = []
    for message in messages(drive, 5.5):
        estimates += play(online, [message])
        assert (online.pose_now is None) == (online.status == TrackingStatus.SEARCHING)
    assert online.counts["found on the map"] == 1
    assert online.counts["found elsewhere"] == 0
    assert errors(drive, estimates).max() < 1.0
    assert errors(drive, estimates)[-5:].max() < 0.4
    assert online.status == TrackingStatus.TRACKING


def carried_off(drive, leaves, arrives):
    """The messages until the robot is lifted, and from where it is put down; odometry stands."""
    T_odom = [drive.odometry.at(drive.stamps[0] + t) for t in (leaves, arrives)]
    moved = T_odom[0] @ poses.invert(T_odom[1])
    queue = [m for m in messages(drive, 5.9) if m[0] <= drive.stamps[0] + leaves]
    for at, is_labels, stamp, content in messages(drive, 5.9):
        if at > drive.stamps[0] + arrives:
            later = leaves - arrives
            content = content if is_labels else moved @ content
            queue.append((at + later, is_labels, stamp + later, content))
    return queue


def test_a_robot_that_is_carried_off_is_in_doubt_at_once_and_found(drive):
    leaves, arrives = 2.5, 0.0
    online = online_localizer(drive)
    online.initialize(home(drive))
    confirmed, falsely, found = False, 0, []
    for message in carried_off(drive, leaves, arrives):
        for estimate in play(online, [message]):
            since = estimate.stamp - drive.stamps[0] - leaves
            confirmed |= since <= 0.0 and online.status == TrackingStatus.TRACKING
            if since > 0.0:
                truth = drive.truth.at(estimate.stamp - leaves + arrives)
                off = np.linalg.norm((estimate.T_map_base - truth)[:2, 3])
                falsely += off > 2.0 and online.status == TrackingStatus.TRACKING
                found.append(off)
    assert confirmed
    assert falsely <= 20  # at 10 Hz
    assert online.counts["found elsewhere"] == 1
    assert max(found[-3:]) < 0.5


def test_a_robot_that_stands_is_not_found_by_one_view(drive):
    online = online_localizer(drive)
    online.search()
    play(online, [(t, 0, t, drive.odometry.poses[0]) for t in drive.odometry.stamps[:200]])
    for stamp in drive.stamps[:10]:
        assert online.add_labels(stamp, "camera", drive.label_maps[0]) == []
    assert online.status == TrackingStatus.SEARCHING


def test_a_pose_given_ends_the_search(drive):
    online = online_localizer(drive)
    online.search()
    online.initialize(home(drive))
    estimates = play(online, messages(drive, 1.0))
    assert errors(drive, estimates).max() < 1.0


def test_labels_that_fit_nowhere_are_not_found_on_the_map(drive):
    rng = np.random.default_rng(0)
    online = online_localizer(drive)
    online.search()
    for _, is_labels, stamp, content in messages(drive, 5.5):
        if is_labels:
            other = rng.permutation(content.label_count).astype(np.uint16)
            online.add_labels(stamp, "camera", replace(content, labels=other[content.labels]))
        else:
            online.add_odometry(stamp, content)
    assert online.status == TrackingStatus.SEARCHING


def test_a_right_pose_is_never_moved_elsewhere(drive):
    online = online_localizer(drive)
    online.initialize(home(drive))
    play(online, messages(drive, 5.5))
    assert online.status == TrackingStatus.TRACKING
    assert online.counts["found elsewhere"] == 0


def test_a_saved_pose_is_carried_on_by_odometry_that_ran_on(drive):
    online = online_localizer(drive)
    online.initialize(home(drive))
    play(online, messages(drive, 2.0))
    saved = online.pose_to_save(now=1000.0)
    assert saved.top_speed_m_s == pytest.approx(8.2, abs=0.3)
    rest = [m for m in messages(drive, 5.5) if m[0] > drive.stamps[0] + 4.0]
    again = online_localizer(drive)
    again.resume(saved, now=1002.0)
    assert again.status == TrackingStatus.NO_POSE
    play(again, rest[:1])
    known = again.pose_now
    apart = poses.invert(drive.truth.at(known.stamp)) @ known.T_map_base
    sigma = np.sqrt(known.covariance[0, 0] + known.covariance[1, 1])
    assert np.linalg.norm(apart[:2, 3]) < 3.0 * sigma < 5.0
    assert again.status == TrackingStatus.CONVERGING
    estimates = play(again, rest[1:])
    assert errors(drive, estimates)[-3:].max() < 0.4
    assert again.status == TrackingStatus.TRACKING


def test_a_saved_pose_is_known_badly_where_odometry_began_anew(drive):
    online = online_localizer(drive)
    online.initialize(home(drive))
    play(online, messages(drive, 1.5))
    saved = online.pose_to_save(now=1000.0)
    later = drive.stamps[0] + 2.5
    T_new_old = poses.invert(drive.odometry.at(later))
    rest = [m if m[1] else (*m[:3], T_new_old @ m[3]) for m in messages(drive, 5.8) if m[0] > later]
    again = online_localizer(drive)
    again.resume(saved, now=1001.0)
    play(again, rest[:2])
    known = again.pose_now
    apart = poses.invert(drive.truth.at(known.stamp)) @ known.T_map_base
    sigma = np.sqrt(known.covariance[0, 0] + known.covariance[1, 1])
    assert np.linalg.norm(apart[:2, 3]) < 3.0 * sigma
    estimates = play(again, rest[2:])
    assert errors(drive, estimates)[-3:].max() < 0.4


def test_after_a_warm_up_labels_compile_nothing(drive):
    from numba.core import event

    compiled = []

    class Listener(event.Listener):
        def on_start(self, event):
            compiled.append(event.data)

        def on_end(self, event):
            pass

    online = online_localizer(drive)
    online.warm_up()
    with event.install_listener("numba:compile", Listener()):
        online.initialize(home(drive))
        assert play(online, messages(drive, 1.0))
    assert compiled == []
