"""Topics and messages of a bag of any kind, its damages named in one line."""

from collections.abc import Collection, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from rosbags.highlevel import AnyReader

from fgsn_ros.errors import RecordingError
from fgsn_ros.messages.bag_messages import TYPESTORE, Message

_STORAGE_SUFFIXES = (".mcap", ".db3")


@dataclass(frozen=True)
class Topic:
    """A topic of a bag."""

    name: str
    msgtype: str
    count: int
    """number of messages"""


def is_bag(path: Path) -> bool:
    """Whether the path looks like a bag: a rosbag2 folder or file, or a ROS 1 file."""
    if path.is_dir():
        return (path / "metadata.yaml").exists() or bool(_storage_files(path))
    return path.suffix in (*_STORAGE_SUFFIXES, ".bag")


def read_topics(path: Path) -> dict[str, Topic]:
    """Topics of a bag by name.

    Raises:
        RecordingError: the bag is damaged, or holds no messages.
    """
    with _errors_named(path), _reader(path) as reader:
        counts: dict[tuple[str, str], int] = {}
        for connection in reader.connections:
            key = connection.topic, connection.msgtype
            counts[key] = counts.get(key, 0) + connection.msgcount
    topics = {name: Topic(name, msgtype, count) for (name, msgtype), count in counts.items()}
    if not sum(topic.count for topic in topics.values()):
        raise RecordingError(f"{path} is an empty bag: it holds no messages")
    return topics


def read_messages(path: Path, topics: Collection[str]) -> Iterator[tuple[str, Message]]:
    """Messages of the named topics with their topic, in the order of recording, one by one.

    Raises:
        RecordingError: the bag is damaged.
    """
    # Only rosbags' own work is guarded, not what the caller does between two messages.
    with closing(_messages(path, topics)) as messages:
        while True:
            with _errors_named(path):
                item = next(messages, None)
            if item is None:
                return
            yield item


def _messages(path: Path, topics: Collection[str]) -> Generator[tuple[str, Message], None, None]:
    with _reader(path) as reader:
        connections = [c for c in reader.connections if c.topic in topics]
        if connections:
            for connection, _, data in reader.messages(connections):
                yield connection.topic, reader.deserialize(data, connection.msgtype)


def _reader(path: Path) -> AnyReader:
    # A recorder that was killed leaves no metadata.yaml; the storage file alone can do.
    if path.is_dir() and not (path / "metadata.yaml").exists():
        files = _storage_files(path)
        if len(files) != 1:
            raise RecordingError(f"{path} has no metadata.yaml; run 'ros2 bag reindex {path}'")
        path = files[0]
    return AnyReader([path], default_typestore=TYPESTORE)


def _storage_files(path: Path) -> list[Path]:
    return sorted(file for file in path.iterdir() if file.suffix in _STORAGE_SUFFIXES)


@contextmanager
def _errors_named(path: Path) -> Iterator[None]:
    try:
        yield
    except RecordingError:
        raise
    except Exception as error:  # a damaged bag makes rosbags raise almost anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise RecordingError(
            f"cannot read the bag {path}, it is empty, truncated or damaged: {reason}"
        ) from error
