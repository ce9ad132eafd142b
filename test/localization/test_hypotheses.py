import itertools

import numpy as np
import pytest
from played_drive import FAST, messages

from fgsn_ros.geometry import poses
from fgsn_ros.localization.hypotheses import Hypotheses
from fgsn_ros.localization.initial_pose import InitialPose
from fgsn_ros.localization.measured_pose import MeasuredPose
from fgsn_ros.localization.online import OnlineLocalizer
from fgsn_ros.localization.tracking import TrackingStatus
from fgsn_ros.mapping.descriptors import ImageFeatures

T_MAP_ODOM = poses.from_planar(40.0, -7.0, 2.0)
NO_FEATURES = ImageFeatures(np.zeros((0, 2), np.float32), np.zeros((0, 128), np.uint8))
COVARIANCE = np.diag(np.square([0.05, 0.05, 0.05, 0.005, 0.005, 0.005]))


def at(metres, off=0.0):
    """Odometry after so long a way, and the pose measured there, moved to the side."""
    T_odom_base = poses.from_planar(metres, 0.02 * metres, 0.01 * metres)
    T_map_base = poses.compose(
        poses.compose(T_MAP_ODOM, T_odom_base), poses.from_planar(0.0, off, 0.0)
    )
    return T_odom_base, MeasuredPose(T_map_base, COVARIANCE)


def test_two_images_some_metres_apart_that_say_the_same_are_believed():
    hypotheses = Hypotheses()
    assert not hypotheses.add(*at(0.0))
    assert hypotheses.add(*at(3.0))


def test_an_image_of_the_same_spot_is_no_second_witness():
    hypotheses = Hypotheses()
    assert not any(hypotheses.add(*at(metres)) for metres in (0.0, 0.0, 0.5, 1.0))


@pytest.mark.parametrize("off", [1.5, 20.0])
def test_images_that_lie_to_each_other_as_odometry_does_not_are_not_believed(off):
    hypotheses = Hypotheses()
    assert not hypotheses.add(*at(0.0, off))
    assert not hypotheses.add(*at(3.0))


def test_a_wrong_image_between_two_right_ones_does_not_matter():
    hypotheses = Hypotheses()
    said = [hypotheses.add(*at(0.0)), hypotheses.add(*at(3.0, 30.0)), hypotheses.add(*at(6.0))]
    assert said == [False, False, True]


def test_what_was_seen_far_back_or_before_a_gap_is_forgotten():
    hypotheses = Hypotheses()
    hypotheses.add(*at(0.0))
    assert not hypotheses.add(*at(40.0, 25.0))
    assert not hypotheses.add(*at(41.0))  # the first one is no longer kept
    hypotheses.forget()
    assert not hypotheses.add(*at(44.0))


class Recognizes:
    """A finder that knows where each label map was seen, or is mistaken by some metres."""

    def __init__(self, drive, mistaken):
        shown = zip(drive.label_maps, drive.truth.at(drive.stamps), strict=True)
        self._poses = {id(label_map): T for label_map, T in shown}
        self._mistaken = iter(mistaken)

    def extract(self, image):
        raise AssertionError("features come with the labels")

    def near(self, features, label_map, mount, T_map_base, covariance):
        return None

    def anywhere(self, features, label_map, mount):
        T = poses.compose(self._poses[id(label_map)], poses.from_planar(next(self._mistaken), 0, 0))
        return MeasuredPose(T, COVARIANCE)


def searched(drive, mistaken, seconds=2.0):
    finder = Recognizes(drive, mistaken)
    online = OnlineLocalizer(drive.semantic_map, drive.log_ratio, drive.mounts, FAST, finder=finder)
    online.search()
    status = {}
    for _, is_labels, stamp, content in messages(drive, seconds):
        if is_labels:
            online.add_labels(stamp, "camera", content, NO_FEATURES)
            status[stamp] = online.status
        else:
            online.add_odometry(stamp, content)
    return online, status


def test_a_robot_without_a_pose_starts_where_two_images_are_recognized(drive):
    online, status = searched(drive, itertools.repeat(0.0))
    assert online.counts["recognized by local features"] == 1
    found = min(stamp for stamp, value in status.items() if value != TrackingStatus.SEARCHING)
    assert found - drive.stamps[0] < 0.5  # at 8 m/s
    error = online.pose[0][:2, 3] - drive.truth.at(online.stamp)[:2, 3]
    assert np.linalg.norm(error) < 0.3


def test_images_that_are_mistaken_for_others_start_nothing(drive):
    online, _ = searched(drive, itertools.count(0.0, 17.0), seconds=1.5)
    assert online.counts["recognized by local features"] == 0


def test_a_robot_that_is_tracked_elsewhere_goes_on_where_images_are_recognized(drive):
    finder = Recognizes(drive, itertools.repeat(0.0))
    online = OnlineLocalizer(drive.semantic_map, drive.log_ratio, drive.mounts, FAST, finder=finder)
    away = poses.compose(drive.truth.at(drive.stamps[0]), poses.from_planar(45.0, 0.0, 0.0))
    online.initialize(InitialPose.around(away, 0.5, 0.03))
    for _, is_labels, stamp, content in messages(drive, 2.0):
        if is_labels:
            online.add_labels(stamp, "camera", content, NO_FEATURES)
        else:
            online.add_odometry(stamp, content)
    assert online.counts["recognized by local features"] == 1
    error = online.pose[0][:2, 3] - drive.truth.at(online.stamp)[:2, 3]
    assert np.linalg.norm(error) < 0.4
