"""The layouts of images with classes, in small; and CamVid itself."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fgsn_ros.correspondences.images import ImageCache
from fgsn_ros.errors import FgsnError, TrainingError
from fgsn_ros.training.scenes import (
    CAMVID_CLASSES,
    CITYSCAPES_CLASSES,
    Scene,
    read_scenes,
)
from fgsn_ros.training.semantic import class_weights

HEIGHT, WIDTH = 12, 30
CITYSCAPES_IDS = {
    "unlabeled": 0, "static": 4, "ground": 6, "road": 7, "sidewalk": 8, "parking": 9,
    "rail track": 10, "building": 11, "wall": 12, "fence": 13, "guard rail": 14, "bridge": 15,
    "pole": 17, "polegroup": 18, "traffic light": 19, "traffic sign": 20, "vegetation": 21,
    "terrain": 22, "sky": 23, "person": 24, "rider": 25, "car": 26, "truck": 27, "bus": 28,
    "caravan": 29, "trailer": 30, "train": 31, "motorcycle": 32, "bicycle": 33,
    "license plate": 255,
}  # fmt: skip
"""From the data set's own table of labels."""
VISTAS_NAMES = (
    "bird", "ground animal", "curb", "fence", "guard rail", "barrier", "wall", "bike lane",
    "crosswalk - plain", "curb cut", "parking", "pedestrian area", "rail track", "road",
    "service lane", "sidewalk", "bridge", "building", "tunnel", "person", "bicyclist",
    "motorcyclist", "other rider", "lane marking - crosswalk", "lane marking - general",
    "mountain", "sand", "sky", "snow", "terrain", "vegetation", "water", "banner", "bench",
    "bike rack", "billboard", "catch basin", "cctv camera", "fire hydrant", "junction box",
    "mailbox", "manhole", "phone booth", "pothole", "street light", "pole", "traffic sign frame",
    "utility pole", "traffic light", "traffic sign (back)", "traffic sign (front)", "trash can",
    "bicycle", "boat", "bus", "car", "caravan", "motorcycle", "on rails", "other vehicle",
    "trailer", "truck", "wheeled slow", "car mount", "ego vehicle", "unlabeled",
)  # fmt: skip
"""The 66 labels of v1.2 in the order of its config.json."""


def write_image(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((HEIGHT, WIDTH, 3), np.uint8)).save(path)


def write_classes(path: Path, values: Iterable[int], palette: bool = False) -> None:
    """Values fill the image, in turn."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.resize(np.array(list(values), np.uint8), (HEIGHT, WIDTH)))
    if palette:
        colours = np.random.default_rng(0).integers(0, 256, 768)
        image.putpalette(colours.astype(np.uint8).tolist())
    image.save(path)


def found(scene: Scene, count: int) -> list[int]:
    """The first class ids that a scene gives."""
    image, classes = scene.read(ImageCache(1))
    assert image.shape == (HEIGHT, WIDTH, 3)
    assert classes.shape == (HEIGHT, WIDTH)
    return classes.ravel()[:count].tolist()


def write_cityscapes(root: Path, split: str, kind: str, suffix: str = "labelIds") -> None:
    for city, number in (("bochum", 0), ("aachen", 1)):
        stem = f"{split}/{city}/{city}_00000{number}_000019"
        write_image(root / f"leftImg8bit/{stem}_leftImg8bit.png")
        values = CITYSCAPES_IDS.values() if suffix == "labelIds" else (0, 18, 255)
        write_classes(root / f"{kind}/{stem}_{kind}_{suffix}.png", values)
        write_classes(root / f"{kind}/{stem}_{kind}_instanceIds.png", (0,))


def test_cityscapes_is_read_by_split_and_city_in_its_19_classes(tmp_path):
    for split in ("train", "val"):
        write_cityscapes(tmp_path, split, "gtFine")
    scenes = read_scenes(tmp_path)
    assert scenes.class_names == CITYSCAPES_CLASSES
    assert [scene.image.parent.name for scene in scenes.training] == ["aachen", "bochum"]
    assert {scene.image.parent.parent.name for scene in scenes.validation} == {"val"}
    named = (*CITYSCAPES_CLASSES, *[""] * 237)
    ids = found(scenes.training[0], len(CITYSCAPES_IDS))
    for name, train_id in zip(CITYSCAPES_IDS, ids, strict=True):
        assert train_id == (CITYSCAPES_CLASSES.index(name) if name in CITYSCAPES_CLASSES else 255)
    assert len(set(ids)) == 20
    assert named[ids[list(CITYSCAPES_IDS).index("car")]] == "car"


def test_cityscapes_train_ids_are_taken_as_they_are(tmp_path):
    for split in ("train", "val"):
        write_cityscapes(tmp_path, split, "gtFine", "labelTrainIds")
    assert found(read_scenes(tmp_path).training[0], 3) == [0, 18, 255]


def test_cityscapes_coarse_annotations_are_learnt_on_request(tmp_path):
    for split in ("train", "val"):
        write_cityscapes(tmp_path, split, "gtFine")
    write_cityscapes(tmp_path, "train_extra", "gtCoarse")
    assert len(read_scenes(tmp_path).training) == 2
    scenes = read_scenes(tmp_path, coarse=True)
    assert len(scenes.training) == 4
    assert {scene.classes.name.split("_")[3] for scene in scenes.training} == {"gtFine", "gtCoarse"}
    assert all("gtFine" in scene.classes.name for scene in scenes.validation)


def test_cityscapes_with_nothing_but_coarse_annotations_asks_for_them(tmp_path):
    for split in ("train", "val"):
        write_cityscapes(tmp_path, split, "gtCoarse")
    with pytest.raises(TrainingError, match="lacks gtFine"):
        read_scenes(tmp_path)
    assert len(read_scenes(tmp_path, coarse=True).training) == 2


def test_cityscapes_without_an_annotation_names_it(tmp_path):
    for split in ("train", "val"):
        write_cityscapes(tmp_path, split, "gtFine")
    next((tmp_path / "gtFine/val/aachen").glob("*labelIds.png")).unlink()
    with pytest.raises(TrainingError, match=r"aachen/aachen_000001_000019_gtFine_labelIds\.png"):
        read_scenes(tmp_path)


def write_vistas(root: Path, labels: str = "labels") -> None:
    for split in ("training", "validation"):
        for name in ("_-1a", "b.c"):
            write_image(root / split / "images" / f"{name}.jpg")
            write_classes(root / split / labels / f"{name}.png", range(66), palette=True)


@pytest.mark.parametrize("labels", ["labels", "v1.2/labels"])
@pytest.mark.parametrize("road_marking", [False, True])
def test_vistas_is_converted_to_cityscapes_classes(tmp_path, labels, road_marking):
    write_vistas(tmp_path, labels)
    scenes = read_scenes(tmp_path, road_marking=road_marking)
    assert [len(scenes.training), len(scenes.validation)] == [2, 2]
    assert scenes.class_names == CITYSCAPES_CLASSES + ("road marking",) * road_marking
    ids = dict(zip(VISTAS_NAMES, found(scenes.training[0], 66), strict=True))
    named = {name: scenes.class_names[i] for name, i in ids.items() if i != 255}
    other = {
        "crosswalk - plain": "road", "service lane": "road", "street light": "pole",
        "utility pole": "pole", "traffic sign (front)": "traffic sign", "bicyclist": "rider",
        "motorcyclist": "rider", "other rider": "rider", "on rails": "train",
        "lane marking - crosswalk": scenes.class_names[-1] if road_marking else "road",
        "lane marking - general": scenes.class_names[-1] if road_marking else "road",
    }  # fmt: skip
    same = {name: name for name in VISTAS_NAMES if name in CITYSCAPES_CLASSES}
    assert named == same | other
    assert set(named.values()) == set(scenes.class_names)


def test_vistas_2_without_the_labels_of_v1_names_them(tmp_path):
    write_vistas(tmp_path, "v2.0/labels")
    with pytest.raises(TrainingError, match=r"v1\.2"):
        read_scenes(tmp_path)


def test_vistas_without_a_label_names_it(tmp_path):
    write_vistas(tmp_path)
    (tmp_path / "training/labels/b.c.png").unlink()
    with pytest.raises(TrainingError, match=r"lacks b\.c\.png"):
        read_scenes(tmp_path)


def test_camvid_s_lists_name_its_images_whatever_their_suffix(camvid):
    scenes = read_scenes(camvid)
    assert (len(scenes.training), len(scenes.validation), scenes.test) == (3, 2, ())
    assert scenes.class_names == CAMVID_CLASSES
    assert scenes.training[1].image == camvid / "train/1.jpg"
    assert scenes.training[1].read(ImageCache(1))[1].max() == 11


def test_camvid_itself(real_camvid):
    scenes = read_scenes(real_camvid)
    assert [len(s) for s in (scenes.training, scenes.validation, scenes.test)] == [367, 101, 233]
    cache = ImageCache(0)
    for scene in (*scenes.training[::90], *scenes.validation[::50], *scenes.test[::90]):
        image, classes = scene.read(cache)
        assert image.shape == (360, 480, 3)
        assert classes.max() <= len(CAMVID_CLASSES)  # 11: not labelled
        road = classes == CAMVID_CLASSES.index("road")
        sky = classes == CAMVID_CLASSES.index("sky")
        assert np.nonzero(road)[0].mean() > np.nonzero(sky)[0].mean() + 100  # below the sky
    weights = class_weights(scenes.training[::10], len(CAMVID_CLASSES), cache)
    assert weights.argmin() in (CAMVID_CLASSES.index("road"), CAMVID_CLASSES.index("building"))


def test_a_correspondence_folder_gives_the_images_that_its_pairs_name(folder):
    scenes = read_scenes(folder.root)
    assert (len(scenes.training), len(scenes.validation)) == (12, 6)
    assert scenes.class_names == ("sky", "road", "building")


@pytest.mark.parametrize("splits", [("train", "val"), ("training", "validation")])
def test_a_folder_pair_by_split_is_matched_by_name_in_folders_below(tmp_path, splits):
    for split in (*splits, "test"):
        for name in ("a", "town/b"):
            write_image(tmp_path / split / "images" / f"{name}.jpg")
            write_classes(tmp_path / split / "labels" / f"{name}.png", (1, 0, 200))
    (tmp_path / "classes.txt").write_text("ground\nthing\n")
    scenes = read_scenes(tmp_path)
    assert scenes.class_names == ("ground", "thing")
    assert len(scenes.training) == len(scenes.validation) == len(scenes.test) == 2
    assert scenes.validation[1].classes == tmp_path / splits[1] / "labels/town/b.png"
    assert found(scenes.training[0], 3) == [1, 0, 200]


def test_a_folder_pair_by_lists_takes_the_images_that_they_name(tmp_path):
    for name in ("a", "b", "town/c.d"):
        write_image(tmp_path / "images" / f"{name}.png")
        write_classes(tmp_path / "labels" / f"{name}.png", (1, 0))
    (tmp_path / "classes.txt").write_text("ground\nthing\n")
    (tmp_path / "train.txt").write_text("b.jpg\ntown/c.d\nb\n")
    (tmp_path / "val.txt").write_text("a.png\n")
    scenes = read_scenes(tmp_path)
    assert [s.image.name for s in scenes.training] == ["b.png", "c.d.png"]
    assert [s.image.name for s in scenes.validation] == ["a.png"]
    (tmp_path / "val.txt").write_text("e\n")
    with pytest.raises(TrainingError, match="lacks image e"):
        read_scenes(tmp_path)
    (tmp_path / "val.txt").unlink()
    with pytest.raises(TrainingError, match="validate on"):
        read_scenes(tmp_path)


def test_the_published_annotations_of_cmu_images_are_cityscapes_label_ids(tmp_path):
    for split in ("training", "validation", "testing"):
        write_image(tmp_path / split / "imgs/a.png")
        write_classes(tmp_path / split / "annos/a.png", (7, 26, 4))
    scenes = read_scenes(tmp_path)
    assert scenes.class_names == CITYSCAPES_CLASSES
    assert found(scenes.test[0], 3) == [0, 13, 255]


def test_a_folder_without_classes_tells_what_was_looked_for_in_one_line(tmp_path):
    write_image(tmp_path / "images/a.png")
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(FgsnError, match="leftImg8bit.*classes.txt") as error:
            read_scenes(path)
        assert "\n" not in str(error.value)


def test_an_image_and_classes_of_different_sizes_are_refused(tmp_path):
    write_image(tmp_path / "a.png")
    Image.fromarray(np.zeros((WIDTH, HEIGHT), np.uint8)).save(tmp_path / "b.png")
    with pytest.raises(TrainingError, match="resized or turned"):
        Scene(tmp_path / "a.png", tmp_path / "b.png").read(ImageCache(1))
