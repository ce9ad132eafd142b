import time

import pytest

from fgsn_ros.training.prefetch import Prefetch


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_batches_come_in_order_however_long_each_takes(workers):
    def make(number: int) -> int:
        time.sleep(0.002 * (number % 3))
        return number

    assert list(Prefetch(make, 20, workers)) == list(range(20))


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_comes_at_its_batch(workers):
    def make(number: int) -> int:
        if number == 3:
            raise ValueError("bad batch")
        return number

    got = []
    with pytest.raises(ValueError, match="bad batch"):
        for batch in Prefetch(make, 10, workers):
            got.append(batch)
    assert got == [0, 1, 2]


def test_no_more_batches_are_made_than_are_soon_needed():
    made = []

    def make(number: int) -> int:
        made.append(number)
        return number

    iterator = iter(Prefetch(make, 1000, 2))
    next(iterator)
    time.sleep(0.05)
    assert len(made) <= 10
    iterator.close()
