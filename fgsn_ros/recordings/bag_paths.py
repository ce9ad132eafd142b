"""Which files make a bag, and what to do about one that cannot be read."""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path, PurePath
from tempfile import TemporaryDirectory

from fgsn_ros.config import load_yaml
from fgsn_ros.errors import RecordingError, SettingsError
from fgsn_ros.recordings import mcap_file, ros1_file, sqlite3_file
from fgsn_ros.recordings.bag_storage import ZSTD_START, BagError, Storage, unpack_file
from fgsn_ros.recordings.image_names import natural

METADATA = "metadata.yaml"
_SUFFIXES = (".mcap", ".db3")
_KINDS: dict[bytes, Callable[[Path], Storage]] = {
    mcap_file.MAGIC: mcap_file.McapFile,
    sqlite3_file.MAGIC: sqlite3_file.Sqlite3File,
    ros1_file.MAGIC: ros1_file.Ros1File,
}
_NAMES = (*_SUFFIXES, *(f"{suffix}.zstd" for suffix in _SUFFIXES), ".bag", ".bag.active")
_PART = re.compile(r"^(.*?)_?[0-9]+$")


def is_bag(path: Path) -> bool:
    """Whether the path looks like a bag: rosbag2's folder, its metadata.yaml, or a bag's file."""
    if path.is_dir():
        return (path / METADATA).exists() or bool(_storage_files(path))
    return path.name == METADATA or path.name.endswith(_NAMES) or _starts_as_a_bag(path)


def bags_within(folder: Path) -> list[Path]:
    """Bags that lie in a folder that is none itself."""
    return sorted(path for path in folder.iterdir() if is_bag(path)) if folder.is_dir() else []


def bag_name(path: Path) -> str:
    """The name of a bag: of its folder, or of its file without suffix."""
    path = path.resolve()
    return path.parent.name if path.name == METADATA else path.stem


def bag_files(path: Path) -> list[Path]:
    """The files of a bag, in their order.

    Raises:
        RecordingError: metadata.yaml is damaged or names files that are gone, or a folder without
            it holds several bags.
    """
    if path.name == METADATA and path.is_file():
        path = path.parent
    if not path.is_dir():
        return [path]
    if (path / METADATA).exists():
        return _named_files(path)
    files = _storage_files(path)
    parts = {_PART.sub(r"\1", file.name.split(".")[0]) for file in files}
    if len(parts) > 1:
        names = ", ".join(file.name for file in files[:5])
        raise RecordingError(f"{path} holds several bags and no metadata.yaml; name one: {names}")
    return files


def message_count(path: Path) -> int:
    """How many messages metadata.yaml names; 0 without one."""
    try:
        content = load_yaml((path if path.is_dir() else path.parent) / METADATA)
        count = content["rosbag2_bagfile_information"]["message_count"]  # type: ignore[index]
    except (SettingsError, KeyError, TypeError):
        return 0
    return count if isinstance(count, int) else 0


@contextmanager
def open_storage(path: Path) -> Iterator[Storage]:
    """A file of a bag, of whatever suffix, unpacked beside if it is compressed as a whole.

    Raises:
        BagError: it is damaged.
    """
    with ExitStack() as stack:
        if _start(path)[: len(ZSTD_START)] == ZSTD_START:
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="fgsn_bag_")))
            path = unpack_file(path, folder / path.stem)
        start = _start(path)
        if not start:
            raise BagError("the file is empty")
        kind = next((kind for magic, kind in _KINDS.items() if start.startswith(magic)), None)
        if kind is None:
            raise BagError("it is neither an MCAP nor an sqlite3 file nor a ROS 1 bag")
        yield stack.enter_context(closing(kind(path)))


def way_out(path: Path) -> str:
    """What a user can try with a damaged bag."""
    name = path.name
    if name.endswith((".bag", ".bag.active")):
        return f"try 'rosbag reindex {name}'"
    files = [path] if path.is_file() else _storage_files(path)
    if any(".db3" in file.name for file in files):
        return "copy it again, or try 'ros2 bag reindex' or sqlite3's .recover"
    if any(".mcap" in file.name for file in files):
        return "copy it again, or try 'mcap recover FILE -o NEW'"
    return "copy it again, or try 'ros2 bag reindex'"


def _named_files(folder: Path) -> list[Path]:
    try:
        content = load_yaml(folder / METADATA)
        named = content["rosbag2_bagfile_information"]["relative_file_paths"]  # type: ignore[index]
        files = [folder / PurePath(name).name for name in named]
    except (SettingsError, KeyError, TypeError) as error:
        reason = str(error) if isinstance(error, SettingsError) else f"it lacks {error}"
        raise RecordingError(
            f"{folder / METADATA} is damaged: {reason}; run 'ros2 bag reindex {folder}'"
        ) from error
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise RecordingError(
            f"{folder} lacks {missing[0]}, which its metadata.yaml names; copy it again"
        )
    return files


def _storage_files(folder: Path) -> list[Path]:
    """Files of rosbag2 in a folder, its parts in the order of their numbers."""
    ends = tuple(name for name in _NAMES if ".bag" not in name)
    return sorted((file for file in folder.iterdir() if file.name.endswith(ends)), key=natural)


def _starts_as_a_bag(path: Path) -> bool:
    return _start(path).startswith(tuple(_KINDS))


def _start(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(16)
    except OSError:
        return b""
