import numpy as np
import pytest

from fgsn_ros.errors import TrainingError
from fgsn_ros.sequences.correspondences import Correspondence, write_correspondence
from fgsn_ros.training.grid import IGNORED, labels_at
from fgsn_ros.training.images import ImageCache
from fgsn_ros.training.pair_batches import random_pairs
from fgsn_ros.training.pairs import index_pairs
from fgsn_ros.training.settings import TrainSettings


def settings(folder, **changes) -> TrainSettings:
    fields = {"crop_height": 32, "crop_width": 48, "batch_size": 4, "label_count": 96}
    return TrainSettings(folder.root, folder.root / "out", **(fields | changes))


def rngs(count: int, seed: int = 0) -> list[np.random.Generator]:
    return [np.random.default_rng((seed, number)) for number in range(count)]


def position_labels(pairs) -> dict:
    """Every cell of the 8 x 12 grid is a label of its own."""
    grid = np.arange(96, dtype=np.uint16).reshape(8, 12)
    return {pair.reference: grid for pair in pairs}


def test_labels_at_reads_the_cell_that_covers_a_pixel():
    labels = np.arange(6, dtype=np.uint16).reshape(2, 3)
    labels[1, 2] = 65535
    points = np.array(
        [[-0.5, -0.5], [7.49, 7.49], [7.5, 0], [0, 7.5], [23.4, 0], [23.5, 0], [-0.6, 0], [17, 9]]
    )
    expected = [0, 0, 1, 3, 2, IGNORED, IGNORED, IGNORED]
    np.testing.assert_array_equal(labels_at(labels, points), expected)


@pytest.mark.parametrize("scale", [1.0, 1.5])
def test_points_and_cells_of_a_batch_carry_the_labels_of_the_reference(folder, scale):
    pairs = index_pairs(folder.images, folder.train_files())
    chosen = settings(folder, scale_min=scale, scale_max=scale)
    for seed in range(5):
        batch = random_pairs(pairs, position_labels(pairs), chosen, ImageCache(10), rngs(4, seed))
        assert batch.images.shape == (8, 3, 32, 48)
        assert batch.cells.shape == (4, 4, 6)
        points = batch.points.numpy()
        assert ((points >= -0.5) & (points < (47.5, 31.5))).all()
        assert set(batch.crop.tolist()) == set(range(8))  # each crop shows the one it is around
        for crop in range(4):
            # where labels are positions, a crop's points and cells differ by one offset
            inside = (batch.crop == crop).numpy()
            cells = batch.cells[crop].numpy()
            at = np.floor((points[inside] + 0.5) / 8).astype(int)
            labels = batch.labels.numpy()[inside]
            found = cells[at[:, 1], at[:, 0]]
            known = found != IGNORED
            difference = np.abs(np.stack(np.divmod(found, 12)) - np.stack(np.divmod(labels, 12)))
            assert difference[:, known].max() <= 1


def test_points_outside_the_target_crop_are_dropped(folder):
    pairs = index_pairs(folder.images, folder.train_files())
    batch = random_pairs(pairs, position_labels(pairs), settings(folder), ImageCache(10), rngs(4))
    per_crop = np.bincount(batch.crop.numpy(), minlength=8)
    assert (per_crop < 60).all()
    assert len(batch.labels) == len(batch.weights) == per_crop.sum()


def test_pairs_without_a_point_are_left_out_and_none_at_all_is_an_error(tmp_path):
    empty = Correspondence("a.png", "b.png", np.zeros((0, 2)), np.zeros((0, 2)), np.zeros(0))
    write_correspondence(tmp_path / "empty.mat", empty)
    with pytest.raises(TrainingError, match="hold a point"):
        index_pairs(tmp_path, [tmp_path / "empty.mat"])


def test_a_distant_correspondence_weighs_less(tmp_path):
    points = np.ones((2, 2))
    correspondence = Correspondence("a.png", "b.png", points, points, np.array([0.0, 2.0]))
    write_correspondence(tmp_path / "one.mat", correspondence)
    for name in ("a.png", "b.png"):
        (tmp_path / name).touch()
    (pair,) = index_pairs(tmp_path, [tmp_path / "one.mat"])
    np.testing.assert_allclose(pair.weights, [1.0, np.exp(-2.0)])
