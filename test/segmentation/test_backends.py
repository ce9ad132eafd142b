import shutil

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from fgsn_ros.errors import SettingsError
from fgsn_ros.segmentation import onnx_backend
from fgsn_ros.segmentation.backends import choose_backend
from fgsn_ros.segmentation.checkpoint import Checkpoint
from fgsn_ros.segmentation.networks import LRASPP, FgsnNetwork, make_network
from fgsn_ros.segmentation.segmenter import Segmenter
from fgsn_ros.segmentation.settings import SegmenterSettings

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

    architecture, feature_dim, first_cell_px = LRASPP, 8, 3.5
    auxiliary_classifier = None

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 8, 8, 8, 3), nn.BatchNorm2d(8), nn.Hardswish())
        self.classifier = nn.Conv2d(8, 15, 1)

    def features(self, images):
        return self.layers(functional.pad(images, (0, 5, 0, 3), mode="replicate"))


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


def test_default_is_onnx_on_a_cpu_and_eager_on_a_gpu(checkpoint):
    assert Segmenter(checkpoint, SegmenterSettings("cpu")).backend == "onnx"
    assert choose_backend("auto", torch.device("cuda")) == "eager"


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


def test_backend_that_is_not_installed_is_named_and_none_takes_its_place(checkpoint, monkeypatch):
    monkeypatch.setattr(onnx_backend, "find_spec", lambda name: None)
    with pytest.raises(SettingsError, match="needs onnx and onnxruntime; pip install onnx"):
        Segmenter(checkpoint, SegmenterSettings("cpu"))


def test_compile_without_a_compiler_says_what_to_install(checkpoint, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(SettingsError, match="needs a C\\+\\+ compiler.*there is no g\\+\\+"):
        Segmenter(checkpoint, SegmenterSettings("cpu", backend="compile"))


def test_onnx_on_a_gpu_is_refused_with_the_way_to_tensorrt():
    with pytest.raises(SettingsError, match="for TensorRT, `fgsn export`"):
        choose_backend("onnx", torch.device("cuda"))


def test_number_of_threads_changes_no_label(checkpoint, image):
    before = torch.get_num_threads()
    try:
        for backend in ("eager", "onnx"):
            assert_labels_as_by_eager(
                checkpoint, image, SegmenterSettings("cpu", backend=backend, threads=2)
            )
    finally:
        torch.set_num_threads(before)
