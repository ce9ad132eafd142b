import argparse
import os
import pickle
import shlex
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from fgsn_ros.errors import CheckpointError
from fgsn_ros.segmentation.networks.weight_files import read_state_dict

NAMES = ("stem.weight", "stem.bias")


def weights(prefix: str = "") -> dict[str, Tensor]:
    return {prefix + name: torch.full((2,), float(index)) for index, name in enumerate(NAMES)}


def assert_plain(path: Path) -> None:
    read = read_state_dict(path)
    assert {name: tensor.tolist() for name, tensor in read.items()} == {
        NAMES[0]: [0.0, 0.0],
        NAMES[1]: [1.0, 1.0],
    }


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda table: {"state_dict": table, "epoch": 3},
        lambda table: {"model_state_dict": table, "optimizer": {"state": {}}},
        lambda table: {"model": table, "ema": {"x": torch.ones(1)}},
        lambda table: {"ema": table},
        lambda table: {"net": {"weights": table}},
        lambda table: {**table, "epoch": 3, "best": None},
        lambda table: {
            "state_dict": table,
            "best": np.float64(0.5),
            "step": np.int32(7),
            "history": np.zeros((2, 3), np.float32),
        },
    ],
)
def test_weights_are_found_under_the_names_that_programs_put_them(
    wrapped: Callable[[dict[str, Tensor]], object], tmp_path: Path
) -> None:
    for zipped in (True, False):  # False: as PyTorch before 1.6
        torch.save(wrapped(weights()), tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
        assert_plain(tmp_path / "w.pth")


@pytest.mark.parametrize(
    "prefix",
    [
        *("module.", "model.", "_orig_mod.", "network.", "net.", "backbone."),
        *("module._orig_mod.", "_orig_mod.module.", "model.module.", "model.net."),
    ],
)
def test_words_before_the_names_are_left_out(prefix: str, tmp_path: Path) -> None:
    torch.save({"state_dict": weights(prefix)}, tmp_path / "w.ckpt")
    assert_plain(tmp_path / "w.ckpt")


def test_the_loss_beside_a_network_and_compiled_parts_of_it_do_not_hide_its_names(
    tmp_path: Path,
) -> None:
    table = weights("model.stem._orig_mod.")
    named = {name.replace("_orig_mod.stem", "_orig_mod"): value for name, value in table.items()}
    torch.save({"state_dict": {**named, "criterion.weight": torch.ones(3)}}, tmp_path / "w.ckpt")
    assert_plain(tmp_path / "w.ckpt")


def test_a_word_that_only_some_names_begin_with_is_part_of_them(tmp_path: Path) -> None:
    torch.save({"model.a": torch.ones(1), "b": torch.ones(1)}, tmp_path / "w.pth")
    assert set(read_state_dict(tmp_path / "w.pth")) == {"model.a", "b"}
    torch.save({"module.a": torch.ones(1), "a": torch.ones(1)}, tmp_path / "w.pth")
    refused(tmp_path / "w.pth", "one is there twice")


def test_safetensors_are_read_whatever_they_are_called(tmp_path: Path) -> None:
    half = {name: tensor.to(torch.bfloat16) for name, tensor in weights("model.").items()}
    for name in ("w.safetensors", "w.pth"):
        save_file(half, tmp_path / name)
        assert_plain(tmp_path / name)


def refused(path: Path, words: str) -> str:
    with pytest.raises(CheckpointError, match=words) as caught:
        read_state_dict(path)
    message = str(caught.value)
    assert str(path) in message
    assert message.isprintable()
    assert len(message) < 700
    return message


def test_an_object_beside_the_weights_is_named_with_a_command_that_takes_them_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "it's.pth"
    torch.save({"model": weights(), "args": argparse.Namespace(rate=0.01)}, path)
    message = refused(path, "it holds an object of argparse.Namespace, which")
    run_command(message, tmp_path, monkeypatch)
    assert_plain(tmp_path / "weights.pth")


def test_a_whole_network_is_refused_with_a_command_that_takes_its_weights_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = nn.Sequential()
    network.add_module("stem", nn.Linear(1, 2))
    torch.save(network, tmp_path / "w.pth")
    run_command(refused(tmp_path / "w.pth", "an object of torch.nn"), tmp_path, monkeypatch)
    assert set(read_state_dict(tmp_path / "weights.pth")) == set(NAMES)


@pytest.mark.filterwarnings("ignore:.*torch.jit")
def test_torchscript_is_refused_with_a_command_that_takes_its_weights_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = nn.Sequential()
    network.add_module("stem", nn.Linear(1, 2))
    torch.jit.script(network).save(str(tmp_path / "w.pth"))
    run_command(refused(tmp_path / "w.pth", "is a TorchScript archive"), tmp_path, monkeypatch)
    assert set(read_state_dict(tmp_path / "weights.pth")) == set(NAMES)


def run_command(message: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Do what the message says at its end, in this process."""
    python, flag, code, *arguments = shlex.split("python -c " + message.split("python -c ", 1)[1])
    assert (python, flag, arguments[1]) == ("python", "-c", "weights.pth")
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["-c", *arguments])
    exec(code, {})


class _Code:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.folder / "ran"),)


def test_code_is_not_run(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save({"state_dict": weights(), "x": _Code(tmp_path)}, path)
    refused(path, r"loading it would run posix\.mkdir")
    path.write_bytes(pickle.dumps(_Code(tmp_path)))
    refused(path, "cannot read weights")
    assert not (tmp_path / "ran").exists()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("tensor", "words"),
    [
        (lambda: torch.ones(3).to_sparse(), "stem.weight are sparse"),
        (lambda: torch.ones(3, device="meta"), "stem.weight are without values"),
        (lambda: torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8), "are quantized"),
        (lambda: torch.ones(3, dtype=torch.complex64), "stem.weight are complex"),
        (lambda: torch.ones(1).expand(10**12), "stem.weight are larger than what the file holds"),
        (lambda: torch.full((3,), torch.nan), "not finite"),
    ],
)
def test_weights_that_are_not_plain_numbers_are_named(
    tensor: Callable[[], Tensor], words: str, tmp_path: Path
) -> None:
    torch.save({"stem.weight": tensor()}, tmp_path / "w.pth")
    refused(tmp_path / "w.pth", words)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "it is empty"),
        (b"<!DOCTYPE html><html>", "it is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        (b"\x89HDF\r\n\x1a\n" + bytes(64), "it is HDF5"),
        (b"\x08\x08\x12\x07pytorch" + bytes(64), "it looks like ONNX"),
        (b'\x10\0\0\0\0\0\0\0{"a":\x1b[31m', "cannot read weights"),
    ],
)
def test_other_files_are_told_apart(content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_bytes(content)
    refused(tmp_path / "w.pth", words)


def test_a_table_of_something_else_is_named_shortly(tmp_path: Path) -> None:
    torch.save({"\x1b[31m" + "x" * 10_000: 1, "generator": {"a": 2}}, tmp_path / "w.pth")
    refused(tmp_path / "w.pth", r"holds no table of weights but \\x1b\[31mx.*generator")
    content: dict[str, object] = {}
    content["model"] = content
    torch.save(content, tmp_path / "w.pth")
    refused(tmp_path / "w.pth", "holds no table of weights but model")


def test_a_file_that_unpacks_to_more_than_its_size_is_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1 << 20)}, tmp_path / "stored.pth")
    with (
        zipfile.ZipFile(tmp_path / "stored.pth") as stored,
        zipfile.ZipFile(tmp_path / "w.pth", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for item in stored.infolist():
            packed.writestr(item.filename, stored.read(item.filename))
    refused(tmp_path / "w.pth", "it is a compressed zip file")


def test_a_folder_and_a_missing_file_are_named(tmp_path: Path) -> None:
    refused(tmp_path, "Is a directory")
    refused(tmp_path / "absent.pth", "No such file")
