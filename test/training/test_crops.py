import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fgsn_ros.training.crops import Crop, disturb, random_crop, random_scale

HEIGHT, WIDTH = 120, 200


def boxed(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_nan=False)


crops = st.builds(
    Crop,
    height=st.integers(1, 900),
    width=st.integers(1, 900),
    scale=boxed(0.2, 5.0),
    offset_u=boxed(-2000, 500),
    offset_v=boxed(-2000, 500),
    flipped=st.booleans(),
    rotation=boxed(-np.pi, np.pi),
)


@given(crop=crops, u=boxed(-100, 2000), v=boxed(-100, 2000))
@settings(max_examples=200, deadline=None)
def test_a_pixel_comes_back_from_any_crop(crop, u, v):
    point = np.array([[u, v]])
    np.testing.assert_allclose(crop.source_points(crop.points(point)), point, atol=1e-6)


@given(crop=crops)
@settings(max_examples=50, deadline=None)
def test_any_crop_scales_lengths_and_keeps_or_mirrors_turns(crop):
    right_down = crop.points(np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))
    sides = right_down[1:] - right_down[0]
    np.testing.assert_allclose(np.linalg.norm(sides, axis=1), crop.scale, rtol=1e-6)
    mirrored = -1.0 if crop.flipped else 1.0
    np.testing.assert_allclose(np.linalg.det(sides), mirrored * crop.scale**2, rtol=1e-6)


@pytest.mark.parametrize("flipped", [False, True])
@pytest.mark.parametrize("rotation", [0.0, 0.15, -2.0])
@pytest.mark.parametrize("scale", [0.7, 1.0, 1.6])
def test_a_dot_in_the_image_is_where_the_crop_maps_its_pixel(flipped, rotation, scale):
    image = np.zeros((60, 90, 3), np.uint8)
    rows, columns = np.mgrid[:60, :90]
    image[..., 0] = 255 * np.exp(-((columns - 40) ** 2 + (rows - 25) ** 2) / 8)
    shown_at = Crop(48, 64, scale, 0.0, 0.0, False, rotation).points(np.array([[40.0, 25.0]]))[0]
    offset = np.array([37.3, 20.6]) - shown_at
    crop = Crop(48, 64, scale, offset[0], offset[1], flipped, rotation)
    cropped = crop.image(image)[..., 0].astype(float)
    rows, columns = np.mgrid[:48, :64]
    centre = [(cropped * columns).sum() / cropped.sum(), (cropped * rows).sum() / cropped.sum()]
    np.testing.assert_allclose(crop.points(np.array([[40.0, 25.0]]))[0], centre, atol=0.1)


@pytest.mark.parametrize("flipped", [False, True])
def test_classes_are_the_image_s_own_pixel_by_pixel(flipped):
    classes = np.random.default_rng(0).integers(0, 19, (30, 50), np.uint8)
    cropped = Crop(16, 24, 1.0, -20.0, -11.0, flipped).classes(classes)
    expected = classes[11:27, 20:44]
    np.testing.assert_array_equal(cropped, expected[:, ::-1] if flipped else expected)


def test_classes_outside_the_image_are_unknown():
    classes = np.ones((10, 20), np.uint8)
    cropped = Crop(16, 48, 1.0, 4.0, 3.0, False).classes(classes)
    assert (cropped[3:13, 4:24] == 1).all()
    assert (cropped == 255).sum() == 16 * 48 - 200


def test_what_a_rotation_brings_in_has_no_class_and_the_centre_stays():
    classes = np.zeros((40, 60), np.uint8)
    classes[20, 30] = 7
    crop = random_crop((40, 60), (41, 61), 1.0, np.random.default_rng(0), rotation=np.deg2rad(10))
    centre = np.array([[30.0, 20.0]])
    unturned = Crop(41, 61, 1.0, crop.offset_u, crop.offset_v, False)
    np.testing.assert_allclose(crop.source_points(centre), centre, atol=1.0)
    assert not np.allclose(unturned.points(centre), crop.points(centre))
    cropped = crop.classes(classes)
    assert (cropped[[0, 0, -1, -1], [0, -1, 0, -1]] == 255).all()
    assert (cropped == 7).any()
    assert (cropped != 255).sum() < 40 * 60


def test_pixels_are_shown_up_to_the_crop_s_edge():
    crop = Crop(32, 48, 1.0, 0.0, 0.0, False)
    points = np.array([[-0.5, 0], [-0.500001, 0], [47.499999, 31.499999], [47.5, 0], [0, 31.5]])
    np.testing.assert_array_equal(crop.shows(points), [True, False, True, False, False])


@given(
    u=boxed(-0.5, WIDTH - 0.5),
    v=boxed(-0.5, HEIGHT - 0.5),
    scale=boxed(0.5, 2.0),
    flipped=st.booleans(),
    seed=st.integers(0, 99),
)
@settings(max_examples=200, deadline=None)
def test_a_crop_around_a_pixel_shows_it_even_at_the_border(u, v, scale, flipped, seed):
    pixel, rng = np.array([u, v]), np.random.default_rng(seed)
    crop = random_crop((HEIGHT, WIDTH), (48, 64), scale, rng, around=pixel, flipped=flipped)
    shown = crop.points(pixel[None])
    assert (shown >= -0.5 - 1e-9).all()
    assert (shown <= np.array([63.5, 47.5]) + 1e-9).all()


@pytest.mark.parametrize("scale", [0.5, 1.0, 1.7])
def test_crops_of_a_larger_image_stay_inside_it_and_reach_its_edges(scale):
    rng = np.random.default_rng(0)
    corners = np.array([[-0.5, -0.5], [63.5, 47.5]])
    drawn = [random_crop((HEIGHT, WIDTH), (48, 64), scale, rng) for _ in range(300)]
    found = np.stack([crop.source_points(corners) for crop in drawn])
    assert (found >= -0.5 - 1e-9).all()
    assert (found <= np.array([WIDTH - 0.5, HEIGHT - 0.5]) + 1e-9).all()
    assert (found[:, 0].min(axis=0) < 3).all()
    assert (found[:, 1].max(axis=0) > np.array([WIDTH - 3, HEIGHT - 3])).all()


def test_a_crop_of_a_smaller_image_shows_all_of_it():
    rng = np.random.default_rng(0)
    corners = np.array([[-0.5, -0.5], [29.5, 19.5]])
    for _ in range(50):
        assert random_crop((20, 30), (48, 64), 1.5, rng).shows(corners * 0.999).all()


def test_scales_are_as_often_above_as_below_the_geometric_mean():
    rng = np.random.default_rng(0)
    drawn = np.array([random_scale(0.5, 2.0, rng) for _ in range(2000)])
    assert ((drawn >= 0.5) & (drawn <= 2.0)).all()
    assert abs((drawn > 1.0).mean() - 0.5) < 0.05  # 4.5 standard deviations
    assert random_scale(1.0, 1.0, rng) == 1.0


def drawn(height: int = 20, width: int = 30) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def test_disturbance_is_reproducible_and_grey_on_request():
    first, second = (disturb(drawn(), np.random.default_rng(4), 0.0) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert (first != drawn()).any()
    for photometric in (False, True):
        grey = disturb(drawn(), np.random.default_rng(4), 1.0, photometric)
        np.testing.assert_array_equal(grey[..., 0], grey[..., 2])
        assert grey.shape == (20, 30, 3)


def test_an_image_without_disturbance_stays_as_it_is():
    np.testing.assert_array_equal(disturb(drawn(), np.random.default_rng(4), 0.0, False), drawn())
