import threading
import time

import pytest

from fgsn_ros.lookahead import in_order, map_ahead, read_ahead


def test_items_come_in_order():
    assert list(read_ahead(iter(range(20)), 3)) == list(range(20))
    assert list(read_ahead(iter([]), 3)) == []


def test_an_error_comes_at_its_item():
    def items():
        yield from range(3)
        raise ValueError("damaged")

    got = []
    with pytest.raises(ValueError, match="damaged"):
        for item in read_ahead(items(), 5):
            got.append(item)
    assert got == [0, 1, 2]


def test_no_more_items_are_made_than_are_soon_needed():
    made = []

    def items():
        for number in range(1000):
            made.append(number)
            yield number

    ahead = read_ahead(items(), 4)
    next(ahead)
    time.sleep(0.05)
    assert made == [0, 1, 2, 3, 4]
    ahead.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("lookahead")]


def test_items_are_made_while_others_are_in_use():
    """Neither side would go on without the other."""
    made, used = threading.Event(), threading.Event()

    def items():
        yield 0
        made.set()
        assert used.wait(5.0)
        yield 1

    for item in read_ahead(items(), 1):
        if item == 0:
            assert made.wait(5.0)
            used.set()


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_results_come_in_order_however_long_each_takes(workers):
    def make(number: int) -> int:
        time.sleep(0.002 * (number % 3))
        return number

    assert list(map_ahead(make, range(20), 2 * workers, workers)) == list(range(20))


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_of_the_function_comes_at_its_item(workers):
    def make(number: int) -> int:
        if number == 3:
            raise ValueError("bad item")
        return number

    got = []
    with pytest.raises(ValueError, match="bad item"):
        for item in map_ahead(make, range(10), 2 * workers, workers):
            got.append(item)
    assert got == [0, 1, 2]


def test_no_more_results_are_made_than_are_soon_needed():
    made = []

    def make(number: int) -> int:
        made.append(number)
        return number

    iterator = map_ahead(make, range(1000), 4, 2)
    next(iterator)
    time.sleep(0.05)
    assert len(made) <= 10
    iterator.close()


def test_work_is_begun_one_piece_before_the_result_before_it_is_fetched():
    log = []

    def begin(number):
        log.append(f"begin {number}")
        return lambda: log.append(f"finish {number}") or number

    assert list(in_order(map(begin, range(3)), ahead=1)) == [0, 1, 2]
    assert log == ["begin 0", "begin 1", "finish 0", "begin 2", "finish 1", "finish 2"]
