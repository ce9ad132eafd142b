"""Folders of images with classes: which layout one has, and the simple layouts."""

from pathlib import Path

from fgsn_ros.correspondences.files import (
    CLASS_NAMES_FILE,
    TRAIN_LIST,
    CorrespondenceFolder,
    read_correspondence_header,
)
from fgsn_ros.errors import TrainingError
from fgsn_ros.training import cityscapes, vistas
from fgsn_ros.training.scenes import Scene, Scenes

CAMVID_CLASSES = (
    "sky", "building", "pole", "road", "pavement", "tree",
    "sign", "fence", "car", "pedestrian", "bicyclist",
)  # fmt: skip

_IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")
_SPLITS = (("train", "training"), ("val", "validation"), ("test", "testing"))
_IMAGES_AND_LABELS = (("images", "labels"), ("imgs", "annos"))
_PUBLISHED_LABELS = "annos"  # of the published CMU and RobotCar images: Cityscapes' label ids


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
    if (folder / cityscapes.IMAGES).is_dir():
        return cityscapes.read_cityscapes(folder, coarse)
    if (folder / "train.txt").is_file() and (folder / "trainannot").is_dir():
        return read_camvid(folder)
    if (folder / TRAIN_LIST).is_file():
        return read_labelled_correspondences(folder)
    if vistas.is_vistas(folder) and not (folder / CLASS_NAMES_FILE).is_file():
        return vistas.read_vistas(folder, road_marking)
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
        return cityscapes.CITYSCAPES_CLASSES, cityscapes.LABEL_ID_TABLE
    raise TrainingError(
        f"{folder} holds no images with classes: looked for {cityscapes.IMAGES}/ (Cityscapes), "
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
        lines = [line.strip() for line in path.read_text().splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise TrainingError(f"cannot read list {path}: {error}") from error
    if not any(lines):
        raise TrainingError(f"list {path} is empty; name at least one image")
    return [line for line in lines if line]
