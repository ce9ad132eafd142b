"""The order of images: by stamps in bags, by the numbers in names in folders."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fgsn_ros.errors import RecordingError
from fgsn_ros.left_out import LeftOut
from fgsn_ros.recordings.image_names import in_name_order, in_seconds, natural, stamps_of_names
from fgsn_ros.recordings.image_order import in_stamp_order


def ordered(stamps: list[float], size: int = 1) -> tuple[list[float], dict[str, int]]:
    """Stamps in order, and what was dropped by reason; each item is its own stamp."""
    left_out = LeftOut("drive", "images")
    items = ((stamp, size, stamp) for stamp in stamps)
    kept = list(in_stamp_order(items, left_out))
    assert all(stamp == item for stamp, item in kept)
    return [stamp for stamp, _ in kept], dict(left_out.counts)


REPEATED = "with the stamp of the one before"
LATE = "late, with a stamp that goes backwards"
UNSTAMPED = "without a stamp (it is zero)"


@pytest.mark.parametrize(
    ("given_stamps", "kept", "dropped"),
    [
        ([0.0, 0.1, 0.2], [0.0, 0.1, 0.2], {}),
        ([7.0, 7.2, 7.1, 7.3], [7.0, 7.1, 7.2, 7.3], {}),
        ([7.0, 7.1, 7.1, 7.2], [7.0, 7.1, 7.2], {REPEATED: 1}),
        ([7.0, 8.5, 9.6, 7.5, 9.7], [7.0, 8.5, 9.6, 9.7], {LATE: 1}),
        ([1e9, 1e9 + 0.5, 0.0, 1e9 + 1.0], [1e9, 1e9 + 0.5, 1e9 + 1.0], {UNSTAMPED: 1}),
        ([0.0, 1e9, 1e9 + 0.5], [1e9, 1e9 + 0.5], {UNSTAMPED: 1}),
        ([0.0, 0.0, 0.0], [], {UNSTAMPED: 3}),
        ([0.0, 0.0, 4.0, 4.1], [4.0, 4.1], {UNSTAMPED: 2}),
        ([], [], {}),
    ],
)
def test_a_small_disorder_is_sorted_and_what_has_no_place_is_dropped(
    given_stamps: list[float], kept: list[float], dropped: dict[str, int]
) -> None:
    assert ordered(given_stamps) == (kept, dropped)


@given(st.lists(st.floats(0.0, 1e7), max_size=60))
def test_stamps_always_increase_and_none_is_lost_unsaid(stamps: list[float]) -> None:
    kept, dropped = ordered(stamps)
    assert kept == sorted(set(kept))
    assert len(kept) + sum(dropped.values()) == len(stamps)


@given(st.integers(2, 40), st.randoms())
def test_any_disorder_below_a_second_is_sorted(count: int, random) -> None:
    stamps = [100.0 + 0.1 * i for i in range(count)]
    late = sorted(stamps, key=lambda stamp: stamp + random.uniform(0.0, 0.9))
    assert ordered(late) == (stamps, {})


def test_sorting_holds_few_large_images() -> None:
    taken = []

    def images():
        for i in range(100):
            taken.append(i)
            yield 0.001 * i, 2**24, i

    frames = in_stamp_order(images(), LeftOut("drive", "images"))
    next(frames)
    assert len(taken) < 8


def names(*stems: str, suffix: str = ".png") -> list[Path]:
    return [Path(f"drive/{stem}{suffix}") for stem in stems]


@pytest.mark.parametrize(
    "stems",
    [
        ("0", "1", "2", "10", "11"),
        ("frame1", "frame2", "frame10"),
        ("a2b9", "a2b10", "a10b1"),
        ("000008", "000009", "000010", "100000"),
        ("1305031102.175304", "1305031102.2", "1305031103"),
        ("1.25", "1.5", "10.1"),
        ("left", "right"),
    ],
)
def test_image_files_come_in_the_order_of_their_numbers(stems: tuple[str, ...]) -> None:
    expected = names(*stems)
    assert in_name_order(reversed(expected)) == expected
    assert in_name_order(sorted(expected)) == expected


def test_folders_are_ordered_by_their_numbers_too() -> None:
    paths = [Path("a/2/10.png"), Path("a/10/1.png"), Path("a/2/9.png")]
    assert sorted(paths, key=natural) == [paths[2], paths[0], paths[1]]


@pytest.mark.parametrize(
    ("stems", "stamps", "unit"),
    [
        (("1403636579763555584", "1403636579813555456"), [0.763555584, 0.813555456], "nano"),
        (("1403636579763555", "1403636579813555"), [0.763555, 0.813555], "micro"),
        (("1403636579763", "1403636579813"), [0.763, 0.813], "milli"),
        (("1403636579.763", "1403636579.813"), [0.763, 0.813], ""),
        (("0", "1", "2"), [0.0, 1.0, 2.0], ""),
    ],
)
def test_names_are_stamps_in_the_unit_that_makes_them_a_time(
    stems: tuple[str, ...], stamps: list[float], unit: str, caplog: pytest.LogCaptureFixture
) -> None:
    start = 1403636579.0 if "." in stems[0] or unit else 0.0
    read = stamps_of_names(names(*stems))
    np.testing.assert_allclose(read - start, stamps, atol=3e-7, rtol=0)
    assert (f"taken as {unit}seconds" in caplog.text) == bool(unit)


@pytest.mark.parametrize("stem", ["image", "nan", "1e5", "1_0", "-1", "inf", "٣"])
def test_a_name_without_a_stamp_is_named(stem: str) -> None:
    with pytest.raises(RecordingError, match="has no stamp in its name"):
        stamps_of_names(names("1", stem))


def test_stamps_of_mixed_units_are_taken_as_they_are() -> None:
    stamps = np.array([1.0, 1403636579763555584.0])
    np.testing.assert_array_equal(in_seconds(stamps, "times.txt"), stamps)
