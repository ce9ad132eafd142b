import numpy as np
import pytest

from fgsn_ros.evaluation.match_picture import AGREES, DISAGREES, draw_match
from fgsn_ros.geometry.cameras import T_BASE_OPTICAL, Camera, CameraMount
from fgsn_ros.mapping.semantic_map import SemanticMap
from fgsn_ros.segmentation.labels import UNLABELLED, LabelMap

FULL = Camera(96, 64, 80.0, 80.0, 47.5, 31.5)
POINTS = np.array([[10.0, 1.02, 0.49], [10.0, -2.02, 0.01], [10.0, 0.02, 1.01], [10.0, 0.0, 9.0]])
MAP = SemanticMap.from_points(
    POINTS,
    np.array([0, 1, 2, 0]),
    np.ones(4),
    np.tile([1.0, 0.0, 0.0], (4, 1)),
    np.full(4, 5.0),
    np.full(4, 30.0),
    np.eye(4)[None],
    np.full((1, 3), 1 / 3),
    "f" * 64,
)
RATIO = np.where(np.eye(3) > 0, 1.0, -1.0)


def seen_labels(stride):
    """Label 0 everywhere: it agrees with the first point alone; none where the third is."""
    labels = np.zeros((64 // stride, 96 // stride), np.uint16)
    labels[: 26 // stride + 1] = UNLABELLED
    return LabelMap(labels, np.ones(labels.shape, np.float32), stride, 3)


@pytest.mark.parametrize("camera_is_of_the_grid", [False, True])
def test_points_are_drawn_where_they_project_in_the_colour_of_agreement(camera_is_of_the_grid):
    stride = 4
    camera = FULL.at_stride(stride) if camera_is_of_the_grid else FULL
    label_map = seen_labels(stride)
    if camera_is_of_the_grid:
        label_map = LabelMap(label_map.labels, label_map.confidence, 1, 3)
    mount = CameraMount(camera, T_BASE_OPTICAL, "optical")
    image = np.full((64, 96, 3), 77, np.uint8)
    drawn = draw_match(image, np.eye(4), mount, label_map, MAP, RATIO)
    pixels, _ = FULL.project(POINTS @ T_BASE_OPTICAL[:3, :3])
    (first, second, third) = np.rint(pixels[:3]).astype(int)
    assert tuple(drawn[first[1], first[0]]) == AGREES
    assert tuple(drawn[second[1], second[0]]) == DISAGREES
    assert tuple(drawn[third[1], third[0]]) == (77, 77, 77)
    assert (image == 77).all()
