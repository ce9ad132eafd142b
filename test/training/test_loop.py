"""The learning rate, and runs that end early, and go on."""

import dataclasses
import os
import signal

import pytest
import torch
from quick_training import quick
from torch.nn import functional

from fgsn_ros.errors import Stopped
from fgsn_ros.segmentation.checkpoint import load_checkpoint
from fgsn_ros.segmentation.networks import make_network
from fgsn_ros.segmentation.networks.lraspp import Lraspp
from fgsn_ros.training.cross_season import CrossSeasonObjective
from fgsn_ros.training.fine_grained import FineGrainedObjective
from fgsn_ros.training.loop import learning_rate, make_optimizer, set_learning_rate
from fgsn_ros.training.semantic import SemanticObjective
from fgsn_ros.training.settings import OptimizerSettings
from fgsn_ros.training.trainer import train

PUBLISHED_RATE = OptimizerSettings()
PUBLISHED = {
    "crop_height": 33,
    "crop_width": 41,
    "batch_size": 1,
    "workers": 1,
    "optimizer": {"kind": "sgd", "gradient_norm": 0.0},
    "loss": {"propagate": "either"},
    "clustering": {"every": 3, "last_layer": "random"},
}
"""Its optimizer and losses, on small odd crops."""
RUNS = [
    (FineGrainedObjective, {"clustering": {"every": 3}}, signal.SIGTERM),
    (FineGrainedObjective, {"clustering": {"every": 3, "last_layer": "kept"}}, signal.SIGINT),
    (FineGrainedObjective, PUBLISHED, signal.SIGTERM),
    (SemanticObjective, {"objective": "semantic"}, signal.SIGINT),
    (CrossSeasonObjective, {"objective": "cross-season", "accumulate": 2}, signal.SIGTERM),
]


def classify_with_drop_out(network: Lraspp, features: torch.Tensor) -> torch.Tensor:
    """As the larger networks have it."""
    return network.classifier(functional.dropout(features, 0.2, network.training))


@pytest.mark.parametrize(
    ("objective", "changes", "number"), RUNS, ids=["fgsn", "kept", "published", "semantic", "cross"]
)
def test_a_signal_ends_with_a_checkpoint_from_which_the_run_ends_as_without_a_break(
    folder, tmp_path, monkeypatch, objective, changes, number
):
    monkeypatch.setattr(Lraspp, "classify", classify_with_drop_out)
    whole = quick(folder.root, tmp_path / "whole", validate_every=100, iterations=7, **changes)
    expected = load_checkpoint(train(whole)).fingerprint
    parts = dataclasses.replace(whole, output=tmp_path / "parts")
    losses, seen = objective.losses, []

    def interrupted(self, model, batch):
        seen.append(batch)
        if len(seen) == 5 * parts.accumulate:
            os.kill(os.getpid(), number)
        return losses(self, model, batch)

    before = signal.getsignal(number)
    with monkeypatch.context() as patch, pytest.raises(Stopped, match="after step 5") as stopped:
        patch.setattr(objective, "losses", interrupted)
        train(parts)
    assert stopped.value.signal_number == number
    assert signal.getsignal(number) == before
    assert load_checkpoint(parts.checkpoint).training["iteration"] == 5
    resumed = train(dataclasses.replace(parts, resume=True))
    assert load_checkpoint(resumed).fingerprint == expected


def test_published_optimizer_is_nesterovs_sgd_with_twice_the_rate_for_biases():
    network = make_network("lraspp_mobilenet_v3_large", 9)
    optimizer = make_optimizer(network, PUBLISHED_RATE)
    assert isinstance(optimizer, torch.optim.SGD)
    set_learning_rate(optimizer, 0.25)
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    seen = set()
    for group in optimizer.param_groups:
        assert (group["nesterov"], group["momentum"]) == (True, 0.9)
        for parameter in group["params"]:
            name = names[id(parameter)]
            assert group["lr"] == (0.5 if name.endswith("bias") else 0.25)
            assert group["weight_decay"] == (1e-4 if parameter.ndim > 1 else 0.0)
            seen.add(name)
    assert seen == set(names.values())


def test_published_rate_falls_linearly_to_nothing():
    rates = [learning_rate(PUBLISHED_RATE, step, 100) for step in (0, 50, 75, 100)]
    assert rates == pytest.approx([2.5e-5, 1.25e-5, 0.625e-5, 0.0])


def test_cosine_rate_rises_in_the_warm_up_and_falls_to_nothing():
    settings = OptimizerSettings("adamw", 1.0, schedule="cosine", warm_up=0.1)
    rates = [learning_rate(settings, step, 100) for step in range(101)]
    assert rates[:10] == pytest.approx([0.1 * step for step in range(1, 11)])
    assert rates[50] == pytest.approx(0.5)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[100] == pytest.approx(0.0)
