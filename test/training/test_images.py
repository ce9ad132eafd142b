import numpy as np
import pytest

from fgsn_ros.errors import TrainingError
from fgsn_ros.training.crops import Crop, random_crop
from fgsn_ros.training.images import ImageCache, disturb


@pytest.mark.parametrize("flipped", [False, True])
@pytest.mark.parametrize("scale", [0.7, 1.0, 1.6])
def test_a_dot_in_the_image_is_where_the_crop_maps_its_pixel(flipped, scale):
    image = np.zeros((60, 90, 3), np.uint8)
    yy, xx = np.mgrid[:60, :90]
    image[..., 0] = 255 * np.exp(-((xx - 40) ** 2 + (yy - 25) ** 2) / 8)
    crop = Crop(48, 64, scale, -17.3, -9.6, flipped)
    cropped = crop.image(image)[..., 0].astype(float)
    rows, columns = np.mgrid[:48, :64]
    centre = [(cropped * columns).sum() / cropped.sum(), (cropped * rows).sum() / cropped.sum()]
    moved = crop.points(np.array([[40.0, 25.0]]))
    np.testing.assert_allclose(moved[0], centre, atol=0.1)
    np.testing.assert_allclose(crop.source_points(moved), [[40.0, 25.0]], atol=1e-9)


def test_classes_outside_the_image_are_unknown():
    classes = np.ones((10, 20), np.uint8)
    cropped = Crop(16, 48, 1.0, 4.0, 3.0, False).classes(classes)
    assert (cropped[3:13, 4:24] == 1).all()
    assert (cropped == 255).sum() == 16 * 48 - 200


def test_a_crop_around_a_pixel_shows_it_even_in_a_corner():
    rng = np.random.default_rng(0)
    for _ in range(200):
        pixel = rng.uniform((0, 0), (199, 119))
        scale = float(rng.uniform(0.5, 2.0))
        crop = random_crop((120, 200), (48, 64), scale, rng, around=pixel, flipped=True)
        u, v = crop.points(pixel[None])[0]
        assert -0.5 <= u < 63.5 + 1e-9
        assert -0.5 <= v < 47.5 + 1e-9


def test_crops_of_a_larger_image_stay_inside_it():
    rng = np.random.default_rng(0)
    corners = np.array([[0.0, 0.0], [63.0, 47.0]])
    for _ in range(100):
        source = random_crop((120, 200), (48, 64), 1.0, rng).source_points(corners)
        assert (source >= 0).all()
        assert (source <= (200 - 1 + 1, 120 - 1 + 1)).all()


def test_disturbance_is_reproducible_and_grey_on_request():
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    first, second = (disturb(image, np.random.default_rng(4), 0.0) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    grey = disturb(image, np.random.default_rng(4), 1.0)
    np.testing.assert_array_equal(grey[..., 0], grey[..., 2])
    assert grey.shape == image.shape


def test_missing_image_is_a_training_error(tmp_path):
    with pytest.raises(TrainingError, match="cannot read image"):
        ImageCache(1).colour(tmp_path / "none.png")
