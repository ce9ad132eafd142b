"""Mapillary Vistas v1.x (Neuhold et al., ICCV 2017): its folders, in Cityscapes' classes."""

from pathlib import Path

from fgsn_ros.errors import TrainingError
from fgsn_ros.training.cityscapes import CITYSCAPES_CLASSES, id_table
from fgsn_ros.training.scenes import Scene, Scenes

ROAD_MARKING = "road marking"
"""The 20th class, of lane markings."""
IMAGES = "images"
_LABELS = ("labels", "v1.2/labels")  # of releases 1.x and 2.0
_SPLITS = ("training", "validation")

_CLASSES = {
    "road": (8, 13, 14),  # plain crosswalk, road, service lane
    "sidewalk": (15,),
    "building": (17,),
    "wall": (6,),
    "fence": (3,),
    "pole": (44, 45, 47),  # street light, pole, utility pole
    "traffic light": (48,),
    "traffic sign": (50,),  # front
    "vegetation": (30,),
    "terrain": (29,),
    "sky": (27,),
    "person": (19,),
    "rider": (20, 21, 22),  # bicyclist, motorcyclist, other rider
    "car": (55,),
    "truck": (61,),
    "bus": (54,),
    "train": (58,),  # on rails
    "motorcycle": (57,),
    "bicycle": (52,),
}
"""Vistas' 66 ids that mean one of Cityscapes' classes; the others are ignored.

As in the published cross-season training: what Cityscapes does not train (guard rail, parking,
bridge), calls by another name (curb, bike lane) or does not know (manhole, banner) has no class.
"""
_LANE_MARKINGS = (23, 24)  # crosswalk, general


def vistas_ids(road_marking: bool) -> bytes:
    """The class id of each of Vistas' ids; lane markings are a class of their own or road."""
    table = {value: CITYSCAPES_CLASSES.index(n) for n, ids in _CLASSES.items() for value in ids}
    marking = len(CITYSCAPES_CLASSES) if road_marking else CITYSCAPES_CLASSES.index("road")
    return id_table(table | dict.fromkeys(_LANE_MARKINGS, marking))


def read_vistas(folder: Path, road_marking: bool = False) -> Scenes:
    """training/ and validation/, each with images/ and labels/ (in release 2.0: v1.2/labels/).

    Raises:
        TrainingError: images or labels are missing.
    """
    names = (*CITYSCAPES_CLASSES, ROAD_MARKING) if road_marking else CITYSCAPES_CLASSES
    training, validation = (_split(folder / split, vistas_ids(road_marking)) for split in _SPLITS)
    return Scenes(training, validation, names)


def is_vistas(folder: Path) -> bool:
    """Whether the folder has the training images and labels of any release."""
    split = folder / _SPLITS[0]
    labelled = _labels(split) is not None or any(split.glob("v*/labels"))
    return labelled and (split / IMAGES).is_dir()


def _labels(split: Path) -> Path | None:
    return next((split / name for name in _LABELS if (split / name).is_dir()), None)


def _split(split: Path, ids: bytes) -> tuple[Scene, ...]:
    labels = _labels(split)
    if labels is None:
        raise TrainingError(f"{split} lacks {' and '.join(_LABELS)}; add the labels of v1.2")
    images = sorted((split / IMAGES).glob("*.jpg"))
    if not images:
        raise TrainingError(f"{split / IMAGES} holds no .jpg; restore the images")
    missing = [image for image in images if not (labels / f"{image.stem}.png").is_file()]
    if missing:
        raise TrainingError(f"{labels} lacks {missing[0].stem}.png; restore it")
    return tuple(Scene(image, labels / f"{image.stem}.png", ids) for image in images)
