"""Threads that share the work of an operation on a CPU."""

import math
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
from torch import Tensor

Item = TypeVar("Item")


class CpuWorkers:
    """As many threads as PyTorch has, among which parts of an operation are shared.

    PyTorch's own share nothing but each of its operations, and keep their cores busy between them.
    So in a `with` block, it has one in each of these; outside, there is the calling thread alone.
    Each has memory that it uses again: taken and given back, megabytes would scatter over its heap.
    """

    def __init__(self) -> None:
        self.count = 1
        self._pools: dict[int, ThreadPoolExecutor] = {}  # by size
        self._memory = threading.local()

    def __enter__(self) -> None:
        self.count = torch.get_num_threads()
        torch.set_num_threads(1)
        if self.count not in self._pools:
            self._pools = {self.count: _pool(self.count)}

    def __exit__(self, *_: object) -> None:
        torch.set_num_threads(self.count)
        self.count = 1

    def share(self, work: Callable[[Item], None], items: Iterable[Item]) -> None:
        """Call `work` with each item, in inference mode; each thread takes the next one left."""
        left = iter(list(items))  # whose `next` is atomic

        @torch.inference_mode()
        def some() -> None:
            for item in left:
                work(item)

        if self.count == 1:
            some()
            return
        for future in [self._pools[self.count].submit(some) for _ in range(self.count)]:
            future.result()

    def scratch(self, name: str, *shape: int) -> Tensor:
        """float32 of any values, valid until the same thread asks for the same name again."""
        size = math.prod(shape)
        memory: Tensor | None = getattr(self._memory, name, None)
        if memory is None or len(memory) < size:
            self._memory.__dict__.pop(name, None)  # given back before more is taken
            memory = torch.empty(size)
            setattr(self._memory, name, memory)
        return memory[:size].view(shape)


def _pool(size: int) -> ThreadPoolExecutor:
    """Threads, each with one of PyTorch's, that end when the pool is no longer there."""
    return ThreadPoolExecutor(size, initializer=torch.set_num_threads, initargs=(1,))
