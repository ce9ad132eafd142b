"""Similarities: fits, and the files that hold them."""

import numpy as np
import pytest

from fgsn_ros.errors import RecordingError
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.similarity import (
    Similarity,
    fitted,
    read_similarity,
    robustly_fitted,
    similarity_text,
)

R = poses.from_xyz_rpy(np.zeros(3), [2.5, -0.4, 0.7])[:3, :3]
KNOWN = Similarity(3.5, R, np.array([10.0, -20.0, 5.0]))


def close(found, expected, atol=1e-9):
    assert found.scale == pytest.approx(expected.scale, abs=atol)
    np.testing.assert_allclose(found.R, expected.R, atol=atol)
    np.testing.assert_allclose(found.t, expected.t, atol=10 * atol)


def test_a_similarity_is_found_again_of_a_plane_too():
    points = np.random.default_rng(0).normal(size=(20, 3))
    close(fitted(points, KNOWN.points(points)), KNOWN)
    points[:, 2] = 0.0
    close(fitted(points, KNOWN.points(points)), KNOWN)


def test_poses_move_as_their_points_do():
    T = poses.from_xyz_rpy([1.0, 2.0, 3.0], [0.3, 0.2, 0.1])
    ahead = poses.transform(T, np.array([[0.0, 0.0, 2.0]]))
    moved = poses.transform(KNOWN.poses(T[None])[0], np.array([[0.0, 0.0, 2.0 * KNOWN.scale]]))
    np.testing.assert_allclose(moved, KNOWN.points(ahead), atol=1e-12)


def test_wrong_pairs_are_told_apart():
    rng = np.random.default_rng(1)
    points = rng.normal(size=(50, 3))
    target = KNOWN.points(points) + rng.normal(0.0, 0.01, (50, 3))
    wrong = np.arange(50) % 10 < 4
    target[wrong] += rng.normal(0.0, 20.0, (20, 3))
    found, agree = robustly_fitted(points, target, rng)
    assert not agree[wrong].any()
    assert agree[~wrong].mean() > 0.9
    close(found, KNOWN, 0.02)


def test_files_of_both_forms_are_read(tmp_path):
    (tmp_path / "a.json").write_text(similarity_text(KNOWN, origin=[1.0]))
    close(read_similarity(tmp_path / "a.json"), KNOWN)
    _, (x, y, z, w) = poses.to_quaternion(poses.from_rotation_translation(R, np.zeros(3)))
    (tmp_path / "b.txt").write_text(f"3.5 {w} {x} {y} {z} 10 -20 5\n")
    close(read_similarity(tmp_path / "b.txt"), KNOWN)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "0 numbers"),
        ("1 1 0 0 0 0 0", "7 numbers"),
        ("1 2 0 0 0 0 0 0", "length of a quaternion"),
        ("-1 1 0 0 0 0 0 0", "absurd"),
        ("1 1 0 0 0 0 0 nan", "absurd"),
        ('{"scale": 1, "rotation": [[1, 0, 0], [0, 1, 0], [0, 0, -1]], "translation": [0, 0, 0]}',
         "rotation is none"),
        ('{"scale": 1, "rotation": [[1, 0], [0, 1]], "translation": [0, 0, 0]}', "3 rows"),
        ('{"rotation": 1, "translation": [0, 0, 0]}', "'scale' is missing"),
        ("{", "Expecting"),
    ],
)  # fmt: skip
def test_what_is_no_similarity_is_refused(tmp_path, text, reason):
    (tmp_path / "s").write_text(text)
    with pytest.raises(RecordingError, match=reason):
        read_similarity(tmp_path / "s")
