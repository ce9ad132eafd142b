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
    at = Trajectory(np.array([10.0, 20.0]), T).at([[12.5], [15.0]])
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


def test_comments_are_skipped_and_quaternions_normalised(tmp_path):
    path = tmp_path / "poses.txt"
    path.write_text("# stamp ...\n\n1.0 1 2 3 0 0 0 2  # identity\n2.0 1 2 3 0 0 3 3\n")
    trajectory = read_tum(path)
    np.testing.assert_allclose(trajectory.poses[0, :3, :3], np.eye(3))
    assert poses.to_rpy(trajectory.poses[1])[2] == pytest.approx(np.pi / 2)


@pytest.mark.parametrize(
    "row",
    [
        "2.0 1 2 3 0 0 0",
        "2.0 1 2 3 0 0 0 1 9",
        "2.0 1 2 x 0 0 0 1",
        "2.0 1 nan 3 0 0 0 1",
        "2.0 1 2 3 0 0 0 0",
        "1.0 1 2 3 0 0 0 1",
        "inf 1 2 3 0 0 0 1",
    ],
)
def test_a_bad_row_is_named_by_its_line(tmp_path, row):
    path = tmp_path / "poses.txt"
    path.write_text(f"# comment\n1.0 1 2 3 0 0 0 1\n{row}\n")
    with pytest.raises(RecordingError, match="line 3"):
        read_tum(path)


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
