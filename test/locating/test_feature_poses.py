from types import SimpleNamespace

import numpy as np
import pytest
from corridor import TintSegmenter

from fgsn_ros.errors import SettingsError
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.trajectory import Trajectory
from fgsn_ros.localization.initial_pose import InitialPose
from fgsn_ros.localization.localizer import LocalizerSettings
from fgsn_ros.localization.pipeline import localize
from fgsn_ros.locating import feature_poses
from fgsn_ros.locating.camera_pose import camera_pose
from fgsn_ros.locating.feature_poses import FeaturePoses, FeaturePoseSettings

KNOWN = np.diag(np.square([0.2, 0.2, 0.1, 0.01, 0.01, 0.02]))
"""Covariance of a prediction."""


def shown(corridor, log_ratio, image, **settings):
    """A finder, and what it is told of an image."""
    recording, semantic_map, local = corridor
    finder = FeaturePoses(semantic_map, local, log_ratio, FeaturePoseSettings(**settings))
    mount = recording.cameras["camera"]
    return finder, (finder.extract(image), TintSegmenter().segment(image), mount)


def near(corridor, log_ratio, image, T_map_base, **settings):
    finder, seen = shown(corridor, log_ratio, image, **settings)
    return finder.near(*seen, T_map_base, KNOWN)


def test_an_image_is_placed_near_a_rough_prediction(corridor, log_ratio):
    recording = corridor[0]
    T = recording.ground_truth.poses[5] @ poses.from_xyz_rpy([0.2, 0.1, 0.0], [0.0, 0.0, 0.05])
    predicted = T @ poses.from_xyz_rpy([-0.5, 0.4, 0.0], [0.0, 0.0, -0.06])
    found = near(corridor, log_ratio, recording.render(T)[0], predicted)
    error = poses.log(poses.compose(poses.invert(T), found.T_map_base))
    assert np.linalg.norm(error[:3]) < 0.05
    assert np.degrees(np.linalg.norm(error[3:])) < 0.3
    sigma = np.sqrt(np.diag(found.covariance))
    assert (sigma[:3] >= 0.03).all()
    assert (sigma[3:] >= np.radians(0.1)).all()
    assert (np.abs(error) < 4.0 * sigma).all()


def test_the_variance_is_that_of_least_squares_inflated_and_never_less_than_the_maps(
    corridor, log_ratio
):
    recording = corridor[0]
    T = recording.ground_truth.poses[5]
    image = recording.render(T)[0]
    plain = near(corridor, log_ratio, image, T, least_std_m=1e-6, least_std_deg=1e-6, inflation=1.0)
    twice = near(corridor, log_ratio, image, T, least_std_m=0.1, least_std_deg=1.0, inflation=2.0)
    least = np.diag(np.repeat([0.1, np.radians(1.0)], 3) ** 2)
    np.testing.assert_allclose(twice.covariance, 2.0 * plain.covariance + least, rtol=1e-3)


def test_an_image_without_texture_is_not_placed(corridor, log_ratio):
    recording = corridor[0]
    T = recording.ground_truth.poses[5]
    assert near(corridor, log_ratio, np.zeros_like(recording.render(T)[0]), T) is None


def test_an_image_is_not_placed_where_the_prediction_looks_the_other_way(corridor, log_ratio):
    recording = corridor[0]
    T = recording.ground_truth.poses[5]
    behind = T @ poses.from_planar(0.0, 0.0, np.pi)
    assert near(corridor, log_ratio, recording.render(T)[0], behind) is None


def test_an_image_is_found_on_the_whole_map_by_enough_matches(corridor, log_ratio):
    recording = corridor[0]
    T = recording.ground_truth.poses[5] @ poses.from_xyz_rpy([0.2, 0.1, 0.0], [0.0, 0.0, 0.05])
    image = recording.render(T)[0]
    finder, seen = shown(corridor, log_ratio, image)
    found = finder.anywhere(*seen)
    assert np.linalg.norm(found.T_map_base[:3, 3] - T[:3, 3]) < 0.05
    many, seen = shown(corridor, log_ratio, image, found_inliers=100_000)
    assert many.anywhere(*seen) is None
    dark, seen = shown(corridor, log_ratio, np.zeros_like(image))
    assert dark.anywhere(*seen) is None


def test_warming_up_goes_the_whole_way_to_a_pose(corridor, log_ratio, monkeypatch):
    finder, _ = shown(corridor, log_ratio, np.zeros((200, 320, 3), np.uint8))
    found = []
    monkeypatch.setattr(feature_poses, "camera_pose", lambda *a: found.append(camera_pose(*a)))
    finder.warm_up()
    assert found[0].inliers.all()


@pytest.mark.parametrize("name", ["least_std_m", "least_std_deg", "inflation", "found_inliers"])
def test_settings_out_of_range_are_refused(name):
    with pytest.raises(SettingsError, match=name[:9]):
        FeaturePoseSettings(**{name: 0.0})


def test_a_recording_is_localized_more_exactly_with_features_than_by_labels(corridor, log_ratio):
    drive, semantic_map, local = corridor
    truth = drive.ground_truth
    scaled = truth.poses.copy()
    scaled[:, :3, 3] *= 1.03
    recording = SimpleNamespace(
        name="corridor",
        cameras=drive.cameras,
        odometry=Trajectory(truth.stamps, scaled),
        frame_count=drive.frame_count,
        frames=drive.frames,
    )
    checkpoint = SimpleNamespace(fingerprint=semantic_map.fingerprint, log_ratio=log_ratio)
    start = truth.poses[0] @ poses.from_planar(0.3, 0.2, 0.03)
    errors = []
    for finder in (None, FeaturePoses(semantic_map, local, log_ratio)):
        run = localize(
            recording,
            semantic_map,
            checkpoint,
            InitialPose.around(start, 0.4, 0.04),
            LocalizerSettings(min_particles=300, max_particles=600),
            labels=lambda frame: TintSegmenter().segment(frame.image),
            finder=finder,
            progress=False,
        )
        off = run.trajectory.poses[:, :2, 3] - truth.at(run.trajectory.stamps)[:, :2, 3]
        errors.append(np.linalg.norm(off, axis=1)[3:])
    by_labels, with_features = errors
    assert np.median(with_features) < 0.5 * np.median(by_labels)
    assert with_features.max() < 0.15
