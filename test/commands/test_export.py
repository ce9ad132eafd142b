import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from fgsn_ros import cli
from fgsn_ros.commands.demo import PACKAGED_CHECKPOINT
from fgsn_ros.segmentation import onnx_export
from fgsn_ros.segmentation.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from fgsn_ros.segmentation.networks import make_network
from fgsn_ros.segmentation.segmenter import Segmenter, SegmenterSettings

PACKAGED = PACKAGED_CHECKPOINT.with_suffix(".safetensors")


def export(checkpoint: Path, *arguments: object) -> int:
    return cli.main(["export", "--checkpoint", str(checkpoint), *map(str, arguments)])


def test_exported_file_is_the_checkpoint_and_labels_images_of_any_size_as_it(
    workplace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "network.onnx"
    assert export(workplace.checkpoint, "--output", output) == 0
    assert "images of any size, opset 17; 100.00 %" in capsys.readouterr().out
    loaded, checkpoint = load_checkpoint(output), load_checkpoint(workplace.checkpoint)
    for name in ("fingerprint", "architecture", "kind", "label_count", "mean", "std", "training"):
        assert getattr(loaded, name) == getattr(checkpoint, name)
    np.testing.assert_array_equal(loaded.log_ratio, checkpoint.log_ratio)
    image = np.random.default_rng(2).integers(0, 256, (45, 83, 3), np.uint8)
    expected = Segmenter(checkpoint, SegmenterSettings("cpu")).segment(image)
    label_map = Segmenter(loaded, SegmenterSettings("cpu")).segment(image)
    np.testing.assert_array_equal(label_map.labels, expected.labels)


def test_file_for_one_size_labels_images_as_the_segmenter_and_names_its_labels(
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

    facts = json.loads(session.get_modelmeta().custom_metadata_map["fgsn"])
    assert facts["fingerprint"] == checkpoint.fingerprint
    assert (facts["label_count"], facts["stride"]) == (checkpoint.label_count, 8)
    assert onnx.load(output).opset_import[0].version == 17
    of_graph = Segmenter(load_checkpoint(output), SegmenterSettings("cpu", 8))
    of_graph.warm_up()  # by an image of its size
    np.testing.assert_array_equal(of_graph.segment(image).labels, expected.labels)


def test_bytes_go_into_a_cast_alone_as_tensorrt_asks(workplace, tmp_path: Path) -> None:
    output = tmp_path / "network.onnx"
    assert export(workplace.checkpoint, "--output", output, "--height", 16, "--width", 24) == 0
    readers = [node.op_type for node in onnx.load(output).graph.node if "image" in node.input]
    assert readers == ["Cast"]


def test_weights_rounded_to_float16_are_stored_so_and_label_to_the_bit_as_before(
    tmp_path: Path,
) -> None:
    output = tmp_path / "town.onnx"
    assert export(PACKAGED, "--output", output) == 0
    assert output.stat().st_size < 1.02 * PACKAGED.stat().st_size < 8_000_000
    image = onnx_export._test_image(61, 100)
    first, second = (
        Segmenter(load_checkpoint(path), SegmenterSettings("cpu")).segment(image)
        for path in (PACKAGED, output)
    )
    np.testing.assert_array_equal(first.labels, second.labels)
    np.testing.assert_array_equal(first.confidence, second.confidence)


def test_the_packaged_onnx_file_is_the_packaged_checkpoint() -> None:
    stored = load_checkpoint(PACKAGED)
    packaged = load_checkpoint(PACKAGED.with_suffix(".onnx"))
    assert packaged.fingerprint == stored.fingerprint
    np.testing.assert_array_equal(packaged.log_ratio, stored.log_ratio)
    np.testing.assert_array_equal(packaged.stationary, stored.stationary)


def test_network_that_pools_to_cells_is_exported_for_one_size(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = tmp_path / "pspnet.safetensors"
    save_checkpoint(checkpoint, Checkpoint(make_network("pspnet_resnet50", 3).eval()))
    output = tmp_path / "pspnet.onnx"
    assert export(checkpoint, "--output", output) == 2
    assert "images of one size: give --width and --height" in capsys.readouterr().err
    assert export(checkpoint, "--output", output, "--width", 48, "--height", 40) == 0
    image = onnx_export._test_image(40, 48)
    label_map = Segmenter(load_checkpoint(output), SegmenterSettings("cpu")).segment(image)
    assert label_map.labels.shape == (10, 12)


def test_without_pytorch_it_says_what_to_install(
    workplace, tmp_path: Path, monkeypatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("fgsn_ros.segmentation.checkpoint.find_spec", lambda name: None)
    assert export(workplace.checkpoint, "--output", tmp_path / "network.onnx") == 2
    assert "pip install 'fgsn_ros[torch]'" in capsys.readouterr().err


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
        (["--stride", 8], "--stride takes --width and --height"),
        (["--width", 640], "give both --width and --height"),
        (["--width", 640, "--height", 0], "height must be in"),
        (["--height", 480, "--width", 10**6], "width must be in"),
    ],
)
def test_settings_out_of_range_end_in_one_line(
    workplace, tmp_path: Path, flags, message, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export(workplace.checkpoint, "--output", tmp_path / "x.onnx", *flags) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_name_that_would_not_be_read_as_onnx_is_refused(
    workplace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export(workplace.checkpoint, "--output", tmp_path / "network") == 2
    assert "must end in .onnx" in capsys.readouterr().err
