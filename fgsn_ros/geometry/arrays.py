"""One code for NumPy arrays and PyTorch tensors, through the Python array API.

The filter's arrays are NumPy's on the CPU and tensors on a GPU. Functions that take both are typed
for NumPy: a tensor stands for an array, keeps its type and device, and gives tensors back.
"""

from typing import Any

import array_api_compat
import array_api_compat.numpy as numpy_api
import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Indices = NDArray[np.int64]


def is_tensor(value: object) -> bool:
    """Whether a value is a PyTorch tensor (which is asked without importing PyTorch)."""
    # NumPy's, which are most of them, are known faster.
    return not isinstance(value, np.ndarray) and array_api_compat.is_torch_array(value)


def on_gpu(array: Any) -> bool:
    """Whether an array is a tensor in a GPU's memory."""
    return is_tensor(array) and array.device.type == "cuda"


def common(*values: ArrayLike) -> tuple[Any, ...]:
    """The values' namespace (array API), and each as its array.

    Without a tensor among them they become float64 NumPy arrays; else they become like the first.
    """
    tensor = next(filter(is_tensor, values), None)
    if tensor is None:
        return numpy_api, *(np.asarray(value, np.float64) for value in values)
    return namespace(tensor), *(like(value, tensor) for value in values)


def namespace(array: Any) -> Any:
    """The array API's functions for a NumPy array or a tensor, of whatever type."""
    return array_api_compat.array_namespace(array) if is_tensor(array) else numpy_api


def like(values: Any, array: Any) -> Array:
    """Values as an array of the kind of another: a tensor of its type and device, or NumPy's."""
    if not is_tensor(array):
        return np.asarray(values, np.float64)
    if not is_tensor(values):
        values = namespace(array).asarray(np.asarray(values, np.float64))
    moved: Array = values.to(array)
    return moved


def host(array: Any) -> Array:
    """The array, or a float64 copy of a tensor, in NumPy."""
    return np.asarray(array.cpu() if is_tensor(array) else array, np.float64)


def zeros(shape: tuple[int, ...], array: Any) -> Array:
    """Zeros, an array of the kind of another."""
    filled: Array = array.new_zeros(shape) if is_tensor(array) else np.zeros(shape)
    return filled


def eye(size: int, array: Array) -> Array:
    """Identity matrix, an array of the kind of another."""
    return like(np.eye(size), array)


def product(first: Any, second: Any) -> Array:
    """Matrix product of (..., m, n) and (..., n, k), for many small ones."""
    if not is_tensor(first):
        multiplied: Array = np.matmul(first, second)
    elif second.ndim == 2:
        rows = first.reshape(-1, first.shape[-1]) @ second
        multiplied = rows.reshape(*first.shape[:-1], -1)
    else:  # a GPU's own product takes a block of threads for each matrix of the batch
        multiplied = (first[..., None] * second[..., None, :, :]).sum(dim=-2)
    return multiplied


def copy(array: Any) -> Array:
    """A copy that is contiguous in memory."""
    copied: Array = array.clone() if is_tensor(array) else array.copy()
    return copied


def doubles(values: Any, array: Any) -> Array:
    """Values in double precision, an array where another is."""
    if not is_tensor(array):
        return np.asarray(values, np.float64)
    xp = namespace(array)
    moved: Array = xp.asarray(values, dtype=xp.float64, device=array.device)
    return moved


def full(count: int, value: float, array: Any) -> Array:
    """A number `count` times, in double precision, beside an array."""
    xp = namespace(array)
    filled: Array = xp.full(count, value, dtype=xp.float64, device=array_api_compat.device(array))
    return filled


def numbered(array: Any, count: int | None = None) -> Indices:
    """The numbers 0 to N - 1 of the rows of an array (N, ...), or up to another N, beside it."""
    numbers: Indices = namespace(array).arange(
        len(array) if count is None else count, device=array_api_compat.device(array)
    )
    return numbers
