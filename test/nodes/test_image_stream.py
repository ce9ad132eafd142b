import threading

import pytest

from fgsn_ros.nodes.image_stream import ImageStatistics, NewestPlace


def stream(start: float, rate: float, count: int, latency: float = 0.05) -> ImageStatistics:
    statistics = ImageStatistics()
    for index in range(count):
        stamp = start + index / rate
        statistics.received(stamp, stamp + latency)
    return statistics


def test_rate_and_age_are_those_of_the_stream() -> None:
    statistics = stream(100.0, 8.0, 33)
    assert statistics.rate(104.05) == pytest.approx(8.0)
    assert statistics.age(104.25) == pytest.approx(0.25)
    assert statistics.counts["received"] == 33


def test_rate_falls_to_zero_and_age_grows_when_the_camera_stops() -> None:
    statistics = stream(100.0, 8.0, 9)
    assert statistics.rate(150.0) == 0.0
    assert statistics.age(150.0) == pytest.approx(49.0)


def test_before_the_first_image_there_is_no_age() -> None:
    statistics = ImageStatistics()
    assert statistics.age(5.0) is None
    assert statistics.rate(5.0) == 0.0


def test_clock_that_jumps_back_starts_anew_but_keeps_the_counts() -> None:
    statistics = stream(100.0, 8.0, 9)
    statistics.took("inference", 0.1)
    assert statistics.age(20.0) is None
    assert statistics.rate(20.0) == 0.0
    assert statistics.median_times() == {}
    statistics.received(20.5, 20.6)
    assert statistics.age(20.75) == pytest.approx(0.25)
    assert statistics.counts["received"] == 10


def test_labels_are_behind_by_the_images_that_they_were_too_slow_for() -> None:
    statistics = stream(100.0, 8.0, 9)
    assert statistics.behind() is None
    statistics.published(100.25)
    assert statistics.behind() == pytest.approx(0.75)
    statistics.published(101.0)
    assert statistics.behind() == 0.0
    assert statistics.counts["published"] == 2
    statistics.age(20.0)  # the clock jumped back
    assert statistics.behind() is None


def test_times_are_medians_of_the_last_ones() -> None:
    statistics = ImageStatistics()
    for duration in [9.0] * 100 + [0.1] * 26 + [0.3] * 24:
        statistics.took("inference", duration)
    assert statistics.median_times() == {"inference": pytest.approx(0.1)}


def test_newer_item_replaces_one_that_nobody_took() -> None:
    place: NewestPlace[str] = NewestPlace()
    assert not place.put("first")
    assert place.put("second")
    assert place.take() == "second"
    assert not place.put("third")
    assert not place.closed


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
