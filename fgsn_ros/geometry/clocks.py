"""Stamps of two sources that should share a clock, and what is wrong where they do not."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fgsn_ros.errors import RecordingError

_NO_SECONDS = 1e11
"""The year 5138 in seconds since 1970; 1973 in milliseconds."""
_SINCE_1970 = 1e8
_UNITS = {"milliseconds": 1e3, "microseconds": 1e6, "nanoseconds": 1e9}
_SPANS = (("years", 31_557_600.0), ("days", 86_400.0), ("hours", 3_600.0), ("s", 1.0))


@dataclass(frozen=True)
class Span:
    """Time that a source covers."""

    what: str
    """the source, in the plural: "the images" """
    first: float
    """[s]"""
    last: float
    """[s]"""

    @classmethod
    def of(cls, what: str, stamps: ArrayLike) -> "Span":
        """From the first to the last of stamps (N,) in order [s]; N at least 1."""
        values = np.asarray(stamps, np.float64)
        return cls(what, float(values[0]), float(values[-1]))

    def meets(self, other: "Span", scale: float = 1.0) -> bool:
        """Whether some time is in both, this one's stamps divided by `scale`."""
        return self.first / scale <= other.last and other.first <= self.last / scale

    def __str__(self) -> str:
        return f"{self.what} ({self.first:.3f} to {self.last:.3f} s)"


def apart(one: Span, other: Span) -> str:
    """One line on two spans without common time: both, and what the reason may be."""
    return f"{one} and {other} have no time in common: {_likely(one, other)}"


def check_seconds(stamps: ArrayLike, source: str) -> None:
    """Refuse stamps (N,) that no clock in seconds shows.

    Raises:
        RecordingError: half of them are too large; names `source` and the unit that they may have.
    """
    values = np.asarray(stamps, np.float64)
    typical = float(np.nanmedian(np.abs(values))) if np.isfinite(values).any() else 0.0
    if typical > _NO_SECONDS:
        unit = next((u for u, s in _UNITS.items() if typical / s < _NO_SECONDS), "nanoseconds")
        raise RecordingError(
            f"{source}: stamps such as {typical:.6g} are no seconds; are they {unit}? write seconds"
        )


def nearest(stamps: NDArray[np.float64], asked: NDArray[np.float64]) -> NDArray[np.int64]:
    """Number of the stamp, of (N,) in order, N at least 1, that is nearest to each asked (M,)."""
    after = np.minimum(np.searchsorted(stamps, asked), len(stamps) - 1)
    before = np.maximum(after - 1, 0)
    return np.where(asked - stamps[before] <= stamps[after] - asked, before, after)


def _likely(one: Span, other: Span) -> str:
    for unit, scale in _UNITS.items():
        for span, beside in ((one, other), (other, one)):
            # A drive of minutes that begins at 0 meets many a scaled span, but none of its length.
            alike = (span.last - span.first) / scale / max(beside.last - beside.first, 1e-9) > 0.1
            if alike and span.meets(beside, scale):
                return f"are those of {span.what} {unit}? write seconds"
    early, late = sorted((one, other), key=lambda span: span.first)
    if early.last < _SINCE_1970 < late.first:
        return (
            f"{early.what} count from a start of their own, {late.what} from 1970; "
            f"shift one by {late.first - early.first:.3f} s or so"
        )
    distance = late.first - early.last
    unit, size = next((u, s) for u, s in _SPANS if distance >= s or u == "s")
    return f"they lie {distance / size:.3g} {unit} apart; are they of one drive and one clock?"
