import dataclasses

import numpy as np
import pytest

from fgsn_ros.errors import LocalizationError, MapError, SettingsError
from fgsn_ros.geometry import poses
from fgsn_ros.localization.initial_pose import InitialPose
from fgsn_ros.localization.localizer import Localizer, LocalizerSettings
from fgsn_ros.localization.measurement import MeasurementSettings
from fgsn_ros.mapping.semantic_map import check_fingerprint
from fgsn_ros.segmentation.labels import UNLABELLED

FAST = LocalizerSettings(
    min_particles=500, max_particles=2000, measurement=MeasurementSettings(points=1000)
)
STD = np.array([1.5, 1.5, 0.1, 0.01, 0.01, np.deg2rad(4.0)])


def started(drive, offset=(0.0, 0.0, 0.0), settings=FAST, std=STD):
    localizer = Localizer(drive.semantic_map, drive.log_ratio, drive.mounts, settings)
    T = drive.truth.at(drive.stamps[0])
    shifted = poses.from_planar(*offset)
    shifted[:3, :3] = shifted[:3, :3] @ T[:3, :3]
    shifted[:3, 3] += T[:3, 3]
    localizer.initialize(InitialPose(shifted, np.diag(std**2), drive.stamps[0]))
    return localizer


def add_all_odometry(localizer, drive):
    for stamp, T in zip(drive.odometry.stamps, drive.odometry.poses, strict=True):
        localizer.add_odometry(stamp, T)


def run(drive, frames=60, **kwargs):
    localizer = started(drive, **kwargs)
    add_all_odometry(localizer, drive)
    frames = zip(drive.stamps[:frames], drive.label_maps, strict=False)
    return [localizer.add_labels(stamp, "camera", labels) for stamp, labels in frames], localizer


def position_errors(drive, estimates):
    truth = drive.truth.at([e.stamp for e in estimates])
    found = np.stack([e.T_map_base for e in estimates])
    return np.linalg.norm(found[:, :2, 3] - truth[:, :2, 3], axis=1)


def test_it_tracks_within_a_decimetre_while_odometry_drifts_by_two_percent(drive):
    estimates, localizer = run(drive)
    errors = position_errors(drive, estimates)
    assert np.median(errors[5:]) < 0.1
    assert errors[5:].max() < 0.4
    assert np.mean([e.layers for e in estimates[10:]]) < 2.0
    assert len(localizer.particles[1]) == FAST.min_particles
    assert min(e.visible_points for e in estimates) > 900
    assert min(e.match_score for e in estimates[5:]) > 0.5


@pytest.mark.parametrize("seed", range(20))
def test_it_converges_from_two_metres_and_five_degrees_off(drive, seed):
    angle = np.random.default_rng(seed).uniform(0, 2 * np.pi)
    side = 1.0 if seed % 2 else -1.0
    offset = (2.0 * np.cos(angle), 2.0 * np.sin(angle), side * np.deg2rad(5.0))
    settings = dataclasses.replace(FAST, random_seed=seed)
    estimates, _ = run(drive, frames=16, offset=offset, settings=settings)
    errors = position_errors(drive, estimates)
    assert errors[-3:].max() < 0.3
    truth = drive.truth.at(estimates[-1].stamp)
    assert poses.rotation_angle(poses.invert(truth) @ estimates[-1].T_map_base) < np.deg2rad(1.0)


def test_its_covariance_is_honest(drive):
    """The mean normalised squared error is 1 if honest; errors of near frames go together.

    Here frames share no error: their labels end where those of the map do.
    """
    shareless = dataclasses.replace(
        FAST.measurement, shared_longitudinal_m=0.0, shared_lateral_m=0.0
    )
    estimates, _ = run(drive, settings=dataclasses.replace(FAST, measurement=shareless))
    kept = np.ix_([0, 1, 5], [0, 1, 5])
    normalised = []
    for estimate in estimates:
        truth = drive.truth.at(estimate.stamp)
        heading = poses.to_rpy(estimate.T_map_base)[2] - poses.to_rpy(truth)[2]
        error = np.append((estimate.T_map_base - truth)[:2, 3], poses.wrap_angle(heading))
        normalised.append(error @ np.linalg.solve(estimate.covariance[kept], error) / 3.0)
    assert 0.2 < np.mean(normalised) < 3.0
    assert (np.diag(estimates[-1].covariance) > 0.0).all()


def test_same_seed_same_result_to_the_bit_and_another_seed_another(drive):
    runs = [
        run(drive, frames=8, settings=dataclasses.replace(FAST, random_seed=seed))[0]
        for seed in (3, 3, 4)
    ]
    first, same, other = (np.stack([e.T_map_base for e in r]) for r in runs)
    np.testing.assert_array_equal(first, same)
    np.testing.assert_array_equal(runs[0][-1].covariance, runs[1][-1].covariance)
    assert not np.array_equal(first, other)


def test_a_robot_that_stands_still_does_not_become_more_and_more_sure(drive):
    localizer = started(drive, settings=FAST)
    for stamp in np.arange(0.0, 3.0, 0.1):
        localizer.add_odometry(stamp, np.eye(4))
    estimates = [localizer.add_labels(0.01, "camera", drive.label_maps[0])]
    estimates += [
        localizer.add_labels(stamp, "camera", drive.label_maps[0])
        for stamp in np.arange(0.1, 2.9, 0.1)
    ]
    assert estimates[-1].layers == 0
    np.testing.assert_allclose(estimates[-1].covariance, estimates[1].covariance, rtol=0.5)


def test_without_map_points_it_follows_odometry_and_grows_unsure(drive):
    localizer = started(drive, offset=(500.0, 500.0, 0.0), std=STD * 0.1)
    add_all_odometry(localizer, drive)
    estimates = [
        localizer.add_labels(stamp, "camera", labels)
        for stamp, labels in zip(drive.stamps, drive.label_maps, strict=True)
    ]
    assert {e.selected_points for e in estimates} == {0}
    spread = [np.trace(e.covariance[:2, :2]) for e in estimates]
    assert spread[-1] > 2.0 * spread[0]


def test_the_spatial_model_tracks_too(drive):
    settings = dataclasses.replace(FAST, model="spatial", min_particles=1000)
    std = np.array([0.3, 0.3, 0.05, 0.005, 0.005, 0.02])
    estimates, localizer = run(drive, frames=25, settings=settings, std=std)
    assert position_errors(drive, estimates)[-10:].max() < 0.4
    assert localizer.particles[0].shape == (1000, 4, 4)


def test_late_labels_are_weighed_at_their_own_time(drive):
    localizer = started(drive)
    add_all_odometry(localizer, drive)
    order = [i + (1 if i % 2 == 0 else -1) for i in range(20)]
    estimates = [
        localizer.add_labels(drive.stamps[i], "camera", drive.label_maps[i]) for i in order
    ]
    assert [e.labels_stamp for e in estimates] == [drive.stamps[i] for i in order]
    assert [e.stamp for e in estimates] == list(np.maximum.accumulate(drive.stamps[order]))
    assert localizer.stamp == max(drive.stamps[order])
    assert position_errors(drive, estimates)[-8:].max() < 0.3


def test_labels_that_all_come_half_a_second_late_localize_as_well(drive):
    """A second camera's labels come in time and say nothing: the particles run ahead of all.

    The 4 m of half a second go by odometry: 0.08 m for its scale, 0.1 m for the model's noise, over
    an error of 0.1 m of labels in time. Labels weighed at the wrong time would be 4 m off.
    """
    localizer = started(drive)
    add_all_odometry(localizer, drive)
    blank = dataclasses.replace(
        drive.label_maps[0], labels=np.full_like(drive.label_maps[0].labels, UNLABELLED)
    )
    late = []
    for i in range(5, 60):
        localizer.add_labels(drive.stamps[i], "camera", blank)
        localizer.request_update()
        late.append(localizer.add_labels(drive.stamps[i - 5], "camera", drive.label_maps[i - 5]))
        localizer.request_update()
    assert {round(e.stamp - e.labels_stamp, 3) for e in late} == {0.5}
    errors = position_errors(drive, late)
    assert np.median(errors[20:]) < 0.4
    assert errors[20:].max() < 0.8


def test_settings_change_while_the_particles_stay(drive):
    _, localizer = run(drive, frames=30)
    before, _ = localizer.particles
    localizer.settings = dataclasses.replace(
        FAST, min_particles=300, measurement=MeasurementSettings(points=500)
    )
    np.testing.assert_array_equal(localizer.particles[0], before)
    estimate = localizer.add_labels(drive.stamps[30], "camera", drive.label_maps[30])
    assert estimate.selected_points <= 500
    assert len(localizer.particles[1]) == 300
    assert position_errors(drive, [estimate])[0] < 0.4
    with pytest.raises(LocalizationError, match="motion model"):
        localizer.settings = dataclasses.replace(FAST, model="spatial")


def test_after_a_reset_time_may_start_anew(drive):
    _, localizer = run(drive, frames=5)
    localizer.reset()
    assert not localizer.initialized
    localizer.add_odometry(-100.0, np.eye(4))
    localizer.add_odometry(-99.9, np.eye(4))
    localizer.initialize(InitialPose(drive.truth.at(drive.stamps[0]), np.diag(STD**2), -100.0))
    assert localizer.add_labels(-99.95, "camera", drive.label_maps[0]).visible_points > 900
    assert localizer.add_labels(-100.1, "camera", drive.label_maps[0]) is None
    assert localizer.skipped["older than odometry"] == 1


def test_labels_that_odometry_does_not_cover_are_skipped_and_counted(drive):
    localizer = Localizer(drive.semantic_map, drive.log_ratio, drive.mounts, FAST)
    labels = drive.label_maps[0]
    assert localizer.add_labels(1.0, "camera", labels) is None
    localizer.initialize(InitialPose(np.eye(4), np.diag(STD**2), 1.0))
    assert localizer.add_labels(1.0, "camera", labels) is None
    localizer.add_odometry(1.0, np.eye(4))
    localizer.add_odometry(1.1, np.eye(4))
    assert localizer.add_labels(1.2, "camera", labels) is None
    assert localizer.add_labels(0.5, "camera", labels) is None
    assert localizer.skipped == {
        "no initial pose": 1,
        "ahead of odometry": 2,
        "older than odometry": 1,
    }


def test_bad_odometry_is_refused_and_does_no_harm(drive):
    localizer = started(drive)
    localizer.add_odometry(0.0, np.eye(4))
    localizer.add_odometry(0.1, np.eye(4))
    with pytest.raises(LocalizationError, match="NaN"):
        localizer.add_odometry(0.2, np.full((4, 4), np.nan))
    with pytest.raises(LocalizationError, match="back in time"):
        localizer.add_odometry(0.05, np.eye(4))
    assert localizer.initialized


def test_an_initial_pose_without_a_stamp_is_one_of_the_newest_odometry(drive):
    localizer = Localizer(drive.semantic_map, drive.log_ratio, drive.mounts, FAST)
    pose = InitialPose(np.eye(4), np.diag(STD**2))
    with pytest.raises(LocalizationError, match="odometry first"):
        localizer.initialize(pose)
    localizer.add_odometry(3.0, np.eye(4))
    localizer.initialize(pose)
    assert localizer.stamp == 3.0


def test_labels_of_an_unknown_camera_are_refused(drive):
    with pytest.raises(LocalizationError, match="rear"):
        started(drive).add_labels(0.0, "rear", drive.label_maps[0])


def test_a_map_of_another_checkpoint_is_refused_naming_both(drive):
    with pytest.raises(MapError, match=r"aaaaaaaaaaaa, .* bbbbbbbbbbbb"):
        check_fingerprint(drive.semantic_map, "b" * 64)
    check_fingerprint(drive.semantic_map, "a" * 64)


def test_settings_out_of_range_are_refused():
    with pytest.raises(SettingsError, match="max_particles"):
        LocalizerSettings(min_particles=1000, max_particles=10)
    with pytest.raises(SettingsError, match="model"):
        LocalizerSettings(model="flat")
