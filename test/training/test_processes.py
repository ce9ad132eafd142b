"""A step that is split over processes or over accumulated batches is the same step."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from quick_training import quick, read_scalars

from fgsn_ros.segmentation.checkpoint import load_checkpoint
from fgsn_ros.training.settings import TrainSettings
from fgsn_ros.training.trainer import train

LOSSES = ("loss/class", "loss/correspondence", "loss/hinge")


@pytest.fixture(scope="module")
def semantic(folder, tmp_path_factory) -> Path:
    """A network to start from, whose batch statistics then stay."""
    output = tmp_path_factory.mktemp("semantic")
    return train(quick(folder.root, output, objective="semantic", iterations=2))


def settings(folder, init: Path, output: Path, **changes) -> TrainSettings:
    return quick(
        folder.root, output, init=init, iterations=4, clustering={"every": 2},
        loss={"on_hinge": 0.5}, **changes,
    )  # fmt: skip


def in_two_processes(run: TrainSettings, folder: Path) -> None:
    """Train as `torchrun` does, by gloo on the CPU."""
    path = folder / "settings.yaml"
    values = run.described() | {"data": str(run.data), "output": str(run.output)}
    path.write_text(yaml.safe_dump(values | {"init": str(run.init)}))
    module = ("-m", "fgsn_ros.cli", "train", "--config", path)
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    words = [str(word) for word in (sys.executable, *torchrun, *module)]
    subprocess.run(words, check=True, capture_output=True, timeout=120)


@pytest.mark.parametrize("way", ["processes", "accumulated"])
def test_a_split_step_has_the_losses_and_the_result_of_the_whole_one(
    folder, semantic, tmp_path, way
):
    whole = settings(folder, semantic, tmp_path / "whole", batch_size=2)
    train(whole)
    parts = dataclasses.replace(whole, output=tmp_path / "parts", batch_size=1)
    if way == "processes":
        in_two_processes(parts, tmp_path)
    else:
        train(dataclasses.replace(parts, accumulate=2))
    for name in LOSSES:
        expected, found = (read_scalars(run.output, name) for run in (whole, parts))
        assert len(found) == 4
        assert found == pytest.approx(expected, rel=1e-4)
    first, second = (load_checkpoint(run.checkpoint).network.state_dict() for run in (whole, parts))
    for name, expected in first.items():
        # Of centres of whitened features, small weights stand beside large ones.
        largest = max(1.0, float(expected.abs().max()))
        torch.testing.assert_close(second[name], expected, rtol=1e-3, atol=1e-4 * largest)
