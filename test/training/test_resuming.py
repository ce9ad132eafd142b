"""Runs that end early, and go on."""

import dataclasses
import os
import signal

import pytest
import torch
from quick_training import quick
from torch.nn import functional

from fgsn_ros.errors import Stopped
from fgsn_ros.segmentation.checkpoint import load_checkpoint
from fgsn_ros.segmentation.networks.lraspp import Lraspp
from fgsn_ros.training.cross_season import CrossSeasonObjective
from fgsn_ros.training.fine_grained import FineGrainedObjective
from fgsn_ros.training.semantic import SemanticObjective
from fgsn_ros.training.trainer import train

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
