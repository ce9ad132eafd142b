from pathlib import Path

import numpy as np
import pytest
import torch
from quick_training import quick, read_scalars

from fgsn_ros.errors import SettingsError, TrainingError
from fgsn_ros.segmentation.checkpoint import load_checkpoint
from fgsn_ros.segmentation.segmenter import Segmenter, SegmenterSettings
from fgsn_ros.training.semantic import SemanticObjective
from fgsn_ros.training.settings import (
    ClusteringSettings,
    LossSettings,
    OptimizerSettings,
    TrainSettings,
)
from fgsn_ros.training.trainer import train


@pytest.fixture(scope="module")
def trained(folder, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("trained")
    settings = quick(
        folder.root, output, iterations=21, clustering={"every": 30}, validate_every=21
    )
    train(settings)
    return output


def test_fine_grained_training_lowers_the_loss_and_writes_statistics(trained):
    losses = read_scalars(trained, "loss/correspondence")
    assert losses[-1] < 0.8 * losses[0]
    checkpoint = load_checkpoint(trained / "checkpoint.safetensors")
    assert (checkpoint.kind, checkpoint.label_count, checkpoint.label_names) == ("fgsn", 8, None)
    assert checkpoint.log_ratio.shape == (8, 8)
    assert np.isfinite(checkpoint.log_ratio).all()
    assert ((checkpoint.stationary >= 0) & (checkpoint.stationary <= 1)).all()
    assert checkpoint.training["label_count"] == 8
    assert "consistency" in checkpoint.training["statistics"]
    image = np.zeros((64, 96, 3), np.uint8)
    labels = Segmenter(checkpoint, SegmenterSettings("cpu", 8)).segment(image).labels
    assert labels.shape == (8, 12)


def test_same_seed_gives_the_same_weights_and_another_seed_others(folder, tmp_path):
    prints = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        path = train(quick(folder.root, tmp_path / name, seed=seed, iterations=2))
        prints.append(load_checkpoint(path).fingerprint)
    assert prints[0] == prints[1] != prints[2]


def test_semantic_training_on_camvid_ignores_unknown_ids_and_names_its_labels(camvid, tmp_path):
    path = train(quick(camvid, tmp_path / "out", objective="semantic"))
    checkpoint = load_checkpoint(path)
    assert checkpoint.kind == "semantic"
    assert checkpoint.label_names[:2] == ("sky", "building")
    assert checkpoint.log_ratio is None
    assert 0.0 <= read_scalars(tmp_path / "out", "validation/mean_iou")[-1] <= 1.0


def test_semantic_network_gets_statistics_without_a_change_of_its_labels(camvid, folder, tmp_path):
    semantic = train(quick(camvid, tmp_path / "semantic", objective="semantic", iterations=1))
    counted = train(quick(folder.root, tmp_path / "counted", objective="statistics", init=semantic))
    before, after = load_checkpoint(semantic), load_checkpoint(counted)
    assert after.fingerprint == before.fingerprint
    assert after.kind == "semantic"
    assert after.log_ratio.shape == (11, 11)
    np.testing.assert_array_equal(after.stationary, [0, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0])


def test_fine_grained_training_starts_from_a_semantic_network(folder, tmp_path):
    semantic = train(quick(folder.root, tmp_path / "semantic", objective="semantic", iterations=1))
    settings = quick(folder.root, tmp_path / "fgsn", init=semantic, iterations=1, half=True)
    path = train(settings)
    checkpoint = load_checkpoint(path)
    assert checkpoint.label_count == 8
    before = load_checkpoint(semantic).network.state_dict()["backbone.0.1.running_mean"]
    after = checkpoint.network.state_dict()["backbone.0.1.running_mean"]
    torch.testing.assert_close(after, before, atol=1e-3, rtol=1e-3)  # frozen, but for float16


def test_a_loss_that_is_not_finite_ends_training_with_an_error(folder, tmp_path, monkeypatch):
    losses = SemanticObjective.losses
    calls = []

    def bad_at_the_fourth_step(self: SemanticObjective, *arguments) -> dict[str, torch.Tensor]:
        calls.append(self)
        found = losses(self, *arguments)
        return found if len(calls) < 4 else {"class": found["class"] * torch.nan}

    monkeypatch.setattr(SemanticObjective, "losses", bad_at_the_fourth_step)
    settings = quick(folder.root, tmp_path / "out", objective="semantic")
    with pytest.raises(
        TrainingError, match=r"not finite at step 3; .*checkpoint.safetensors, step 2"
    ):
        train(settings)
    assert load_checkpoint(settings.checkpoint).training["iteration"] == 2


def test_resuming_from_nothing_or_from_rubbish_is_refused(folder, tmp_path):
    settings = quick(folder.root, tmp_path, objective="semantic", resume=True)
    with pytest.raises(TrainingError, match="cannot resume"):
        train(settings)
    settings.state.write_bytes(b"rubbish")
    with pytest.raises(TrainingError, match="cannot resume"):
        train(settings)


@pytest.mark.parametrize(
    "changes",
    [
        {"label_count": 7},
        {"label_count": 1001},
        {"crop_width": 0},
        {"flip_share": 1.5},
        {"scale_min": 3.0},
        {"objective": "statistics"},
        {"threads": -1},
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused(changes):
    with pytest.raises(SettingsError):
        TrainSettings(data=Path("data"), output=Path("output"), **changes)


@pytest.mark.parametrize(
    "group",
    [
        lambda: OptimizerSettings(learning_rate=float("nan")),
        lambda: OptimizerSettings(momentum=1.0),
        lambda: ClusteringSettings(every=0),
        lambda: ClusteringSettings(correspondence_share=1.1),
        lambda: LossSettings(on_class=-1.0),
        lambda: LossSettings(margin=2.0),
    ],
)
def test_grouped_settings_out_of_range_are_refused(group):
    with pytest.raises(SettingsError):
        group()
