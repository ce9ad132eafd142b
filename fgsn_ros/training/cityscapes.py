"""Cityscapes (Cordts et al., CVPR 2016): its folders and its classes."""

from pathlib import Path

from fgsn_ros.errors import TrainingError
from fgsn_ros.training.scenes import Scene, Scenes

CITYSCAPES_CLASSES = (
    "road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign",
    "vegetation", "terrain", "sky", "person", "rider", "car", "truck", "bus", "train",
    "motorcycle", "bicycle",
)  # fmt: skip
"""The 19 classes that are trained and scored, by their train id."""
_LABEL_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""Where the 19 are among the 34 label ids (and 255, the license plate's -1)."""
NO_CLASS = 255
IMAGES = "leftImg8bit"
_FINE, _COARSE = "gtFine", "gtCoarse"


def id_table(classes: dict[int, int]) -> bytes:
    """The class id of each of 256 stored values: those of `classes`, 255 for the rest."""
    return bytes(classes.get(value, NO_CLASS) for value in range(256))


LABEL_ID_TABLE = id_table({value: train for train, value in enumerate(_LABEL_IDS)})
"""Train id of each label id."""
_TRAIN_ID_TABLE = id_table({train: train for train in range(len(CITYSCAPES_CLASSES))})
_TABLES = {"labelIds": LABEL_ID_TABLE, "labelTrainIds": _TRAIN_ID_TABLE}


def read_cityscapes(folder: Path, coarse: bool = False) -> Scenes:
    """leftImg8bit/<split>/<city>/ with the class images of gtFine/ or gtCoarse/.

    Args:
        folder: Holds leftImg8bit/ and gtFine/ or gtCoarse/.
        coarse: Also learn from the coarse annotations: of train_extra, and of what gtFine/ lacks.

    Raises:
        TrainingError: images or annotations are missing.
    """
    has_fine = (folder / _FINE).is_dir()
    if not has_fine and not coarse:
        raise TrainingError(f"{folder} lacks {_FINE}; add it, or learn from {_COARSE} with coarse")
    annotations = _FINE if has_fine else _COARSE
    training = _split(folder, "train", annotations)
    if coarse and (folder / IMAGES / "train_extra").is_dir():
        training += _split(folder, "train_extra", _COARSE)
    return Scenes(training, _split(folder, "val", annotations), CITYSCAPES_CLASSES)


def _split(folder: Path, split: str, annotations: str) -> tuple[Scene, ...]:
    images = sorted((folder / IMAGES / split).glob(f"*/*_{IMAGES}.png"))
    if not images:
        raise TrainingError(f"{folder / IMAGES / split} holds no <city>/*_{IMAGES}.png")
    return tuple(_scene(image, folder / annotations / split, annotations) for image in images)


def _scene(image: Path, folder: Path, annotations: str) -> Scene:
    stem = image.name[: -len(f"{IMAGES}.png")] + annotations
    for kind, ids in _TABLES.items():
        classes = folder / image.parent.name / f"{stem}_{kind}.png"
        if classes.is_file():
            return Scene(image, classes, ids)
    raise TrainingError(f"{folder} lacks {image.parent.name}/{stem}_labelIds.png; restore it")
