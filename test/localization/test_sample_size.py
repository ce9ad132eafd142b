import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2

from fgsn_ros.geometry import poses
from fgsn_ros.localization.initial_pose import InitialPose
from fgsn_ros.localization.localizer import Localizer, LocalizerSettings
from fgsn_ros.localization.measurement import MeasurementSettings
from fgsn_ros.localization.sample_size import (
    BIN_M,
    HEADINGS,
    KldSettings,
    SampleSize,
    occupied_bins,
)

INSIDE = np.array([0.1, 0.1, 0.1])
seeds = st.integers(0, 2**32 - 1)
settings_of_kld = st.builds(KldSettings, st.floats(0.001, 1.0), st.floats(0.5, 0.9999))


def placed(planar):
    return poses.from_planar(*np.atleast_2d(planar).T)


def uniform(count):
    return np.full(count, 1.0 / count)


def in_bins(count, each=1):
    """Poses in so many bins of one row, `each` in every one."""
    x = (np.arange(count).repeat(each) + 0.5) * BIN_M
    return placed(np.stack([x, np.full_like(x, 0.1), np.full_like(x, 0.1)], axis=1))


def test_the_bound_is_that_of_the_paper_worked_out_by_hand():
    """k = 101, error 0.05, 1 - delta = 0.99: 1000 (1 - 1/450 + sqrt(1/450) z)^3, z = 2.3263479."""
    by_hand = 1000.0 * (1.0 - 1.0 / 450.0 + math.sqrt(1.0 / 450.0) * 2.3263478740) ** 3
    assert KldSettings(0.05, 0.99).bound(101) == pytest.approx(by_hand, rel=1e-9)


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.99])
@pytest.mark.parametrize("bins", [3, 10, 100, 3000])
def test_the_bound_is_the_quantile_of_chi_square_over_twice_the_error(bins, confidence):
    """Wilson and Hilferty's cube root is within 2 % from two degrees of freedom on."""
    exact = chi2.ppf(confidence, bins - 1) / (2.0 * 0.02)
    assert KldSettings(0.02, confidence).bound(bins) == pytest.approx(exact, rel=0.02)


def test_particles_in_few_bins_are_the_least_and_in_many_bins_the_most():
    size = SampleSize(200, 4000, KldSettings())
    assert size.needed(in_bins(1, each=500), uniform(500)) == 200
    assert size.needed(in_bins(4, each=100), uniform(400)) == 200
    assert size.needed(in_bins(500, each=2), uniform(1000)) == 4000


def test_between_them_it_is_the_bound_rounded_up():
    size = SampleSize(200, 4000, KldSettings())
    for bins in (30, 100, 200):
        needed = size.needed(in_bins(bins, each=3), uniform(3 * bins))
        assert needed == math.ceil(KldSettings().bound(bins))


@given(
    settings_of_kld,
    st.integers(2, 5000),
    st.integers(0, 5000),
    st.sampled_from([0.1, 1.0, 10.0, 1e4]),
    seeds,
)
def test_the_count_is_never_outside(kld, least, more, spread, seed):
    planar = np.random.default_rng(seed).normal(0.0, spread, (300, 3))
    needed = SampleSize(least, least + more, kld).needed(placed(planar), uniform(300))
    assert least <= needed <= least + more


@given(seeds)
def test_occupied_bins_are_those_that_a_dictionary_counts(seed):
    rng = np.random.default_rng(seed)
    planar, weights = rng.uniform(-1.5, 1.5, (60, 3)), rng.dirichlet(np.ones(60))
    T = placed(planar)
    turn = np.arctan2(T[:, 1, 0], T[:, 0, 0]) / (2.0 * np.pi) * HEADINGS
    columns = [np.floor(T[:, 0, 3] / BIN_M), np.floor(T[:, 1, 3] / BIN_M)]
    totals: dict[tuple, float] = {}
    for key, weight in zip(
        zip(*columns, np.floor(turn) % HEADINGS, strict=True), weights, strict=True
    ):
        totals[key] = totals.get(key, 0.0) + weight
    expected = sum(total >= 0.02 for total in totals.values())
    assert occupied_bins(T, weights, 0.02) == expected


def test_a_bin_that_hardly_weighs_anything_is_not_occupied():
    weights = np.array([0.7, 0.3 - 1e-6, 0.5e-6, 0.5e-6])
    assert occupied_bins(in_bins(4), weights, 1e-4) == 2


def test_position_and_heading_part_bins_and_a_full_turn_joins_them():
    step = 2.0 * np.pi / HEADINGS
    aside = INSIDE + np.array(
        [[0.0, 0.0, 0.0], [BIN_M, 0.0, 0.0], [0.0, -BIN_M, 0.0], [0.0, 0.0, step]]
    )
    assert occupied_bins(placed(aside), uniform(4), 1e-3) == 4
    turned = INSIDE + np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 2.0 * np.pi], [0.0, 0.0, -2.0 * np.pi]])
    assert occupied_bins(placed(turned), uniform(3), 1e-3) == 1


def test_bins_ten_thousand_kilometres_from_the_origin_are_told_apart():
    far = np.array([[1e7, -1e7, 0.1], [1e7 + 1.0, -1e7, 0.1]])
    assert occupied_bins(placed(far), uniform(2), 0.1) == 2


ADAPTIVE = LocalizerSettings(
    min_particles=300, max_particles=3000, measurement=MeasurementSettings(points=600)
)


def started(drive, std_m, std_deg, settings=ADAPTIVE):
    localizer = Localizer(drive.semantic_map, drive.log_ratio, drive.mounts, settings)
    std = np.array([std_m, std_m, 0.1, 0.01, 0.01, np.radians(std_deg)])
    T = drive.truth.at(drive.stamps[0])
    localizer.initialize(InitialPose(T, np.diag(std**2), drive.stamps[0]))
    return localizer


def add_all_odometry(localizer, drive):
    for stamp, T_odom_base in zip(drive.odometry.stamps, drive.odometry.poses, strict=True):
        localizer.add_odometry(stamp, T_odom_base)


def counts(drive, std_m, std_deg, frames=10):
    """Particles at the start and after each label map."""
    localizer = started(drive, std_m, std_deg)
    found = [len(localizer.particles[1])]
    add_all_odometry(localizer, drive)
    for stamp, labels in zip(drive.stamps[:frames], drive.label_maps, strict=False):
        localizer.add_labels(stamp, "camera", labels)
        found.append(len(localizer.particles[1]))
    return found


def test_an_unsure_start_takes_the_most_particles_and_tracking_the_least(drive):
    found = counts(drive, std_m=2.0, std_deg=5.0)
    assert found[0] == ADAPTIVE.max_particles
    assert found[-1] == ADAPTIVE.min_particles
    assert all(ADAPTIVE.min_particles <= count <= ADAPTIVE.max_particles for count in found)


def test_a_start_that_is_known_well_takes_few_at_once(drive):
    assert counts(drive, std_m=0.05, std_deg=0.5, frames=0) == [ADAPTIVE.min_particles]


def test_counts_are_the_same_each_time(drive):
    assert counts(drive, std_m=1.0, std_deg=4.0) == counts(drive, std_m=1.0, std_deg=4.0)


def test_without_labels_the_particles_become_more_and_part_as_they_spread(drive):
    """0.6 m after 1 m, a random walk, is a standard deviation of 4 m after the drive's 48 m."""
    noise = dataclasses.replace(ADAPTIVE.motion, lateral_per_metre=0.6, longitudinal_per_metre=0.6)
    settings = dataclasses.replace(ADAPTIVE, motion=noise, odometry_memory_s=0.5)
    localizer = started(drive, std_m=0.01, std_deg=0.1, settings=settings)
    assert len(localizer.particles[1]) == ADAPTIVE.min_particles
    add_all_odometry(localizer, drive)
    T_map_base, weights = localizer.particles
    assert len(weights) == ADAPTIVE.max_particles
    assert len(np.unique(T_map_base[:, 0, 3])) == ADAPTIVE.max_particles
