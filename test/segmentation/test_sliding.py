import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from fgsn_ros.errors import RecordingError, SettingsError
from fgsn_ros.segmentation.checkpoint import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Checkpoint,
    load_checkpoint,
)
from fgsn_ros.segmentation.label_grid import taps_of
from fgsn_ros.segmentation.networks import LRASPP, FgsnNetwork, make_network
from fgsn_ros.segmentation.onnx_export import export_onnx
from fgsn_ros.segmentation.segmenter import SegmenterSettings
from fgsn_ros.segmentation.sliding import SlidingSegmenter, blending, crop_starts

K = 9
CPU = SegmenterSettings("cpu")


def random_checkpoint(architecture: str) -> Checkpoint:
    network = make_network(architecture, K, torch.Generator().manual_seed(3))
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(1)
        for _ in range(3):
            network.features_and_auxiliary(torch.randn(2, 3, 65, 65))  # norms of another scale
    return Checkpoint(network.eval())


@pytest.fixture(scope="module")
def pspnet() -> Checkpoint:
    return random_checkpoint("pspnet_resnet50_caffe")


def image_of(height: int, width: int) -> np.ndarray:
    """Smooth noise."""
    coarse = torch.rand(
        1, 3, height // 16 + 2, width // 16 + 2, generator=torch.Generator().manual_seed(0)
    )
    smooth = functional.interpolate(coarse, (height, width), mode="bilinear")[0].permute(1, 2, 0)
    return np.asarray((255 * smooth).byte())


def published_starts(size: int, crop: int) -> list[int]:
    stride = math.ceil(crop * 2 / 3)
    count = max(math.ceil((size - crop) / stride), 0) + 1
    return [0] if count == 1 else [int(i * ((size - crop) / (count - 1))) for i in range(count)]


def published_soft_max(network: FgsnNetwork, image: np.ndarray, crop: int) -> np.ndarray:
    """The published scheme: interpolated logits of each crop, times weights, divided by theirs."""
    height, width = image.shape[:2]
    weight = torch.ones(crop, crop)
    length = round(crop / 3)
    for i in range(length):
        for line in (weight[i], weight[crop - 1 - i], weight[:, i], weight[:, crop - 1 - i]):
            line *= (i + 1) / length
    total, weights = torch.zeros(K, height, width), torch.zeros(height, width)
    for top, left in itertools.product(*(published_starts(n, crop) for n in (height, width))):
        part = np.zeros((crop, crop, 3), np.uint8)
        given = image[top : top + crop, left : left + crop]
        h, w = given.shape[:2]
        part[:h, :w] = given
        scaled = (part / 255.0 - IMAGENET_MEAN) / IMAGENET_STD
        batch = torch.tensor(scaled, dtype=torch.float32).permute(2, 0, 1)[None]
        with torch.no_grad():
            logits = network(batch)
        spread = functional.interpolate(logits, (crop, crop), mode="bilinear", align_corners=True)
        total[:, top : top + h, left : left + w] += (spread[0] * weight)[:, :h, :w]
        weights[top : top + h, left : left + w] += weight[:h, :w]
    return np.asarray((total / weights).softmax(dim=0))


def published_labels(network: FgsnNetwork, image: np.ndarray, crop: int) -> np.ndarray:
    return published_soft_max(network, image, crop).argmax(axis=0)


@pytest.mark.parametrize(
    "size",
    [
        (65, 129),  # as high as the crop
        (90, 115),
        (40, 100),  # lower
        (30, 41),  # smaller
    ],
)
def test_labels_are_those_of_the_published_scheme(
    pspnet: Checkpoint, size: tuple[int, int]
) -> None:
    image = image_of(*size)
    soft_max = published_soft_max(pspnet.network, image, 65)
    expected = soft_max.argmax(axis=0)
    made = SlidingSegmenter(pspnet, 65, CPU).segment(image)
    assert (made.labels.shape, made.labels.dtype, made.stride) == (size, np.uint16, 1)
    np.testing.assert_allclose(made.confidence, soft_max.max(axis=0), atol=1e-3)
    assert made.label_count == K
    assert len(np.unique(expected)) > 2
    assert (made.labels == expected).mean() > 0.9995  # but where two labels are even to rounding


def test_so_are_those_of_a_network_with_another_head() -> None:
    checkpoint, image = random_checkpoint("deeplabv3_resnet50"), image_of(65, 80)
    expected = published_labels(checkpoint.network, image, 65)
    made = SlidingSegmenter(checkpoint, 65, CPU).segment(image)
    assert (made.labels == expected).mean() > 0.9995


def test_cells_of_a_network_that_are_centred_elsewhere_are_spread_from_there() -> None:
    checkpoint, image = random_checkpoint(LRASPP), image_of(64, 64)
    made = SlidingSegmenter(checkpoint, 64, CPU).segment(image)
    scaled = (image / 255.0 - IMAGENET_MEAN) / IMAGENET_STD
    with torch.no_grad():
        logits = checkpoint.network(
            torch.tensor(scaled, dtype=torch.float32).permute(2, 0, 1)[None]
        )
    assert checkpoint.network.first_cell_px == 3.5  # cells cover 8 pixels each
    spread = functional.interpolate(logits, (64, 64), mode="bilinear")[0]
    assert (made.labels == np.asarray(spread.argmax(0))).mean() > 0.999


@pytest.mark.parametrize("backend", ["eager", "onnx"])
def test_the_number_of_threads_and_the_backend_change_no_label(
    pspnet: Checkpoint, backend: str
) -> None:
    image, before = image_of(65, 90), torch.get_num_threads()
    expected = published_labels(pspnet.network, image, 65)
    try:
        for threads in (1, 3):
            settings = SegmenterSettings("cpu", 4, backend, threads)  # type: ignore[arg-type]
            made = SlidingSegmenter(pspnet, 65, settings).segment(image)
            assert (made.labels == expected).mean() > 0.9995
    finally:
        torch.set_num_threads(before)


def test_an_onnx_file_for_images_of_any_size_slides_too(tmp_path: Path) -> None:
    checkpoint, image = random_checkpoint(LRASPP), image_of(90, 115)
    export_onnx(tmp_path / "network.onnx", checkpoint, None)
    loaded = load_checkpoint(tmp_path / "network.onnx")
    for crop in (64, 65):
        expected = SlidingSegmenter(checkpoint, crop, CPU).segment(image)
        made = SlidingSegmenter(loaded, crop, CPU).segment(image)
        np.testing.assert_array_equal(made.labels, expected.labels)


def test_the_checkpoint_is_left_as_it_was(pspnet: Checkpoint) -> None:
    before = pspnet.fingerprint
    SlidingSegmenter(pspnet, 65, CPU).segment(image_of(65, 65))
    assert Checkpoint(pspnet.network).fingerprint == before


def test_a_crop_without_a_cell_is_told(pspnet: Checkpoint) -> None:
    with pytest.raises(SettingsError, match="a crop must have at least 8"):
        SlidingSegmenter(pspnet, 7, CPU)


def test_an_image_of_another_type_is_told(pspnet: Checkpoint) -> None:
    segmenter = SlidingSegmenter(pspnet, 65, CPU)
    with pytest.raises(RecordingError, match="uint8"):
        segmenter.segment(np.zeros((100, 100, 3), np.float32))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("size", "starts"),
    [(768, [0, 55]), (1024, [0, 311]), (713, [0]), (500, [0]), (1190, [0, 477 // 2, 477])],
)
def test_crops_start_where_the_published_ones_do(size: int, starts: list[int]) -> None:
    assert crop_starts(size, 713) == published_starts(size, 713) == starts


@pytest.mark.parametrize("size", [97, 161, 200, 40])
def test_blending_of_a_line_through_the_cells_is_that_line(size: int) -> None:
    starts, shares = blending(size, 97, 0.0)
    positions = np.concatenate([start + 8.0 * np.arange(13) for start in starts])
    np.testing.assert_allclose(shares.sum(axis=1), 1.0, atol=1e-6)
    np.testing.assert_allclose(shares @ positions, np.arange(float(size)), atol=1e-3)
    assert taps_of(shares)[0].shape[1] <= 2 * len(starts)
