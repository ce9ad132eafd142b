"""Records put aside in a file, by key, while a map is built."""

import os
from array import array
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Spill:
    """Appends records to a file under keys, and gives back all those of a key, in order."""

    def __init__(self, path: Path, dtype: np.dtype[Any]) -> None:
        self._file = path.open("x+b", buffering=0)
        self._dtype = dtype
        self._size = 0
        self._chunks: defaultdict[int, array[int]] = defaultdict(lambda: array("q"))

    def add(self, key: int, records: NDArray[Any]) -> None:
        """Append records (N,) under a key.

        Raises:
            OSError: the disk is full.
        """
        data = np.ascontiguousarray(records, self._dtype).tobytes()
        self._file.seek(self._size)
        written = 0
        while written < len(data):  # one call writes 2 GiB at most
            written += self._file.write(data[written:]) or 0
        self._chunks[key].extend((self._size, len(data)))
        self._size += len(data)

    def read(self, key: int) -> NDArray[Any]:
        """All records (N,) under a key."""
        chunks = self._chunks.get(key, array("q"))
        descriptor = self._file.fileno()
        parts = [
            os.pread(descriptor, size, offset)
            for offset, size in zip(chunks[::2], chunks[1::2], strict=True)
        ]
        return np.frombuffer(b"".join(parts), self._dtype)

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()
