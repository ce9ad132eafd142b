"""Image files in the order of their numbers, and the stamps that their names are."""

import logging
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.errors import RecordingError

_DIGITS = re.compile(r"([0-9]+)")
_NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?")
# Seconds since 1970 of a recording: from 2000 to 2100.
_FIRST_S, _LAST_S = 946_684_800.0, 4_102_444_800.0
_UNITS = {1e3: "milliseconds", 1e6: "microseconds", 1e9: "nanoseconds"}

_log = logging.getLogger(__name__)

Key = tuple[tuple[int, int, str], ...]
_Named = TypeVar("_Named", bound=Path)


def natural(path: Path) -> tuple[Key, ...]:
    """Sorts paths with 2.png before 10.png."""
    return tuple(_key(part) for part in path.parts)


def _key(name: str) -> Key:
    return tuple(
        (1, int(part), part) if part[0] in "0123456789" else (0, 0, part)
        for part in _DIGITS.split(name)
        if part
    )


def in_name_order(files: Iterable[_Named]) -> list[_Named]:
    """Files by their numbers: as decimals where each name is one, else digits within a name."""
    listed = list(files)
    if all(_NUMBER.fullmatch(file.stem) for file in listed):
        # Padded to one length of whole digits, decimals compare as their text does.
        return sorted(listed, key=lambda file: _decimal(file.stem))
    return sorted(listed, key=natural)


def _decimal(text: str) -> tuple[int, str]:
    whole, _, part = text.partition(".")
    return int(whole), part


def stamps_of_names(files: Sequence[Path]) -> NDArray[np.float64]:
    """Stamps [s] that the names of images are, (F,).

    Raises:
        RecordingError: a name is no number.
    """
    wrong = next((file for file in files if not _NUMBER.fullmatch(file.stem)), None)
    if wrong is not None:
        raise RecordingError(
            f"{wrong} has no stamp in its name; write stamps in seconds, one a line, to times.txt"
        )
    return in_seconds(np.array([float(file.stem) for file in files]), str(files[0].parent))


def in_seconds(stamps: NDArray[np.float64], source: str) -> NDArray[np.float64]:
    """Stamps in seconds of such since 1970 in milli-, micro- or nanoseconds, which is said.

    Numbers (F,), NaN where there is none, that are no time from 2000 to 2100 in any of these units
    are taken as seconds.
    """
    for scale, unit in _UNITS.items():
        scaled = stamps / scale
        known = scaled[np.isfinite(scaled)]
        if len(known) and known.min() > _FIRST_S and known.max() < _LAST_S:
            example = known[0] * scale
            _log.warning("%s: stamps such as %.0f are taken as %s", source, example, unit)
            return scaled
    return stamps
