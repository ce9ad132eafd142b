"""Folders of images with semantic classes: Cityscapes, Mapillary Vistas, CamVid, plain ones."""

from dataclasses import dataclass
from pathlib import Path

from fgsn_ros.correspondences.files import (
    CLASS_NAMES_FILE,
    NO_CLASS,
    TRAIN_LIST,
    CorrespondenceFolder,
    read_correspondence_header,
)
from fgsn_ros.correspondences.images import Image, ImageCache
from fgsn_ros.errors import TrainingError
from fgsn_ros.text_files import read_text

CAMVID_CLASSES = (
    "sky", "building", "pole", "road", "pavement", "tree",
    "sign", "fence", "car", "pedestrian", "bicyclist",
)  # fmt: skip

_IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")
_SPLITS = (("train", "training"), ("val", "validation"), ("test", "testing"))
_IMAGES_AND_LABELS = (("images", "labels"), ("imgs", "annos"))
_PUBLISHED_LABELS = "annos"  # of the published CMU and RobotCar images: Cityscapes' label ids


@dataclass(frozen=True)
class Scene:
    """An image and the image of its classes; ids from the number of classes on are ignored."""

    image: Path
    classes: Path
    ids: bytes | None = None
    """class id of each of the 256 values in `classes`; None: they are the ids"""

    def read(self, cache: ImageCache) -> tuple[Image, Image]:
        """The image (H, W, 3) and its class ids (H, W).

        Raises:
            TrainingError: one cannot be read, or their sizes differ.
        """
        image, classes = cache.colour(self.image), cache.classes(self.classes, self.ids)
        if image.shape[:2] != classes.shape:
            raise TrainingError(
                f"{self.image} is {image.shape[:2]} and its classes {self.classes} are "
                f"{classes.shape} (rows, columns); one of them was resized or turned"
            )
        return image, classes


@dataclass(frozen=True)
class Scenes:
    """Images to learn classes from."""

    training: tuple[Scene, ...]
    validation: tuple[Scene, ...]
    class_names: tuple[str, ...]
    test: tuple[Scene, ...] = ()


def read_scenes(folder: Path, road_marking: bool = False, coarse: bool = False) -> Scenes:
    """Images with classes, in whichever layout the folder has.

    - Cityscapes: leftImg8bit/ with gtFine/ or gtCoarse/
    - Mapillary Vistas: training/ and validation/ with images/ and labels/, in Cityscapes' classes
    - CamVid, SegNet's form: train.txt, train/, trainannot/
    - a correspondence folder with classes: corr_train.txt, images/, classes/, classes.txt
    - a plain pair of folders, see `read_folder_pair`

    Args:
        folder: Of the layouts above.
        road_marking: Vistas' lane markings are a class of their own; else they are road.
        coarse: Cityscapes' coarse annotations are learnt too.

    Raises:
        FgsnError: it has none of the layouts, or a list or image is missing.
    """
    if (folder / _LEFT_IMAGES).is_dir():
        return read_cityscapes(folder, coarse)
    if (folder / "train.txt").is_file() and (folder / "trainannot").is_dir():
        return read_camvid(folder)
    if (folder / TRAIN_LIST).is_file():
        return read_labelled_correspondences(folder)
    if is_vistas(folder) and not (folder / CLASS_NAMES_FILE).is_file():
        return read_vistas(folder, road_marking)
    return read_folder_pair(folder)


def read_labelled_correspondences(root: Path) -> Scenes:
    """The images of a correspondence folder's lists that have class images.

    Raises:
        FgsnError: a list or class image is missing.
    """
    folder = CorrespondenceFolder(root)
    names = folder.class_names()
    training = _labelled(folder, folder.train_files())
    validation = _labelled(folder, folder.validation_files())
    return Scenes(training, validation, names)


def _labelled(folder: CorrespondenceFolder, files: list[Path]) -> tuple[Scene, ...]:
    pairs = [read_correspondence_header(path) for path in files]
    images = sorted({name for p in pairs for name in (p.reference_image, p.target_image)})
    missing = [name for name in images if not folder.class_path(name).is_file()]
    if missing:
        raise TrainingError(f"{folder.classes} lacks classes of {missing[0]}; make them again")
    return tuple(Scene(folder.images / name, folder.class_path(name)) for name in images)


def read_camvid(folder: Path) -> Scenes:
    """SegNet's form of CamVid: train.txt, val.txt, and for each split images and annotations.

    Raises:
        TrainingError: a list or image is missing.
    """
    training, validation = _camvid_split(folder, "train"), _camvid_split(folder, "val")
    test = _camvid_split(folder, "test") if (folder / "test.txt").is_file() else ()
    return Scenes(training, validation, CAMVID_CLASSES, test)


def _camvid_split(folder: Path, split: str) -> tuple[Scene, ...]:
    # an entry is the paths of image and classes on another machine, whose .png may be .jpg here
    names = [Path(line.split()[0]).name for line in _lines(folder / f"{split}.txt")]
    return _matched(folder / split, folder / f"{split}annot", names)


def read_folder_pair(folder: Path) -> Scenes:
    """Images and, under the same names in another folder, .png images of their class ids.

    Either train/ and val/ (or training/ and validation/; test/ or testing/ if there), each with
    images/ and labels/; or images/ and labels/ with the lists train.txt and val.txt (test.txt) of
    image names. classes.txt names the classes, one a line, by id. The published annotations of CMU
    and RobotCar images (imgs/ and annos/) may lack it: they hold Cityscapes' label ids.

    Raises:
        FgsnError: folders, lists, class names or images are missing.
    """
    names, ids = _classes_of(folder)
    training, validation, test = (_pair_split(folder, split, ids) for split in _SPLITS)
    if not training or not validation:
        lacking = _SPLITS[1] if training else _SPLITS[0]
        raise TrainingError(
            f"{folder} lacks {lacking[0]}/ with images/ and labels/, or {lacking[0]}.txt beside "
            "images/ and labels/; add the images to learn from and those to validate on"
        )
    return Scenes(training, validation, names, test)


def _classes_of(folder: Path) -> tuple[tuple[str, ...], bytes | None]:
    """Class names, and the class id of each stored value."""
    if (folder / CLASS_NAMES_FILE).is_file():
        return CorrespondenceFolder(folder).class_names(), None
    if any((folder / split / _PUBLISHED_LABELS).is_dir() for split in _SPLITS[0]):
        return CITYSCAPES_CLASSES, LABEL_ID_TABLE
    raise TrainingError(
        f"{folder} holds no images with classes: looked for {_LEFT_IMAGES}/ (Cityscapes), "
        f"training/labels/ (Vistas), trainannot/ (CamVid), {TRAIN_LIST} (correspondences) and "
        f"{CLASS_NAMES_FILE} (images/ and labels/)"
    )


def _pair_split(folder: Path, names: tuple[str, ...], ids: bytes | None) -> tuple[Scene, ...]:
    """The images of a split under any of its names; none where it is not there."""
    for name in names:
        for images, labels in _IMAGES_AND_LABELS:
            if (folder / name / images).is_dir() and (folder / name / labels).is_dir():
                return _matched(folder / name / images, folder / name / labels, None, ids)
        if (folder / f"{name}.txt").is_file():
            images, labels = _IMAGES_AND_LABELS[0]
            return _matched(folder / images, folder / labels, _lines(folder / f"{name}.txt"), ids)
    return ()


def _matched(
    images: Path, labels: Path, names: list[str] | None, ids: bytes | None = None
) -> tuple[Scene, ...]:
    """Images and the .png of the same name in `labels`: those of `names`, or all.

    Names are relative to `images`; whether and which image suffix they have does not matter.
    """
    paths = [path for path in sorted(images.rglob("*.*")) if path.suffix.lower() in _IMAGE_SUFFIXES]
    found = {_stem(path.relative_to(images)): path for path in paths}
    stems = list(found) if names is None else list(dict.fromkeys(_stem(Path(n)) for n in names))
    missing = [stem for stem in stems if stem not in found]
    if missing:
        raise TrainingError(f"{images} lacks image {missing[0]}; restore it")
    classes = [labels / f"{stem}.png" for stem in stems]
    missing = [path.name for path in classes if not path.is_file()]
    if missing:
        raise TrainingError(f"{labels} lacks {missing[0]}; restore it or remove its image")
    return tuple(Scene(found[s], path, ids) for s, path in zip(stems, classes, strict=True))


def _stem(path: Path) -> str:
    """The path without its suffix, if that is an image's."""
    return str(path.with_suffix("") if path.suffix.lower() in _IMAGE_SUFFIXES else path)


def _lines(path: Path) -> list[str]:
    try:
        lines = [line.strip() for line in read_text(path).splitlines()]
    except (OSError, UnicodeError) as error:
        raise TrainingError(f"cannot read list {path}: {error}") from error
    if not any(lines):
        raise TrainingError(f"list {path} is empty; name at least one image")
    return [line for line in lines if line]


CITYSCAPES_CLASSES = (
    "road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign",
    "vegetation", "terrain", "sky", "person", "rider", "car", "truck", "bus", "train",
    "motorcycle", "bicycle",
)  # fmt: skip
"""The 19 classes that are trained and scored, by their train id."""
_CITYSCAPES_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""Where the 19 are among the 34 label ids (and 255, the license plate's -1)."""
_LEFT_IMAGES = "leftImg8bit"
_FINE, _COARSE = "gtFine", "gtCoarse"


def id_table(classes: dict[int, int]) -> bytes:
    """The class id of each of 256 stored values: those of `classes`, 255 for the rest."""
    return bytes(classes.get(value, NO_CLASS) for value in range(256))


LABEL_ID_TABLE = id_table({value: train for train, value in enumerate(_CITYSCAPES_IDS)})
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
    training = _cityscapes_split(folder, "train", annotations)
    if coarse and (folder / _LEFT_IMAGES / "train_extra").is_dir():
        training += _cityscapes_split(folder, "train_extra", _COARSE)
    return Scenes(training, _cityscapes_split(folder, "val", annotations), CITYSCAPES_CLASSES)


def _cityscapes_split(folder: Path, split: str, annotations: str) -> tuple[Scene, ...]:
    of_split, classes = folder / _LEFT_IMAGES / split, folder / annotations / split
    images = sorted(of_split.glob(f"*/*_{_LEFT_IMAGES}.png"))
    if not images:
        raise TrainingError(f"{of_split} holds no <city>/*_{_LEFT_IMAGES}.png")
    return tuple(_cityscapes_scene(image, classes, annotations) for image in images)


def _cityscapes_scene(image: Path, folder: Path, annotations: str) -> Scene:
    stem = image.name[: -len(f"{_LEFT_IMAGES}.png")] + annotations
    for kind, ids in _TABLES.items():
        classes = folder / image.parent.name / f"{stem}_{kind}.png"
        if classes.is_file():
            return Scene(image, classes, ids)
    raise TrainingError(f"{folder} lacks {image.parent.name}/{stem}_labelIds.png; restore it")


ROAD_MARKING = "road marking"
"""The 20th class, of lane markings."""
_VISTAS_IMAGES = "images"
_VISTAS_LABELS = ("labels", "v1.2/labels")  # of releases 1.x and 2.0
_VISTAS_SPLITS = ("training", "validation")
_VISTAS_CLASSES = {
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
    classes = {name: number for number, name in enumerate(CITYSCAPES_CLASSES)}
    table = {value: classes[name] for name, ids in _VISTAS_CLASSES.items() for value in ids}
    marking = len(classes) if road_marking else classes["road"]
    return id_table(table | dict.fromkeys(_LANE_MARKINGS, marking))


def read_vistas(folder: Path, road_marking: bool = False) -> Scenes:
    """training/ and validation/, each with images/ and labels/ (in release 2.0: v1.2/labels/).

    Raises:
        TrainingError: images or labels are missing.
    """
    names = (*CITYSCAPES_CLASSES, ROAD_MARKING) if road_marking else CITYSCAPES_CLASSES
    ids = vistas_ids(road_marking)
    training, validation = (_vistas_split(folder / split, ids) for split in _VISTAS_SPLITS)
    return Scenes(training, validation, names)


def is_vistas(folder: Path) -> bool:
    """Whether the folder has the training images and labels of any release."""
    split = folder / _VISTAS_SPLITS[0]
    labelled = _vistas_labels(split) is not None or any(split.glob("v*/labels"))
    return labelled and (split / _VISTAS_IMAGES).is_dir()


def _vistas_labels(split: Path) -> Path | None:
    return next((split / name for name in _VISTAS_LABELS if (split / name).is_dir()), None)


def _vistas_split(split: Path, ids: bytes) -> tuple[Scene, ...]:
    labels = _vistas_labels(split)
    if labels is None:
        raise TrainingError(f"{split} lacks {' and '.join(_VISTAS_LABELS)}; add the labels of v1.2")
    images = sorted((split / _VISTAS_IMAGES).glob("*.jpg"))
    if not images:
        raise TrainingError(f"{split / _VISTAS_IMAGES} holds no .jpg; restore the images")
    missing = [image for image in images if not (labels / f"{image.stem}.png").is_file()]
    if missing:
        raise TrainingError(f"{labels} lacks {missing[0].stem}.png; restore it")
    return tuple(Scene(image, labels / f"{image.stem}.png", ids) for image in images)
