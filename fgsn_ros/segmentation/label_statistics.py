"""What a checkpoint says of its labels: header and statistics, read without its network.

A localizer needs no more of a checkpoint, and so no PyTorch.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from fgsn_ros.errors import CheckpointError
from fgsn_ros.segmentation.architectures import ARCHITECTURES
from fgsn_ros.segmentation.labels import UNLABELLED

FORMAT_VERSION = 1
LOG_RATIO, STATIONARY = "statistics.log_ratio", "statistics.stationary"
"""Names of the statistics' arrays in the file."""
_KINDS = ("semantic", "fgsn")


@dataclass(frozen=True, eq=False)
class LabelStatistics:
    """The label set of a checkpoint and what its labels say of one another."""

    fingerprint: str
    """Names the label set: a hash of the network's weights."""
    label_count: int
    """K."""
    log_ratio: NDArray[np.float32] | None
    """(K, K) log p(observed label | map label) - log p(observed label), [observed, map]."""


def read_label_statistics(path: Path) -> LabelStatistics:
    """Label statistics of a checkpoint; its network is not read, nor checked.

    Raises:
        CheckpointError: the file is missing, damaged, or not of this format.
    """
    header, arrays = read_arrays(path, "np", (LOG_RATIO,))
    label_count = checked_header(path, header)
    log_ratio = checked_statistic(path, arrays.get(LOG_RATIO), (label_count, label_count))
    return LabelStatistics(header["fingerprint"], label_count, log_ratio)


def read_arrays(
    path: Path, framework: str, only: tuple[str, ...] | None = None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header, not yet checked, and arrays of "np" or "pt"; `only` the named ones that are there.

    Raises:
        CheckpointError: the file is missing or damaged.
    """
    try:
        with safe_open(path, framework=framework) as file:
            header = json.loads((file.metadata() or {})["fgsn"])
            names = [name for name in file.keys() if only is None or name in only]  # noqa: SIM118
            arrays = {name: file.get_tensor(name) for name in names}
    except (OSError, SafetensorError, KeyError, ValueError, RecursionError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"cannot read checkpoint {path}: {reason}") from error
    require_checkpoint(path, isinstance(header, dict), "header")
    return header, arrays


def checked_header(path: Path, header: dict[str, Any]) -> int:
    """Check every field of a header; its label count.

    Raises:
        CheckpointError: a field is missing or wrong.
    """
    require_checkpoint(path, header.get("format_version") == FORMAT_VERSION, "format version")
    require_checkpoint(path, header.get("architecture") in ARCHITECTURES, "architecture")
    require_checkpoint(path, header.get("kind") in _KINDS, "kind")
    label_count = header.get("label_count")
    whole = type(label_count) is int and 1 <= label_count < UNLABELLED
    require_checkpoint(path, whole, "label count")
    assert isinstance(label_count, int)
    for name in ("mean", "std"):
        require_checkpoint(path, _are_numbers(header.get(name), 3), name)
    require_checkpoint(path, min(header["std"]) > 0.0, "std")
    require_checkpoint(path, isinstance(header.get("training"), dict), "training settings")
    names = header.get("label_names", ())
    listed = isinstance(names, list) and all(isinstance(name, str) for name in names)
    require_checkpoint(path, names is None or (listed and len(names) == label_count), "label names")
    require_checkpoint(path, isinstance(header.get("fingerprint"), str), "fingerprint")
    return label_count


def _are_numbers(values: object, count: int) -> bool:
    return (
        isinstance(values, list)
        and len(values) == count
        and all(type(value) in (int, float) and bool(np.isfinite(value)) for value in values)
    )


def checked_statistic(
    path: Path,
    array: NDArray[np.floating] | None,
    shape: tuple[int, ...],
    low: float = -1e4,
    high: float = 1e4,
) -> NDArray[np.float32] | None:
    """A statistic as float32, None if it is not there.

    Raises:
        CheckpointError: it has another shape or values outside [low, high].
    """
    if array is None:
        return None
    values = np.asarray(array, np.float32)
    inside = values.shape == shape and bool(((values >= low) & (values <= high)).all())
    require_checkpoint(path, inside, "label statistics")
    return values


def require_checkpoint(path: Path, condition: bool, what: str) -> None:
    """Raise CheckpointError that names what is wrong unless the condition holds."""
    if not condition:
        raise CheckpointError(
            f"checkpoint {path} has a wrong {what}; make it again or take another"
        )
