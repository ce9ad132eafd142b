import json
from pathlib import Path

import pytest
import torch

from fgsn_ros.errors import RecordingError
from fgsn_ros.segmentation.checkpoint import Checkpoint
from fgsn_ros.segmentation.label_set import (
    LabelSet,
    label_set_of,
    read_label_set,
    write_label_set,
)
from fgsn_ros.segmentation.labels import palette
from fgsn_ros.segmentation.networks import LRASPP, make_network


@pytest.mark.parametrize("names", [None, ("sky", "Häuser", "road, wet")])
def test_a_label_set_comes_back(tmp_path: Path, names: tuple[str, ...] | None) -> None:
    written = LabelSet("semantic", 3, 4, names, "abc")
    write_label_set(tmp_path, written)
    assert read_label_set(tmp_path / "labels.json") == written
    assert (tmp_path / "classes.txt").exists() == (names is not None)


def test_a_label_set_names_colours_and_the_value_of_no_label(tmp_path: Path) -> None:
    write_label_set(tmp_path, LabelSet("fgsn", 256, 1, None, "abc"))
    content = json.loads((tmp_path / "labels.json").read_text())
    assert content["unlabelled"] == 65535
    colours = [bytes.fromhex(label["colour"][1:]) for label in content["labels"]]
    assert colours == [bytes(colour) for colour in palette(256)]
    write_label_set(tmp_path, LabelSet("fgsn", 255, 1, None, "abc"))
    assert json.loads((tmp_path / "labels.json").read_text())["unlabelled"] == 255


def test_the_label_set_of_a_checkpoint_has_its_fingerprint() -> None:
    network = make_network(LRASPP, 2, torch.Generator().manual_seed(0)).eval()
    checkpoint = Checkpoint(network, kind="semantic", label_names=("a", "b"))
    expected = LabelSet("semantic", 2, 4, ("a", "b"), checkpoint.fingerprint)
    assert label_set_of(checkpoint, 4) == expected


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        b'{"format": "another"}',
        b'{"format": "fgsn_ros labels"}',
        b'{"format": "fgsn_ros labels", "kind": "fgsn", "label_count": 2, "stride": 0,'
        b' "fingerprint": "", "labels": [{"name": null}, {"name": null}]}',
        b'{"format": "fgsn_ros labels", "kind": "fgsn", "label_count": 2, "stride": 4,'
        b' "fingerprint": "", "labels": [{"name": null}]}',
    ],
)
def test_what_tells_no_labels_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "labels.json"
    path.write_bytes(content)
    with pytest.raises(RecordingError, match="labels.json tells no labels"):
        read_label_set(path)
