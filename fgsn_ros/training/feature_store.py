"""Rows of features on disk: as many as a clustering takes, in bounded memory."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.errors import OutputError

Features = NDArray[np.float32]

_CHUNK_BYTES = 64_000_000


class FeatureStore:
    """Rows of float32 that are added once and read again and again, in a file without a name.

    Raises:
        OutputError: the disk is full or cannot be written.
    """

    def __init__(self, folder: Path | None = None) -> None:
        """Keep the rows in `folder`, or where temporary files are."""
        self._folder = folder
        self._count = 0
        self._dimension = 0
        try:
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        except OSError as error:
            raise self._refused(error) from error

    def __enter__(self) -> "FeatureStore":
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def __len__(self) -> int:
        return self._count

    @property
    def dimension(self) -> int:
        """Numbers in a row."""
        return self._dimension

    def add(self, rows: Features) -> None:
        """Add rows (N, D); D is that of the first rows."""
        if self._count == 0:
            self._dimension = rows.shape[1]
        assert rows.shape[1] == self._dimension
        try:
            self._file.write(np.ascontiguousarray(rows, np.float32).tobytes())
            self._file.flush()
        except OSError as error:
            raise self._refused(error) from error
        self._count += len(rows)

    def rows(self) -> Features:
        """All rows (N, D), mapped into memory: read when they are used, and let go again."""
        shape = (self._count, self._dimension)
        return np.memmap(self._file, np.float32, "r", shape=shape)

    def chunks(self) -> Iterator[Features]:
        """The rows in order, some (n, D) at a time."""
        rows = self.rows()
        step = max(1, _CHUNK_BYTES // (4 * self._dimension))
        for start in range(0, self._count, step):
            yield np.array(rows[start : start + step])

    def _refused(self, error: OSError) -> OutputError:
        place = self._folder or tempfile.gettempdir()
        return OutputError(f"cannot keep features in {place}: {error.strerror}; free space")
