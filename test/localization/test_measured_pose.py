import dataclasses
import itertools

import numpy as np
import pytest
from scipy.stats import multivariate_t

from fgsn_ros.geometry import poses
from fgsn_ros.geometry.trajectory import Trajectory
from fgsn_ros.localization.initial_pose import InitialPose
from fgsn_ros.localization.localizer import Localizer, LocalizerSettings
from fgsn_ros.localization.measured_pose import LABELS_ALONE_M, FeatureEvidence, MeasuredPose
from fgsn_ros.localization.measurement import MeasurementSettings
from fgsn_ros.localization.motion import MotionSettings, PlanarMotion
from fgsn_ros.localization.online import OnlineLocalizer
from fgsn_ros.localization.particle_filter import ParticleSet
from fgsn_ros.localization.tracking import TrackingStatus
from fgsn_ros.mapping.descriptors import ImageFeatures
from fgsn_ros.mapping.ground import Ground

SETTINGS = LocalizerSettings(
    min_particles=500, max_particles=2000, measurement=MeasurementSettings(points=1000)
)
SIGMA = np.array([0.3, 0.1, 0.5, 0.2, 0.2, 0.02])
NONE = ImageFeatures(np.zeros((0, 2), np.float32), np.zeros((0, 128), np.uint8))


def measured(x=3.0, y=-2.0, yaw=3.1, sigma=SIGMA):
    return MeasuredPose(poses.from_planar(x, y, yaw), np.diag(np.square(sigma)))


def test_a_pose_weighs_less_by_cauchys_law_of_its_distance_in_standard_deviations():
    offsets = np.array([[0, 0, 0], [0.3, 0, 0], [0, -0.1, 0], [0, 0, 0.02], [0.3, 0.1, -0.02]])
    T = poses.from_planar(*(np.array([3.0, -2.0, 3.1]) + offsets).T)
    expected = -2.0 * np.log1p([0.0, 1.0, 1.0, 1.0, 3.0])
    np.testing.assert_allclose(measured().log_likelihood(T), expected, atol=1e-9)


def test_headings_are_compared_around_the_circle():
    T = poses.from_planar(3.0, -2.0, np.array([3.1 + 0.1, 3.1 + 0.1 - 2.0 * np.pi]))
    logs = measured().log_likelihood(T)
    np.testing.assert_allclose(logs, -2.0 * np.log1p(25.0), atol=1e-9)


def test_height_roll_and_pitch_say_nothing():
    T = poses.from_xyz_rpy([[3.0, -2.0, 0.0], [3.0, -2.0, 4.0]], [[0.0, 0.0, 3.1]] * 2)
    logs = measured().log_likelihood(T)
    assert logs[0] == pytest.approx(logs[1], abs=1e-9)


def test_what_varies_together_is_weighed_together():
    covariance = np.diag(np.square(SIGMA))
    covariance[0, 1] = covariance[1, 0] = 0.9 * SIGMA[0] * SIGMA[1]
    pose = MeasuredPose(poses.from_planar(0.0, 0.0, 0.0), covariance)
    T = poses.from_planar(np.array([0.3, 0.3]), np.array([0.1, -0.1]), 0.0)
    along, across = pose.log_likelihood(T)
    offsets = np.array([[0.3, 0.1], [0.3, -0.1]])
    inverse = np.linalg.inv(covariance[:2, :2])
    squares = np.einsum("ni,ij,nj->n", offsets, inverse, offsets)
    np.testing.assert_allclose([along, across], -2.0 * np.log1p(squares), atol=1e-9)


def test_tensors_get_what_arrays_get():
    torch = pytest.importorskip("torch")
    T = poses.from_planar(*np.random.default_rng(0).normal([3.0, -2.0, 3.1], 0.3, (50, 3)).T)
    logs = measured().log_likelihood(torch.from_numpy(T))
    np.testing.assert_allclose(logs.numpy(), measured().log_likelihood(T), atol=1e-9)


@pytest.mark.parametrize(("metres", "agrees"), [(0.0, True), (1.9, True), (2.1, False)])
def test_it_agrees_with_an_estimate_within_four_standard_deviations_of_both(metres, agrees):
    pose = measured(x=0.0, y=0.0, yaw=0.0, sigma=np.full(6, 0.3))
    covariance = np.diag(np.full(6, 0.4**2))  # with 0.3 m: 0.5 m
    assert pose.agrees(poses.from_planar(metres, 0.0, 0.0), covariance) == agrees


@pytest.mark.parametrize(("sigmas", "near"), [(3.9, True), (4.1, False)])
def test_it_is_near_particles_of_which_one_is_within_four_standard_deviations(sigmas, near):
    x = 3.0 + np.array([9.0, sigmas, -7.0]) * SIGMA[0]
    assert measured().is_near(poses.from_planar(x, -2.0, 3.1)) == near


def test_it_and_a_prediction_that_exclude_each_other_are_weighed_as_students_t():
    off, spread = np.array([1.2, -0.3, 0.1]), np.diag(np.square([0.08, 0.05, 0, 0, 0, 0.01]))
    pose = measured(x=0.0, y=0.0, yaw=0.0, sigma=0.1 * SIGMA)
    predicted = poses.from_planar(*off)
    planar = np.ix_([0, 1, 5], [0, 1, 5])
    wrong = multivariate_t.pdf(off, np.zeros(3), pose.covariance[planar], df=1)
    right = multivariate_t.pdf(off, np.zeros(3), (pose.covariance + spread)[planar], df=1)
    expected = right / (right + wrong)
    assert 0.1 < expected < 0.9
    assert pose.probability(predicted, spread) == pytest.approx(expected, abs=1e-9)


def test_particles_are_divided_by_that_probability():
    ground = Ground(poses.from_planar(np.arange(3.0), 0.0, 0.0))
    motion, rng = PlanarMotion(MotionSettings(), ground), np.random.default_rng(0)
    spread = np.diag(np.square([0.08, 0.05, 0.1, 0.1, 0.1, 0.01]))
    pose, predicted = measured(1.2, 0.0, 0.0, 0.1 * SIGMA), poses.from_planar(0.0, 0.0, 0.0)
    particles = ParticleSet.uniform(motion.sample(predicted, spread, 1000, rng))
    divided = pose.divided(particles, (predicted, spread), motion, rng)
    there = divided.states[:, 0] > 0.6
    assert there.sum() == round(1000 * pose.probability(predicted, spread))
    np.testing.assert_allclose(divided.states[there, :2].mean(axis=0), [1.2, 0.0], atol=0.02)
    kept = divided.states[~there]
    np.testing.assert_array_equal(kept, particles.states[divided.ancestors[~there]])


def test_the_way_is_what_features_saw_from_agreement_to_agreement_and_since_then_odometrys():
    evidence, sure = FeatureEvidence(None), np.diag(np.full(6, 0.01**2))
    stamps = np.arange(8)
    T_map, T_wheels = (poses.from_planar(k * stamps, 0.0, 0.0) for k in (1.0, 1.5))
    T_odom = poses.compose(poses.from_planar(5.0, 2.0, 0.3), T_wheels)
    ways = []
    for k in stamps:
        agrees = MeasuredPose(T_map[k], sure) if k not in (3, 4) else None
        evidence.judge(agrees, T_map[k], sure, T_odom[k])
        ways.append(evidence.way(T_odom[k]))
    moved = [np.linalg.norm((b - a)[:3, 3]) for a, b in itertools.pairwise(ways)]
    np.testing.assert_allclose(moved, [1.0, 1.0, 1.5, 1.5, 0.0, 1.0, 1.0], atol=1e-12)


class Finder:
    """Measures what it is told to, by the truth."""

    def __init__(self, drive, frames=range(1000), offset=(0.0, 0.0, 0.0)):
        self._poses = iter(enumerate(drive.truth.at(drive.stamps)))
        self._frames, self._offset = frames, poses.from_planar(*offset)

    def extract(self, image):
        return NONE

    def near(self, features, label_map, mount, T_map_base, covariance):
        frame, T = next(self._poses)
        if frame not in self._frames:
            return None
        least = np.repeat([0.03, 0.002], 3)
        return MeasuredPose(poses.compose(T, self._offset), np.diag(least**2))

    def anywhere(self, features, label_map, mount):
        return None


def add_all_odometry(localizer, drive):
    for stamp, T in zip(drive.odometry.stamps, drive.odometry.poses, strict=True):
        localizer.add_odometry(stamp, T)


def position_errors(drive, estimates):
    truth = drive.truth.at([estimate.stamp for estimate in estimates])
    found = np.stack([estimate.T_map_base for estimate in estimates])
    return np.linalg.norm(found[:, :2, 3] - truth[:, :2, 3], axis=1)


def run(drive, finder, frames=40):
    localizer = Localizer(drive.semantic_map, drive.log_ratio, drive.mounts, SETTINGS, finder)
    T = poses.compose(drive.truth.at(drive.stamps[0]), poses.from_planar(0.8, -0.5, 0.04))
    localizer.initialize(
        InitialPose(T, np.diag(np.square([1.0, 1.0, 0.1, 0.01, 0.01, 0.07])), drive.stamps[0])
    )
    add_all_odometry(localizer, drive)
    shown = list(zip(drive.stamps, drive.label_maps, strict=True))[:frames]
    return [localizer.add_labels(stamp, "camera", labels, NONE) for stamp, labels in shown]


def longitudinal_sigma(estimate):
    return np.sqrt(estimate.covariance[0, 0])


def test_measured_poses_sharpen_the_estimate_and_its_covariance(drive):
    labels, both = run(drive, None), run(drive, Finder(drive))
    errors = position_errors(drive, both)
    assert errors[5:].max() < 0.1
    assert np.median(errors[5:]) < np.median(position_errors(drive, labels)[5:])
    assert longitudinal_sigma(labels[20]) > SETTINGS.measurement.shared_longitudinal_m * 0.9
    assert longitudinal_sigma(both[20]) < 0.1
    within = errors[5:] < 3.0 * np.array([longitudinal_sigma(e) for e in both[5:]])
    assert within.all()


def test_where_none_is_measured_the_labels_carry_as_before(drive):
    labels, none = run(drive, None, 15), run(drive, Finder(drive, frames=()), 15)
    for a, b in zip(labels, none, strict=True):
        np.testing.assert_array_equal(a.T_map_base, b.T_map_base)
        np.testing.assert_array_equal(a.covariance, b.covariance)


def test_what_the_labels_share_returns_over_the_way_without_measured_poses(drive):
    frames = range(10)
    estimates = run(drive, Finder(drive, frames=frames), 40)
    metres = 8.0 * (drive.stamps[:40] - drive.stamps[9])  # the drive's speed
    sigma = np.array([longitudinal_sigma(estimate) for estimate in estimates])
    assert sigma[9] < 0.1
    shared = SETTINGS.measurement.shared_longitudinal_m
    half = int(np.searchsorted(metres, 0.5 * LABELS_ALONE_M))
    assert 0.4 * shared < sigma[half] < 0.7 * shared
    assert sigma[np.searchsorted(metres, LABELS_ALONE_M) + 1] > 0.9 * shared


def test_a_measured_pose_that_the_labels_contradict_is_not_followed(drive):
    wrong = Finder(drive, frames=range(15, 18), offset=(-6.0, 1.0, 0.1))
    errors = position_errors(drive, run(drive, wrong))
    assert errors[10:].max() < 0.6


def test_a_label_map_that_comes_late_is_measured_at_its_own_time(drive):
    finder = Finder(drive)
    localizer = Localizer(drive.semantic_map, drive.log_ratio, drive.mounts, SETTINGS, finder)
    localizer.initialize(InitialPose.around(drive.truth.at(drive.stamps[0]), 0.3, 0.02, 0.005))
    add_all_odometry(localizer, drive)
    order = [0, 2, 1, 4, 3, 5]
    finder.near = lambda *_: MeasuredPose(drive.truth.at(stamp), np.diag(np.full(6, 1e-3)))
    for k in order:
        stamp = drive.stamps[k]
        estimate = localizer.add_labels(stamp, "camera", drive.label_maps[k], NONE)
    assert position_errors(drive, [estimate]) < 0.1


def test_features_that_cease_to_agree_are_noticed_and_then_not_missed(drive):
    finder = Finder(drive, frames=range(20))
    localizer = Localizer(drive.semantic_map, drive.log_ratio, drive.mounts, SETTINGS, finder)
    T = drive.truth.at(drive.stamps[0])
    localizer.initialize(InitialPose.around(T, 0.3, 0.02, drive.stamps[0]))
    add_all_odometry(localizer, drive)
    ceased = []
    for stamp, labels in zip(drive.stamps, drive.label_maps, strict=True):
        localizer.add_labels(stamp, "camera", labels, NONE)
        ceased.append(localizer.features.ceased(drive.odometry.at(stamp)))
    metres = 8.0 * (drive.stamps - drive.stamps[19])
    expected = (np.arange(len(ceased)) >= 22) & (metres < 2.0 * LABELS_ALONE_M)
    assert 10 < expected.sum() < 35
    assert np.abs(np.flatnonzero(ceased)[[0, -1]] - np.flatnonzero(expected)[[0, -1]]).max() <= 1


def slipping(drive, factor, sideways, turning):
    """Odometry of whose steps, from 2 s on and for 2 s, so much is wrong; by the way driven."""
    odometry = drive.odometry
    steps = poses.compose(poses.invert(odometry.poses[:-1]), odometry.poses[1:])
    slips = (odometry.stamps[1:] > 2.0) & (odometry.stamps[1:] <= 4.0)
    metres = np.linalg.norm(steps[slips, :3, 3], axis=1)
    steps[slips, :3, 3] *= factor
    off = poses.from_planar(np.zeros(len(metres)), sideways * metres, turning * metres)
    steps[slips] = poses.compose(steps[slips], off)
    T = [odometry.poses[0]]
    for step in steps:
        T.append(poses.compose(T[-1], step))
    return dataclasses.replace(drive, odometry=Trajectory(odometry.stamps, np.stack(T)))


SLIPS = {
    "spinning": (1.6, 0.0, 0.0),
    "far too fast": (2.5, 0.0, 0.0),
    "locked": (0.3, 0.0, 0.0),
    "sideways": (1.0, 0.4, 0.0),
    "turning": (1.0, 0.0, 0.06),
}


@pytest.mark.parametrize("slip", SLIPS.values(), ids=SLIPS)
def test_wheels_that_slip_are_not_believed_against_measured_poses(drive, slip):
    """Two measured poses that odometry leads away from are enough."""
    worse = slipping(drive, *slip)
    errors = position_errors(drive, run(worse, Finder(drive), 60))
    begins, ends = np.searchsorted(drive.stamps, [2.0, 4.0])
    assert errors[begins + 3 : ends].max() < 0.2
    assert errors[ends + 3 :].max() < 0.2
    assert position_errors(drive, run(worse, None, 60))[ends - 1] > errors[begins:].max()


def online_run(drive, finder):
    """Statuses after each label map, and the localizer."""
    online = OnlineLocalizer(
        drive.semantic_map, drive.log_ratio, drive.mounts, SETTINGS, finder=finder
    )
    online.initialize(InitialPose.around(drive.truth.at(drive.stamps[0]), 0.3, 0.02, 0.005))
    statuses, fed = [], 0
    for stamp, labels in zip(drive.stamps, drive.label_maps, strict=True):
        while fed < len(drive.odometry) and (fed == 0 or drive.odometry.stamps[fed - 1] < stamp):
            online.add_odometry(drive.odometry.stamps[fed], drive.odometry.poses[fed])
            fed += 1
        online.add_labels(stamp, "camera", labels, NONE)
        statuses.append(online.status_at(stamp))
    return statuses, online


def test_the_status_falls_while_wheels_slip_and_the_pose_is_not_taken_for_another(drive):
    statuses, online = online_run(slipping(drive, *SLIPS["spinning"]), Finder(drive))
    begins, ends = np.searchsorted(drive.stamps, [2.0, 4.0])
    tracked = np.array([status == TrackingStatus.TRACKING for status in statuses])
    assert tracked[begins - 5 : begins].all()
    assert not tracked[begins + 3 : ends].any()
    assert tracked[ends + 3 :].all()
    assert not online.counts


def test_one_wrong_measured_pose_in_good_driving_ends_no_tracking(drive):
    right, wrong = Finder(drive), Finder(drive, offset=(1.0, 0.5, 0.02))
    near, other = right.near, wrong.near
    frames = iter(range(1000))

    def mixed(*seen):
        each, off = near(*seen), other(*seen)
        return off if next(frames) % 10 == 9 else each

    right.near = mixed
    statuses, online = online_run(drive, right)
    assert all(status == TrackingStatus.TRACKING for status in statuses[15:])
    off = online.pose[0][:2, 3] - drive.truth.at(online.stamp)[:2, 3]
    assert np.linalg.norm(off) < 0.3
