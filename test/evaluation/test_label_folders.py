from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from fgsn_ros.errors import RecordingError
from fgsn_ros.evaluation.label_folders import (
    count_pairs,
    open_label_folder,
    pair_images,
    read_ids,
)
from fgsn_ros.segmentation.labels import UNLABELLED, LabelSet, write_label_set


def save(path: Path, ids: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), ids)
    return path


def test_ids_of_8_and_16_bits_come_back_and_their_highest_value_is_none(tmp_path: Path) -> None:
    byte = read_ids(save(tmp_path / "a.png", np.array([[0, 254, 255]], np.uint8)))
    word = read_ids(save(tmp_path / "b.png", np.array([[0, 255, 300, 65535]], np.uint16)))
    assert (byte.dtype, byte.tolist()) == (np.uint16, [[0, 254, UNLABELLED]])
    assert (word.dtype, word.tolist()) == (np.uint16, [[0, 255, 300, UNLABELLED]])


def test_of_an_image_with_a_palette_the_indices_are_read(tmp_path: Path) -> None:
    ids = np.array([[0, 1, 2], [3, 254, 255]], np.uint8)
    image = Image.fromarray(ids, "P")
    image.putpalette(list(np.random.default_rng(0).integers(0, 255, 768)))
    image.save(tmp_path / "a.png")
    assert read_ids(tmp_path / "a.png").tolist() == [[0, 1, 2], [3, 254, UNLABELLED]]


def test_images_without_ids_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", np.zeros((4, 6, 3), np.uint8))
    with pytest.raises(RecordingError, match="holds colours, not ids"):
        read_ids(path)
    save(path, np.random.default_rng(0).integers(0, 9, (40, 60), np.uint8))
    for content in (b"", b"text", path.read_bytes()[:-300]):
        path.write_bytes(content)
        with pytest.raises(RecordingError, match=r"cannot read label image .*a\.png"):
            read_ids(path)


def test_images_pair_by_path_and_what_has_no_pair_is_counted(tmp_path: Path) -> None:
    ids = np.zeros((2, 3), np.uint8)
    for name in ("aachen/1_left.png", "aachen/2_left.png", "bern/1_left.png", "1_left.png"):
        save(tmp_path / "labels" / name, ids)
    for name in ("aachen/1_ids.png", "aachen/1_colour.png", "bern/1_ids.png", "ulm/1_ids.png"):
        save(tmp_path / "classes" / name, ids)
    paired = pair_images(tmp_path / "labels", tmp_path / "classes", "_left", "_ids")
    assert [tuple(path.name for path in pair) for pair in paired.pairs] == [
        ("1_left.png", "1_ids.png"),
        ("1_left.png", "1_ids.png"),
    ]
    assert (paired.without_classes, paired.without_labels) == (2, 1)
    with pytest.raises(RecordingError, match=r"no PNG in .*labels \(4\).*classes \(4\)"):
        pair_images(tmp_path / "labels", tmp_path / "classes")


@pytest.mark.parametrize("stride", [1, 4, 8])
def test_label_images_on_a_grid_count_for_each_pixel(tmp_path: Path, stride: int) -> None:
    rng = np.random.default_rng(0)
    classes = rng.integers(0, 5, (37, 50)).astype(np.uint8)
    labels = rng.integers(0, 300, (-(-37 // stride), -(-50 // stride))).astype(np.uint16)
    save(tmp_path / "labels" / "a.png", labels)
    save(tmp_path / "classes" / "a.png", classes)
    paired = pair_images(tmp_path / "labels", tmp_path / "classes")

    expected = np.zeros((5, 300), np.int64)
    for v in range(37):
        for u in range(50):
            expected[classes[v, u], labels[v // stride, u // stride]] += 1
    for given in (stride, None):
        counts = count_pairs(paired, given).counts
        np.testing.assert_array_equal(counts, expected[:, : counts.shape[1]])
        assert counts.sum() == 37 * 50
    without = count_pairs(paired, stride, ignored=[2]).counts
    assert without[2].sum() == 0
    assert without.sum() == (classes != 2).sum()


def test_sizes_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "labels" / "a.png", np.zeros((10, 15), np.uint8))
    save(tmp_path / "classes" / "a.png", np.zeros((40, 50), np.uint8))
    with pytest.raises(RecordingError, match="15x10, which is no grid of .* 50x40"):
        count_pairs(pair_images(tmp_path / "labels", tmp_path / "classes"))


def test_what_no_class_can_be_is_refused(tmp_path: Path) -> None:
    for folder in ("labels", "classes"):
        save(tmp_path / folder / "a.png", np.full((2, 3), 40_000, np.uint16))
    with pytest.raises(RecordingError, match="are they classes"):
        count_pairs(pair_images(tmp_path / "labels", tmp_path / "classes"))


def test_a_label_folder_is_an_output_or_its_labels_or_any_folder(tmp_path: Path) -> None:
    label_set = LabelSet("fgsn", 3, 4, None, "abc")
    (tmp_path / "output" / "labels").mkdir(parents=True)
    write_label_set(tmp_path / "output", label_set)
    (tmp_path / "plain").mkdir()
    for path in (tmp_path / "output", tmp_path / "output" / "labels"):
        folder = open_label_folder(path)
        assert (folder.root, folder.label_set) == (tmp_path / "output" / "labels", label_set)
    assert open_label_folder(tmp_path / "plain").label_set is None
    with pytest.raises(RecordingError, match="absent is no folder"):
        open_label_folder(tmp_path / "absent")
