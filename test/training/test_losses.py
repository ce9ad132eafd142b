import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from fgsn_ros.training.losses import class_loss, sample_cells, weighted_cross_entropy


def test_sampled_cells_equal_a_loop_over_points_inside_and_at_borders():
    rng = np.random.default_rng(0)
    grid = torch.from_numpy(rng.normal(size=(2, 3, 4, 7)))
    corners = [[-0.5, -0.5], [55.4, -0.5], [-0.5, 31.4], [55.49, 31.49], [3.5, 3.5], [11.5, 19.5]]
    points = np.vstack([rng.uniform((-0.5, -0.5), (55.5, 31.5), (50, 2)), corners])
    batch = rng.integers(0, 2, len(points))
    sampled = sample_cells(grid, torch.from_numpy(batch), torch.from_numpy(points), 8)
    for index, (u, v) in enumerate(points):
        # a cell's centre is at image pixel 8 j + 3.5
        x, y = min(max((u - 3.5) / 8, 0), 6), min(max((v - 3.5) / 8, 0), 3)
        expected = np.zeros(3)
        for row in range(4):
            for column in range(7):
                weight = max(0, 1 - abs(x - column)) * max(0, 1 - abs(y - row))
                expected += weight * grid[batch[index], :, row, column].numpy()
        np.testing.assert_allclose(sampled[index], expected, atol=1e-12)


def test_class_loss_is_the_mean_over_pixels_of_logits_repeated_in_cells():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 5, 3, 4, generator=generator)
    classes = torch.randint(0, 7, (2, 24, 32), generator=generator).to(torch.uint8)
    weights = torch.tensor([1.0, 2.0, 0.5, 3.0, 1.5])
    full = logits.repeat_interleave(8, dim=2).repeat_interleave(8, dim=3)
    target = torch.where(classes < 5, classes, 255).long()  # 5 and 6 are no classes
    expected = functional.cross_entropy(full, target, weights, ignore_index=255)
    assert float(class_loss(logits, classes, weights, 8)) == pytest.approx(float(expected), 1e-5)


def test_class_loss_without_a_known_pixel_is_zero():
    classes = torch.full((1, 8, 16), 255, dtype=torch.uint8)
    assert float(class_loss(torch.randn(1, 5, 1, 2), classes, torch.ones(5), 8)) == 0.0


def test_weighted_cross_entropy_equals_a_loop_and_is_zero_without_points():
    logits = torch.tensor([[2.0, 0.0, -1.0], [0.5, 0.1, 0.2]], requires_grad=True)
    labels, weights = torch.tensor([0, 2]), torch.tensor([1.0, 0.25])
    losses = [
        -math.log(math.exp(row[label]) / sum(math.exp(x) for x in row))
        for row, label in zip(logits.tolist(), labels.tolist(), strict=True)
    ]
    expected = (losses[0] + 0.25 * losses[1]) / 1.25
    loss = weighted_cross_entropy(logits, labels, weights).detach()
    assert float(loss) == pytest.approx(expected)
    empty = weighted_cross_entropy(logits[:0], labels[:0], weights[:0])
    empty.backward()
    assert float(empty.detach()) == 0.0
