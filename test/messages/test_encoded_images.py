import struct
import zlib

import cv2
import numpy as np
import pytest

from fgsn_ros.errors import RecordingError
from fgsn_ros.messages.encoded_images import MOST_PIXELS, declared_size, decode, read_image_file
from fgsn_ros.messages.images import decode_image

HEIGHT, WIDTH = 30, 50


def encoded(suffix: str, kind=np.uint8, *options: int) -> bytes:
    pixels = np.arange(HEIGHT * WIDTH * 3).reshape(HEIGHT, WIDTH, 3).astype(kind)
    return cv2.imencode(suffix, pixels, options)[1].tobytes()


def chunk(kind: bytes, content: bytes) -> bytes:
    check_sum = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + check_sum


def small_png_that_claims(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(1000))
    chunks = ((b"IHDR", header), (b"IDAT", data), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*each) for each in chunks)


@pytest.mark.parametrize(
    "data",
    [
        encoded(".png"),
        encoded(".png", np.uint16),
        encoded(".jpg"),
        encoded(".jpg", np.uint8, cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
        encoded(".jpg", np.uint8, cv2.IMWRITE_JPEG_RST_INTERVAL, 2),
        encoded(".bmp"),
        encoded(".webp"),
        encoded(".webp", np.uint8, cv2.IMWRITE_WEBP_QUALITY, 101),  # without loss
        encoded(".tif"),
        encoded(".tif", np.uint16),
        encoded(".ppm"),
        b"P5 # grey\n#\n50\t30\n255\n" + bytes(1500),
    ],
    ids=lambda data: data[:12].hex(),
)
def test_the_declared_size_is_that_of_the_decoded_image(data):
    assert declared_size(data) == (WIDTH, HEIGHT)
    assert decode(data, cv2.IMREAD_COLOR).shape == (HEIGHT, WIDTH, 3)


@pytest.mark.parametrize(("width", "height"), [(65_535, 65_535), (MOST_PIXELS + 1, 1), (0, 5)])
def test_an_image_is_not_decoded_that_claims_to_be_huge(width, height, monkeypatch):
    monkeypatch.setattr(cv2, "imdecode", None)
    with pytest.raises(RecordingError, match="x is damaged"):
        decode_image(small_png_that_claims(width, height), "x")


def test_a_png_is_not_decoded_one_of_whose_chunks_claims_more_than_there_is(monkeypatch):
    png = encoded(".png")
    monkeypatch.setattr(cv2, "imdecode", None)
    for kind in (b"IDAT", b"IEND"):
        at = png.index(kind)
        longer = png[: at - 4] + struct.pack(">I", 2**31 - 1) + png[at:]
        with pytest.raises(ValueError, match="cannot be decoded"):
            decode(longer, cv2.IMREAD_COLOR)


def test_a_tiff_of_huge_tiles_and_a_jpeg_of_many_scans_are_not_decoded(monkeypatch):
    monkeypatch.setattr(cv2, "imdecode", None)
    entries = ((256, 50), (257, 30), (322, 60_000), (323, 60_000))
    tags = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    with pytest.raises(ValueError, match="60000x60000"):
        decode(b"II*\0" + struct.pack("<IH", 8, len(entries)) + tags, cv2.IMREAD_COLOR)
    jpeg = bytearray(encoded(".jpg"))
    at = jpeg.index(b"\xff\xc0") + 5
    jpeg[at : at + 4] = struct.pack(">HH", 9_000, 9_000)
    with pytest.raises(ValueError, match="too many scans"):
        decode(bytes(jpeg) + b"\xff\xda" * 100, cv2.IMREAD_COLOR)


def test_a_gif_is_refused():
    gif = b"GIF89a\1\0\1\0\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0\1\0\1\0\0\2\2D\1\0;"
    with pytest.raises(RecordingError, match="no PNG, JPEG, BMP, WebP, TIFF or PNM"):
        decode_image(gif, "x")


@pytest.mark.parametrize("suffix", [".hdr", ".ras", ".pfm"])
def test_other_formats_of_opencv_are_refused(suffix):
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.float32 if suffix in (".hdr", ".pfm") else np.uint8)
    with pytest.raises(RecordingError, match="no PNG, JPEG, BMP, WebP, TIFF or PNM"):
        decode_image(cv2.imencode(suffix, pixels)[1].tobytes(), "x")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".webp", ".tif", ".ppm"])
def test_a_cut_header_is_refused(suffix):
    whole = encoded(suffix)
    for length in range(40):
        with pytest.raises(RecordingError, match="x is damaged"):
            decode_image(whole[:length], "x")


def test_a_file_too_large_for_an_image_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr("fgsn_ros.messages.encoded_images._MOST_BYTES", 100)
    (tmp_path / "a.png").write_bytes(bytes(101))
    with pytest.raises(ValueError, match="too large"):
        read_image_file(tmp_path / "a.png")
