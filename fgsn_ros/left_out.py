"""One policy for imperfect input: a bad item is left out, counted and said once, up to a share."""

import logging
from collections import Counter

from fgsn_ros.errors import FgsnError, RecordingError

MAX_SHARE = 0.1
"""Of the items; with more of them bad, the result would not be what was asked for."""
FEW = 2
"""So many bad items end nothing, however short the input is."""

_log = logging.getLogger(__name__)


class LeftOut:
    """What of an input is left out, by reason.

    Those who read add every item to it, good or bad, and call `close` after the last one; as a
    context it does so itself, and of a reader that stops early only says what was left out so far.
    """

    def __init__(
        self,
        source: str,
        items: str,
        total: int | None = None,
        error: type[FgsnError] = RecordingError,
    ) -> None:
        """Count nothing yet.

        Args:
            source: The input in words, such as its path; begins the line.
            items: What is counted, in the plural: "images", "poses of /odom".
            total: How many items there are, where it is known: then too many bad ones end the work
                at once, not after the last one.
            error: What is raised.
        """
        self.source = source
        self.items = items
        self.counts: Counter[str] = Counter()
        """Bad items by reason."""
        self._examples: dict[str, str] = {}
        self._total = total
        self._good = 0
        self._error = error

    def keep(self, count: int = 1) -> None:
        """Count good items."""
        self._good += count

    def drop(self, reason: str, example: str, count: int = 1) -> None:
        """Count bad items.

        Args:
            reason: Why, as an attribute: "damaged", "not finite".
            example: Where the first of them is: "line 7", "at 12.300000 s".
            count: How many.

        Raises:
            FgsnError: of the total, too many are bad.
        """
        self.counts[reason] += count
        self._examples.setdefault(reason, example)
        if self._total is not None:
            self._check(max(self._total, self.counts.total()))

    def close(self) -> None:
        """Say in one line a reason what was left out.

        Raises:
            FgsnError: too many are bad, or all of them.
        """
        total = self._good + self.counts.total()
        self._check(total)
        if total and not self._good:
            raise self._error(f"{self._in_words(total)}; nothing is left")
        self.say()

    def say(self) -> None:
        """Say in one line what was left out so far, whatever its share."""
        if self.counts:
            total = self._good + self.counts.total()
            _log.warning("%s are left out", self._in_words(total))

    def __enter__(self) -> "LeftOut":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        elif issubclass(kind, GeneratorExit):
            self.say()

    def _check(self, total: int) -> None:
        if self.counts.total() > max(MAX_SHARE * total, FEW):
            raise self._error(
                f"{self._in_words(total)}: more than {MAX_SHARE:.0%} cannot be left out; "
                "repair or cut the recording"
            )

    def _in_words(self, total: int) -> str:
        reasons = ", ".join(
            f"{count} {reason} (first: {self._examples[reason]})"
            for reason, count in self.counts.items()
        )
        return f"{self.source}: {self.counts.total()} of {total} {self.items}: {reasons}"
