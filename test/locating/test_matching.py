import numpy as np
import pytest
from corridor import TintSegmenter

from fgsn_ros.errors import SettingsError
from fgsn_ros.geometry import poses
from fgsn_ros.locating.matching import Doubt, Matcher, MatchSettings, Seen
from fgsn_ros.mapping.descriptors import feature_extractor


def seen_from(corridor, T_map_base):
    recording = corridor[0]
    image, _ = recording.render(T_map_base)
    camera = recording.cameras["camera"].camera
    return Seen.of(feature_extractor("sift")(image), camera, TintSegmenter().segment(image))


def test_most_matches_are_right_and_no_point_or_pixel_is_in_two(corridor):
    recording, _, local = corridor
    mount = recording.cameras["camera"]
    T_map_base = recording.ground_truth.poses[6]
    T_map_camera = T_map_base @ mount.T_base_camera
    place = T_map_camera @ poses.from_xyz_rpy([0.5, 0.0, -2.0], [0.0, 0.1, 0.0])
    seen = seen_from(corridor, T_map_base)
    matches = Matcher(local, MatchSettings()).matches(seen, place, mount.camera)
    errors, _ = matches.sightings.residuals(T_map_camera)
    right = np.linalg.norm(errors, axis=1) < 2.0
    assert right.sum() > 50
    assert right.mean() > 0.6
    for once in (matches.sightings.points, matches.sightings.rays):
        assert len(np.unique(once, axis=0)) == len(once)
    # What the image shows at a right match has the point's label.
    assert np.mean(matches.labels[right] == matches.points.labels[right]) > 0.95


def test_points_that_lie_behind_the_place_are_not_matched(corridor):
    recording, _, local = corridor
    mount = recording.cameras["camera"]
    turned = poses.from_xyz_rpy([0.0, 0.0, 0.0], [0.0, 0.0, np.pi])
    T_map_base = recording.ground_truth.poses[6]
    away = T_map_base @ turned @ mount.T_base_camera
    seen = seen_from(corridor, T_map_base)
    matches = Matcher(local, MatchSettings(away_m=0.0)).matches(seen, away, mount.camera)
    assert len(matches) == 0


def test_a_smaller_ratio_leaves_fewer_matches(corridor):
    recording, _, local = corridor
    mount = recording.cameras["camera"]
    T_map_base = recording.ground_truth.poses[6]
    seen = seen_from(corridor, T_map_base)
    counts = [
        len(
            Matcher(local, MatchSettings(ratio=ratio)).matches(
                seen, T_map_base @ mount.T_base_camera, mount.camera
            )
        )
        for ratio in (0.95, 0.8, 0.6)
    ]
    assert counts[0] > counts[1] > counts[2] > 0


@pytest.mark.parametrize(
    "values",
    [{"ratio": 0.0}, {"same_point_m": -1.0}, {"radius_m": 0.0}, {"away_m": -1.0}],
    ids=str,
)
def test_settings_are_checked(values):
    with pytest.raises(SettingsError):
        MatchSettings(**values)


def test_where_the_place_is_known_features_far_off_neither_match_nor_rival_others(corridor):
    recording, _, local = corridor
    mount = recording.cameras["camera"]
    T_map_base = recording.ground_truth.poses[6]
    T_map_camera = T_map_base @ mount.T_base_camera
    seen = seen_from(corridor, T_map_base)
    place = T_map_camera @ poses.from_xyz_rpy([0.1, 0.0, -0.2], [0.0, 0.01, 0.0])
    right = []
    for off_deg in (None, 2.0):
        settings = MatchSettings(ratio=0.8, away_m=0.3, off_deg=off_deg)
        sightings = Matcher(local, settings).matches(seen, place, mount.camera).sightings
        errors, _ = sightings.residuals(T_map_camera)
        right.append(int((np.linalg.norm(errors, axis=1) < 2.0).sum()))
    assert right[1] > right[0]
    sight = (sightings.points - place[:3, 3]) @ place[:3, :3]
    ranges = np.linalg.norm(sight, axis=1)
    rays = np.c_[sightings.rays, np.ones(len(sightings))]
    along = np.einsum("ij,ij->i", sight, rays) / ranges / np.linalg.norm(rays, axis=1)
    assert (np.arccos(along) <= np.arctan2(0.3, ranges) + np.radians(2.0) + 1e-9).all()
    turned = place @ poses.from_xyz_rpy([0.0, 0.0, 0.0], [0.0, 0.3, 0.0])
    assert len(Matcher(local, settings).matches(seen, turned, mount.camera)) < 0.3 * right[1]


def test_features_are_looked_for_as_far_off_as_the_prediction_may_be(corridor):
    recording, _, local = corridor
    mount = recording.cameras["camera"]
    T_map_base = recording.ground_truth.poses[6]
    seen = seen_from(corridor, T_map_base)
    wrong = T_map_base @ mount.T_base_camera @ poses.from_xyz_rpy([0.0] * 3, [0.0, 0.3, 0.0])
    matcher = Matcher(local, MatchSettings(ratio=0.8, away_m=0.3, off_deg=2.0))
    sure, unsure = (
        len(matcher.matches(seen, wrong, mount.camera, doubt)) for doubt in (None, Doubt(0.5, 0.4))
    )
    assert sure < 0.3 * unsure


def test_the_angle_that_features_may_be_off_is_above_0():
    with pytest.raises(SettingsError):
        MatchSettings(off_deg=0.0)
