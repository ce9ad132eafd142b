"""`fgsn teach`: rounds of poses, pairs, network and map, of bags without poses."""

import json

import numpy as np
import pytest
from raw_drive import RawDrive, write_raw

from fgsn_ros.cli import main
from fgsn_ros.commands import teaching
from fgsn_ros.commands.teach import table
from fgsn_ros.commands.teaching import helps
from fgsn_ros.errors import MapError
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.trajectory import read_tum
from fgsn_ros.mapping.map_files import load_map
from fgsn_ros.mapping.sfm import registration
from fgsn_ros.mapping.sfm.registration import Anchors
from fgsn_ros.segmentation.checkpoint import load_checkpoint

SETTINGS = """
iterations: 2
batch_size: 2
crop_height: 32
crop_width: 48
short_side_px: 0
label_count: 8
validate_every: 2
device: cpu
threads: 1
workers: 0
optimizer: {kind: adamw}
clustering: {every: 10, features_per_image: 60, pca_dimensions: 8, last_layer: centres}
"""
FRAMES = 12
OFFSET_M = 0.4
FEW = (
    *("--poses.keyframes.spacing-m", "0.5", "--poses.keyframes.features.features", "500"),
    *("--pairs.min-points", "5", "--pairs.structure.tracks.min-corner", "1e-4"),
    *("--pairs.structure.frame-spacing-m", "0", "--across.max-distance-m", "2"),
    *("--pairs.max-distance-m", "2", "--pairs.pairs-per-frame", "1", "--pairs.validation-share"),
    *("0.3", "--mapping.min-agreement", "0", "--mapping.local-features.kind", "none"),
)
NOT_JOINED = ("--poses.joining.min-points", "10000")


@pytest.fixture(scope="module")
def drives(tmp_path_factory):
    """Two drives, whose maps' frames begin at the first one's start."""
    folder = tmp_path_factory.mktemp("seasons")
    write_raw(folder / "summer", RawDrive(frames=FRAMES))
    write_raw(folder / "winter", RawDrive(seed=2, offset_m=OFFSET_M, frames=FRAMES))
    (folder / "few.yaml").write_text(SETTINGS)
    return folder


@pytest.fixture
def words(drives, workplace, tmp_path):
    """A command line; the folder that it makes is `taught`."""
    paths = [str(drives / "summer"), str(drives / "winter"), "--output", str(tmp_path / "taught")]
    return [
        *("teach", *paths, "--train", str(drives / "few.yaml")),
        *("--init", str(workplace.checkpoint), *FEW),
    ]


@pytest.fixture(autouse=True)
def tracked(monkeypatch):
    """Stands in for the filter: it knows the truth, in the frame of the first drive's start."""
    starts = []

    def anchors(recording, semantic_map, checkpoint, initial, labels):
        starts.append(initial)
        for frame in recording.frames():
            labels(frame)
        first, truth = RawDrive(frames=FRAMES).truth, RawDrive(offset_m=OFFSET_M, frames=FRAMES)
        T = poses.compose(poses.invert(first.poses[0]), truth.truth.poses)
        return Anchors(first.stamps, T, np.tile(np.eye(6) * 0.01, (len(T), 1, 1)))

    monkeypatch.setattr(teaching, "tracked_poses", anchors)
    monkeypatch.setattr(registration, "_LEAST_M", 3.0)  # the corridor is short
    return starts


def test_a_run_that_was_stopped_goes_on_to_a_network_and_a_map(
    words, tmp_path, monkeypatch, capsys, tracked
):
    taught = tmp_path / "taught"

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as stopping:
        stopping.setattr("fgsn_ros.training.trainer.train", stop)
        assert main(words) == 130
    assert main(words) == 2
    assert "go on with it by --resume" in capsys.readouterr().err
    assert main([*words, "--resume", "--pairs.seed", "4"]) == 2
    assert "was begun with pairs.seed 0" in capsys.readouterr().err

    pairs = taught / "0" / "pairs" / "correspondences.json"
    made = pairs.stat().st_mtime_ns
    assert main([*words, "--resume"]) == 0
    assert pairs.stat().st_mtime_ns == made
    said = capsys.readouterr().out
    assert "by local features" in said
    assert "by the network of round 0" in said
    report = json.loads((taught / "report.json").read_text())
    assert f"kept: round {report['kept']}" in said
    assert [one["localized"][0]["tracked"] for one in report["rounds"]] == [FRAMES, FRAMES]
    assert all(initial.stamp is not None for initial in tracked)

    kept = load_checkpoint(taught / "checkpoint.safetensors")
    assert kept.log_ratio is not None
    assert load_map(taught / "map").fingerprint == kept.fingerprint
    assert len(read_tum(taught / "poses" / "winter.tum")) == FRAMES

    assert main([*words, "--resume"]) == 0  # nothing is left to do
    assert capsys.readouterr().out == said


def test_drives_that_features_do_not_join_are_joined_by_labels(words, tmp_path, capsys, tracked):
    given = [*words, *NOT_JOINED, "--rounds", "0", "--start.pose", "0", "0.4", "0", "0"]
    assert main(given) == 0
    assert "by labels of the first network" in capsys.readouterr().out
    taught = tmp_path / "taught"
    assert (taught / "joined" / "map").is_dir()
    y = read_tum(taught / "poses" / "winter.tum").poses[:, 1, 3]
    true = RawDrive(offset_m=OFFSET_M, frames=FRAMES).truth.poses[:, 1, 3]
    np.testing.assert_allclose(y, true, atol=0.15)
    joining, localizing = tracked
    assert joining.T_map_base[1, 3] == 0.4  # the start that was given
    assert localizing.T_map_base[1, 3] == pytest.approx(y[0], abs=1e-6)


def test_drives_that_nothing_joins_end_in_a_line_that_says_both_causes(
    words, monkeypatch, capsys, caplog
):
    starts = []

    def lost(recording, semantic_map, checkpoint, initial, labels):
        starts.append(initial)
        raise MapError(f"{recording.name} was not tracked")

    monkeypatch.setattr(teaching, "tracked_poses", lost)
    assert main([*words, *NOT_JOINED]) == 2
    assert "not joined by local features; the labels of" in caplog.text
    said = "neither local features nor labels join it with summer (winter was not tracked)"
    assert said in capsys.readouterr().err
    assert main([*words, *NOT_JOINED, "--resume", "--start.pose", "0", "0", "0", "0"]) == 2
    assert said in capsys.readouterr().err  # the start was taken, and did not help
    assert [start is None for start in starts] == [True, False]


def facts(number, meeting, *off_m, **others):
    localized = [{"tracked": 9, "frames": 10, "off_m": one} for one in off_m]
    return {
        "round": number, "poses": "by labels", "pairs": 40, "held_out": 6, "meeting": meeting,
        "consistency": 0.5, "information": 1.2, "localized": localized,
    } | others  # fmt: skip


FARTHER = "its network localizes no nearer to where the points meet"


@pytest.mark.parametrize(
    ("meeting", "off_m", "why"),
    [
        (0.31, (0.2,), ""),
        (0.299, (0.1, 0.3), ""),
        (0.29, (0.2,), "by its poses, fewer points of the recordings lie in one place"),
        (0.31, (0.1, 0.5), FARTHER),
        (0.31, (), FARTHER),
    ],
)
def test_a_round_is_kept_where_geometry_says_that_it_localizes_better(meeting, off_m, why):
    assert helps(facts(1, meeting, *off_m), facts(0, 0.30, 0.25)) == why


def test_the_table_says_which_round_is_kept_and_why_another_is_not():
    failed = facts(1, 0.29, not_kept="it is worse")
    lines = table({"kept": 0, "rounds": [facts(0, 0.3, 0.123), failed]}).splitlines()
    assert " ".join(lines[1].split()) == "0 by labels 40 6 30.0% 50.0% 1.200 9 of 10 0.12"
    assert lines[2].endswith("-")
    assert lines[3:] == ["kept: round 0", "not kept: round 1: it is worse"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("data: pairs", "sets data, which teaching sets itself"),
        ("objective: semantic", "the objective must be fgsn or statistics"),
        ("itterations: 3", "unknown setting 'itterations'"),
    ],
)
def test_training_settings_that_do_not_fit_are_refused_before_any_work(
    line, said, words, tmp_path, capsys
):
    (tmp_path / "other.yaml").write_text(line)
    assert main([*words, "--train", str(tmp_path / "other.yaml")]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "taught").exists()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--resume"], "holds no run to resume"),
        (["--rounds", "-1"], "rounds must be at least 0"),
        (["--start.offset-m", "2"], "without offset"),
        (["--recording.poses", "poses.tum"], "leave out --recording.poses"),
    ],
)
def test_what_cannot_be_is_refused_before_any_work(flags, said, words, tmp_path, capsys):
    assert main([*words, *flags]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "taught").exists()


def test_one_recording_is_too_few(words, tmp_path, capsys):
    assert main([words[0], words[1], *words[3:]]) == 2
    assert "name recordings of two seasons" in capsys.readouterr().err
