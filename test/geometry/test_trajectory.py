import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fgsn_ros.errors import OutputError, RecordingError, TrajectoryError
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.trajectory import Trajectory, read_tum, write_tum


def random_trajectory(seed, count):
    rng = np.random.default_rng(seed)
    stamps = 1.7e9 + np.cumsum(rng.uniform(0.01, 0.2, count))
    return Trajectory(stamps, poses.exp(rng.normal(size=(count, 6))))


def test_a_stored_stamp_gives_its_pose_to_the_bit():
    trajectory = random_trajectory(0, 6)
    assert (trajectory.at(trajectory.stamps) == trajectory.poses).all()
    assert (trajectory.at(float(trajectory.stamps[3])) == trajectory.poses[3]).all()


def test_poses_between_stamps_are_interpolated():
    T = poses.from_planar([0.0, 2.0], 0.0, [0.0, 0.0])
    at = Trajectory(np.array([10.0, 20.0]), T, 10.0).at([[12.5], [15.0]])
    assert at.shape == (2, 1, 4, 4)
    np.testing.assert_allclose(at[:, 0, 0, 3], [0.5, 1.0], atol=1e-14)


@pytest.mark.parametrize("stamp", [0.999, 3.001, np.nan])
def test_a_stamp_outside_is_refused_and_not_extrapolated(stamp):
    trajectory = Trajectory(np.array([1.0, 3.0]), poses.identity((2,)))
    assert not trajectory.covers(stamp)
    with pytest.raises(TrajectoryError, match="covers 1.000000 to 3.000000"):
        trajectory.at([2.0, stamp])


def test_a_single_pose_is_a_trajectory():
    trajectory = Trajectory(np.array([5.0]), poses.from_planar([1.0], 2.0, 3.0))
    assert (trajectory.at(5.0) == trajectory.poses[0]).all()
    assert trajectory.length_m() == 0.0


def sampled(stamps, max_gap_s=None):
    stamps = np.asarray(stamps, np.float64)
    return Trajectory(stamps, poses.from_planar(stamps, 0.0, 0.0), max_gap_s)


RATES = {  # stamps, covered, and in a hole
    "motion capture lost": (np.r_[0:5:0.01, 9:12:0.01], [4.985, 9.005], [5.0, 7.0, 8.99]),
    "jitter": (np.cumsum([0.01, 0.03, 0.002, 0.2] * 50), [0.04, 0.1, 5.0], []),
    "one of 1 Hz missing": (np.r_[0.0:10.0, 11.0:20.0], [9.5, 10.9], []),
    "two of 1 Hz missing": (np.r_[0.0:10.0, 12.0:20.0], [9.0, 12.0], [9.5, 11.9]),
    "every 6 s": (np.r_[0.0:60.0:6.0], [3.0], []),
    "every 11 s": (np.r_[0.0:110.0:11.0], [11.0, 22.0], [5.0]),
    "key frames until the robot stands": (np.r_[0:3:0.3, 20:23:0.3], [1.0, 21.0], [10.0]),
    "KITTI": (0.1036 * np.arange(50), [0.05, 5.0], []),
    "two poses": ([1.7e9, 1.7e9 + 4.0], [1.7e9 + 2.0], []),
    "two poses far apart": ([0.0, 20.0], [0.0, 20.0], [1.0, 10.0]),
}


@pytest.mark.parametrize(("stamps", "covered", "lost"), RATES.values(), ids=RATES)
def test_nothing_is_known_in_a_hole_and_everything_at_the_usual_rate(stamps, covered, lost):
    trajectory = sampled(stamps)
    assert trajectory.covered(trajectory.stamps).all()
    assert trajectory.covered(covered).all()
    np.testing.assert_allclose(trajectory.at(covered)[:, 0, 3], covered, rtol=1e-9)
    assert not trajectory.covered(lost).any()
    for stamp in lost:
        with pytest.raises(TrajectoryError, match="are not interpolated over"):
            trajectory.at([stamp])


def test_the_limit_may_be_set_and_is_that_of_a_part_too():
    trajectory = sampled([0.0, 0.1, 0.2, 5.2, 5.3], max_gap_s=5.0)
    assert trajectory.covers(3.0)
    assert not sampled(trajectory.stamps).covers(3.0)
    # Alone, these two poses would not be known to be far apart.
    part = sampled(trajectory.stamps).between(0.2, 5.2)
    assert len(part) == 2
    assert not part.covers(3.0)
    assert not part.with_poses(poses.identity((2,))).covers(3.0)


def test_a_limit_of_just_the_step_covers_stamps_since_1970():
    stamps = 1.7e9 + 0.1 * np.arange(100)
    assert sampled(stamps, max_gap_s=0.1).covered(stamps[:-1] + 0.05).all()


@pytest.mark.parametrize("limit", [0.0, -1.0, np.nan])
def test_a_limit_that_is_no_time_is_refused(limit):
    with pytest.raises(TrajectoryError, match="max_gap_s"):
        sampled([0.0, 1.0], limit)


def test_the_pieces_are_the_parts_between_holes():
    pieces = sampled([0.0, 0.1, 0.2, 5.2, 9.0, 9.1]).pieces()
    assert [piece.stamps.tolist() for piece in pieces] == [[0.0, 0.1, 0.2], [5.2], [9.0, 9.1]]


@pytest.mark.parametrize("stamps", [[0.0, 0.0], [1.0, 0.5], [0.0, np.nan], [0.0], []])
def test_stamps_that_cannot_be_a_trajectory_are_refused(stamps):
    with pytest.raises(TrajectoryError):
        Trajectory(np.array(stamps), poses.identity((2 if stamps else 0,)))


def test_a_pose_with_nan_is_refused():
    T = poses.identity((2,))
    T[1, 0, 3] = np.nan
    with pytest.raises(TrajectoryError, match="finite"):
        Trajectory(np.array([0.0, 1.0]), T)


def test_between_keeps_both_ends_and_names_an_empty_range():
    trajectory = Trajectory(np.arange(5.0), poses.identity((5,)))
    assert trajectory.between(1.0, 3.0).stamps.tolist() == [1.0, 2.0, 3.0]
    with pytest.raises(TrajectoryError, match=r"no pose between 1\.2"):
        trajectory.between(1.2, 1.8)


def test_length_is_that_of_the_path():
    T = poses.from_planar([0.0, 3.0, 3.0], [0.0, 4.0, 0.0], 0.0)
    assert Trajectory(np.arange(3.0), T).length_m() == pytest.approx(9.0)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 8))
def test_tum_files_round_trip(tmp_path_factory, seed, count):
    path = tmp_path_factory.mktemp("tum") / "trajectory.tum"
    trajectory = random_trajectory(seed, count)
    write_tum(path, trajectory)
    read = read_tum(path)
    assert (read.stamps == trajectory.stamps).all()
    np.testing.assert_allclose(read.poses, trajectory.poses, atol=1e-8)


def test_comments_are_skipped_and_rounded_quaternions_normalised(tmp_path):
    path = tmp_path / "poses.txt"
    path.write_text("# stamp ...\n\n1.0 1 2 3 0 0 0 1.005  # identity\n2.0 1 2 3 0 0 0.71 0.71\n")
    trajectory = read_tum(path)
    np.testing.assert_allclose(trajectory.poses[0, :3, :3], np.eye(3))
    assert poses.to_rpy(trajectory.poses[1])[2] == pytest.approx(np.pi / 2)


@pytest.fixture
def tum_of(tmp_path):
    """Writes ten poses at x = stamp = 1 to 10, with one line after the fourth, and reads them."""

    def read(line, at=4):
        lines = [f"{x}.0 {x} 0 0 0 0 0 1" for x in range(1, 11)]
        lines.insert(at, line)
        (tmp_path / "poses.txt").write_text("\n".join(lines))
        return read_tum(tmp_path / "poses.txt")

    return read


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("4.5 1 2 3 0 0 0", "of another form"),
        ("4.5 1 2 3 0 0 0 1 9", "of another form"),
        ("4.5 1 2 x 0 0 0 1", "of another form"),
        ("4.5 1 nan 3 0 0 0 1", "not finite"),
        ("inf 1 2 3 0 0 0 1", "without a stamp"),
        ("4.5 1 2 3 0 0 0 0", "with a quaternion of zeros"),
        ("4.5 1 2 3 0 0 0.3 0", "with a quaternion whose length is not 1"),
        ("4.5 1 2 3 0 0 0 1.02", "with a quaternion whose length is not 1"),
        ("4.0 1 2 3 0 0 0 1", "that repeat a stamp"),
        ("2.0 1 2 3 0 0 0 1", "that repeat a stamp"),
        ("3.5 1 2 3 0 0 0 1", "out of order in time"),
        ("1e9 1 2 3 0 0 0 1", "out of order in time"),
    ],
)
def test_one_bad_row_is_left_out_and_said_with_its_line(tum_of, caplog, line, reason):
    trajectory = tum_of(line)
    assert trajectory.stamps.tolist() == list(range(1, 11))
    assert (trajectory.poses[:, 0, 3] == trajectory.stamps).all()
    (said,) = caplog.messages
    assert f"1 of 11 poses: 1 {reason} (first: line 5)" in said


def test_a_line_cut_at_the_end_is_left_out(tum_of, caplog):
    assert len(tum_of("11.0 11 0", at=10)) == 10
    assert "line 11" in caplog.text


def test_poses_from_before_initialisation_never_end_the_work(tmp_path, caplog):
    rows = [f"0.{i:02d} 0 0 0 0 0 0 0" for i in range(60)] + ["1 1 0 0 0 0 0 1"]
    (tmp_path / "poses.txt").write_text("\n".join(rows))
    assert read_tum(tmp_path / "poses.txt").stamps.tolist() == [1.0]
    assert "60 before the first usable pose, with a quaternion of zeros" in caplog.text


def test_a_pose_that_is_there_twice_counts_once_however_often(tmp_path, caplog):
    rows = [f"{x}.0 {x} 0 0 0 0 0 1" for x in range(1, 11) for _ in range(2)]
    (tmp_path / "poses.txt").write_text("\n".join(rows))
    assert read_tum(tmp_path / "poses.txt").stamps.tolist() == list(range(1, 11))
    assert "10 poses that are there twice" in caplog.text


@pytest.mark.parametrize(
    "row",
    ["{x} nan 0 0 0 0 0 1", "{x} 0 0 0 0 0 0.2 0", "1.0 {x} 0 0 0 0 0 1", "-{x} 0 0 0 0 0 0 1"],
)
def test_more_than_a_tenth_of_bad_rows_are_refused(tmp_path, row):
    rows = [f"{x} 0 0 0 0 0 0 1" for x in range(1, 18)]
    rows += [row.format(x=x) for x in (20.0, 21.0, 22.0)]
    (tmp_path / "poses.txt").write_text("\n".join(rows))
    with pytest.raises(RecordingError, match=r"3 of 20 poses: .*more than 10% cannot be left out"):
        read_tum(tmp_path / "poses.txt")


@pytest.mark.parametrize(
    "content",
    [
        "1403715524907143168,0.5,1.9,0.9,0.1,0.7,-0.2,0.5\n" * 3,
        "1 0 0 0 0 1 0 0 0 0 1 0\n" * 3,
        "<html>\n<body>\n",
    ],
)
def test_a_file_of_another_form_is_refused_in_one_line(tmp_path, content):
    (tmp_path / "poses.txt").write_text(content)
    with pytest.raises(RecordingError, match="line 1: expected 'timestamp tx ty") as error:
        read_tum(tmp_path / "poses.txt")
    assert len(str(error.value)) < 250
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("factor", "unit"), [(1e3, "milli"), (1e6, "micro"), (1e9, "nano")])
def test_stamps_that_are_no_seconds_are_refused_with_their_unit(tmp_path, factor, unit):
    stamps = [f"{factor * (1.7e9 + i):.0f} 0 0 0 0 0 0 1" for i in range(5)]
    (tmp_path / "poses.txt").write_text("\n".join(stamps))
    with pytest.raises(RecordingError, match=f"are they {unit}seconds"):
        read_tum(tmp_path / "poses.txt")


def test_a_byte_order_mark_is_no_data(tmp_path):
    (tmp_path / "poses.txt").write_bytes(b"\xef\xbb\xbf1.0 1 2 3 0 0 0 1\n")
    assert read_tum(tmp_path / "poses.txt").stamps.tolist() == [1.0]


@pytest.mark.parametrize("content", [None, b"# nothing\n", b"\xff\xfe\x00"])
def test_an_unusable_tum_file_ends_in_one_line(tmp_path, content):
    path = tmp_path / "poses.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RecordingError) as error:
        read_tum(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_tum_file_that_cannot_be_written_is_an_output_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        write_tum(tmp_path / "file" / "trajectory.tum", random_trajectory(1, 2))
