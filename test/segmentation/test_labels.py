import json
from pathlib import Path

import numpy as np
import pytest
import torch

from fgsn_ros.errors import RecordingError
from fgsn_ros.segmentation.checkpoint import Checkpoint
from fgsn_ros.segmentation.labels import (
    UNLABELLED,
    LabelMap,
    LabelSet,
    colourize,
    every_pixel,
    label_edges,
    label_map_of,
    label_pixels,
    outlined_overlay,
    overlay,
    palette,
    read_label_set,
    write_label_set,
)
from fgsn_ros.segmentation.networks import LRASPP, make_network


def make_map(labels: np.ndarray, stride: int = 8, label_count: int = 300) -> LabelMap:
    confidence = np.ones(labels.shape, np.float32)
    return LabelMap(labels.astype(np.uint16), confidence, stride, label_count)


def test_palette_gives_neighbouring_labels_distinct_colours():
    colours = palette(300).astype(int)
    assert colours.shape == (300, 3)
    assert np.abs(np.diff(colours, axis=0)).sum(axis=1).min() > 60
    assert len(np.unique(colours, axis=0)) > 250


def test_palette_of_a_label_does_not_depend_on_how_many_there_are():
    np.testing.assert_array_equal(palette(20), palette(300)[:20])


def test_colourize_shows_unlabelled_cells_black_and_labels_above_255():
    label_map = make_map(np.array([[0, 299, UNLABELLED]]))
    coloured = colourize(label_map)
    assert coloured.shape == (1, 3, 3)
    np.testing.assert_array_equal(coloured[0, 1], palette(300)[299])
    np.testing.assert_array_equal(coloured[0, 2], 0)


def test_overlay_colours_exactly_the_pixels_of_each_cell():
    image = np.full((12, 20, 3), 100, np.uint8)  # 2 x 3 cells, the last ones cut
    labels = np.array([[0, 1, UNLABELLED], [2, 3, 4]])
    blended = overlay(image, make_map(labels), alpha=1.0)
    assert blended.shape == image.shape
    np.testing.assert_array_equal(blended[:8, 16:], 100)
    np.testing.assert_array_equal(blended[8:, 16:], np.broadcast_to(palette(5)[4], (4, 4, 3)))
    np.testing.assert_array_equal(blended[7, 7], palette(5)[0])
    np.testing.assert_array_equal(blended[7, 8], palette(5)[1])


def test_label_map_refuses_confidence_of_another_shape():
    with pytest.raises(ValueError, match="confidence"):
        LabelMap(np.zeros((2, 3), np.uint16), np.ones((3, 2), np.float32), 8, 10)


@pytest.mark.parametrize(("label_count", "kind", "none"), [(255, "u1", 255), (256, "u2", 65535)])
def test_label_pixels_are_bytes_up_to_255_labels_and_come_back(label_count, kind, none):
    label_map = make_map(np.array([[0, label_count - 1, UNLABELLED]]), 4, label_count)
    pixels = label_pixels(label_map)
    assert pixels.dtype == np.dtype(kind)
    assert pixels.tolist() == [[0, label_count - 1, none]]
    back = label_map_of(pixels, label_count, 4)
    np.testing.assert_array_equal(back.labels, label_map.labels)
    assert back.confidence.tolist() == [[1.0, 1.0, 0.0]]
    assert (back.stride, back.label_count) == (4, label_count)


def test_label_pixels_that_do_not_fit_the_label_count_are_refused():
    with pytest.raises(RecordingError, match="holds label 20, but there are 20"):
        label_map_of(np.full((2, 3), 20, np.uint8), 20, 1)
    with pytest.raises(RecordingError, match="uint16 pixels, not uint8"):
        label_map_of(np.zeros((2, 3), np.uint8), 300, 1)


def graded_map(labels: np.ndarray, stride: int = 8, label_count: int = 300) -> LabelMap:
    confidence = np.linspace(0, 1, labels.size, dtype=np.float32).reshape(labels.shape)
    return LabelMap(labels.astype(np.uint16), confidence, stride, label_count)


def test_each_pixel_has_the_label_of_its_cell() -> None:
    label_map = graded_map(np.array([[0, 1, 299], [2, UNLABELLED, 4]]))
    pixels = every_pixel(label_map, 12, 20)  # the last cells are cut
    assert (pixels.stride, pixels.label_count, pixels.labels.shape) == (1, 300, (12, 20))
    for v in range(12):
        for u in range(20):
            assert pixels.labels[v, u] == label_map.labels[v // 8, u // 8]
            assert pixels.confidence[v, u] == label_map.confidence[v // 8, u // 8]


def test_edges_lie_where_the_label_to_the_right_or_below_is_another() -> None:
    labels = np.array([[1, 1, 2], [1, 1, 2], [1, 3, 3]], np.uint16)
    assert label_edges(labels).tolist() == [
        [False, True, False],
        [False, True, True],
        [True, False, False],
    ]


def test_an_overlay_is_the_labels_colour_with_dark_edges() -> None:
    image = np.full((12, 20, 3), 100, np.uint8)
    blended = outlined_overlay(image, graded_map(np.array([[0, 1, 1], [0, 1, UNLABELLED]])), 1.0)
    np.testing.assert_array_equal(blended[3, 3], palette(1)[0])
    np.testing.assert_array_equal(blended[3, 8], palette(2)[1])
    np.testing.assert_array_equal(blended[10, 18], 100)
    assert (blended[:, 7].astype(int) <= np.rint(palette(1)[0] * 0.35)).all()
    assert (image == 100).all()


@pytest.mark.parametrize("names", [None, ("sky", "Häuser", "road, wet")])
def test_a_label_set_comes_back(tmp_path: Path, names: tuple[str, ...] | None) -> None:
    written = LabelSet("semantic", 3, 4, names, "abc")
    write_label_set(tmp_path, written)
    assert read_label_set(tmp_path / "labels.json") == written
    assert (tmp_path / "classes.txt").exists() == (names is not None)


def test_a_label_set_names_colours_and_the_value_of_no_label(tmp_path: Path) -> None:
    write_label_set(tmp_path, LabelSet("fgsn", 256, 1, None, "abc"))
    content = json.loads((tmp_path / "labels.json").read_text())
    assert content["unlabelled"] == 65535
    colours = [bytes.fromhex(label["colour"][1:]) for label in content["labels"]]
    assert colours == [bytes(colour) for colour in palette(256)]
    write_label_set(tmp_path, LabelSet("fgsn", 255, 1, None, "abc"))
    assert json.loads((tmp_path / "labels.json").read_text())["unlabelled"] == 255


def test_the_label_set_of_a_checkpoint_has_its_fingerprint() -> None:
    network = make_network(LRASPP, 2, torch.Generator().manual_seed(0)).eval()
    checkpoint = Checkpoint(network, kind="semantic", label_names=("a", "b"))
    expected = LabelSet("semantic", 2, 4, ("a", "b"), checkpoint.fingerprint)
    assert checkpoint.label_set(4) == expected


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        b'{"format": "another"}',
        b'{"format": "fgsn_ros labels"}',
        b'{"format": "fgsn_ros labels", "kind": "fgsn", "label_count": 2, "stride": 0,'
        b' "fingerprint": "", "labels": [{"name": null}, {"name": null}]}',
        b'{"format": "fgsn_ros labels", "kind": "fgsn", "label_count": 2, "stride": 4,'
        b' "fingerprint": "", "labels": [{"name": null}]}',
    ],
)
def test_what_tells_no_labels_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "labels.json"
    path.write_bytes(content)
    with pytest.raises(RecordingError, match="labels.json tells no labels"):
        read_label_set(path)
