import base64
import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from fgsn_ros.errors import CheckpointError, OutputError
from fgsn_ros.segmentation import checkpoint as checkpoint_module
from fgsn_ros.segmentation.checkpoint import (
    LOG_RATIO,
    STATIONARY,
    Checkpoint,
    is_checkpoint,
    load_checkpoint,
    onnx_checkpoint,
    read_label_statistics,
    save_checkpoint,
)
from fgsn_ros.segmentation.networks import LRASPP, make_network
from fgsn_ros.segmentation.onnx_file import metadata_of, with_metadata

K = 12


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    network = make_network(LRASPP, K, torch.Generator().manual_seed(3)).eval()
    rng = np.random.default_rng(0)
    return Checkpoint(
        network,
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


hostile_headers = pytest.mark.parametrize(
    "header",
    [
        {"format_version": 99},
        {"architecture": "resnet"},
        {"kind": 3},
        {"label_count": 65536 * 1000},
        {"label_count": True},
        {"mean": [0.5, 0.5]},
        {"mean": [10**22, 0.5, 0.5]},
        {"std": [0.2, 0.2, 0.0]},
        {"std": [0.2, 0.2, float("nan")]},
        {"label_names": ["one"]},
        {"training": []},
        {"fingerprint": None},
    ],
    ids=str,
)
of_other_weights = pytest.mark.parametrize(
    "header", [{"label_count": K + 1}, {"fingerprint": "0" * 64}], ids=str
)


@hostile_headers
def test_hostile_header_is_refused_in_one_line(saved, tmp_path, header):
    path = rewrite(saved, tmp_path / "hostile.safetensors", header)
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(path)
    assert "\n" not in str(error.value)


@of_other_weights
def test_header_that_does_not_fit_the_weights_is_refused(saved, tmp_path, header):
    path = rewrite(saved, tmp_path / "hostile.safetensors", header)
    with pytest.raises(CheckpointError):
        load_checkpoint(path)


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


@pytest.mark.parametrize("dtype", ["bfloat16", "float8_e4m3fn", "float64"])
def test_statistics_of_another_type_are_refused_by_its_name(saved, tmp_path, dtype):
    table = torch.zeros((K, K), dtype=getattr(torch, dtype))
    path = rewrite(saved, tmp_path / "wrong.safetensors", None, statistics__log_ratio=table)
    names = {"bfloat16": "BF16", "float8_e4m3fn": "F8_E4M3", "float64": "F64"}
    for read in (read_label_statistics, load_checkpoint):
        with pytest.raises(CheckpointError, match=f"tensor type: {names[dtype]}, not F16 or F32"):
            read(path)


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


def test_weights_of_another_architecture_are_refused_when_the_network_is_made(saved, tmp_path):
    path = rewrite(saved, tmp_path / "other.safetensors", {"architecture": "fcn_resnet50"})
    loaded = load_checkpoint(path)
    with pytest.raises(CheckpointError, match=r"set of weights \(trunk.stem.0.weight should be"):
        _ = loaded.network


def test_fingerprint_is_computed_once(checkpoint, monkeypatch):
    fresh = dataclasses.replace(checkpoint)
    assert fresh.fingerprint == checkpoint.fingerprint
    monkeypatch.setattr(checkpoint_module, "_fingerprint", None)
    assert fresh.fingerprint == checkpoint.fingerprint


GRAPH = bytes([8, 8]) + b"\x12\x03abc" + b"\x21" + bytes(8) + b"\x2d" + bytes(4)
"""A message of each wire type; what is in it is ONNX Runtime's to judge."""


@pytest.fixture(scope="module")
def onnx_file(checkpoint) -> bytes:
    return onnx_checkpoint(checkpoint, GRAPH, None, None)


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_onnx_file_has_all_of_a_checkpoint_but_the_weights(checkpoint, onnx_file, tmp_path):
    loaded = load_checkpoint(written(tmp_path / "network.onnx", onnx_file))
    names = ("fingerprint", "kind", "architecture", "label_count", "mean", "std", "training")
    for field in (*names, "label_names"):
        assert getattr(loaded, field) == getattr(checkpoint, field)
    np.testing.assert_array_equal(loaded.log_ratio, checkpoint.log_ratio)
    np.testing.assert_array_equal(loaded.stationary, checkpoint.stationary)
    assert (loaded.model.size, loaded.model.stride) == (None, None)
    assert is_checkpoint(tmp_path / "network.onnx")


def test_onnx_file_for_one_size_tells_it(checkpoint, tmp_path):
    file = onnx_checkpoint(checkpoint, GRAPH, (480, 640), 8)
    loaded = load_checkpoint(written(tmp_path / "network.onnx", file))
    assert (loaded.model.size, loaded.model.stride) == ((480, 640), 8)


def test_label_statistics_are_those_of_either_file(checkpoint, saved, onnx_file, tmp_path):
    for path in (saved, written(tmp_path / "network.onnx", onnx_file)):
        statistics = read_label_statistics(path)
        assert (statistics.fingerprint, statistics.label_count) == (checkpoint.fingerprint, K)
        np.testing.assert_array_equal(statistics.log_ratio, checkpoint.log_ratio)


def test_checkpoint_without_statistics_has_none_in_either_file(checkpoint, tmp_path):
    bare = dataclasses.replace(checkpoint, log_ratio=None, stationary=None, label_names=None)
    save_checkpoint(tmp_path / "bare.safetensors", bare)
    written(tmp_path / "bare.onnx", onnx_checkpoint(bare, GRAPH, None, None))
    for name in ("bare.safetensors", "bare.onnx"):
        loaded = load_checkpoint(tmp_path / name)
        assert loaded.log_ratio is loaded.stationary is loaded.label_names is None
        assert read_label_statistics(tmp_path / name).log_ratio is None


@hostile_headers
def test_hostile_header_of_an_onnx_file_is_refused_in_one_line(onnx_file, tmp_path, header):
    metadata = metadata_of(onnx_file)
    metadata["fgsn"] = json.dumps(json.loads(metadata["fgsn"]) | header)
    path = written(tmp_path / "hostile.onnx", with_metadata(GRAPH, metadata))
    for read in (load_checkpoint, read_label_statistics):
        with pytest.raises(CheckpointError) as error:
            read(path)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "metadata",
    [
        {"fgsn": "{"},
        {"fgsn": "[" * 100_000},
        {LOG_RATIO: "not base64"},
        {LOG_RATIO: base64.b64encode(bytes(4 * K)).decode()},
        {LOG_RATIO: base64.b64encode(b"\xff" * 4 * K * K).decode()},
        {LOG_RATIO: "AAA="},
        {STATIONARY: base64.b64encode(np.full(K, 1.5, "<f4").tobytes()).decode()},
    ],
    ids=lambda metadata: f"{next(iter(metadata))} {next(iter(metadata.values()))[:12]}",
)
def test_wrong_metadata_of_an_onnx_file_are_refused(onnx_file, tmp_path, metadata):
    file = with_metadata(GRAPH, metadata_of(onnx_file) | metadata)
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(written(tmp_path / "wrong.onnx", file))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "grid",
    [{"height": 480}, {"height": 480, "width": 640, "stride": 0}, {"height": 2**40}],
    ids=str,
)
def test_wrong_size_of_an_onnx_file_is_refused(onnx_file, tmp_path, grid):
    metadata = metadata_of(onnx_file)
    metadata["fgsn"] = json.dumps(json.loads(metadata["fgsn"]) | grid)
    with pytest.raises(CheckpointError, match="size of images"):
        load_checkpoint(written(tmp_path / "wrong.onnx", with_metadata(GRAPH, metadata)))


def test_damaged_foreign_and_missing_onnx_files_are_refused(onnx_file, tmp_path):
    path = tmp_path / "damaged.onnx"
    changed = bytes([onnx_file[0], onnx_file[1] ^ 1]) + onnx_file[2:]
    cuts = [onnx_file[:length] for length in (0, 1, 3, len(GRAPH), len(onnx_file) - 1)]
    for content in (*cuts, GRAPH, changed, b"\xff" * 64, b"\x12" + b"\xff" * 9 + b"\x7f", b"\x0b"):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match="cannot read checkpoint"):
            load_checkpoint(path)
    with pytest.raises(CheckpointError, match="cannot read"):
        load_checkpoint(tmp_path / "missing.onnx")


def test_metadata_are_fields_of_the_message_beside_a_digest_of_the_others():
    metadata = {"long": "x" * 1000, "empty": "", "letters": "äöü"}
    file = with_metadata(GRAPH, metadata)
    assert file.startswith(GRAPH)
    assert metadata_of(file) == metadata
    assert hashlib.sha256(GRAPH).hexdigest().encode() in file
