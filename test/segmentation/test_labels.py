import numpy as np
import pytest

from fgsn_ros.errors import RecordingError
from fgsn_ros.segmentation.labels import (
    UNLABELLED,
    LabelMap,
    colourize,
    label_map_of,
    label_pixels,
    overlay,
    palette,
)


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
