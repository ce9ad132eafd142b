"""The pose functions of the filter on tensors: the same values, of the tensors' type."""

import numpy as np
import pytest
import torch

from fgsn_ros.geometry import poses
from fgsn_ros.geometry.arrays import common, doubles, full, host, like, numbered

TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-5}
types = pytest.mark.parametrize("dtype", TOLERANCE, ids=str)


def twists():
    """From nothing, through the switch of the series, to near a half turn."""
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(60, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    angles = np.repeat([0.0, 1e-6, 0.05, 0.0999, 0.1001, 0.5, 1.5, 2.9, 3.1, 3.14], 6)
    return np.concatenate([rng.normal(0.0, 3.0, (60, 3)), directions * angles[:, None]], axis=1)


@types
@pytest.mark.parametrize(
    "function",
    [
        lambda xi, T: poses.exp(xi),
        lambda xi, T: poses.log(T),
        lambda xi, T: poses.rotation_vector(T),
        lambda xi, T: poses.invert(T),
        lambda xi, T: poses.compose(T, T),
        lambda xi, T: poses.interpolate(T[:50], T[10:], 0.3),
        lambda xi, T: poses.wrap_angle(3.0 * xi),
        lambda xi, T: poses.from_rotation_translation(T[:, :3, :3], np.ones(3)),
        lambda xi, T: poses.identity((3, 2), T),
        lambda xi, T: poses.weighted_mean(T[18:36], abs(xi[18:36, 0])),
        lambda xi, T: poses.mean_rotation(T[18:36], abs(xi[18:36, 0])),
    ],
)
def test_tensors_give_what_arrays_give_and_stay_tensors_of_their_type(function, dtype):
    xi = twists()
    expected = function(xi, poses.exp(xi))
    tensor = torch.from_numpy(xi).to(dtype)
    found = function(tensor, torch.from_numpy(poses.exp(xi)).to(dtype))
    assert found.dtype == dtype
    np.testing.assert_allclose(host(found), expected, atol=10 * TOLERANCE[dtype])


def test_one_tensor_makes_tensors_of_all():
    T = poses.exp(twists())
    moved = poses.compose(T[0], torch.from_numpy(T).float())
    assert moved.dtype == torch.float32
    np.testing.assert_allclose(moved, T[0] @ T, atol=1e-5)
    _, first, second = common([1.0, 2.0], torch.zeros(3, dtype=torch.float32))
    assert first.dtype == second.dtype == torch.float32
    _, alone = common([1, 2])
    assert (type(alone), alone.dtype) == (np.ndarray, np.float64)


@pytest.mark.parametrize("array", [np.zeros((3, 2)), torch.zeros((3, 2))])
def test_what_lies_beside_an_array_is_of_its_kind(array):
    for made in (numbered(array), full(3, 0.5, array), doubles([1, 2, 3], array)):
        assert isinstance(made, type(array))
        assert made.shape == (3,)
    assert host(full(2, 0.5, array)).tolist() == [0.5, 0.5]
    assert host(numbered(array, 2)).tolist() == [0, 1]
    assert "64" in str(full(2, 0.5, array).dtype)
    assert like([1.0], array).dtype == array.dtype
