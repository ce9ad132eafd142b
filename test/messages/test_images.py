import dataclasses

import cv2
import numpy as np
import pytest

from fgsn_ros.errors import RecordingError
from fgsn_ros.geometry.cameras import Camera
from fgsn_ros.messages import images
from fgsn_ros.messages.images import (
    camera_frame,
    camera_of,
    image_of,
    is_calibrated,
    make_camera_info,
    make_image,
    make_jpeg,
)
from fgsn_ros.messages.types import BAG_TYPES, make_header, stamp_of

HEADER = make_header(BAG_TYPES, 12.25, "camera_optical")
CAMERA = Camera(64, 40, 50.0, 51.0, 31.2, 19.4, "plumb_bob", (-0.1, 0.01, 1e-4, 2e-4, 0.0))
ENCODED = {"mono8": 1, "rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4}


def image_message(encoding: str, pixels: np.ndarray):
    return make_image(BAG_TYPES, HEADER, encoding, pixels)


def encoded(image: np.ndarray, encoding: str) -> np.ndarray:
    if encoding == "mono8":
        return image[:, :, 0]
    order = {"r": 0, "g": 1, "b": 2}
    channels = [image[:, :, order[c]] if c != "a" else image[:, :, 0] // 2 for c in encoding[:-1]]
    return np.stack(channels, axis=-1)


def made_image() -> np.ndarray:
    v, u = np.mgrid[:40, :64]
    return np.stack([60 + v, 40 + 2 * u, 200 - u - v], axis=-1).astype(np.uint8)


@pytest.mark.parametrize("encoding", ENCODED)
def test_an_image_comes_back_with_its_header(encoding: str, sent) -> None:
    image = made_image()
    message = sent(image_message(encoding, encoded(image, encoding)))
    assert (message.width, message.height, message.step) == (64, 40, 64 * ENCODED[encoding])
    assert (stamp_of(message), message.header.frame_id) == (12.25, "camera_optical")
    expected = image[:, :, [0, 0, 0]] if encoding == "mono8" else image
    np.testing.assert_array_equal(image_of(message, "test"), expected)


def test_a_jpeg_comes_back_nearly_the_same(sent) -> None:
    message = sent(make_jpeg(BAG_TYPES, HEADER, made_image(), 95))
    assert (stamp_of(message), message.format) == (12.25, "jpeg")
    error = np.abs(image_of(message, "test").astype(int) - made_image())
    assert error.mean() < 2.0


def test_rows_of_another_byte_type_are_written_as_they_are(sent) -> None:
    depth = np.linspace(0, 90, 6, dtype=np.float32).reshape(2, 3)
    message = sent(image_message("32FC1", depth))
    assert message.step == 12
    np.testing.assert_array_equal(message.data.view(np.float32).reshape(2, 3), depth)
    columns = sent(image_message("mono8", made_image()[:, ::2, 0]))  # not contiguous
    np.testing.assert_array_equal(image_of(columns, "test")[:, :, 0], made_image()[:, ::2, 0])


@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
@pytest.mark.parametrize("bits", [8, 16])
def test_bayer_images_get_their_colours_back(pattern: str, bits: int) -> None:
    colour = {"r": 200, "g": 120, "b": 40}
    tile = np.array([colour[c] for c in pattern]).reshape(2, 2)
    mosaic = np.tile(tile, (10, 16)).astype(np.uint8)
    if bits == 16:
        mosaic = mosaic.astype(np.uint16) * 256 + 9
    image = image_of(image_message(f"bayer_{pattern}{bits}", mosaic), "test")
    assert image.shape == (20, 32, 3)
    np.testing.assert_array_equal(image[4:-4, 4:-4].reshape(-1, 3).max(axis=0), [200, 120, 40])
    np.testing.assert_array_equal(image[4:-4, 4:-4].reshape(-1, 3).min(axis=0), [200, 120, 40])


def test_a_mosaic_compressed_as_grey_gets_its_colours_back() -> None:
    mosaic = np.tile(np.array([[200, 120], [120, 40]], np.uint8), (10, 16))
    message = make_jpeg(BAG_TYPES, HEADER, np.repeat(mosaic[:, :, None], 3, axis=2), 100)
    message.format = "bayer_rggb8; jpeg compressed "
    image = image_of(message, "test")[4:-4, 4:-4]
    assert np.abs(image.astype(int) - [200, 120, 40]).mean() < 5


def test_sixteen_bit_images_of_either_byte_order_keep_their_high_byte() -> None:
    grey = (np.arange(12).reshape(3, 4) * 5000).astype(np.uint16)
    little = image_of(image_message("mono16", grey), "test")
    swapped = image_message("mono16", grey.astype(">u2"))
    swapped.is_bigendian = 1
    big = image_of(swapped, "test")
    np.testing.assert_array_equal(little[:, :, 1], grey // 256)
    np.testing.assert_array_equal(big, little)


@pytest.mark.parametrize(
    "changes",
    [
        {"encoding": "32FC1", "step": 256},
        {"step": 3},
        {"height": 900},
        {"width": 0},
        {"data": np.zeros(0)},
    ],
)
def test_a_raw_image_that_cannot_be_is_refused(changes: dict[str, object]) -> None:
    message = image_message("mono8", np.zeros((40, 64), np.uint8))
    for name, value in changes.items():
        setattr(message, name, value)
    with pytest.raises(RecordingError, match="source"):
        image_of(message, "source")


@pytest.mark.parametrize("encoding", ["yuv422", "uyvy", "yuv422_yuy2", "yuyv"])
@pytest.mark.parametrize("width", [1, 5, 6])
def test_pairs_of_pixels_share_their_colour_also_in_an_odd_row(encoding: str, width: int) -> None:
    y, u, v = 81, 90, 240  # red, of ITU-R BT.601
    first_y = encoding in ("yuv422_yuy2", "yuyv")
    pairs = [(y, c) if first_y else (c, y) for c in (u, v)]
    pixels = np.array([[pairs[column % 2] for column in range(width)]] * 4, np.uint8)
    image = image_of(image_message(encoding, pixels), "test")
    assert image.shape == (4, width, 3)
    if width > 1:
        np.testing.assert_allclose(image, np.broadcast_to([255, 0, 0], image.shape), atol=3)


@pytest.mark.parametrize("encoding", ["nv12", "nv21", "yuv420", "i420"])
def test_planes_of_brightness_and_colour_make_an_image(encoding: str) -> None:
    y, u, v = 81, 90, 240
    height, width, padding = 4, 6, 2 if encoding.startswith("nv") else 0
    colours = {"nv12": [u, v] * 6, "nv21": [v, u] * 6}.get(encoding, [u] * 6 + [v] * 6)
    planes = np.array([y] * height * width + colours, np.uint8).reshape(-1, width)
    message = image_message("mono8", np.pad(planes, [(0, 0), (0, padding)]))
    message.encoding, message.height, message.width = encoding, height, width
    image = image_of(message, "test")
    np.testing.assert_allclose(image, np.broadcast_to([255, 0, 0], (4, 6, 3)), atol=3)
    message.height = 6
    with pytest.raises(RecordingError, match="source is damaged"):
        image_of(message, "source")
    message.height = 3
    with pytest.raises(RecordingError, match=f"a size that {encoding} has not"):
        image_of(message, "source")


@pytest.mark.parametrize("encoding", ["rgb16", "bgr16", "rgba16", "bgra16"])
def test_deep_colours_keep_their_high_byte(encoding: str) -> None:
    pixels = encoded(made_image(), encoding.replace("16", "8")).astype(np.uint16) * 256 + 77
    np.testing.assert_array_equal(image_of(image_message(encoding, pixels), "test"), made_image())


RED = np.zeros((16, 24, 3), np.uint8)
RED[..., 0] = 200


@pytest.mark.parametrize("extension", [".jpg", ".png", ".tiff"])
@pytest.mark.parametrize(
    ("form", "swapped"),
    [
        ("jpeg", False),
        ("jpg", False),
        ("png", False),
        ("", False),
        ("rgb8; {} compressed bgr8", False),
        ("bgr8; {} compressed bgr8", False),
        ("rgb16; {} compressed bgr16", False),
        ("mono8; {} compressed ", False),
        ("rgb8; {} compressed", True),
        ("rgb8; {} compressed ", True),
        ("rgba8; {} compressed ", True),
        ("bgr8; {} compressed ", "tiff"),
        ("bgra8; {} compressed", "tiff"),
    ],
)
def test_compressed_colours_are_in_the_order_that_their_format_says(
    extension: str, form: str, swapped: bool | str
) -> None:
    """image_transport handed arrays of rgb8 to OpenCV as they were, until 2012 and as TIFF."""
    codec = {".jpg": "jpeg", ".png": "png", ".tiff": "tiff"}[extension]
    if swapped == "tiff":
        swapped = codec != "tiff"
    message = make_jpeg(BAG_TYPES, HEADER, RED, 95)
    message.format = form.format(codec)
    handed = RED if swapped else RED[..., ::-1]
    message.data = cv2.imencode(extension, handed)[1].ravel()
    mean = image_of(message, "test").mean((0, 1))
    np.testing.assert_allclose(mean, [200, 0, 0], atol=3)


def test_a_mosaic_that_was_made_grey_stays_grey() -> None:
    message = make_jpeg(BAG_TYPES, HEADER, np.repeat(made_image()[:, :, :1], 3, axis=2), 100)
    message.format = "bayer_rggb8; jpeg compressed mono8"
    image = image_of(message, "test").astype(int)
    assert np.abs(image - made_image()[:, :, :1]).mean() < 2


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ("h264", "compressed as 'h264', which is video"),
        ("H265; main", "compressed as 'H265; main', which is video"),
        ("16UC1; compressedDepth png", "a depth image"),
        ("jxl", "of the format 'jxl', which cannot be decoded here"),
        ("\x1b[2J" + 900 * "x", "of the format '?[2J" + 36 * "x" + "'"),
        ("jpeg", "damaged"),
    ],
)
def test_a_format_that_holds_no_image_is_named(form: str, said: str) -> None:
    message = make_jpeg(BAG_TYPES, HEADER, RED, 95)
    message.format, message.data = form, np.arange(200, dtype=np.uint8)
    with pytest.raises(RecordingError) as error:
        image_of(message, "source")
    assert str(error.value).startswith(f"source is {said}")


@pytest.mark.parametrize("encoding", ["32FC1", "16UC1", "yuv444", "", "\x1b[2J" + 900 * "x"])
def test_an_encoding_that_holds_no_colours_is_named(encoding: str) -> None:
    message = image_message("mono8", np.zeros((4, 4), np.uint8))
    message.encoding = encoding
    with pytest.raises(RecordingError, match="no colour or grey image; supported: 8UC1") as error:
        image_of(message, "source")
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 400


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (2, 1), (2, 2), (1, 7), (3, 3)])
@pytest.mark.parametrize("encoding", sorted(images._ENCODINGS))
def test_images_of_few_pixels_are_converted_in_every_encoding(
    encoding: str, size: tuple[int, int]
) -> None:
    channels, _ = images._ENCODINGS[encoding]
    dtype = np.uint16 if encoding.endswith("16") else np.uint8
    pixels = np.full((*size, channels), 128, dtype)
    assert image_of(image_message(encoding, pixels), "test").shape == (*size, 3)


def test_rectified_images_have_the_projection_matrix_and_no_distortion() -> None:
    info = make_camera_info(BAG_TYPES, HEADER, CAMERA)
    info.p = np.array([40.0, 0, 30, 0, 0, 41, 20, 0, 0, 0, 1, 0])
    camera = camera_of(info, True, "topic")
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == (40.0, 41.0, 30.0, 20.0)
    assert not camera.is_distorted
    assert camera_of(info, False, "topic").is_distorted


def test_camera_info_gives_the_camera_back(sent) -> None:
    for wanted in (CAMERA, CAMERA.at_stride(4), CAMERA.undistorted()):
        message = sent(make_camera_info(BAG_TYPES, HEADER, wanted))
        assert camera_of(message, False, "test") == wanted
        assert camera_of(message, True, "test") == wanted.undistorted()
        assert (stamp_of(message), message.header.frame_id) == (12.25, "camera_optical")


def sensor_info(**changes):
    """CameraInfo of a sensor of 128 x 96 pixels."""
    sensor = Camera(128, 96, 120.0, 122.0, 63.5, 47.5, "plumb_bob", (-0.1, 0.01, 1e-4, 2e-4, 0.0))
    info = make_camera_info(BAG_TYPES, HEADER, sensor)
    region = {name: changes.pop(name) for name in REGION if name in changes}
    info.roi = dataclasses.replace(info.roi, **region)
    return dataclasses.replace(info, **changes)


REGION = ("x_offset", "y_offset", "width", "height")
PART = {"x_offset": 20, "y_offset": 10, "width": 64, "height": 48}


@pytest.mark.parametrize(
    ("changes", "size", "first"),
    [
        ({}, (128, 96), (0.0, 0.0)),
        ({"binning_x": 1, "binning_y": 1}, (128, 96), (0.0, 0.0)),
        ({"binning_x": 2, "binning_y": 2}, (64, 48), (0.5, 0.5)),
        ({"binning_x": 4, "binning_y": 2}, (32, 48), (1.5, 0.5)),
        ({"binning_x": 2}, (64, 96), (0.5, 0.0)),
        (PART, (64, 48), (20.0, 10.0)),
        (PART | {"binning_x": 2, "binning_y": 2}, (32, 24), (20.5, 10.5)),
        (PART | {"width": 65, "binning_x": 2, "binning_y": 2}, (32, 24), (20.5, 10.5)),
    ],
)
@pytest.mark.parametrize("rectified", [True, False])
def test_binning_and_region_of_interest_are_those_of_rep_104(
    changes, size, first, rectified, sent
) -> None:
    """The first pixel of the image is seen along the ray of the middle of its sensor pixels."""
    sensor = camera_of(sensor_info(), rectified, "topic")
    camera = camera_of(sent(sensor_info(**changes)), rectified, "topic")
    assert (camera.width, camera.height) == size
    rays, _ = sensor.unproject([first])
    np.testing.assert_allclose(camera.unproject([[0.0, 0.0]])[0], rays, atol=1e-12)
    bins = max(changes.get("binning_x", 1), 1), max(changes.get("binning_y", 1), 1)
    rays, _ = sensor.unproject([np.add(first, np.multiply(bins, (7, 5)))])
    np.testing.assert_allclose(camera.unproject([[7.0, 5.0]])[0], rays, atol=1e-12)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (PART | {"width": 120}, "120 x 48 pixels from 20, 10 on, leaves the sensor of 128 x 96"),
        ({"binning_x": 200}, "0 x 96"),
        ({"k": np.zeros(9)}, "calibrate"),
        ({"d": np.full(5, 1e308)}, "1e[+]308 is absurd"),
        ({"d": np.full(5, np.nan)}, "nan is absurd"),
    ],
)
def test_a_camera_info_that_makes_no_camera_is_refused_with_its_topic(changes, said, sent) -> None:
    with pytest.raises(RecordingError, match=rf"^topic: .*{said}"):
        camera_of(sent(sensor_info(**changes)), False, "topic")


def test_an_empty_camera_info_is_not_calibrated_and_an_empty_frame_is_the_images(sent) -> None:
    info, image = sent(sensor_info()), sent(image_message("rgb8", made_image()))
    assert is_calibrated(info)
    assert not is_calibrated(sent(sensor_info(k=np.zeros(9))))
    assert not is_calibrated(dataclasses.replace(sensor_info(), width=0))
    image.header.frame_id = "/of_image"
    assert camera_frame(info, image) == "camera_optical"
    info.header.frame_id = ""
    assert camera_frame(info, image) == "of_image"
