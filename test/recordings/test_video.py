from pathlib import Path

import numpy as np
import pytest

from fgsn_ros.errors import OutputError, RecordingError
from fgsn_ros.recordings.video import VideoWriter, open_video


def write(path: Path, times: list[float], width: int = 96, height: int = 64) -> Path:
    writer = VideoWriter(path)
    for index, time_s in enumerate(times):
        image = np.zeros((height, width, 3), np.uint8)
        image[..., 0] = 4 * index
        image[..., 2] = 200
        writer.add(time_s, image)
    writer.close()
    return path


@pytest.mark.parametrize("count", [1, 4, 25])
def test_frames_come_back_with_their_times_and_colours(tmp_path: Path, count: int) -> None:
    video = open_video(write(tmp_path / "a.mp4", [3.0 + 0.25 * i for i in range(count)]))
    frames = list(video.frames())
    assert video.frame_count == len(frames) == count
    rate_hz = 4.0 if count > 1 else 10.0
    times = [time_s for time_s, _ in frames]
    np.testing.assert_allclose(times, np.arange(count) / rate_hz, atol=1e-3)
    for index, (_, image) in enumerate(frames):
        assert image.shape == (64, 96, 3)
        np.testing.assert_allclose(image[10, 10], [4 * index, 0, 200], atol=8)


def test_the_rate_is_that_of_most_frames(tmp_path: Path) -> None:
    times = [0.0, 0.05, 0.1, 0.95, 1.0, 1.05, 1.1, 1.15, 1.2, 1.25, 9.0]
    assert open_video(write(tmp_path / "a.mp4", times)).rate_hz == pytest.approx(20.0)


def test_a_video_of_odd_size_loses_a_row_and_a_column(tmp_path: Path) -> None:
    video = open_video(write(tmp_path / "a.mp4", [0.0, 0.1], 97, 65))
    assert next(iter(video.frames()))[1].shape == (64, 96, 3)


def test_nothing_added_writes_nothing(tmp_path: Path) -> None:
    assert not write(tmp_path / "a.mp4", []).exists()


@pytest.mark.parametrize("content", [b"", b"no video\n" * 100, bytes(range(256)) * 16])
def test_what_is_no_video_is_refused_in_one_line(
    tmp_path: Path, content: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    with pytest.raises(RecordingError, match="a.mp4 is damaged or no video"):
        open_video(path)
    assert capfd.readouterr() == ("", "")


def test_a_cut_video_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    whole = write(tmp_path / "a.mkv", [0.1 * i for i in range(60)])
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises(RecordingError, match="cut.mkv is damaged: [0-9]+ of 60 frames"):
        list(open_video(cut).frames())
    assert capfd.readouterr() == ("", "")


def test_a_folder_that_is_gone_is_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(OutputError, match="cannot write"):
        write(tmp_path / "gone" / "a.mp4", [0.0])
    assert capfd.readouterr() == ("", "")


def test_a_video_that_is_not_whole_is_told(tmp_path: Path) -> None:
    writer = VideoWriter(tmp_path / "a.mp4")
    for index in range(12):
        writer.add(0.1 * index, np.zeros((64, 96, 3), np.uint8))
    writer.add(2.0, np.zeros((32, 48, 3), np.uint8))  # of another size: OpenCV drops it
    with pytest.raises(OutputError, match="not whole"):
        writer.close()
