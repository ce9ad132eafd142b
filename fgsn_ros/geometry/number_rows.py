"""Text files of numbers in rows: poses, stamps."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.errors import RecordingError
from fgsn_ros.text_files import read_text


@dataclass(frozen=True, eq=False)
class NumberRows:
    """Rows of a file as it holds them, damaged ones included."""

    values: NDArray[np.float64]
    """(N, columns); NaN throughout where a row is not that many numbers"""
    lines: NDArray[np.int64]
    """(N,) number of each row's line in the file, from 1 on"""

    @property
    def damaged(self) -> NDArray[np.str_]:
        """Why each row (N,) is damaged, in words; empty where it is not."""
        return np.where(np.isnan(self.values).all(axis=1), "of another form", "")

    def place(self, row: int) -> str:
        """Where a row is, in words."""
        return f"line {self.lines[row]}"


def read_rows(path: Path, columns: int, form: str) -> NumberRows:
    """Read rows of `columns` numbers apart by spaces; `#` starts a comment.

    A row of another form, such as the last of a recorder that was killed, is one damaged item. A
    file that is mostly of another form is refused.

    Args:
        path: The file.
        columns: Numbers in a row.
        form: What a row should hold, for the error: "timestamp tx ty tz qx qy qz qw".

    Raises:
        RecordingError: the file cannot be read, holds no row, or is of another form.
    """
    try:
        lines = read_text(path).splitlines()
    except (OSError, UnicodeError) as error:
        raise RecordingError(f"cannot read {path}: {error}") from error
    numbered = ((i, line.split("#", 1)[0].split()) for i, line in enumerate(lines, start=1))
    rows = [(number, _numbers(words, columns)) for number, words in numbered if words]
    if not rows:
        raise RecordingError(f"{path} is empty; expected '{form}' a line")
    damaged = [number for number, row in rows if row is None]
    if 2 * len(damaged) > len(rows):
        shown = lines[damaged[0] - 1].strip()[:40]
        raise RecordingError(
            f"{path}, line {damaged[0]}: expected '{form}', numbers apart by spaces, not '{shown}'"
        )
    nothing = [np.nan] * columns
    values = np.array([nothing if row is None else row for _, row in rows], np.float64)
    return NumberRows(values, np.array([number for number, _ in rows], np.int64))


def column_count(path: Path) -> int:
    """Words in the first row of a file.

    Raises:
        RecordingError: the file cannot be read.
    """
    try:
        lines = read_text(path).splitlines()
    except (OSError, UnicodeError) as error:
        raise RecordingError(f"cannot read {path}: {error}") from error
    words = (line.split("#", 1)[0].split() for line in lines)
    return len(next((row for row in words if row), []))


def _numbers(words: list[str], columns: int) -> list[float] | None:
    try:
        row = [float(word) for word in words]
    except ValueError:
        return None
    return row if len(row) == columns else None
