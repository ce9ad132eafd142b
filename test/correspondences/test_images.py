from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from fgsn_ros.correspondences.images import ImageCache
from fgsn_ros.errors import TrainingError


def drawn(height: int = 20, width: int = 30) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def write(path: Path, image: np.ndarray) -> Path:
    Image.fromarray(image).save(path)
    return path


def test_a_colour_image_is_rgb_and_kept_within_the_limit(tmp_path):
    path = write(tmp_path / "a.png", drawn())
    generous, mean = ImageCache(1), ImageCache(0)
    np.testing.assert_array_equal(generous.colour(path), drawn())
    assert generous.colour(path) is generous.colour(path)
    assert mean.colour(path) is not mean.colour(path)


def test_threads_that_read_the_same_image_do_not_use_the_memory_up(tmp_path):
    paths = [write(tmp_path / f"{number}.png", drawn(100, 150)) for number in range(4)]
    cache = ImageCache(1)  # room for 22 images of 45 kB
    with ThreadPoolExecutor(8) as threads:
        read = list(threads.map(cache.colour, paths * 40))
    assert all((image == drawn(100, 150)).all() for image in read)
    paths = [write(tmp_path / f"{number}.png", drawn(100, 150)) for number in range(4, 22)]
    for path in paths:
        cache.colour(path)
    assert all(cache.colour(path) is cache.colour(path) for path in paths)


def test_missing_or_damaged_images_are_training_errors(tmp_path):
    with pytest.raises(TrainingError, match="cannot read image"):
        ImageCache(1).colour(tmp_path / "none.png")
    with pytest.raises(TrainingError, match="cannot read class image"):
        ImageCache(1).classes(tmp_path / "none.png")
    write(tmp_path / "whole.png", drawn()[..., 0])
    (tmp_path / "part.png").write_bytes((tmp_path / "whole.png").read_bytes()[:200])
    with pytest.raises(TrainingError, match="cannot read class image"):
        ImageCache(1).classes(tmp_path / "part.png")


@pytest.mark.parametrize(
    ("mode", "reason"), [("RGB", "colours, not ids"), ("I;16", "8-bit channel")]
)
def test_class_images_of_another_kind_are_refused(tmp_path, mode, reason):
    pixels = drawn() if mode == "RGB" else drawn()[..., 0].astype(np.uint16)
    with pytest.raises(TrainingError, match=reason):
        ImageCache(1).classes(write(tmp_path / "a.png", pixels))


def test_classes_of_an_image_with_a_palette_are_its_indices(tmp_path):
    ids = np.random.default_rng(0).integers(0, 66, (20, 30), np.uint8)
    image = Image.fromarray(ids)
    image.putpalette(drawn(16, 16).ravel().tolist())
    image.save(tmp_path / "a.png")
    assert Image.open(tmp_path / "a.png").mode == "P"
    np.testing.assert_array_equal(ImageCache(1).classes(tmp_path / "a.png"), ids)


def test_classes_are_converted_by_their_table_also_when_kept(tmp_path):
    path = write(tmp_path / "a.png", np.array([[0, 1, 255], [7, 8, 9]], np.uint8))
    table = bytes([255] * 7 + [0, 1] + [255] * 247)
    cache = ImageCache(1)
    for _ in range(2):
        np.testing.assert_array_equal(cache.classes(path, table), [[255, 255, 255], [0, 1, 255]])
        np.testing.assert_array_equal(cache.classes(path), [[0, 1, 255], [7, 8, 9]])


@pytest.mark.parametrize(("side", "shape"), [(0, (40, 70)), (20, (20, 35)), (64, (64, 112))])
def test_images_and_classes_come_with_the_shorter_side_asked_for(tmp_path, side, shape):
    image = write(tmp_path / "a.png", drawn(40, 70))
    classes = write(tmp_path / "b.png", drawn(40, 70)[..., 0])
    cache = ImageCache(1, side)
    assert cache.colour(image).shape == (*shape, 3)
    assert cache.classes(classes).shape == shape
    assert np.isin(cache.classes(classes), drawn(40, 70)[..., 0]).all()  # none is interpolated


@pytest.mark.parametrize("side", [0, 31, 97])
@pytest.mark.parametrize("kept", [0, 1])
def test_pixels_follow_the_image_that_is_resized(tmp_path, side, kept):
    image = np.zeros((60, 90, 3), np.uint8)
    rows, columns = np.mgrid[:60, :90]
    image[..., 0] = 255 * np.exp(-((columns - 40) ** 2 + (rows - 25) ** 2) / 18)
    path, cache = write(tmp_path / "a.png", image), ImageCache(kept, side)
    moved = cache.pixels(path, np.array([[40.0, 25.0]]))
    resized = cache.colour(path)[..., 0].astype(float)
    rows, columns = np.indices(resized.shape)
    centre = [(resized * columns).sum() / resized.sum(), (resized * rows).sum() / resized.sum()]
    np.testing.assert_allclose(moved[0], centre, atol=0.05)


def test_the_stored_image_s_edges_are_the_resized_image_s(tmp_path):
    path, cache = write(tmp_path / "a.png", drawn(41, 67)), ImageCache(1, 100)
    height, width = cache.colour(path).shape[:2]
    corners = cache.pixels(path, np.array([[-0.5, -0.5], [66.5, 40.5]]))
    np.testing.assert_allclose(corners, [[-0.5, -0.5], [width - 0.5, height - 0.5]], atol=1e-9)


def test_a_shrunk_image_is_the_mean_of_its_pixels(tmp_path):
    stripes = np.zeros((40, 80, 3), np.uint8)
    stripes[:, ::2] = 200
    cv2.imwrite(str(tmp_path / "a.png"), stripes)
    shrunk = ImageCache(1, 20).colour(tmp_path / "a.png")
    assert (shrunk == 100).all()
