import numpy as np
import pytest

from fgsn_ros.errors import LocalizationError
from fgsn_ros.geometry.cameras import Camera
from fgsn_ros.localization.pinhole_grid import PinholeGrid
from fgsn_ros.segmentation.labels import UNLABELLED, LabelMap

CAMERAS = {
    "none": Camera(323, 240, 250.0, 240.0, 160.0, 118.0),
    "barrel": Camera(323, 240, 250.0, 240.0, 160.0, 118.0, "plumb_bob", (-0.3, 0.1, 0.001, -0.002)),
    "pincushion": Camera(323, 240, 250.0, 240.0, 160.0, 118.0, "plumb_bob", (0.4,)),
    "fisheye": Camera(323, 240, 150.0, 150.0, 160.0, 118.0, "equidistant", (-0.01, 0.002)),
}


def quadrants(camera):
    """Label of each cell's ray: a checkerboard of directions, 6 x 6 degrees wide or so."""
    v, u = np.mgrid[0 : camera.height, 0 : camera.width]
    rays, valid = camera.unproject(np.stack([u, v], axis=-1).astype(float))
    cells = np.floor(np.where(valid[..., None], rays[..., :2], 0.0) / 0.3).astype(int)
    return np.where(valid, (cells[..., 0] + 3 * cells[..., 1]) % 7, UNLABELLED).astype(np.uint16)


def label_map(labels):
    return LabelMap(labels, np.ones(labels.shape, np.float32), 8, 7)


@pytest.mark.parametrize("name", CAMERAS)
def test_undistorted_labels_are_those_of_the_rays_of_a_pinhole(name):
    grid = PinholeGrid(CAMERAS[name], 8)
    labels = grid.labels(label_map(quadrants(grid.distorted)), 7)
    expected = quadrants(grid.camera).astype(np.int32)
    assert labels.shape == (30, 41)
    seen = labels < 7
    assert seen.mean() > (0.99 if name == "none" else 0.4)
    # Nearest cells: only those within half a cell of a border of the checkerboard may differ.
    assert (labels[seen] == expected[seen]).mean() > (0.999 if name == "none" else 0.8)


def test_pinhole_cells_outside_a_distorted_image_are_unlabelled():
    grid = PinholeGrid(CAMERAS["pincushion"], 8)
    labels = grid.labels(label_map(np.zeros((30, 41), np.uint16)), 7)
    assert labels[0, 0] == 7
    assert labels[15, 20] == 0


def test_a_label_map_of_another_size_or_label_set_is_refused():
    grid = PinholeGrid(CAMERAS["barrel"], 8)
    with pytest.raises(LocalizationError, match="does not fit"):
        grid.labels(label_map(np.zeros((41, 30), np.uint16)), 7)
    with pytest.raises(LocalizationError, match="does not fit"):
        grid.labels(label_map(np.zeros((30, 41), np.uint16)), 8)


def test_labels_beyond_the_label_count_are_unlabelled():
    grid = PinholeGrid(CAMERAS["none"], 8)
    labels = grid.labels(label_map(np.full((30, 41), UNLABELLED, np.uint16)), 7)
    assert (labels == 7).all()
