"""What the objectives make of a batch, against one image and one point after the other."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from quick_training import quick
from torch import nn
from torch.nn import functional

from fgsn_ros.segmentation.checkpoint import IMAGENET_MEAN, IMAGENET_STD
from fgsn_ros.segmentation.networks import make_network
from fgsn_ros.training.cross_season import alike_loss
from fgsn_ros.training.fine_grained import FineGrainedObjective
from fgsn_ros.training.model import Head, Model, heads_of
from fgsn_ros.training.pair_batches import PairBatch
from fgsn_ros.training.processes import Processes
from fgsn_ros.training.settings import LossSettings

FIRST = 0.0
STATIONARY = torch.tensor([True, True, False, True])


@pytest.fixture
def model() -> Model:
    generator = torch.Generator().manual_seed(1)
    network = make_network("lraspp_mobilenet_v3_large", 8, generator).eval()
    return Model(network, IMAGENET_MEAN, IMAGENET_STD)


def objective(folder, tmp_path, **changes) -> FineGrainedObjective:
    tmp_path.mkdir(exist_ok=True)
    return FineGrainedObjective(quick(folder.root, tmp_path, **changes), Processes("cpu"))


def value_at(grid: torch.Tensor, point: torch.Tensor) -> torch.Tensor:
    """Of a grid (C, h, w) between its cells, by hand."""
    x, y = (float(c) / 8 for c in point)
    x, y = min(max(x, 0.0), grid.shape[2] - 1.0), min(max(y, 0.0), grid.shape[1] - 1.0)
    total = torch.zeros(len(grid))
    for row in (math.floor(y), math.ceil(y)):
        for column in (math.floor(x), math.ceil(x)):
            share = (1 - abs(x - column)) * (1 - abs(y - row))
            same = (1 + (math.floor(x) == math.ceil(x))) * (1 + (math.floor(y) == math.ceil(y)))
            total += share / same * grid[:, row, column]
    return total


def pairs_by_hand() -> tuple[PairBatch, Head]:
    """Two pairs of crops of 24 x 40 pixels, with points at their borders, on a grid of 3 x 5."""
    generator = torch.Generator().manual_seed(3)
    features = torch.randn(4, 6, 3, 5, generator=generator, requires_grad=True)
    classifier = nn.Conv2d(6, 4, 1)
    points = torch.rand(18, 2, generator=generator) * torch.tensor([40.0, 24.0]) - 0.5
    points[:2] = torch.tensor([[-0.5, -0.5], [39.49, 23.49]])
    crop = torch.tensor([0] * 6 + [1] * 3 + [2] * 6 + [3] * 3)
    matches = torch.stack([torch.arange(9), torch.arange(9, 18)], dim=1)[[0, 1, 2, 4, 5, 7, 8]]
    batch = PairBatch(
        images=torch.zeros(4, 3, 24, 40, dtype=torch.uint8),
        cells=torch.zeros(2, 3, 5, dtype=torch.long),
        crop=crop,
        points=points,
        labels=torch.zeros(18, dtype=torch.long),
        weights=torch.rand(18, generator=generator),
        matches=matches,
    )
    nn.init.normal_(classifier.weight, generator=generator)
    nn.init.zeros_(classifier.bias)
    return batch, Head(features, torch.arange(4), classifier, FIRST)


@pytest.mark.parametrize("alike", ["features", "classes"])
def test_corresponding_points_shall_be_alike_where_the_reference_shows_what_stays(alike):
    batch, head = pairs_by_hand()
    settings = LossSettings(alike=alike)
    loss = alike_loss(batch, head, settings, STATIONARY)
    sums, totals, left_out = [0.0, 0.0], [0.0, 0.0], 0
    with torch.no_grad():
        logits = head.classify(head.features)
    for first, second in batch.matches.tolist():
        pair = int(batch.crop[first])
        reference, target = batch.points[first], batch.points[second]
        known = int(value_at(logits[pair], reference).argmax())
        if not STATIONARY[known]:
            left_out += 1
            continue
        if alike == "classes":
            found = value_at(logits[pair + 2], target)
            value = float(functional.cross_entropy(found[None], torch.tensor([known])))
        else:
            a = value_at(head.features[pair].detach(), reference)
            b = value_at(head.features[pair + 2].detach(), target)
            value = max(0.0, 0.8 - float(a @ b / a.norm() / b.norm()))
        weight = float(batch.weights[first])
        sums[pair] += weight * value
        totals[pair] += weight
    assert left_out > 0
    expected = sum(s / t if t else 0.0 for s, t in zip(sums, totals, strict=True)) / 2
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-4)
    loss.backward()
    assert not head.features.grad[:2].any()  # the reference teaches, it does not learn
    assert head.features.grad[2:].any()


def test_heads_of_some_images_are_those_of_all_without_the_others_gradients(model):
    images = torch.rand(4, 3, 32, 48, generator=torch.Generator().manual_seed(0))
    every = torch.ones(4, dtype=torch.bool)
    learnt = torch.tensor([False, True, True, False])
    (whole,) = heads_of(model.network, images, every, others=False)
    (parts,) = heads_of(model.network, images, learnt, others=True)
    (alone,) = heads_of(model.network, images, learnt, others=False)
    numbers = torch.arange(4)
    torch.testing.assert_close(parts.logits(numbers), whole.logits(numbers), atol=1e-5, rtol=1e-4)
    some = numbers[learnt]
    torch.testing.assert_close(alone.logits(some), whole.logits(some), atol=1e-5, rtol=1e-4)
    gradient = torch.autograd.grad(parts.features.sum(), model.network.fuse[0].weight)[0]
    model.network.zero_grad()
    expected = torch.autograd.grad(alone.features.sum(), model.network.fuse[0].weight)[0]
    torch.testing.assert_close(gradient, expected, atol=1e-4, rtol=1e-3)


def test_a_pair_teaches_by_one_of_its_images_as_both_do_together(folder, tmp_path, model):
    """The expected gradient of "either" is half that of "both"."""
    seeds = [(0, 0, number) for number in range(6)]
    both, either = (
        objective(folder, tmp_path / kind, loss={"propagate": kind}) for kind in ("both", "either")
    )
    for each in (both, either):
        each.prepare(model, 0)
    batch = either.batch(seeds)
    references, targets = batch.learnt.chunk(2)
    assert torch.equal(references, ~targets)
    assert 0 < int(references.sum()) < 6
    halves = [
        sum(either.losses(model, replace(batch, learnt=torch.cat([mask, ~mask]))).values())
        for mask in (references, ~references)
    ]
    whole = sum(both.losses(model, both.batch(seeds)).values())
    assert float(sum(halves).detach()) == pytest.approx(float(whole.detach()), rel=1e-4)


def test_a_clustering_resets_the_last_layer_as_published_or_keeps_it(folder, tmp_path, model):
    random = objective(folder, tmp_path, clustering={"last_layer": "random"})
    changed = random.prepare(model, 0)
    assert list(changed) == [model.network.classifier]
    weight = model.network.classifier.weight
    assert 0.008 < float(weight.detach().std()) < 0.012
    assert not model.network.classifier.bias.any()
    kept = objective(folder, tmp_path, clustering={"last_layer": "kept", "every": 1})
    assert list(kept.prepare(model, 0)) == [model.network.classifier]
    before = weight.detach().clone()
    assert list(kept.prepare(model, 1)) == []
    assert torch.equal(weight.detach(), before)


def test_kept_labels_are_those_that_the_network_gives_already(folder, tmp_path, model):
    kept = objective(folder, tmp_path, clustering={"last_layer": "kept", "every": 1})
    kept.prepare(model, 0)
    kept.prepare(model, 1)
    agreeing = []
    for number, labels in enumerate(kept.state().values()):
        image = kept._cache.colour(kept._labels._references.images[number])
        batch = model.normalised(torch.from_numpy(image).permute(2, 0, 1)[None])
        with torch.no_grad():
            found = model.network(batch)[0].argmax(0)
        agreeing.append(float((found == labels).float().mean()))
    assert np.mean(agreeing) > 0.5  # one in eight by chance


def test_random_and_common_pixels_give_features_in_the_stated_ratio(folder, tmp_path):
    chosen = objective(
        folder, tmp_path, clustering={"features_per_image": 50, "correspondence_share": 0.3}
    )
    reference = chosen._labels._references.images[0]
    pixels = chosen._labels._pixels(reference, np.random.default_rng(0))
    known = {tuple(p) for p in chosen._labels._references.points(reference, chosen._cache)}
    assert pixels.shape == (50, 2)
    assert sum(tuple(pixel) in known for pixel in pixels) == 15
