import numpy as np
import pytest
import torch

from fgsn_ros.segmentation.grids import on_grid
from fgsn_ros.segmentation.soft_max import grid_taps, no_taps, soft_max_labels

HEIGHT, WIDTH = 53, 90


@pytest.fixture(scope="module")
def logits() -> np.ndarray:
    return np.random.default_rng(0).normal(0, 6, (7, 12, 37)).astype(np.float32)


@pytest.mark.parametrize("first_cell_px", [0.0, 3.5])
@pytest.mark.parametrize("stride", [4, 8, 16])
def test_labels_are_those_of_the_interpolated_soft_max(logits, first_cell_px, stride):
    cells = torch.from_numpy(logits).permute(2, 0, 1)[None]
    expected = on_grid(cells, first_cell_px, stride, HEIGHT, WIDTH)[0].softmax(dim=0).max(dim=0)
    rows, columns = (grid_taps(first_cell_px, stride, size) for size in (HEIGHT, WIDTH))
    labels, confidence = soft_max_labels(logits, rows, columns)
    np.testing.assert_array_equal(labels, expected.indices)
    np.testing.assert_allclose(confidence, expected.values, rtol=1e-5)


def test_the_first_of_equal_logits_is_the_label():
    logits = np.zeros((2, 3, 9), np.float32)
    logits[..., 4:7] = 1.0
    labels, confidence = soft_max_labels(logits, no_taps(2), no_taps(3))
    assert (labels == 4).all()
    np.testing.assert_allclose(confidence, np.e / (3 * np.e + 6), rtol=1e-5)


@pytest.mark.parametrize("count", [1, 1000])
def test_few_and_many_labels_far_apart(count):
    logits = np.full((1, 2, count), -1e4, np.float32)
    logits[0, 1, -1] = 1e4
    labels, confidence = soft_max_labels(logits, no_taps(1), no_taps(2))
    np.testing.assert_array_equal(labels, [[0, count - 1]])
    np.testing.assert_allclose(confidence, [[1 / count, 1.0]], rtol=1e-5)
