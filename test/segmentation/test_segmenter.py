import copy

import numpy as np
import pytest
import torch

from fgsn_ros.errors import RecordingError, SettingsError
from fgsn_ros.geometry.cameras import Camera
from fgsn_ros.segmentation.checkpoint import IMAGENET_MEAN, IMAGENET_STD, Checkpoint
from fgsn_ros.segmentation.label_network import fold_batch_norm, on_grid
from fgsn_ros.segmentation.networks import LRASPP, FgsnNetwork, make_network
from fgsn_ros.segmentation.segmenter import Segmenter, SegmenterSettings, shrunk


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    network = make_network(LRASPP, 15, torch.Generator().manual_seed(3))
    with torch.no_grad():
        for _ in range(3):
            network(torch.randn(4, 3, 64, 96))  # batch norms of another scale than 1
    return Checkpoint(network.eval())


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (45, 83, 3), np.uint8)


def plain_soft_max(network: FgsnNetwork, image: np.ndarray, stride: int) -> torch.Tensor:
    """(K, h, w): features of the unfolded network, interpolated, then classified."""
    scaled = (image / 255.0 - IMAGENET_MEAN) / IMAGENET_STD
    with torch.inference_mode():
        batch = torch.tensor(scaled, dtype=torch.float32).permute(2, 0, 1)[None]
        features = network.features(batch)
        features = on_grid(features, network.first_cell_px, stride, *image.shape[:2])
        return network.classify(features)[0].softmax(dim=0)


@pytest.mark.parametrize(("stride", "grid"), [(4, (12, 21)), (8, (6, 11)), (16, (3, 6))])
@pytest.mark.parametrize("backend", ["eager", "onnx"])
def test_label_map_is_the_soft_max_of_the_plain_network(checkpoint, image, backend, stride, grid):
    expected = plain_soft_max(checkpoint.network, image, stride)
    label_map = Segmenter(checkpoint, SegmenterSettings("cpu", stride, backend)).segment(image)
    assert label_map.labels.shape == grid
    assert label_map.stride == stride
    assert label_map.label_count == 15
    chosen = expected.gather(0, torch.from_numpy(label_map.labels.astype(np.int64))[None])[0]
    np.testing.assert_allclose(chosen, expected.max(dim=0).values, atol=1e-5)
    np.testing.assert_allclose(label_map.confidence, chosen, atol=1e-5)


@pytest.mark.parametrize("size", [(48, 84), (45, 83), (46, 82)])
def test_a_shrunk_image_is_labelled_on_the_grid_of_its_camera(checkpoint, size):
    coarse = np.random.default_rng(2).integers(0, 256, (24, 42, 3), np.uint8)
    doubled = coarse.repeat(2, axis=0).repeat(2, axis=1)[: size[0], : size[1]]
    small = coarse[: -(-size[0] // 2), : -(-size[1] // 2)]
    expected = Segmenter(checkpoint, SegmenterSettings("cpu")).segment(small)
    segmenter = Segmenter(checkpoint, SegmenterSettings("cpu", shrink=2))
    segmenter.warm_up(*size)
    found = segmenter.segment(doubled)
    np.testing.assert_array_equal(found.labels, expected.labels)
    assert (found.stride, segmenter.stride) == (8, 8)
    camera = Camera(size[1], size[0], 90.0, 91.0, 40.0, 22.0)
    grid, of_small = camera.at_stride(8), camera.at_stride(2).at_stride(4)
    assert (grid.height, grid.width) == found.labels.shape
    np.testing.assert_allclose(grid.matrix, of_small.matrix)


def test_shrunk_pixels_are_means():
    image = np.random.default_rng(4).integers(0, 256, (7, 11, 3), np.uint8)
    found = shrunk(image, 3)
    assert found.shape == (3, 4, 3)
    means = image[:6, :9].reshape(2, 3, 3, 3, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(found[:2, :3], means, atol=0.51)
    np.testing.assert_array_equal(found[2, :3], image[6, :9].reshape(3, 3, 3).mean(axis=1).round())


def test_same_image_gives_the_same_labels_to_the_bit(checkpoint, image):
    segmenters = [Segmenter(checkpoint, SegmenterSettings("cpu")) for _ in range(2)]
    first, second, third = (s.segment(image) for s in (*segmenters, segmenters[0]))
    for other in (second, third):
        np.testing.assert_array_equal(first.labels, other.labels)
        np.testing.assert_array_equal(first.confidence, other.confidence)


def test_segmenting_leaves_the_checkpoint_as_it_was(checkpoint, image):
    before = checkpoint.fingerprint
    Segmenter(checkpoint, SegmenterSettings("cpu")).segment(image)
    assert Checkpoint(checkpoint.network).fingerprint == before


def test_image_that_is_not_rgb_bytes_is_refused(checkpoint, image):
    segmenter = Segmenter(checkpoint, SegmenterSettings("cpu"))
    for wrong in (image[..., 0], image.astype(np.float32), image[:0]):
        with pytest.raises(RecordingError, match="image must be"):
            segmenter.segment(wrong)


def test_settings_refuse_an_unknown_stride_and_device():
    with pytest.raises(SettingsError, match="stride"):
        SegmenterSettings(stride=7)
    with pytest.raises(SettingsError, match="device"):
        SegmenterSettings(device="tpu")
    with pytest.raises(SettingsError, match="backend must be one of auto, eager, compile, onnx"):
        SegmenterSettings(backend="tensorrt")
    with pytest.raises(SettingsError, match="threads"):
        SegmenterSettings(threads=-1)
    with pytest.raises(SettingsError, match="shrink must be in"):
        SegmenterSettings(shrink=0)


@pytest.fixture(
    scope="module",
    params=["pspnet_resnet101_caffe", "pspnet_resnet50", "fcn_resnet50", "deeplabv3_resnet50"],
)
def resnet(request) -> FgsnNetwork:
    network = make_network(request.param, 15, torch.Generator().manual_seed(3))
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        network.features_and_auxiliary(torch.randn(2, 3, 65, 97))
    return network.eval()


def test_folding_leaves_the_logits_of_a_resnet(resnet):
    image = torch.randn(1, 3, 49, 81).double()
    resnet = copy.deepcopy(resnet).double()  # the pools' norms, of few values, amplify rounding
    folded = fold_batch_norm(copy.deepcopy(resnet))
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in folded.modules())
    with torch.inference_mode():
        torch.testing.assert_close(folded(image), resnet(image), atol=1e-9, rtol=0)


@pytest.mark.parametrize(("stride", "grid"), [(4, (12, 21)), (8, (6, 11)), (16, (3, 6))])
def test_resnet_labels_an_odd_image_on_the_grid_of_the_stride(resnet, image, stride, grid):
    expected = plain_soft_max(resnet, image, stride)
    settings = SegmenterSettings("cpu", stride, "eager")
    label_map = Segmenter(Checkpoint(resnet), settings).segment(image)
    assert label_map.labels.shape == grid
    np.testing.assert_allclose(label_map.confidence, expected.max(dim=0).values, atol=1e-3)


def test_resnet_labels_by_onnx_as_by_pytorch(resnet, image):
    eager, onnx = (
        Segmenter(Checkpoint(resnet), SegmenterSettings("cpu", 4, name)).segment(image)
        for name in ("eager", "onnx")
    )
    assert np.mean(eager.labels == onnx.labels) >= 0.999
    np.testing.assert_allclose(eager.confidence, onnx.confidence, atol=1e-3)
