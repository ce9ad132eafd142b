from dataclasses import replace

import numpy as np
import pytest
import street

from fgsn_ros.errors import SettingsError
from fgsn_ros.geometry import poses
from fgsn_ros.localization.measurement import EvidenceTable
from fgsn_ros.locating.camera_pose import Sightings
from fgsn_ros.locating.consistency import (
    Circles,
    Consistency,
    ConsistencySettings,
    GeometricSettings,
)
from fgsn_ros.locating.matching import Matches
from fgsn_ros.mapping.map_records import MapPoints

T_MAP_BASE = poses.from_planar(30.0, 0.6, 0.06)
STATIONS = np.column_stack([np.arange(0.0, 80.0, 2.0), np.zeros(40), np.full(40, 1.5)])


@pytest.fixture(scope="module")
def street_map():
    return street.street_map(np.random.default_rng(0), 80.0)


@pytest.fixture(scope="module")
def view():
    """What the camera sees at T_MAP_BASE."""
    return street.label_map(T_MAP_BASE, street.MOUNT, np.random.default_rng(1))


def matches_of(points, rays, labels):
    return Matches(Sightings.of(points.points.astype(np.float64), rays, street.MOUNT.camera),
                   points, np.asarray(labels))  # fmt: skip


@pytest.fixture(scope="module")
def matched(street_map):
    """Matches, the first half of them right, the others with another point's ray."""
    rng = np.random.default_rng(2)
    points = street_map.all_points()
    T_camera_map = poses.invert(T_MAP_BASE @ street.MOUNT.T_base_camera)
    seen = poses.transform(T_camera_map, points.points)
    distance = np.linalg.norm(seen, axis=1)
    _, valid = street.MOUNT.camera.project(seen)
    usable = np.flatnonzero(valid & (distance > points.min_range) & (distance < 25.0))
    chosen = rng.choice(usable, 200, replace=False)
    rays = seen[chosen, :2] / seen[chosen, 2:]
    rays[100:] = rng.permutation(rays[100:])
    labels = points.labels[chosen].astype(np.int64)
    return matches_of(points[chosen], rays, labels)


def consistency(street_map, method, **values):
    settings = ConsistencySettings(method=method, **values)
    return Consistency(street_map, street.log_ratio_table(), STATIONS, settings)


def test_without_labels_all_matches_weigh_alike(street_map, matched, view):
    weights = consistency(street_map, "none").weights(matched, view, street.MOUNT)
    np.testing.assert_array_equal(weights, 1.0)


def test_matches_whose_labels_differ_are_dropped_unless_nothing_is_seen(street_map, matched, view):
    labels = matched.labels.copy()
    labels[:50] = (labels[:50] + 1) % street.LABELS
    labels[50:60] = street.LABELS
    changed = replace(matched, labels=labels)
    weights = consistency(street_map, "ssmc").weights(changed, view, street.MOUNT)
    assert not weights[:50].any()
    np.testing.assert_array_equal(weights[50:], 1.0)


def test_a_match_weighs_as_much_as_it_is_likely_to_be_right(street_map, matched, view):
    labels = matched.labels.copy()
    labels[1] = (labels[1] + 1) % street.LABELS
    labels[2] = street.LABELS
    soft = consistency(street_map, "soft", right_share=0.2, outlier_share=0.0)
    weights = soft.weights(replace(matched, labels=labels), view, street.MOUNT)
    # p(observed | right) / p(observed) of the street's noise: 3 in 4 labels are kept.
    for index, ratio in ((0, 0.75 * street.LABELS + 0.25), (1, 0.25), (2, 1.0)):
        assert weights[index] == pytest.approx(0.2 * ratio / (0.2 * ratio + 0.8), rel=1e-4)


def test_a_right_match_leaves_the_true_pose_on_its_circle(street_map, matched):
    table = EvidenceTable(street.log_ratio_table(), 0.35)
    circles = Circles(street_map, table, STATIONS, GeometricSettings(step_deg=1.0))
    made = circles._poses(matched, street.MOUNT)
    camera = T_MAP_BASE @ street.MOUNT.T_base_camera
    yaw = poses.to_rpy(T_MAP_BASE)[2]
    metres = np.linalg.norm(made.position - camera[:3, 3], axis=1)
    near = (metres < 1.0) & (np.abs(poses.wrap_angle(made.yaw - yaw)) < np.radians(3.0))
    through = np.unique(made.match[near])
    assert np.mean(np.isin(np.arange(100), through)) > 0.9
    assert np.mean(np.isin(np.arange(100, 200), through)) < 0.5


def test_right_matches_fit_the_labels_of_all_points_better(street_map, matched, view):
    table = EvidenceTable(street.log_ratio_table(), 0.35)
    circles = Circles(street_map, table, STATIONS, GeometricSettings())
    scores = circles.scores(matched, view, street.MOUNT)
    right, wrong = scores[:100], scores[100:]
    assert np.isfinite(right).mean() > 0.95
    assert np.mean(right[:, None] > wrong) > 0.8
    weights = consistency(street_map, "gsmc").weights(matched, view, street.MOUNT)
    assert weights.min() > 0.0
    # Half of the matches are right; of the draws at least three quarters are.
    assert weights[:100].sum() > 0.75 * weights.sum()


def test_a_point_seen_above_that_lies_below_allows_no_pose(street_map, view):
    ground = MapPoints(
        np.array([[40.0, 1.0, 0.0]]),
        np.array([1], np.uint16),
        np.ones(1),
        np.array([[1.0, 0.0, 0.0]]),
        np.array([4.0]),
        np.array([30.0]),
    )
    table = EvidenceTable(street.log_ratio_table(), 0.35)
    circles = Circles(street_map, table, STATIONS, GeometricSettings())
    for v, allowed in ((0.15, True), (-0.3, False)):
        one = matches_of(ground, np.array([[0.0, v]]), [1])
        assert bool(np.isfinite(circles.scores(one, view, street.MOUNT)[0])) is allowed


def test_no_matches_have_no_weights(street_map, matched, view):
    none = matches_of(matched.points[:0], np.zeros((0, 2)), np.zeros(0, np.int64))
    for method in ("none", "ssmc", "soft", "gsmc"):
        assert consistency(street_map, method).weights(none, view, street.MOUNT).shape == (0,)


@pytest.mark.parametrize(
    "values",
    [{"step_deg": 0.0}, {"height_std_m": 0.0}, {"reach_m": 0.0}, {"points": 0}, {"cell_m": 0.0}],
    ids=str,
)
def test_settings_are_checked(values):
    with pytest.raises(SettingsError):
        GeometricSettings(**values)
    with pytest.raises(SettingsError):
        ConsistencySettings(right_share=1.0)
