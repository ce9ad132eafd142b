import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from fgsn_ros.errors import CheckpointError, OutputError
from fgsn_ros.segmentation.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from fgsn_ros.segmentation.networks import LRASPP, make_network

K = 12


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    network = make_network(LRASPP, K, torch.Generator().manual_seed(3)).eval()
    rng = np.random.default_rng(0)
    return Checkpoint(
        network=network,
        kind="semantic",
        training={"seed": 3},
        label_names=tuple(f"class {i}" for i in range(K)),
        log_ratio=rng.normal(size=(K, K)).astype(np.float32),
        stationary=rng.random(K).astype(np.float32),
    )


@pytest.fixture(scope="module")
def saved(checkpoint, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("checkpoint") / "network.safetensors"
    save_checkpoint(path, checkpoint)
    return path


def rewrite(saved: Path, path: Path, header: dict | None = None, **tensors) -> Path:
    """The saved checkpoint with other header fields or tensors; a tensor of None is left out."""
    content = load_file(saved)
    for name, tensor in tensors.items():
        content[name.replace("__", ".")] = tensor
    content = {name: tensor for name, tensor in content.items() if tensor is not None}
    save_file(content, path, metadata={"fgsn": json.dumps(read_header(saved) | (header or {}))})
    return path


def read_header(path: Path) -> dict:
    size = int.from_bytes(path.read_bytes()[:8], "little")
    return json.loads(json.loads(path.read_bytes()[8 : 8 + size])["__metadata__"]["fgsn"])


def test_checkpoint_round_trip_keeps_everything(checkpoint, saved):
    loaded = load_checkpoint(saved)
    assert loaded.fingerprint == checkpoint.fingerprint
    for field in ("kind", "architecture", "label_count", "mean", "std", "training", "label_names"):
        assert getattr(loaded, field) == getattr(checkpoint, field)
    np.testing.assert_array_equal(loaded.log_ratio, checkpoint.log_ratio)
    np.testing.assert_array_equal(loaded.stationary, checkpoint.stationary)
    image = torch.rand(1, 3, 32, 48)
    with torch.inference_mode():
        assert torch.equal(loaded.network(image), checkpoint.network(image))


def test_half_precision_file_is_below_8_mb_and_saves_again_to_the_same_fingerprint(
    checkpoint, tmp_path
):
    save_checkpoint(tmp_path / "a.safetensors", checkpoint, half=True)
    assert (tmp_path / "a.safetensors").stat().st_size < 8_000_000
    loaded = load_checkpoint(tmp_path / "a.safetensors")
    save_checkpoint(tmp_path / "b.safetensors", loaded, half=True)
    assert load_checkpoint(tmp_path / "b.safetensors").fingerprint == loaded.fingerprint
    assert loaded.fingerprint != checkpoint.fingerprint


def test_statistics_do_not_change_the_fingerprint(checkpoint):
    assert dataclasses.replace(checkpoint, log_ratio=None).fingerprint == checkpoint.fingerprint


@pytest.mark.parametrize(
    "header",
    [
        {"format_version": 99},
        {"architecture": "resnet"},
        {"kind": 3},
        {"label_count": 65536 * 1000},
        {"label_count": True},
        {"label_count": K + 1},
        {"mean": [0.5, 0.5]},
        {"std": [0.2, 0.2, 0.0]},
        {"std": [0.2, 0.2, float("nan")]},
        {"label_names": ["one"]},
        {"training": []},
        {"fingerprint": "0" * 64},
        {"fingerprint": None},
    ],
    ids=str,
)
def test_hostile_header_is_refused_in_one_line(saved, tmp_path, header):
    path = rewrite(saved, tmp_path / "hostile.safetensors", header)
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "tensors",
    [
        {"network__classifier.weight": None},
        {"network__classifier.weight": torch.zeros(10**6, 1, 1, 1)},
        {"network__classifier.bias": torch.full((K,), torch.nan)},
        {"network__classifier.bias": torch.zeros(K, dtype=torch.int64)},
        {"statistics__log_ratio": torch.zeros(K, K + 1)},
        {"statistics__log_ratio": torch.full((K, K), torch.nan)},
        {"statistics__stationary": torch.full((K,), 1.5)},
    ],
    ids=lambda tensors: next(iter(tensors)),
)
def test_wrong_tensors_are_refused(saved, tmp_path, tensors):
    path = rewrite(saved, tmp_path / "wrong.safetensors", None, **tensors)
    with pytest.raises(CheckpointError):
        load_checkpoint(path)


def test_truncated_empty_and_missing_files_are_refused(saved, tmp_path):
    whole = saved.read_bytes()
    path = tmp_path / "damaged.safetensors"
    for content in (whole[: len(whole) // 2], whole[:4], b"", b"\xff" * 64):
        path.write_bytes(content)
        with pytest.raises(CheckpointError):
            load_checkpoint(path)
    with pytest.raises(CheckpointError):
        load_checkpoint(tmp_path / "missing.safetensors")


def test_deeply_nested_header_is_refused(saved, tmp_path):
    path = tmp_path / "nested.safetensors"
    save_file(load_file(saved), path, metadata={"fgsn": "[" * 100_000})
    with pytest.raises(CheckpointError):
        load_checkpoint(path)


def test_changed_weight_is_noticed_by_the_fingerprint(saved, tmp_path):
    changed = load_file(saved)["network.classifier.bias"] + 1e-3
    path = rewrite(saved, tmp_path / "changed.safetensors", network__classifier__bias=None)
    path = rewrite(saved, path, None, **{"network__classifier.bias": changed})
    with pytest.raises(CheckpointError, match="fingerprint"):
        load_checkpoint(path)


def test_checkpoint_that_cannot_be_written_is_an_output_error(checkpoint, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        save_checkpoint(tmp_path / "file" / "network.safetensors", checkpoint)
