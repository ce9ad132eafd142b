"""Images in the order of their stamps: a small disorder is sorted, what stays late is left out."""

import heapq
from collections.abc import Iterable, Iterator
from typing import TypeVar

from fgsn_ros.left_out import LeftOut

DISORDER_S = 1.0
"""Images that come late by less are sorted in."""
_HELD_BYTES = 64 * 2**20
_NO_SIMULATION_S = 1e6  # a clock that goes further did not start at zero

Item = TypeVar("Item")


def in_stamp_order(
    items: Iterable[tuple[float, int, Item]], left_out: LeftOut
) -> Iterator[tuple[float, Item]]:
    """Items with stamps that increase; those that cannot are dropped.

    Args:
        items: Stamp [s], bytes of memory, and the item itself. Sorting holds few of them.
        left_out: Told what is dropped; what is kept is for the caller to count.
    """
    heap: list[tuple[float, int, int, Item]] = []
    order, held, newest = _Order(left_out), 0, float("-inf")
    for number, (stamp, size, item) in enumerate(items):
        heapq.heappush(heap, (stamp, number, size, item))
        held, newest = held + size, max(newest, stamp)
        while newest - heap[0][0] > DISORDER_S or (held > _HELD_BYTES and len(heap) > 1):
            first = heapq.heappop(heap)
            held -= first[2]
            if order.takes(first[0], heap[0][0] if heap else None, newest):
                yield first[0], first[3]
            if not heap:
                break
    while heap:
        stamp, _, _, item = heapq.heappop(heap)
        if order.takes(stamp, heap[0][0] if heap else None, newest):
            yield stamp, item


class _Order:
    """Drops stamps that repeat one, come before one, or are zero where the others are not."""

    def __init__(self, left_out: LeftOut) -> None:
        self._left_out = left_out
        self._last = float("-inf")
        self._unstamped = False

    def takes(self, stamp: float, following: float | None, newest: float) -> bool:
        """Whether an item is kept, by its stamp and the next ones."""
        # A simulated clock starts at zero, once; a driver that does not stamp leaves zeros.
        self._unstamped |= stamp == 0.0 and (following == 0.0 or newest > _NO_SIMULATION_S)
        if stamp == 0.0 and (self._unstamped or self._last >= 0.0):
            return self._drop("without a stamp (it is zero)", stamp)
        if stamp == self._last:
            return self._drop("with the stamp of the one before", stamp)
        if not stamp > self._last:
            return self._drop("late, with a stamp that goes backwards", stamp)
        self._last = stamp
        return True

    def _drop(self, reason: str, stamp: float) -> bool:
        self._left_out.drop(reason, f"at {stamp:.6f} s")
        return False
