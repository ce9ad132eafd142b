"""Work begun before its result is needed; results come in the order of the work."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat, takewhile
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_order(begun: Iterable[Callable[[], Result]], ahead: int) -> Iterator[Result]:
    """Results of work that is begun when it is taken from `begun`, `ahead` pieces early."""
    pending: deque[Callable[[], Result]] = deque()
    for finish in begun:
        pending.append(finish)
        if len(pending) > ahead:
            yield pending.popleft()()
    while pending:
        yield pending.popleft()()


def map_ahead(
    function: Callable[[Item], Result], items: Iterable[Item], ahead: int, threads: int
) -> Iterator[Result]:
    """`map`, while threads work on the next `ahead` items; an error comes in its item's place.

    With no threads each result is made when it is asked for. The caller takes the items.
    """
    if threads == 0:
        yield from map(function, items)
        return
    pool = ThreadPoolExecutor(threads, thread_name_prefix="lookahead")
    try:
        yield from in_order((pool.submit(function, item).result for item in items), ahead)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def read_ahead(items: Iterator[Item], ahead: int) -> Iterator[Item]:
    """The same items, while one thread makes the next `ahead` of them."""
    end = object()
    made = map_ahead(lambda _: next(items, end), repeat(None), ahead, threads=1)
    try:
        yield from takewhile(lambda item: item is not end, made)
    finally:
        made.close()  # type: ignore[attr-defined]
