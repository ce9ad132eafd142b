"""Arrays of records in .npy files: appended to in a stream, read piece by piece."""

import os
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.errors import MapError


class StoredRows:
    """The records of a .npy file, read from it slice by slice.

    Reads copy: memory holds what is in use, and a file that shrinks or a disk that fails is an
    error here, where a memory map would end the process.
    """

    def __init__(self, path: Path, dtype: np.dtype[Any]) -> None:
        """Open a file and check its header and its size.

        Raises:
            MapError: it is missing, damaged, or holds other records than of the dtype.
        """
        mapped = mapped_array(path, dtype)
        self._path = path
        self._offset, self._count = mapped.offset, len(mapped)
        self.dtype = dtype
        self._file = path.open("rb", buffering=0)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, part: slice) -> NDArray[Any]:
        first, last, _ = part.indices(self._count)
        size = max(0, last - first) * self.dtype.itemsize
        data = self._read(size, self._offset + first * self.dtype.itemsize)
        if len(data) < size:
            raise MapError(f"the map is damaged: {self._path} was cut short; build it again")
        return np.frombuffer(data, self.dtype)

    def _read(self, size: int, offset: int) -> bytes | bytearray:
        try:
            data = os.pread(self._file.fileno(), size, offset)
            if len(data) < size:  # one call reads 2 GiB at most
                return _read_on(self._file.fileno(), bytearray(data), size, offset)
        except OSError as error:
            raise MapError(f"cannot read the map's {self._path}: {error.strerror}") from error
        return data


Rows = NDArray[Any] | StoredRows
"""Records in memory, or in a file."""


def _read_on(descriptor: int, data: bytearray, size: int, offset: int) -> bytearray:
    while len(data) < size:
        more = os.pread(descriptor, size - len(data), offset + len(data))
        if not more:
            break
        data += more
    return data


def mapped_array(path: Path, dtype: np.dtype[Any]) -> np.memmap[Any, Any]:
    """The one-dimensional array of a .npy file, memory-mapped.

    Raises:
        MapError: the file is missing, damaged or shorter than its header says, or of another dtype.
    """
    try:
        with np.errstate(all="ignore"):
            loaded: Any = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as error:
        raise MapError(f"the map is damaged: {path} is missing; build it again") from error
    except Exception as error:  # np.load meets hostile headers with many kinds of exception
        reason = " ".join(str(error).split())[:200]
        raise MapError(f"the map is damaged: {path} cannot be read: {reason}") from error
    if not isinstance(loaded, np.memmap) or loaded.ndim != 1 or loaded.dtype != dtype:
        raise MapError(f"the map is damaged: {path} holds other values; build it again")
    return loaded


_HEADER_BYTES = 512


class RowWriter:
    """Appends records to a .npy file, whose header counts them in the end."""

    def __init__(self, path: Path, dtype: np.dtype[Any]) -> None:
        self._file: BinaryIO = path.open("xb")
        self._dtype = dtype
        self.count = 0
        self._file.write(self._header())

    def add(self, records: NDArray[Any]) -> None:
        """Append records (N,)."""
        self._file.write(np.ascontiguousarray(records, self._dtype).data)
        self.count += len(records)

    def close(self) -> None:
        """Write the header again, now with the count."""
        self._file.seek(0)
        self._file.write(self._header())
        self._file.close()

    def _header(self) -> bytes:
        """Header for `count` records, as long for any count."""
        header = {
            "descr": np.lib.format.dtype_to_descr(self._dtype),
            "fortran_order": False,
            "shape": (self.count,),
        }
        start = np.lib.format.magic(1, 0) + (_HEADER_BYTES - 10).to_bytes(2, "little")
        return start + f"{header!r}".ljust(_HEADER_BYTES - 11).encode("ascii") + b"\n"
