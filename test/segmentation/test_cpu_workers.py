import threading
from collections.abc import Iterator

import pytest
import torch

from fgsn_ros.segmentation.cpu_workers import CpuWorkers


@pytest.fixture
def threads() -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield 3
    torch.set_num_threads(before)


def test_each_item_is_worked_on_once_by_as_many_threads_as_pytorch_has(threads: int) -> None:
    workers, barrier = CpuWorkers(), threading.Barrier(threads, timeout=10)
    done: list[tuple[int, int, str]] = []

    def work(item: int) -> None:
        if item < threads:
            barrier.wait()  # passed only by that many at once
        done.append((item, torch.get_num_threads(), threading.current_thread().name))

    with workers:
        workers.share(work, range(20))
    assert sorted(item for item, _, _ in done) == list(range(20))
    assert {count for _, count, _ in done} == {1}
    assert len({name for _, _, name in done}) == threads


def test_pytorch_has_its_threads_again_afterwards_also_after_an_error(threads: int) -> None:
    workers = CpuWorkers()

    def fail(item: int) -> None:
        raise RuntimeError(f"item {item}")

    with pytest.raises(RuntimeError, match="item"), workers:
        workers.share(fail, range(5))
    assert torch.get_num_threads() == threads
    assert workers.count == 1


def test_without_a_block_the_calling_thread_works() -> None:
    names: list[str] = []
    CpuWorkers().share(lambda _: names.append(threading.current_thread().name), range(3))
    assert names == [threading.current_thread().name] * 3


def test_scratch_is_used_again_and_is_each_threads_own(threads: int) -> None:
    workers = CpuWorkers()
    first = workers.scratch("a", 2, 6)
    assert workers.scratch("a", 3, 4).data_ptr() == first.data_ptr()
    assert workers.scratch("b", 3, 4).data_ptr() != first.data_ptr()
    assert workers.scratch("a", 5, 5).shape == (5, 5)
    others: list[int] = []
    thread = threading.Thread(target=lambda: others.append(workers.scratch("b", 1).data_ptr()))
    thread.start()
    thread.join()
    assert others != [workers.scratch("b", 1).data_ptr()]
