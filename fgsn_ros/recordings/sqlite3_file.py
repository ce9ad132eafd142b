"""rosbag2's sqlite3 files (.db3)."""

import sqlite3
import struct
from collections.abc import Collection, Iterator
from pathlib import Path
from urllib.parse import quote

from fgsn_ros.recordings.bag_storage import MAX_MESSAGE_BYTES, BagError, Channel, Record, ros2_name

MAGIC = b"SQLite format 3\x00"
_NEEDED = {
    "topics": {"id", "name", "type", "serialization_format"},
    "messages": {"topic_id", "timestamp", "data"},
}


class Sqlite3File:
    """Reads a .db3 file, with the journal beside it where its recorder was killed.

    Raises:
        BagError: it is not rosbag2's.
    """

    cut_off = ""

    def __init__(self, path: Path) -> None:
        _check_length(path)
        # Without a journal nothing may be written beside the file, where it is read-only.
        mode = "mode=ro" if any(map(_is_filled, _journals(path))) else "immutable=1"
        self._database = sqlite3.connect(
            f"file:{quote(str(path.resolve()))}?{mode}", uri=True, check_same_thread=False
        )
        try:
            self._database.execute("PRAGMA trusted_schema=OFF")
            self._check_tables()
            self._channels = self._read_channels()
        except BaseException:
            self._database.close()
            raise

    @property
    def channels(self) -> Collection[Channel]:
        """All channels."""
        return self._channels.values()

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def records(self, wanted: Collection[Channel]) -> Iterator[Record]:
        """Messages of these channels as they were recorded, one by one."""
        channels = {n: channel for n, channel in self._channels.items() if channel in wanted}
        rows = self._database.execute(
            "SELECT topic_id, timestamp, CASE WHEN length(data) <= ? THEN data END FROM messages"
            f" WHERE topic_id IN ({','.join('?' * len(channels))}) ORDER BY rowid",
            [MAX_MESSAGE_BYTES, *channels],
        )
        for number, time_ns, data in rows:
            whole = data if isinstance(data, bytes) else None
            yield Record(channels[number], time_ns if isinstance(time_ns, int) else 0, whole)

    def _check_tables(self) -> None:
        """Tables that are views, virtual or computed could be anything, of any size."""
        for table, columns in _NEEDED.items():
            (plain,) = self._database.execute(
                "SELECT count(*) FROM sqlite_master"
                " WHERE type = 'table' AND name = ? AND sql LIKE 'CREATE TABLE%'",
                (table,),
            ).fetchone()
            found = {
                name: hidden
                for _, name, _, _, _, _, hidden in self._database.execute(
                    f"PRAGMA table_xinfo({table})"
                )
            }
            if not plain or not columns <= found.keys() or any(found.values()):
                raise BagError(f"it lacks rosbag2's table '{table}'")

    def _read_channels(self) -> dict[int, Channel]:
        counts = dict(
            self._database.execute("SELECT topic_id, count(*) FROM messages GROUP BY topic_id")
        )
        definitions = self._definitions()
        return {
            number: Channel(
                name, ros2_name(kind), encoding, definitions.get(kind, ""), counts.get(number, 0)
            )
            for number, name, kind, encoding in self._database.execute(
                "SELECT id, name, type, serialization_format FROM topics"
            )
            if isinstance(name, str) and isinstance(kind, str)
        }

    def _definitions(self) -> dict[str, str]:
        """Text of types by name, where the bag has it (since Iron)."""
        found = self._database.execute(
            "SELECT count(*) FROM sqlite_master"
            " WHERE type = 'table' AND name = 'message_definitions' AND sql LIKE 'CREATE TABLE%'"
        )
        if not found.fetchone()[0]:
            return {}
        return {
            kind: text
            for kind, text in self._database.execute(
                "SELECT topic_type, encoded_message_definition FROM message_definitions"
                " WHERE encoding = 'ros2msg'"
            )
            if isinstance(kind, str) and isinstance(text, str)
        }


def _journals(path: Path) -> list[Path]:
    return [path.with_name(f"{path.name}{end}") for end in ("-wal", "-journal")]


def _is_filled(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0


def _check_length(path: Path) -> None:
    """SQLite reads a file that was cut off as far as what it looks at is there."""
    with path.open("rb") as file:
        head = file.read(100)
    if len(head) < 100:
        raise BagError("the file ends within its header")
    page, changes, pages, valid_for = struct.unpack_from(">16xH6xII60xI", head)
    size = pages * (65536 if page == 1 else page)
    if changes == valid_for and path.stat().st_size < size:
        raise BagError(f"the file has {path.stat().st_size} of {size} bytes")
