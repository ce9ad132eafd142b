import threading
import time

import pytest

from fgsn_ros.recordings.read_ahead import read_ahead


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
    assert not [t for t in threading.enumerate() if t.name.startswith("read_ahead")]


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
