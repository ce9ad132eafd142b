"""Batches prepared ahead, in threads."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

Batch = TypeVar("Batch")

_AHEAD = 2  # batches for each thread


class Prefetch(Generic[Batch]):
    """Yields make(0), make(1), ... in order, while threads make the next ones.

    Args:
        make: Makes a batch; called in other threads.
        count: Batches to make.
        workers: Threads; 0 makes each batch when it is asked for.
    """

    def __init__(self, make: Callable[[int], Batch], count: int, workers: int) -> None:
        self._make = make
        self._count = count
        self._workers = workers

    def __iter__(self) -> Iterator[Batch]:
        if self._workers == 0:
            yield from map(self._make, range(self._count))
            return
        pool = ThreadPoolExecutor(self._workers, thread_name_prefix="batch")
        try:
            yield from self._prepared(pool)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _prepared(self, pool: ThreadPoolExecutor) -> Iterator[Batch]:
        pending: deque[Future[Batch]] = deque()
        started = 0
        for _ in range(self._count):
            while started < self._count and len(pending) < _AHEAD * self._workers:
                pending.append(pool.submit(self._make, started))
                started += 1
            yield pending.popleft().result()
