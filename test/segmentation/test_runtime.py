import importlib.util
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from fgsn_ros.errors import CheckpointError, RecordingError, SettingsError
from fgsn_ros.segmentation import runtime as runtime_module
from fgsn_ros.segmentation.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from fgsn_ros.segmentation.networks import LRASPP, FgsnNetwork, make_network
from fgsn_ros.segmentation.onnx_export import export_onnx
from fgsn_ros.segmentation.runtime import Runtime, choose_runtime, core_count
from fgsn_ros.segmentation.segmenter import Segmenter, SegmenterSettings
from fgsn_ros.segmentation.sliding import SlidingSegmenter

LEAST_EQUAL = 0.999


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return Checkpoint(make_network(LRASPP, 15, torch.Generator().manual_seed(3)).eval())


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (45, 83, 3), np.uint8)


def assert_labels_as_by_eager(checkpoint, image, settings):
    expected = Segmenter(checkpoint, SegmenterSettings("cpu", backend="eager")).segment(image)
    label_map = Segmenter(checkpoint, settings).segment(image)
    assert np.mean(label_map.labels == expected.labels) >= LEAST_EQUAL
    np.testing.assert_allclose(label_map.confidence, expected.confidence, atol=1e-4)


class TwoConvolutions(FgsnNetwork):
    """A network that is compiled in seconds; benchmark/networks.py checks the real ones."""

    architecture, feature_dim = LRASPP, 8
    auxiliary_classifier = None

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 8, 8, 8, 3), nn.BatchNorm2d(8), nn.Hardswish())
        self.classifier = nn.Conv2d(8, 15, 1)

    def filled_features(self, images):
        return self.layers(images)


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_compiled_network_labels_as_eager(image):
    torch.manual_seed(0)
    small = Checkpoint(TwoConvolutions().eval())
    assert_labels_as_by_eager(small, image, SegmenterSettings("cpu", backend="compile"))


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_compiled_network_refuses_images_of_ever_more_sizes(image):
    segmenter = Segmenter(
        Checkpoint(TwoConvolutions().eval()), SegmenterSettings("cpu", 8, "compile")
    )
    with torch._dynamo.config.patch(recompile_limit=1):
        segmenter.segment(image)
        with pytest.raises(SettingsError, match="few sizes; take backend onnx or eager"):
            segmenter.segment(image[:40])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("backend", ["eager", "compile"])
def test_gpu_labels_as_the_cpu_does(checkpoint, image, backend):
    assert_labels_as_by_eager(checkpoint, image, SegmenterSettings("cuda", backend=backend))


def test_default_is_onnx_on_a_cpu_and_eager_on_a_gpu(checkpoint, monkeypatch):
    segmenter = Segmenter(checkpoint, SegmenterSettings("cpu"))
    assert (segmenter.device, segmenter.backend) == ("cpu", "onnx")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_runtime(checkpoint, "auto", "auto", 2) == Runtime("cuda", "eager", 2)


def test_images_of_several_sizes_and_memory_layouts_are_labelled_alike(checkpoint, image):
    segmenter = Segmenter(checkpoint, SegmenterSettings("cpu"))
    expected = segmenter.segment(image)
    for other in (image[:30], image[:, :50], image[10:, ::-1], image):
        label_map = segmenter.segment(other)
        assert label_map.labels.shape == tuple(-(-n // 4) for n in other.shape[:2])
    np.testing.assert_array_equal(label_map.labels, expected.labels)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_each_of_several_images_gets_its_own_labels(checkpoint, image, count):
    segmenter = Segmenter(checkpoint, SegmenterSettings("cpu", backend="eager"))
    images = {index: np.roll(image, 20 * index, axis=1) for index in range(count)}
    labelled = list(segmenter.segment_each(images, lambda index: images[index]))
    assert [index for index, _ in labelled] == list(images)
    for index, label_map in labelled:
        np.testing.assert_array_equal(label_map.labels, segmenter.segment(images[index]).labels)


def test_export_that_is_not_installed_is_named_and_none_takes_its_place(checkpoint, monkeypatch):
    monkeypatch.setattr(runtime_module, "find_spec", lambda name: None)
    with pytest.raises(SettingsError, match=r"needs onnx .*pip install 'fgsn_ros\[torch\]'"):
        Segmenter(checkpoint, SegmenterSettings("cpu"))


def test_compile_without_a_compiler_says_what_to_install(checkpoint, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(SettingsError, match="needs a C\\+\\+ compiler.*there is no g\\+\\+"):
        Segmenter(checkpoint, SegmenterSettings("cpu", backend="compile"))


def test_onnx_on_a_gpu_is_refused_with_the_way_to_tensorrt(checkpoint, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(SettingsError, match="TensorRT, `fgsn export`"):
        choose_runtime(checkpoint, "cuda", "onnx", 0)


def test_threads_are_those_that_the_environment_tells_or_one_a_core(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert core_count() == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "none")
    assert 1 <= core_count() <= len(os.sched_getaffinity(0))


def test_number_of_threads_changes_no_label(checkpoint, image):
    before = torch.get_num_threads()
    try:
        for backend in ("eager", "onnx"):
            assert_labels_as_by_eager(
                checkpoint, image, SegmenterSettings("cpu", backend=backend, threads=2)
            )
    finally:
        torch.set_num_threads(before)


@pytest.fixture(scope="module")
def exported(checkpoint, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "network.onnx"
    export_onnx(path, checkpoint, None)
    return path


@pytest.fixture(scope="module")
def of_one_size(checkpoint, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "fixed.onnx"
    export_onnx(path, checkpoint, (45, 83), stride=8)
    return path


@pytest.mark.parametrize("stride", [4, 8, 16])
def test_onnx_file_labels_images_of_any_size_as_the_checkpoint(checkpoint, exported, image, stride):
    settings = SegmenterSettings("cpu", stride)
    ours = Segmenter(load_checkpoint(exported), settings)
    theirs = Segmenter(checkpoint, settings)
    for part in (image, image[:32, :64], image[:13, 5:]):
        label_map, expected = ours.segment(part), theirs.segment(part)
        np.testing.assert_array_equal(label_map.labels, expected.labels)
        np.testing.assert_allclose(label_map.confidence, expected.confidence, atol=1e-5)


def test_onnx_file_for_one_size_labels_that_size_at_its_stride_alone(
    checkpoint, of_one_size, image
):
    loaded = load_checkpoint(of_one_size)
    segmenter = Segmenter(loaded, SegmenterSettings("cpu", 8))
    expected = Segmenter(checkpoint, SegmenterSettings("cpu", 8, "eager")).segment(image)
    np.testing.assert_array_equal(segmenter.segment(image).labels, expected.labels)
    with pytest.raises(RecordingError, match="labels images of 83x45, not 83x40; export"):
        segmenter.segment(image[:40])
    with pytest.raises(SettingsError, match="labels at stride 8, not 4"):
        Segmenter(loaded, SegmenterSettings("cpu", 4))
    with pytest.raises(CheckpointError, match="labels of images of one size"):
        SlidingSegmenter(loaded, 64)


def test_pytorch_does_not_run_an_onnx_file(exported):
    loaded = load_checkpoint(exported)
    for backend in ("eager", "compile"):
        with pytest.raises(SettingsError, match="take backend onnx, or the .safetensors"):
            Segmenter(loaded, SegmenterSettings("auto", backend=backend))
    with pytest.raises(CheckpointError, match="for ONNX Runtime alone"):
        _ = loaded.network


def test_onnx_file_runs_on_a_gpu_where_onnx_runtime_has_one(exported, monkeypatch):
    loaded = load_checkpoint(exported)
    assert choose_runtime(loaded, "auto", "auto", 0) == Runtime("cpu", "onnx", 0)
    with pytest.raises(SettingsError, match="computes on no GPU: install onnxruntime-gpu"):
        choose_runtime(loaded, "cuda", "auto", 0)
    offered = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: offered)
    assert choose_runtime(loaded, "auto", "auto", 0) == Runtime("cuda", "onnx", 0)
    assert choose_runtime(loaded, "cpu", "auto", 0) == Runtime("cpu", "onnx", 0)


def in_a_process(code: str, *arguments: object) -> str:
    """What code prints in a process of its own."""
    words = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_robot_labels_without_pytorch(checkpoint, exported, of_one_size, tmp_path):
    save_checkpoint(tmp_path / "network.safetensors", checkpoint)
    printed = in_a_process(
        """
        import sys
        from pathlib import Path
        import numpy as np
        from fgsn_ros.segmentation.checkpoint import load_checkpoint, read_label_statistics
        from fgsn_ros.segmentation.segmenter import Segmenter, SegmenterSettings

        any_size, fixed, stored = map(Path, sys.argv[1:])
        image = np.zeros((45, 83, 3), np.uint8)
        print(Segmenter(load_checkpoint(any_size)).segment(image).labels.shape)
        settings = SegmenterSettings(stride=8)
        print(Segmenter(load_checkpoint(fixed), settings).segment(image).labels.shape)
        loaded = load_checkpoint(stored)
        print(loaded.fingerprint == read_label_statistics(any_size).fingerprint)
        print(loaded.label_set(4).label_count, read_label_statistics(stored).label_count)
        print({"torch", "torchvision", "onnx"} & sys.modules.keys())
        """,
        exported,
        of_one_size,
        tmp_path / "network.safetensors",
    )
    assert printed.splitlines() == ["(12, 21)", "(6, 11)", "True", "15 15", "set()"]


def test_weights_without_pytorch_name_what_to_install_and_the_other_way(
    checkpoint, tmp_path, monkeypatch
):
    save_checkpoint(tmp_path / "network.safetensors", checkpoint)
    loaded = load_checkpoint(tmp_path / "network.safetensors")
    found = importlib.util.find_spec
    monkeypatch.setattr(
        "fgsn_ros.segmentation.checkpoint.find_spec",
        lambda name: None if name == "torch" else found(name),
    )
    with pytest.raises(CheckpointError, match=r"'fgsn_ros\[torch\]'.*fgsn export --checkpoint"):
        Segmenter(loaded)


def test_graph_that_gives_something_else_is_refused(exported, image):
    loaded = load_checkpoint(exported)
    claims = type(loaded.model)(**{**vars(loaded.model), "label_count": 16})
    with pytest.raises(
        CheckpointError, match=r"gives float32 \(6, 12, 15\), not float32 \(6, 12, 16"
    ):
        Segmenter(Checkpoint(claims)).segment(image)
    no_graph = type(loaded.model)(**{**vars(loaded.model), "file": b"no graph"})
    with pytest.raises(CheckpointError, match="ONNX Runtime does not run") as error:
        Segmenter(Checkpoint(no_graph)).segment(image)
    assert "\n" not in str(error.value)
