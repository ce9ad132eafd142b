"""Text files as people's editors write them, read in one place."""

import codecs
import errno
from pathlib import Path

_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
MOST_BYTES = 512 * 2**20
"""Of a text file; an hour of poses at 1 kHz has 300 MB."""


def read_text(path: Path, most_bytes: int = MOST_BYTES) -> str:
    """Text of a UTF-8 file, without the byte order mark that some editors put before it.

    Raises:
        OSError: the file cannot be read, or holds more than `most_bytes`.
        UnicodeError: it is no UTF-8 text; says in a line what it is, as far as that can be told.
    """
    try:
        with path.open("rb") as file:
            data = file.read(most_bytes + 1)
    except ValueError as error:  # NUL in the path
        raise OSError(errno.EINVAL, str(error)) from error
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
