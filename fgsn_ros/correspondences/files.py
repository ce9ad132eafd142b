"""Pixel correspondences between two images, in the published data set's HDF5 form.

Larsson et al., CVPR 2019 (arXiv 1903.06916), published one MATLAB v7.3 (HDF5) file for each image
pair. As h5py sees it: `im_i_path`, `im_j_path` (L, 1) uint16 character codes; `pt_i`, `pt_j` (N, 2)
float64 pixels (u, v); `dist_from_center` (1, N) float64. Image i is the reference, j the target.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.correspondences.hdf5_arrays import array_shape, read_array
from fgsn_ros.documents import parse_json
from fgsn_ros.errors import FgsnError, RecordingError
from fgsn_ros.outputs import Layout, whole_file, whole_folder
from fgsn_ros.text_files import read_text

if TYPE_CHECKING:
    import h5py

TRAIN_LIST = "corr_train.txt"
VALIDATION_LIST = "corr_val.txt"
CLASS_NAMES_FILE = "classes.txt"
CORRESPONDENCE_FOLDER = Layout(
    "correspondences.json",
    '"fgsn_ros correspondences"',
    (
        TRAIN_LIST,
        VALIDATION_LIST,
        CLASS_NAMES_FILE,
        "images/*.jpg",
        "correspondence/*.mat",
        "classes/*.png",
    ),
)
"""What those of this package hold; the published ones, alike but for the first file, are data."""
NO_CLASS = 255
_LONGEST_PATH = 4096

_POINT_FIELDS = ("pt_i", "pt_j", "dist_from_center")
_FIELDS = ("im_i_path", "im_j_path", *_POINT_FIELDS)


@dataclass(frozen=True)
class Correspondence:
    """Pixels of two images that show the same 3D points."""

    reference_image: str
    """path of image i relative to the images folder"""
    target_image: str
    """path of image j relative to the images folder"""
    reference_points: NDArray[np.float64]
    """(N, 2) pixels (u, v) in image i"""
    target_points: NDArray[np.float64]
    """(N, 2) pixels (u, v) in image j"""
    distance: NDArray[np.float64]
    """(N,) distance from the centre; a correspondence weighs exp(-distance)"""

    def __post_init__(self) -> None:
        """Check that all arrays have one row for each correspondence."""
        count = len(self.distance)
        shapes = (self.reference_points.shape, self.target_points.shape, self.distance.shape)
        if shapes != ((count, 2), (count, 2), (count,)):
            raise RecordingError(
                f"correspondences {self.reference_image} - {self.target_image} have shapes "
                f"{shapes}; expected (N, 2), (N, 2), (N,)"
            )


@dataclass(frozen=True)
class CorrespondenceHeader:
    """What a correspondence file tells without its points being read."""

    reference_image: str
    """path of image i relative to the images folder"""
    target_image: str
    """path of image j relative to the images folder"""
    count: int
    """number of correspondences"""


@dataclass(frozen=True)
class RecordingPairs:
    """Pairs of a first recording with one of several, or with itself, that are listed."""

    name: str
    """of the recording"""
    pairs: int
    """their number"""
    held_out: int
    """of them, those for validation"""
    meeting: float
    """Mean share of the points that a frame of the recording tracks, which lie, by the poses as
    they are, where the first has a point: it falls as the poses of the two come apart. 1 of the
    first itself."""

    def __post_init__(self) -> None:
        """Check what was read.

        Raises:
            ValueError: a number is none, or out of its range.
        """
        counts = type(self.pairs) is int and type(self.held_out) is int
        if not (counts and 0 <= self.held_out <= self.pairs and 0.0 <= self.meeting <= 1.0):
            raise ValueError(f"what is told of {self.name} cannot be")


@dataclass(frozen=True)
class CorrespondenceFolder:
    """Layout of a folder of images and their correspondences."""

    root: Path

    @property
    def images(self) -> Path:
        """Folder that image paths are relative to."""
        return self.root / "images"

    @property
    def files(self) -> Path:
        """Folder of the .mat files."""
        return self.root / "correspondence"

    @property
    def classes(self) -> Path:
        """Folder of semantic class images (uint8 png, 255 = none); need not exist."""
        return self.root / "classes"

    def told(self) -> tuple["RecordingPairs", ...]:
        """What `tell` has kept: of each recording, in their order.

        Raises:
            RecordingError: the file is damaged, or tells of none.
        """
        path = self.root / CORRESPONDENCE_FOLDER.file
        try:
            told = tuple(RecordingPairs(**one) for one in parse_json(read_text(path))["recordings"])
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise RecordingError(
                f"{path} tells nothing of its recordings: {_line(error)}; make the pairs again"
            ) from error
        return told

    def tell(self, recordings: Sequence["RecordingPairs"] = ()) -> None:
        """Mark the folder as one of this package, and keep what there is to tell of recordings.

        Raises:
            OutputError: the file cannot be written.
        """
        facts = {"format": "fgsn_ros correspondences", "recordings": list(map(asdict, recordings))}
        with whole_file(self.root / CORRESPONDENCE_FOLDER.file) as temporary:
            temporary.write_text(json.dumps(facts) + "\n")

    def class_path(self, image: str) -> Path:
        """The class image of `image`, a path relative to `images`."""
        return self.classes / Path(image).with_suffix(".png")

    def class_names(self) -> tuple[str, ...]:
        """Names in classes.txt, one a line, by class id.

        Raises:
            RecordingError: the file cannot be read.
        """
        return tuple(_lines(self.root / CLASS_NAMES_FILE))

    def write_class_names(self, names: Sequence[str]) -> None:
        """Write classes.txt."""
        _write_lines(self.root / CLASS_NAMES_FILE, names)

    def write_lists(self, train: Sequence[str], validation: Sequence[str]) -> None:
        """Write the names of the files to train on, and of those to validate on, one a line.

        Raises:
            OutputError: a file cannot be written.
        """
        write_list(self.root / TRAIN_LIST, train)
        write_list(self.root / VALIDATION_LIST, validation)

    def train_files(self) -> list[Path]:
        """Files of the training list, in its order, each once."""
        return [self.files / name for name in read_list(self.root / TRAIN_LIST)]

    def validation_files(self) -> list[Path]:
        """Files of the validation list, in its order, each once."""
        return [self.files / name for name in read_list(self.root / VALIDATION_LIST)]


@contextmanager
def new_correspondence_folder(
    root: Path, overwrite: bool = False, classes: bool = False
) -> Iterator[CorrespondenceFolder]:
    """Yield an empty layout that becomes `root` when the block ends without an error.

    Args:
        root: The folder to make.
        overwrite: Replace a folder that is already there; without it, it is refused.
        classes: Make the folder of class images too.

    Raises:
        OutputError: the folder exists or cannot be written.
    """
    with whole_folder(root, CORRESPONDENCE_FOLDER, overwrite) as temporary:
        folder = CorrespondenceFolder(temporary)
        folder.tell()
        for part in (folder.images, folder.files, *([folder.classes] if classes else [])):
            part.mkdir()
        yield folder


def file_name(slice_number: int, runs: tuple[int, int], frames: tuple[int, int]) -> str:
    """Name of a file in the published form: `correspondence_slice22_run13_run29_c1362_c2346.mat`.

    Args:
        slice_number: Part of the route (here: a town's number, 0 for a recording).
        runs: Number of the reference's and of the target's drive.
        frames: Number of the reference's and of the target's frame in its drive.
    """
    return (
        f"correspondence_slice{slice_number}_run{runs[0]}_run{runs[1]}"
        f"_c{frames[0]}_c{frames[1]}.mat"
    )


def read_correspondence(path: Path) -> Correspondence:
    """Read one published correspondence file.

    Raises:
        RecordingError: the file is missing, damaged, lacks a field, or holds no finite points.
    """
    with _opened(path) as file:
        reference, target = _image_paths(path, file)
        points = [np.asarray(read_array(file, name), np.float64) for name in _POINT_FIELDS]
        if not all(np.isfinite(array).all() for array in points):
            raise RecordingError(f"{path} holds points that are not finite")
        return Correspondence(reference, target, points[0], points[1], points[2].reshape(-1))


def read_correspondence_header(path: Path) -> CorrespondenceHeader:
    """Read the image paths and the number of points of a published correspondence file.

    Raises:
        RecordingError: the file is missing, damaged, lacks a field, or its fields disagree.
    """
    with _opened(path) as file:
        shapes = [array_shape(file, name) for name in _POINT_FIELDS]
        count = int(np.prod(shapes[2]))
        if shapes[:2] != [(count, 2)] * 2:
            raise RecordingError(f"{path} has shapes {shapes}; expected (N, 2), (N, 2), (1, N)")
        return CorrespondenceHeader(*_image_paths(path, file), count)


def write_correspondence(path: Path, correspondence: Correspondence) -> None:
    """Write one correspondence file in the published layout and types.

    Raises:
        OutputError: the file cannot be written.
    """
    import h5py

    with whole_file(path) as temporary, h5py.File(temporary, "w") as file:
        file["im_i_path"] = _codes(correspondence.reference_image)
        file["im_j_path"] = _codes(correspondence.target_image)
        file["pt_i"] = np.asarray(correspondence.reference_points, dtype=np.float64)
        file["pt_j"] = np.asarray(correspondence.target_points, dtype=np.float64)
        file["dist_from_center"] = np.asarray(correspondence.distance, dtype=np.float64)[None]


def read_list(path: Path) -> list[str]:
    """File names in a list file, in order, each once: the published list has duplicates.

    Raises:
        RecordingError: the file cannot be read or is empty.
    """
    names = list(dict.fromkeys(_lines(path)))
    if not names:
        raise RecordingError(f"{path} lists no correspondence files")
    return names


def write_list(path: Path, names: Sequence[str]) -> None:
    """Write a list file, one name a line.

    Raises:
        OutputError: the file cannot be written.
    """
    _write_lines(path, names)


def _lines(path: Path) -> list[str]:
    try:
        return [line.strip() for line in read_text(path).splitlines() if line.strip()]
    except (OSError, UnicodeError) as error:
        raise RecordingError(f"cannot read {path}: {_line(error)}") from error


def _write_lines(path: Path, lines: Sequence[str]) -> None:
    with whole_file(path) as temporary:
        temporary.write_text("".join(f"{line}\n" for line in lines))


def _codes(text: str) -> NDArray[np.uint16]:
    """MATLAB's character codes: UTF-16 units, (L, 1)."""
    return np.frombuffer(text.encode("utf-16-le"), dtype="<u2").reshape(-1, 1)


def _text(file: "h5py.File", name: str) -> str:
    if np.prod(array_shape(file, name)) > _LONGEST_PATH:
        raise ValueError(f"{name} is longer than any path")
    return read_array(file, name).astype("<u2").tobytes().decode("utf-16-le")


@contextmanager
def _opened(path: Path) -> Iterator["h5py.File"]:
    """The open file, with all fields; what goes wrong with it becomes a RecordingError."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            missing = [name for name in _FIELDS if name not in file]
            if missing:
                raise RecordingError(f"{path} lacks {', '.join(missing)}; is it a correspondence?")
            yield file
    except FgsnError:
        raise
    except Exception as error:  # of a damaged file h5py raises almost anything
        raise RecordingError(f"cannot read correspondences from {path}: {_line(error)}") from error


def _image_paths(path: Path, file: "h5py.File") -> tuple[str, str]:
    """The reference's and the target's path."""
    reference, target = (_text(file, name) for name in ("im_i_path", "im_j_path"))
    for image in (reference, target):
        # The path is joined to the images folder; a file must not lead out of it.
        if not image or Path(image).is_absolute() or ".." in Path(image).parts or "\0" in image:
            raise RecordingError(f"{path} names the image {image!r}; expected a relative path")
    return reference, target


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
