from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from fgsn_ros.correspondences.files import Correspondence, write_correspondence
from fgsn_ros.correspondences.images import ImageCache
from fgsn_ros.correspondences.sets import Pair, index_pairs
from fgsn_ros.training.grid import IGNORED
from fgsn_ros.training.pair_batches import random_pairs
from fgsn_ros.training.settings import TrainSettings


def settings(**changes) -> TrainSettings:
    fields = {
        "crop_height": 32, "crop_width": 48, "label_count": 96, "short_side_px": 0,
        "scale_min": 1.0, "scale_max": 1.0, "photometric": False,
    }  # fmt: skip
    chosen = TrainSettings(Path("data"), Path("out"), **fields)
    for name, value in changes.items():
        object.__setattr__(chosen, name, value)  # also crops that not every network takes
    return chosen


def rngs(count: int, seed: int = 0) -> list[np.random.Generator]:
    return [np.random.default_rng((seed, number)) for number in range(count)]


def position_labels(pairs) -> dict:
    """Every cell of the 8 x 12 grid is a label of its own."""
    grid = np.arange(96, dtype=np.uint16).reshape(8, 12)
    return {pair.reference: grid for pair in pairs}


@pytest.fixture
def pairs(folder) -> tuple[Pair, ...]:
    return index_pairs(folder.images, folder.train_files())


@pytest.fixture
def positions(tmp_path) -> tuple[Pair, ...]:
    """Images whose pixels say where they are: red is u, green is v; points on whole pixels."""
    pixels = np.zeros((90, 140, 3), np.uint8)
    pixels[..., 1], pixels[..., 2] = np.indices(pixels.shape[:2])
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(tmp_path / name), pixels)
    points = np.random.default_rng(0).integers((0, 0), (140, 90), (2, 400, 2)).astype(float)
    correspondence = Correspondence("a.png", "b.png", points[0], points[1], np.zeros(400))
    write_correspondence(tmp_path / "one.mat", correspondence)
    return index_pairs(tmp_path, [tmp_path / "one.mat"])


@pytest.mark.parametrize("scale", [1.0, 1.5])
def test_points_and_cells_of_a_batch_carry_the_labels_of_the_reference(pairs, scale):
    chosen = settings(scale_min=scale, scale_max=scale, photometric=True)
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


@pytest.mark.parametrize("flip_share", [0.0, 1.0])
def test_points_are_on_their_pixels_in_both_crops_of_a_pair(positions, flip_share):
    batch = random_pairs(positions, None, settings(flip_share=flip_share), ImageCache(10), rngs(20))
    pair = positions[0]
    stored = (pair.reference_points, pair.target_points)
    at = batch.points.round().long()
    seen = batch.images[batch.crop, :2, at[:, 1], at[:, 0]].numpy()
    for side in (0, 1):
        of_side = (batch.crop >= 20).numpy() == bool(side)
        known = stored[side][None]
        distances = np.abs(seen[of_side][:, None] - known).max(axis=2).min(axis=1)
        assert distances.max() <= 1  # between two pixels, versions of OpenCV round in other ways
        assert np.mean(distances == 0) > 0.9
    columns = batch.images[:, 0].long()
    assert ((columns[:, :, 0] > columns[:, :, -1]) == (flip_share == 1.0)).all()


def test_pairs_are_mirrored_together_or_not_at_all(positions):
    batch = random_pairs(positions, None, settings(flip_share=0.5), ImageCache(10), rngs(40))
    mirrored = (batch.images[:, 0, 0, 0] > batch.images[:, 0, 0, -1]).view(2, 40)
    assert (mirrored[0] == mirrored[1]).all()
    assert 8 <= mirrored[0].sum() <= 32  # 4 standard deviations about 20


def test_a_crop_keeps_just_the_points_that_it_shows(positions):
    batch = random_pairs(positions, None, settings(), ImageCache(10), rngs(10))
    pair = positions[0]
    for crop in range(20):
        kept = batch.points[batch.crop == crop].double()
        u, v = kept[0].round().long().tolist()
        offset = kept[0] - batch.images[crop, :2, v, u]  # of a crop's pixel from the image's
        points = pair.reference_points if crop < 10 else pair.target_points
        moved = points + offset.numpy()
        shown = [p for p in moved if -0.5 <= p[0] < 47.5 and -0.5 <= p[1] < 31.5]
        np.testing.assert_allclose(kept, shown, atol=1e-4)


def test_matches_are_the_points_that_both_crops_show(positions):
    batch = random_pairs(positions, None, settings(), ImageCache(10), rngs(10))
    assert len(batch.matches)
    reference, target = batch.matches.T
    assert (batch.crop[target] - batch.crop[reference] == 10).all()
    stored = {
        (tuple(r), tuple(t))
        for r, t in zip(positions[0].reference_points, positions[0].target_points, strict=True)
    }
    at = batch.points.round().long()
    seen = batch.images[batch.crop, :2, at[:, 1], at[:, 0]].double()
    found = {
        (tuple(seen[r].tolist()), tuple(seen[t].tolist()))
        for r, t in zip(reference.tolist(), target.tolist(), strict=True)
    }
    assert found <= stored


def test_without_label_maps_all_points_are_kept_and_no_cell_has_a_label(pairs):
    batch = random_pairs(pairs, None, settings(), ImageCache(10), rngs(4))
    assert (batch.labels == IGNORED).all()
    assert (batch.cells == IGNORED).all()
    labelled = random_pairs(pairs, position_labels(pairs), settings(), ImageCache(10), rngs(4))
    assert len(batch.points) >= len(labelled.points)
    torch.testing.assert_close(batch.images, labelled.images)


def test_points_without_a_label_are_left_out_of_both_crops(pairs):
    labels = {path: maps.copy() for path, maps in position_labels(pairs).items()}
    for maps in labels.values():
        maps[:, 6:] = 65535
    batch = random_pairs(pairs, labels, settings(), ImageCache(10), rngs(6))
    assert (batch.labels >= 0).all()
    assert (batch.labels % 12 < 6).all()
    assert ((batch.cells == IGNORED) | (batch.cells % 12 < 6)).all()


@pytest.mark.parametrize("first", [0.0, 3.5])
def test_cells_of_a_crop_of_odd_size_are_on_the_network_s_grid(positions, first):
    chosen = settings(crop_height=41, crop_width=57)
    grid = np.arange(12 * 18, dtype=np.uint16).reshape(12, 18)  # of 90 x 140 pixels
    maps = {positions[0].reference: grid}
    batch = random_pairs(positions, maps, chosen, ImageCache(10), rngs(6), first)
    assert batch.cells.shape == (6, 6, 8)
    u, v = (batch.images[:6, channel].double() for channel in (0, 1))
    for crop in range(6):
        for row, column in ((0, 0), (2, 5), (4, 6)):
            x, y = (round(first + 8 * i - 0.01) for i in (column, row))
            label = batch.cells[crop, row, column].item()
            centre = first + 8 * np.array(divmod(label, 18)[::-1])
            shown = np.array([u[crop, y, x].item(), v[crop, y, x].item()])
            assert np.abs(shown - centre).max() <= 5.01


def test_images_resized_at_reading_carry_their_points_along(positions):
    batch = random_pairs(positions, None, settings(), ImageCache(10, 180), rngs(10))
    at = batch.points.round().long()
    seen = batch.images[batch.crop, :2, at[:, 1], at[:, 0]].double().numpy()
    for side, stored in enumerate((positions[0].reference_points, positions[0].target_points)):
        of_side = seen[(batch.crop >= 10).numpy() == bool(side)]
        nearest = np.abs(of_side[:, None] - stored[None]).max(axis=2).min(axis=1)
        assert nearest.max() <= 1.0


def test_a_sample_is_the_same_in_whichever_batch(pairs):
    whole = random_pairs(pairs, None, settings(), ImageCache(10), rngs(4))
    half = random_pairs(pairs, None, settings(), ImageCache(10), rngs(4)[2:])
    torch.testing.assert_close(whole.images[[2, 3, 6, 7]], half.images)
    torch.testing.assert_close(whole.points[whole.crop == 7], half.points[half.crop == 3])


def test_a_batch_moves_to_a_device_whole(pairs):
    batch = random_pairs(pairs, None, settings(), ImageCache(10), rngs(2)).to(torch.device("cpu"))
    assert batch.matches.device.type == "cpu"
