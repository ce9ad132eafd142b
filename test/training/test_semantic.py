from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fgsn_ros.correspondences.images import ImageCache
from fgsn_ros.evaluation.segmentation_metrics import class_scores, segmentation_score
from fgsn_ros.training.scenes import Scene
from fgsn_ros.training.semantic import class_weights, confusion_on, random_batch
from fgsn_ros.training.settings import TrainSettings


def settings(**changes) -> TrainSettings:
    fields = {
        "crop_height": 32, "crop_width": 48, "short_side_px": 0,
        "scale_min": 1.0, "scale_max": 1.0, "photometric": False,
    }  # fmt: skip
    return TrainSettings(Path("data"), Path("out"), **(fields | changes))


def rngs(count: int, seed: int = 0) -> list[np.random.Generator]:
    return [np.random.default_rng((seed, number)) for number in range(count)]


@pytest.fixture
def scenes(tmp_path) -> tuple[Scene, ...]:
    """Images whose red is 40 times their class, in blocks; the left half is class 0."""
    made = []
    for number in range(2):
        ids = np.random.default_rng(number).integers(0, 5, (9, 14)).astype(np.uint8)
        ids[:, :7] = 0
        ids = ids.repeat(10, axis=0).repeat(10, axis=1)
        image = np.zeros((90, 140, 3), np.uint8)
        image[..., 0] = 40 * ids
        Image.fromarray(image).save(tmp_path / f"{number}.png")
        Image.fromarray(ids).save(tmp_path / f"{number}_ids.png")
        made.append(Scene(tmp_path / f"{number}.png", tmp_path / f"{number}_ids.png"))
    return tuple(made)


@pytest.mark.parametrize(
    "changes",
    [{}, {"flip_share": 1.0}, {"rotation_deg": 10.0}, {"scale_min": 0.5, "scale_max": 2.0}],
    ids=str,
)
@pytest.mark.parametrize("side", [0, 120])
def test_classes_of_a_crop_are_those_of_its_pixels(scenes, changes, side):
    images, classes = random_batch(scenes, settings(**changes), ImageCache(10, side), rngs(12))
    assert images.shape == (12, 3, 32, 48)
    assert classes.shape == (12, 32, 48)
    known = classes != 255
    agree = (images[:, 0].float() / 40).round() == classes
    assert agree[known].float().mean() > 0.85  # all but the blocks' edges
    assert known.all() or "rotation_deg" in changes


def test_mirroring_and_rotation_happen_as_often_and_as_far_as_asked_for(scenes):
    plain = random_batch(scenes, settings(), ImageCache(10), rngs(60))[1]
    mirrored = random_batch(scenes, settings(flip_share=0.5), ImageCache(10), rngs(60))[1]
    back = (plain == mirrored.flip(2)).flatten(1).all(dim=1)
    assert ((plain == mirrored).flatten(1).all(dim=1) | back).all()
    assert 15 <= back.sum() <= 45  # 4 standard deviations about 30
    turned = random_batch(scenes, settings(rotation_deg=10.0), ImageCache(10), rngs(60))[1]
    assert (turned == 255).flatten(1).any(dim=1).any()


def test_rare_classes_weigh_more_by_the_root_of_their_share(scenes):
    cache = ImageCache(10)
    ids = np.stack([cache.classes(scene.classes) for scene in scenes])
    share = np.bincount(ids.ravel(), minlength=5) / ids.size
    expected = np.minimum(1 / np.sqrt(share * 5), 5.0)
    np.testing.assert_allclose(class_weights(scenes, 5, cache), expected, rtol=1e-3)
    never = class_weights(scenes, 6, cache)[5]
    assert never == 5.0


def test_the_confusion_is_that_of_the_pixels_of_all_images(scenes):
    cache = ImageCache(10)

    def predict(image):
        return np.where(image[..., 0] == 160, 3, image[..., 0] // 40).astype(np.int64)

    confusion = confusion_on(scenes, predict, 5, cache)
    ids = np.stack([cache.classes(scene.classes) for scene in scenes])
    assert confusion.sum() == ids.size
    assert confusion[4].tolist() == [0, 0, 0, (ids == 4).sum(), 0]
    three, four = (ids == 3).sum(), (ids == 4).sum()
    per_class = class_scores(confusion).iou
    np.testing.assert_allclose(per_class, [1, 1, 1, three / (three + four), 0])
    assert segmentation_score(confusion).mean_iou == pytest.approx(per_class.mean())
    known = confusion_on(scenes, lambda image: np.minimum(predict(image), 2), 3, cache)
    assert known.sum() == (ids < 3).sum()  # other ids are no class
