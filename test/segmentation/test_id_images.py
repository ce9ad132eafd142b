from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from fgsn_ros.segmentation.id_images import read_id_image


def of_bits(bits: int, shape: tuple[int, int] = (23, 37)) -> np.ndarray:
    kind = np.uint16 if bits > 8 else np.uint8
    return np.random.default_rng(bits).integers(0, 2**bits, shape).astype(kind)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif"])
def test_stored_values_of_one_channel_come_back(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    for bits in (8,) if suffix == ".bmp" else (8, 16):
        ids = of_bits(bits)
        assert cv2.imwrite(str(path), ids)
        read = read_id_image(path)
        assert read.dtype == ids.dtype
        np.testing.assert_array_equal(read, ids)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("transparency", [{}, {"transparency": 1}], ids=["opaque", "transparent"])
def test_of_a_palette_the_indices_are_read(
    tmp_path: Path, bits: int, transparency: dict[str, int]
) -> None:
    ids = of_bits(bits)
    image = Image.fromarray(ids, "P")
    image.putpalette(np.random.default_rng(0).integers(0, 255, 768).tolist())
    image.save(tmp_path / "a.png", bits=bits, **transparency)
    assert Image.open(tmp_path / "a.png").mode == "P"
    np.testing.assert_array_equal(read_id_image(tmp_path / "a.png"), ids)


def test_what_stands_behind_the_end_does_not_matter(tmp_path: Path) -> None:
    ids = of_bits(8)
    assert cv2.imwrite(str(tmp_path / "a.png"), ids)
    with (tmp_path / "a.png").open("ab") as file:
        file.write(b"more")
    np.testing.assert_array_equal(read_id_image(tmp_path / "a.png"), ids)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
def test_an_image_of_colours_is_refused(tmp_path: Path, mode: str) -> None:
    Image.fromarray(of_bits(8)).convert(mode).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match="colours, not ids"):
        read_id_image(tmp_path / "a.png")


def test_a_damaged_image_is_refused_wherever_the_damage_is(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    image = Image.fromarray(of_bits(8), "P")
    image.putpalette(list(range(256)) * 3)
    image.save(path)
    whole = path.read_bytes()
    palette = range(whole.index(b"PLTE") - 4, whole.index(b"IDAT") - 4)
    broken = [whole[:length] for length in range(0, len(whole), 31)]
    for place in set(range(0, len(whole), 7)) - set(palette):
        broken.append(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
    for content in (b"text", *broken):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="restore it"):
            read_id_image(path)
