"""Items made ahead of their use, in a thread."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")


def read_ahead(items: Iterator[Item], count: int) -> Iterator[Item]:
    """The same items in the same order, while a thread makes the next `count` of them.

    An error of `items` is raised in place of the item that it came at.
    """
    end = object()
    pool = ThreadPoolExecutor(1, thread_name_prefix="read_ahead")
    try:
        pending = deque(pool.submit(next, items, end) for _ in range(count))
        while (item := pending.popleft().result()) is not end:
            pending.append(pool.submit(next, items, end))
            yield item  # type: ignore[misc]  # not the end
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
