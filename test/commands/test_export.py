from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from fgsn_ros import cli
from fgsn_ros.segmentation import onnx_export
from fgsn_ros.segmentation.checkpoint import load_checkpoint
from fgsn_ros.segmentation.segmenter import Segmenter
from fgsn_ros.segmentation.settings import SegmenterSettings


def export(*arguments: object) -> int:
    return cli.main(["export", *map(str, arguments)])


def test_exported_file_labels_images_as_the_segmenter_and_names_its_labels(
    workplace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "network.onnx"
    size = ["--height", 45, "--width", 83, "--stride", 8]
    assert export(workplace.checkpoint, "--output", output, *size) == 0
    assert "83x45 images, stride 8, opset 17; 100.00 %" in capsys.readouterr().out

    image = np.random.default_rng(2).integers(0, 256, (45, 83, 3), np.uint8)
    session = onnxruntime.InferenceSession(output, providers=["CPUExecutionProvider"])
    labels, confidence = session.run(["labels", "confidence"], {"image": image[None]})
    checkpoint = load_checkpoint(workplace.checkpoint)
    expected = Segmenter(checkpoint, SegmenterSettings("cpu", 8, "eager")).segment(image)
    np.testing.assert_array_equal(labels[0], expected.labels)
    np.testing.assert_allclose(confidence[0], expected.confidence, atol=1e-5)
    assert labels.dtype == np.int32

    facts = session.get_modelmeta().custom_metadata_map
    assert facts["fingerprint"] == checkpoint.fingerprint
    assert (facts["label_count"], facts["stride"]) == (str(checkpoint.label_count), "8")
    assert onnx.load(output).opset_import[0].version == 17


def test_bytes_go_into_a_cast_alone_as_tensorrt_asks(workplace, tmp_path: Path) -> None:
    output = tmp_path / "network.onnx"
    assert export(workplace.checkpoint, "--output", output, "--height", 16, "--width", 24) == 0
    readers = [node.op_type for node in onnx.load(output).graph.node if "image" in node.input]
    assert readers == ["Cast"]


def test_file_that_is_there_stays_without_overwrite(
    workplace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "network.onnx"
    output.write_text("mine")
    assert export(workplace.checkpoint, "--output", output) == 2
    assert "exists already" in capsys.readouterr().err
    assert output.read_text() == "mine"


def test_network_that_labels_another_way_is_not_written(
    workplace, tmp_path: Path, monkeypatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(onnx_export, "LEAST_EQUAL", 1.1)
    output = tmp_path / "network.onnx"
    assert export(workplace.checkpoint, "--output", output, "--height", 16, "--width", 24) == 2
    assert "of the exported network's labels are those of PyTorch" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--stride", 5], "stride must be 4, 8 or 16"),
        (["--height", 0], "height must be in"),
        (["--width", 10**6], "width must be in"),
    ],
)
def test_settings_out_of_range_end_in_one_line(
    workplace, tmp_path: Path, flags, message, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export(workplace.checkpoint, "--output", tmp_path / "x.onnx", *flags) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
