"""The solver of adjustment's systems, against a dense one."""

import numpy as np
import pytest
from scipy.sparse import bsr_matrix

from fgsn_ros.mapping.sfm import banded
from fgsn_ros.mapping.sfm.banded import solved

SIZE = 6


def ring(count, border, rng):
    """A positive definite matrix: blocks on a ring, coupled with two each way, and a border."""
    rows = []
    for i in range(count):
        for j in (i, (i + 1) % count, (i + 2) % count):
            row = np.zeros((3, (count + border) * SIZE))
            for k in (i, j, *range(count, count + border)):
                row[:, k * SIZE : (k + 1) * SIZE] = rng.normal(size=(3, SIZE))
            rows.append(row)
    A = np.concatenate(rows)
    shuffled = np.r_[rng.permutation(count), count : count + border]
    A = A[:, (shuffled[:, None] * SIZE + np.arange(SIZE)).ravel()]
    return A.T @ A + 0.1 * np.eye(A.shape[1])


@pytest.mark.parametrize("border", [0, 1, 2])
@pytest.mark.parametrize("most", [0, 10**9])
def test_systems_along_a_road_are_solved_whatever_their_order(border, most, monkeypatch):
    monkeypatch.setattr(banded, "_MOST_NUMBERS", most)
    rng = np.random.default_rng(border)
    H = ring(17, border, rng)
    right = rng.normal(size=len(H))
    x = solved(bsr_matrix(H, blocksize=(SIZE, SIZE)), right, border)
    assert x == pytest.approx(np.linalg.solve(H, right), rel=1e-7, abs=1e-9)


def test_a_matrix_that_is_not_positive_definite_is_solved_too():
    H = ring(9, 1, np.random.default_rng(5))
    H[0, 0] -= 2.0 * H[0, 0]
    right = np.arange(len(H), dtype=float)
    x = solved(bsr_matrix(H, blocksize=(SIZE, SIZE)), right, 1)
    assert H @ x == pytest.approx(right, rel=1e-6, abs=1e-6)
