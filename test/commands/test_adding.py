from dataclasses import replace

import corridor
import numpy as np
import pytest

from fgsn_ros.cli import main
from fgsn_ros.commands import adding
from fgsn_ros.commands.adding import add_recording
from fgsn_ros.commands.start import Start
from fgsn_ros.errors import MapError, OutputError
from fgsn_ros.geometry.trajectory import Trajectory
from fgsn_ros.mapping.builder import MapSettings, write_map
from fgsn_ros.mapping.feature_builder import LocalFeatureSettings
from fgsn_ros.mapping.map_files import load_map
from fgsn_ros.mapping.sfm import registration
from fgsn_ros.mapping.sfm.registration import Anchors

PLAIN = MapSettings(local_features=LocalFeatureSettings(kind="none"))


class CountingSegmenter(corridor.TintSegmenter):
    """Labels by tint, with label statistics; counts the images."""

    stride = 8

    def __init__(self):
        super().__init__()
        self.checkpoint.log_ratio = np.full((4, 4), -3.0) + 4.3 * np.eye(4)
        self.images = 0

    def segment(self, image):
        self.images += 1
        return super().segment(image)


@pytest.fixture
def drive():
    recording = corridor.Corridor(16)
    frames = list(recording.frames())
    recording.frames = lambda: iter(frames)
    return recording


@pytest.fixture
def short_map(tmp_path, drive):
    """A map of the drive's first half."""
    whole = drive.ground_truth
    drive.ground_truth = Trajectory(whole.stamps[:8], whole.poses[:8])
    write_map(tmp_path / "map", drive, CountingSegmenter(), PLAIN)
    drive.ground_truth = whole
    return tmp_path / "map"


@pytest.fixture
def tracked(monkeypatch):
    """Stands in for the filter and structure from motion: both know the truth."""

    def anchors(recording, semantic_map, checkpoint, initial, labels):
        truth = recording.ground_truth
        for frame in recording.frames():
            labels(frame)
        return Anchors(truth.stamps[:8], truth.poses[:8], np.tile(np.eye(6) * 0.01, (8, 1, 1)))

    class Posed:
        def __init__(self, recordings, settings):
            self.trajectories = [recordings[0].ground_truth]

    monkeypatch.setattr(adding, "tracked_poses", anchors)
    monkeypatch.setattr(adding, "pose_recordings", Posed)
    monkeypatch.setattr(registration, "_LEAST_M", 3.0)  # the corridor is short


def test_a_map_may_be_replaced_by_the_one_with_the_drive(short_map, drive, tracked):
    before = load_map(short_map).identity
    segmenter = CountingSegmenter()
    with pytest.raises(OutputError, match="exists already"):
        add_recording(short_map, short_map, drive, segmenter, Start(), PLAIN)
    result = add_recording(short_map, short_map, drive, segmenter, Start(), PLAIN, overwrite=True)
    after = load_map(short_map)
    assert after.identity != before
    assert len(after) == result.added.after
    assert result.added.added > 100
    assert sorted(path.name for path in short_map.iterdir()) == [
        "keyframes.npy",
        "meta.json",
        "points.npy",
        "sessions.npy",
        "tile_keys.npy",
        "tiles.npy",
    ]
    assert f"{result.added.added} added" in result.text()


def test_each_image_is_segmented_once(tmp_path, short_map, drive, tracked):
    segmenter = CountingSegmenter()
    add_recording(tmp_path / "new", short_map, drive, segmenter, Start(), PLAIN)
    assert segmenter.images == 16


def test_a_drive_that_contradicts_much_is_said_to_be_doubtful(
    tmp_path, short_map, drive, tracked, caplog
):
    def shifted(label_map):
        return replace(label_map, labels=((label_map.labels + 1) % 4).astype(np.uint16))

    segmenter = CountingSegmenter()
    add_recording(tmp_path / "right", short_map, drive, segmenter, Start(), PLAIN)
    assert "contradicts" not in caplog.text
    wrong = CountingSegmenter()
    wrong.segment = lambda image: shifted(segmenter.segment(image))
    add_recording(tmp_path / "wrong", short_map, drive, wrong, Start(), PLAIN)
    assert "contradicts" in caplog.text


def test_a_drive_that_fails_leaves_the_map_as_it_was(tmp_path, short_map, drive, monkeypatch):
    before = load_map(short_map).identity

    def lost(*_):
        raise MapError("corridor was not tracked on the map")

    monkeypatch.setattr(adding, "tracked_poses", lost)
    with pytest.raises(MapError, match="was not tracked"):
        add_recording(short_map, short_map, drive, CountingSegmenter(), Start(), PLAIN, True)
    assert load_map(short_map).identity == before
    assert [path.name for path in tmp_path.iterdir()] == ["map"]


def test_an_offset_from_ground_truth_is_refused(tmp_path, short_map, drive):
    start = Start(offset_m=1.0)
    with pytest.raises(MapError, match="without an offset"):
        add_recording(tmp_path / "new", short_map, drive, CountingSegmenter(), start, PLAIN)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--add"], "--add and --map go together"),
        (["--map", "map"], "--add and --map go together"),
        (["--start.unknown"], "--start is of use with --add only"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(flags, said, tmp_path, capsys):
    paths = [str(tmp_path / "drive"), "--checkpoint", "net.onnx", "--output", str(tmp_path / "new")]
    assert main(["map", *flags, *paths]) == 2
    assert said in capsys.readouterr().err


def test_the_command_adds_the_recording_that_follows_the_flag(tmp_path, monkeypatch, capsys):
    given = {}

    def refuse(output, map_folder, recording, segmenter, start, settings, overwrite):
        given.update(output=output, map=map_folder, recording=recording, start=start)
        raise MapError("far enough")

    monkeypatch.setattr("fgsn_ros.commands.map.add_recording", refuse)
    monkeypatch.setattr("fgsn_ros.commands.map.load_checkpoint", lambda path: None)
    monkeypatch.setattr("fgsn_ros.commands.map.Segmenter", lambda *_: None)
    monkeypatch.setattr("fgsn_ros.commands.map.open_recording", lambda path, _: path.name)
    (tmp_path / "map").mkdir()
    words = ["--add", str(tmp_path / "drive"), "--map", str(tmp_path / "map")]
    words += ["--checkpoint", "net.onnx", "--output", str(tmp_path / "new")]
    words += ["--start.pose", "1", "2", "0", "90"]
    assert main(["map", *words]) == 2
    assert "far enough" in capsys.readouterr().err
    assert given["recording"] == "drive"
    assert given["map"] == tmp_path / "map"
    assert given["start"].pose == (1.0, 2.0, 0.0, 90.0)
