import threading

from fgsn_ros.nodes.newest import NewestPlace


def test_newer_item_replaces_one_that_nobody_took() -> None:
    place: NewestPlace[str] = NewestPlace()
    assert not place.put("first")
    assert place.put("second")
    assert place.take() == "second"
    assert not place.put("third")


def test_worker_gets_each_item_it_waits_for_and_ends_when_closed() -> None:
    place: NewestPlace[int] = NewestPlace()
    taken: list[int] = []
    told = threading.Event()

    def work() -> None:
        while (item := place.take()) is not None:
            taken.append(item)
            told.set()

    worker = threading.Thread(target=work)
    worker.start()
    for item in range(3):
        told.clear()
        place.put(item)
        assert told.wait(60.0)
    place.close()
    worker.join(60.0)
    assert not worker.is_alive()
    assert taken == [0, 1, 2]


def test_closed_place_gives_nothing_more() -> None:
    place: NewestPlace[int] = NewestPlace()
    place.put(1)
    place.close()
    assert place.take() is None
