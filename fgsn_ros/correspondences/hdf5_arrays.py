"""Arrays of an HDF5 file, checked before memory is taken for them.

HDF5 takes a file's word for the size of what it holds: a damaged or hostile one of some kilobytes
asks for gigabytes, or names another file as the place of its data.
"""

import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import h5py

_MOST_VALUES = 1 << 24
"""8 million points."""
_MOST_CHUNKS = 1 << 16
_DEFLATE, _SHUFFLE, _CHECK_SUM = 1, 2, 3
"""HDF5's numbers of the filters that MATLAB and h5py use unless told otherwise."""


def array_shape(file: "h5py.File", name: str) -> tuple[int, ...]:
    """Shape of an array, which `read_array` would read.

    Raises:
        ValueError: there is none of this name, or it is of a kind or size that is not read.
        Exception: the file is damaged, as which of many h5py says it.
    """
    return tuple(_checked(file, name).shape)


def read_array(file: "h5py.File", name: str) -> NDArray[Any]:
    """An array of numbers.

    Raises:
        ValueError: there is none of this name, or it is of a kind or size that is not read.
        Exception: the file is damaged, as which of many h5py says it.
    """
    return np.asarray(_checked(file, name)[()])


def _checked(file: "h5py.File", name: str) -> "h5py.Dataset":
    import h5py

    if not isinstance(file.get(name, getlink=True), h5py.HardLink):
        raise ValueError(f"it lacks {name}, or has a link to elsewhere instead")
    array = file[name]
    if not isinstance(array, h5py.Dataset) or array.shape is None or array.dtype.kind not in "fiu":
        raise ValueError(f"{name} is no array of numbers")
    if array.size > _MOST_VALUES:
        raise ValueError(
            f"{name} claims {array.size} values; more than {_MOST_VALUES} are not read"
        )
    if array.is_virtual or array.external:
        raise ValueError(f"the values of {name} are in another file")
    if array.chunks is None:
        _require(array.id.get_storage_size() == array.nbytes, name)
    else:
        _check_chunks(array, name, Path(file.filename).stat().st_size)
    return array


def _require(whole: bool, name: str) -> None:
    if not whole:
        raise ValueError(f"the values of {name} are not all there; the file is damaged")


def _check_chunks(array: "h5py.Dataset", name: str, file_bytes: int) -> None:
    """Refuse chunks that are not there, or that unpack to more than they should."""
    grid = [-(-size // step) for size, step in zip(array.shape, array.chunks, strict=True)]
    count, chunk_bytes = int(np.prod(grid)), int(np.prod(array.chunks)) * array.dtype.itemsize
    if count > _MOST_CHUNKS or chunk_bytes > 8 * _MOST_VALUES:
        raise ValueError(
            f"{name} has {count} chunks of {chunk_bytes} bytes; store it in another way"
        )
    _require(array.id.get_num_chunks() == count, name)
    properties = array.id.get_create_plist()
    filters = [properties.get_filter(i)[0] for i in range(properties.get_nfilters())]
    packed = [number for number in filters if number not in (_SHUFFLE, _CHECK_SUM)]
    if packed not in ([], [_DEFLATE]) or (
        packed and _SHUFFLE in filters[filters.index(_DEFLATE) :]
    ):
        raise ValueError(f"{name} is packed in a way that is not read; pack it by gzip")
    for index in range(count):
        chunk = array.id.get_chunk_info(index)
        _require(chunk.size <= file_bytes, name)
        if packed and not chunk.filter_mask:
            _, stored = array.id.read_direct_chunk(chunk.chunk_offset)
            _require(_unpacks_to(stored, chunk_bytes), name)


def _unpacks_to(stored: bytes, size: int) -> bool:
    """Whether packed bytes unpack to no more than some size (and the check sum that may be)."""
    unpacking = zlib.decompressobj()
    try:
        unpacked = unpacking.decompress(stored, size + 4)
    except zlib.error:
        return False
    return unpacking.eof and len(unpacked) <= size + 4
