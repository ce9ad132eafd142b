import numpy as np

from fgsn_ros.segmentation.labels import UNLABELLED, LabelMap, palette
from fgsn_ros.segmentation.overlays import every_pixel, label_edges, outlined_overlay


def make_map(labels: np.ndarray, stride: int = 8, label_count: int = 300) -> LabelMap:
    confidence = np.linspace(0, 1, labels.size, dtype=np.float32).reshape(labels.shape)
    return LabelMap(labels.astype(np.uint16), confidence, stride, label_count)


def test_each_pixel_has_the_label_of_its_cell() -> None:
    label_map = make_map(np.array([[0, 1, 299], [2, UNLABELLED, 4]]))
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
    blended = outlined_overlay(image, make_map(np.array([[0, 1, 1], [0, 1, UNLABELLED]])), 1.0)
    np.testing.assert_array_equal(blended[3, 3], palette(1)[0])
    np.testing.assert_array_equal(blended[3, 8], palette(2)[1])
    np.testing.assert_array_equal(blended[10, 18], 100)
    assert (blended[:, 7].astype(int) <= np.rint(palette(1)[0] * 0.35)).all()
    assert (image == 100).all()
