"""Files that are opened, and text as people's editors write it, read in one place."""

import codecs
import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
MOST_BYTES = 512 * 2**20
"""Of a text file; an hour of poses at 1 kHz has 300 MB."""


def open_file(path: Path) -> BinaryIO:
    """A file opened for reading, never a pipe or a device: those may block, or have no end.

    Raises:
        OSError: it is none, or cannot be opened.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except ValueError as error:  # NUL in the path
        raise OSError(errno.EINVAL, str(error)) from error
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    raise OSError(errno.EINVAL, "it is no file but a pipe or a device", str(path))


def read_text(path: Path, most_bytes: int = MOST_BYTES) -> str:
    """Text of a UTF-8 file, without the byte order mark that some editors put before it.

    Raises:
        OSError: the file cannot be read, or holds more than `most_bytes`.
        UnicodeError: it is no UTF-8 text; says in a line what it is, as far as that can be told.
    """
    with open_file(path) as file:
        data = file.read(most_bytes + 1)
    if len(data) > most_bytes:
        raise OSError(errno.EFBIG, f"it is larger than {most_bytes} bytes")
    if data.startswith(_UTF_16) or b"\0" in data[:2]:
        raise UnicodeError("it is UTF-16 or no text; save it as UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnicodeError(
            f"it is no UTF-8 text: byte {error.start} is 0x{data[error.start]:02x}"
        ) from error
