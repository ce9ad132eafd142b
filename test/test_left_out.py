"""Bad items are left out, counted and said once; too many end the work."""

import pytest

from fgsn_ros.errors import RecordingError, TrajectoryError
from fgsn_ros.left_out import LeftOut


def test_a_few_bad_items_are_said_in_one_line_with_their_first(caplog):
    left_out = LeftOut("drive", "images")
    left_out.keep(30)
    left_out.drop("damaged", "a.png")
    left_out.drop("damaged", "b.png")
    left_out.drop("late", "c.png")
    left_out.close()
    (record,) = caplog.records
    assert record.getMessage() == (
        "drive: 3 of 33 images: 2 damaged (first: a.png), 1 late (first: c.png) are left out"
    )


def test_a_perfect_input_says_nothing(caplog):
    left_out = LeftOut("drive", "images")
    left_out.keep()
    left_out.close()
    assert not caplog.records


def test_more_than_a_tenth_ends_the_work_with_one_line():
    left_out = LeftOut("drive", "poses", error=TrajectoryError)
    left_out.keep(20)
    left_out.drop("not finite", "line 3", 3)
    with pytest.raises(TrajectoryError, match="drive: 3 of 23 poses: 3 not finite .first: line 3"):
        left_out.close()


def test_with_a_known_total_too_many_end_the_work_at_once():
    left_out = LeftOut("drive", "images", total=40)
    left_out.drop("damaged", "a.png", 4)
    with pytest.raises(RecordingError, match="5 of 40 images"):
        left_out.drop("damaged", "e.png")


def test_two_bad_items_of_a_short_input_are_left_out_unless_nothing_is_left():
    left_out = LeftOut("drive", "images")
    left_out.keep(2)
    left_out.drop("damaged", "a.png", 2)
    left_out.close()
    nothing = LeftOut("drive", "images")
    nothing.drop("damaged", "a.png", 2)
    with pytest.raises(RecordingError, match="nothing is left"):
        nothing.close()
