import numpy as np
import pytest

from fgsn_ros.errors import RecordingError
from fgsn_ros.geometry.clocks import Span, apart, check_seconds

IMAGES = Span("the images", 1.7e9, 1.7e9 + 60.0)


@pytest.mark.parametrize(
    ("first", "last", "hint"),
    [
        (1.7e12, 1.7e12 + 60e3, "the poses milliseconds"),
        (1.7e18, 1.7e18 + 60e9, "the poses nanoseconds"),
        (1.7, 1.7 + 6e-8, "the images nanoseconds"),
        (0.0, 60.0, "the poses count from a start of their own, the images from 1970; shift"),
        (1.7e9 + 7260.0, 1.7e9 + 7320.0, "2 hours apart"),
        (1.7e9 - 315_964_782.0, 1.7e9 - 315_964_722.0, "10 years apart"),
        (1.7e9 + 65.0, 1.7e9 + 70.0, "5 s apart"),
    ],
)
def test_two_clocks_are_named_with_their_times_and_the_likely_reason(first, last, hint):
    said = apart(IMAGES, Span("the poses", first, last))
    assert "the images (1700000000.000 to 1700000060.000 s)" in said
    assert f"the poses ({first:.3f} to {last:.3f} s)" in said
    assert hint in said


def test_spans_meet_where_one_lies_in_the_other():
    assert IMAGES.meets(Span.of("the poses", [1.7e9 + 10.0, 1.7e9 + 11.0]))
    assert not IMAGES.meets(Span.of("the poses", [1.7e9 + 61.0]))


def test_stamps_of_this_century_are_seconds_and_those_in_nanoseconds_are_not():
    check_seconds([0.0, 1.7e9, np.nan], "a.txt")
    check_seconds([], "a.txt")
    check_seconds([1.0, 1.0, 1e18], "a.txt")  # one is damaged
    with pytest.raises(RecordingError, match=r"a\.txt: stamps such as 1\.7e\+18 .*nanoseconds"):
        check_seconds([1.7e18], "a.txt")
