import numpy as np
import pytest

from fgsn_ros.training.statistics import LabelPairs, is_stationary, log_ratio, stationary_share


def make_pairs(**fields) -> LabelPairs:
    empty = {name: np.zeros(3) for name in ("observed", "at_points", "cells")}
    empty |= {name: np.zeros(3) for name in ("stationary_cells", "classed_cells")}
    return LabelPairs(**({"counts": np.zeros((2, 3, 3))} | empty | fields))


def test_log_ratio_of_many_counts_is_the_ratio_of_frequencies():
    counts = np.zeros((2, 3, 3))
    counts[0, :, 0] = (6e6, 3e6, 1e6)  # [observed, map 0]
    counts[1, :, 1] = (1e6, 8e6, 1e6)
    observed = np.array([5e6, 3e6, 2e6])
    table = log_ratio(counts, observed)
    np.testing.assert_allclose(table[:, 0], np.log([0.6 / 0.5, 0.3 / 0.3, 0.1 / 0.2]), atol=1e-3)
    np.testing.assert_allclose(table[:, 1], np.log([0.1 / 0.5, 0.8 / 0.3, 0.1 / 0.2]), atol=1e-3)


def test_log_ratio_of_a_map_label_never_seen_is_the_prior_and_favours_itself():
    counts = np.zeros((1, 3, 3))
    counts[0, 0, 0], counts[0, 1, 0] = 80, 20
    observed = np.array([50.0, 30.0, 20.0])
    table = log_ratio(counts, observed, prior_count=10.0)
    share = (observed + 1) / 103
    consistency = 81 / 102
    prior = (1 - consistency) * share + consistency * np.array([0, 0, 1])
    np.testing.assert_allclose(table[:, 2], np.log(prior / share))
    known = (counts[0, :, 0] + 10 * ((1 - consistency) * share + consistency * np.eye(3)[0])) / 110
    np.testing.assert_allclose(table[:, 0], np.log(known / share))


def test_log_ratio_is_a_distribution_over_observed_labels():
    rng = np.random.default_rng(0)
    counts, observed = rng.poisson(2.0, (4, 9, 9)) * 1.0, rng.poisson(50.0, 9) * 1.0
    table = log_ratio(counts, observed)
    share = (observed + 1) / (observed + 1).sum()
    np.testing.assert_allclose((np.exp(table) * share[:, None]).sum(axis=0), 1.0)


def test_information_of_labels_that_say_nothing_is_not_positive():
    rng = np.random.default_rng(0)
    counts = rng.multinomial(400, np.full(9, 1 / 9), size=8).reshape(8, 3, 3) * 1.0
    summary = make_pairs(counts=counts, observed=np.full(3, 1000.0)).summary()
    assert abs(summary["information"]) < 0.01
    assert summary["consistency"] == pytest.approx(1 / 3, abs=0.05)
    assert summary["entropy"] == pytest.approx(np.log(3))
    assert summary["used_labels"] == 3


def test_information_of_perfect_labels_is_their_entropy():
    counts = np.tile(np.eye(3) * 1000, (4, 1, 1))
    summary = make_pairs(counts=counts, observed=np.full(3, 1000.0)).summary()
    assert summary["consistency"] == 1.0
    assert summary["information"] == pytest.approx(np.log(3), abs=0.01)


def test_stationary_share_is_judged_by_names_then_classes_then_correspondences():
    pairs = make_pairs(
        classed_cells=np.array([10.0, 10.0, 0.0]),
        stationary_cells=np.array([9.0, 2.0, 0.0]),
        cells=np.array([1000.0, 1000.0, 1000.0]),
        at_points=np.array([297.0, 30.0, 3.0]),
    )
    np.testing.assert_array_equal(stationary_share(pairs, ("road", "sky", "parked car")), [1, 0, 0])
    np.testing.assert_allclose(stationary_share(pairs, None), [0.9, 0.2, 0.0])
    unclassed = make_pairs(cells=pairs.cells, at_points=pairs.at_points)
    # the average rate is 0.11: 0.5 is reached at 0.011
    np.testing.assert_allclose(stationary_share(unclassed, None), [1.0, 1.0, 0.15 / 1.1], atol=1e-9)


@pytest.mark.parametrize("name", ["sky", "Car", "moving vehicle", "bicyclist", "vehicle_parked"])
def test_classes_that_move_are_not_stationary(name):
    assert not is_stationary(name)


@pytest.mark.parametrize("name", ["road", "building", "pole", "tree trunk", "carport"])
def test_classes_that_stay_are_stationary(name):
    assert is_stationary(name)
