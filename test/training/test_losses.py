"""Each loss against a few lines of obvious loops; images are never square."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from fgsn_ros.training.losses import (
    IGNORED,
    cell_losses,
    class_losses,
    hinge_losses,
    means_by_image,
    point_losses,
)

FIRST_CELLS = (3.5, 0.0)


def cross_entropy(logits: Tensor, label: int) -> float:
    exponents = [math.exp(value) for value in logits.tolist()]
    return -math.log(exponents[label] / sum(exponents))


def test_cell_loss_is_each_images_mean_over_its_labelled_cells():
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(3, 5, 2, 4, generator=generator)
    labels = torch.randint(-1, 5, (3, 2, 4), generator=generator)
    labels[2] = IGNORED
    for image, loss in enumerate(cell_losses(logits, labels).tolist()):
        losses = [
            cross_entropy(logits[image, :, row, column], int(labels[image, row, column]))
            for row in range(2)
            for column in range(4)
            if labels[image, row, column] != IGNORED
        ]
        assert loss == pytest.approx(sum(losses) / len(losses) if losses else 0.0, rel=1e-5)


@pytest.mark.parametrize("first", FIRST_CELLS)
@pytest.mark.parametrize("size", [(24, 32), (17, 41)])
def test_class_loss_is_each_images_mean_over_pixels_of_their_nearest_cell(first, size):
    height, width = size
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 5, -(-height // 8), -(-width // 8), generator=generator)
    classes = torch.randint(0, 7, (2, height, width), generator=generator).to(torch.uint8)
    weights = torch.tensor([1.0, 2.0, 0.5, 3.0, 1.5])
    rows, columns = (
        [math.floor((pixel - first) / 8 + 0.5) for pixel in range(length)] for length in size
    )
    inside = [[r < logits.shape[2] and c < logits.shape[3] for c in columns] for r in rows]
    rows, columns = (
        [min(i, n - 1) for i in x] for x, n in zip((rows, columns), logits.shape[2:], strict=True)
    )
    full = logits[:, :, rows][:, :, :, columns]
    target = torch.where((classes < 5) & torch.tensor(inside), classes, 255).long()
    losses = class_losses(logits, classes, weights, first)
    for image in range(2):
        expected = functional.cross_entropy(
            full[image : image + 1], target[image : image + 1], weights, ignore_index=255
        )
        assert float(losses[image]) == pytest.approx(float(expected), rel=1e-5)


def test_class_loss_without_a_known_pixel_is_zero():
    classes = torch.full((1, 8, 16), 255, dtype=torch.uint8)
    assert class_losses(torch.randn(1, 5, 1, 2), classes, torch.ones(5), 3.5).tolist() == [0.0]


def test_point_loss_is_each_images_weighted_mean_and_zero_without_points():
    generator = torch.Generator().manual_seed(2)
    logits = torch.randn(6, 4, generator=generator)
    labels, image = torch.tensor([0, 3, 1, 2, 2, 0]), torch.tensor([0, 2, 2, 0, 0, 2])
    weights = torch.tensor([1.0, 0.25, 0.5, 2.0, 0.1, 1.0])
    losses = point_losses(logits, labels, weights, image, 3)
    for number, loss in enumerate(losses.tolist()):
        of_image = [i for i in range(6) if image[i] == number]
        total = sum(float(weights[i]) for i in of_image)
        expected = sum(
            float(weights[i]) * cross_entropy(logits[i], int(labels[i])) for i in of_image
        )
        assert loss == pytest.approx(expected / total if of_image else 0.0, rel=1e-5)


def test_losses_of_no_points_have_no_gradient():
    logits = torch.randn(3, 4, requires_grad=True)
    none = torch.zeros(0, dtype=torch.long)
    losses = point_losses(logits[:0], none, torch.zeros(0), none, 2)
    losses.sum().backward()
    assert losses.tolist() == [0.0, 0.0]
    assert not logits.grad.any()


def test_hinge_is_what_the_cosine_lacks_to_the_margin():
    rng = np.random.default_rng(3)
    reference, target = rng.normal(size=(2, 7, 5))
    target[:3] = 2.5 * reference[:3] + 0.01 * target[:3]  # alike enough: no loss
    weights, pair = rng.uniform(0.1, 1.0, 7), np.array([0, 0, 1, 1, 1, 0, 0])
    losses = hinge_losses(*map(torch.from_numpy, (reference, target, weights, pair)), 2, 0.8)
    for number, loss in enumerate(losses.tolist()):
        total = found = 0.0
        for i in np.flatnonzero(pair == number):
            lengths = np.linalg.norm(reference[i]) * np.linalg.norm(target[i])
            found += weights[i] * max(0.0, 0.8 - reference[i] @ target[i] / lengths)
            total += weights[i]
        assert loss == pytest.approx(found / total, rel=1e-5)


def test_the_mean_over_images_is_that_of_the_parts_of_a_batch():
    generator = torch.Generator().manual_seed(4)
    values, weights = torch.rand(2, 20, generator=generator)
    image = torch.randint(0, 4, (20,), generator=generator)
    whole = means_by_image(values, weights, image, 4).mean()
    parts = []
    for first in (0, 2):
        kept = (image >= first) & (image < first + 2)
        parts.append(means_by_image(values[kept], weights[kept], image[kept] - first, 2).mean())
    assert float(whole) == pytest.approx(float(sum(parts)) / 2, rel=1e-6)
