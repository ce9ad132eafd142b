import dataclasses
import json
from types import SimpleNamespace

import corridor
import numpy as np
import pytest

from fgsn_ros.errors import MapError, SettingsError
from fgsn_ros.geometry.trajectory import Trajectory
from fgsn_ros.mapping.adding import SessionRules, add_drive
from fgsn_ros.mapping.builder import MapSettings, write_map
from fgsn_ros.mapping.feature_builder import LocalFeatureSettings
from fgsn_ros.mapping.local_features import load_local_features
from fgsn_ros.mapping.map_files import load_map, told_sessions
from fgsn_ros.mapping.map_records import SESSIONS

ROAD, LEFT, RIGHT, END = range(4)
FRAMES = 20
STABLE = np.full((4, 4), -3.0) + 4.3 * np.eye(4)
PLAIN = MapSettings(local_features=LocalFeatureSettings(kind="none"))


@pytest.fixture(scope="module")
def rendered():
    """Frames of a drive, rendered once for each place and kind of the left wall."""
    kept = {}

    def frames(wall_y):
        if wall_y not in kept:
            plain = corridor.SURFACES["left"]
            corridor.SURFACES["left"] = ((0.0, wall_y, 0.0), *plain[1:])
            kept[wall_y] = list(corridor.Corridor(FRAMES).frames())
            corridor.SURFACES["left"] = plain
        return kept[wall_y]

    return frames


@pytest.fixture
def drive(rendered):
    """Makes a drive: its frames from..to, in a corridor whose left wall is at wall_y."""

    def made(first=0, last=FRAMES, wall_y=5.0, posed=slice(None)):
        recording = corridor.Corridor(FRAMES)
        truth, frames = recording.ground_truth, rendered(wall_y)[first:last]
        recording.ground_truth = Trajectory(truth.stamps[posed], truth.poses[posed], 0.15)
        recording.frames = lambda: iter(frames)
        recording.frame_count = len(frames)
        return recording

    return made


@pytest.fixture
def labels():
    """Labels of frames by tint; what is LEFT may be called otherwise."""

    def made(left=LEFT):
        segmenter = corridor.TintSegmenter()

        def label(frame):
            seen = segmenter.segment(frame.image)
            named = np.where(seen.labels == LEFT, np.uint16(left), seen.labels)
            return dataclasses.replace(seen, labels=named)

        return label

    return made


@pytest.fixture
def added(tmp_path, labels):
    """Adds a drive to the newest map; the map and what changed."""
    made = []

    def add(recording, left=LEFT, log_ratio=STABLE, onto=None, fingerprint="cd" * 32):
        folder = tmp_path / f"added{len(list(tmp_path.glob('added*'))) + 1}"
        folder.mkdir()
        checkpoint = SimpleNamespace(fingerprint=fingerprint, stationary=None, log_ratio=log_ratio)
        before = onto or made[-1]
        changed = add_drive(folder, before, recording, labels(left), checkpoint, PLAIN)
        made.append(folder)
        assert not (folder / "building").exists()
        return load_map(folder), changed

    def first(recording, settings=PLAIN):
        folder = tmp_path / "map"
        segmenter = corridor.TintSegmenter()
        write_map(folder, recording, segmenter, settings)
        made.append(folder)
        return load_map(folder)

    add.first = first
    return add


def on_left_wall(points, wall_y=5.0):
    at = points.points
    return (np.abs(at[:, 1] - wall_y) < 0.2) & (at[:, 2] > 0.3) & (at[:, 0] < 25.0)


def test_the_same_drive_again_confirms_the_map_and_does_not_double_it(added, drive):
    before = added.first(drive())
    after, changed = added(drive())
    assert changed.before == len(before)
    assert changed.confirmed > 0.95 * len(before)
    assert changed.added < 0.02 * len(before)
    assert changed.merged > 0.9 * len(before)
    assert (changed.dropped, changed.replaced, changed.keyframes_added) == (0, 0, 0)
    assert len(after) == changed.after == changed.before + changed.added
    assert after.identity != before.identity
    assert after.fingerprint == before.fingerprint
    assert set(after.sessions[:]["supported"].tolist()) <= {1, 2}
    np.testing.assert_array_equal(after.keyframe_poses, before.keyframe_poses)


def test_a_longer_drive_adds_what_the_map_lacked(added, drive):
    before = added.first(drive(last=10))
    after, changed = added(drive())
    assert (changed.dropped, changed.replaced) == (0, 0)
    assert changed.added > 0.3 * len(before)
    assert changed.keyframes_added > 5
    whole = after.all_points()
    assert len(whole) == len(before) + changed.added
    distance = corridor.surface_distances(whole.points.astype(np.float64)).min(axis=1)
    assert np.median(distance / whole.min_range) < 0.015


def test_points_stay_where_they_are(added, drive):
    old = added.first(drive(last=10)).all_points()
    new = added(drive())[0].all_points()
    apart = np.linalg.norm(new.points[None] - old.points[::7, None], axis=2).min(axis=1)
    assert len(apart) > 50
    assert apart.max() < 2e-3  # a cell of a tile


def test_a_wall_of_another_look_is_replaced_at_once(added, drive):
    before = added.first(drive()).all_points()
    after, changed = added(drive(), left=END)
    points = after.all_points()
    walls = [on_left_wall(each) & (each.labels == LEFT) for each in (before, points)]
    assert walls[1].sum() < 0.1 * walls[0].sum()
    assert changed.replaced > 0.8 * walls[0].sum()
    assert (on_left_wall(points) & (points.labels == END)).sum() > 0.8 * walls[0].sum()
    for label in (ROAD, RIGHT):
        assert (points.labels == label).sum() >= 0.99 * (before.labels == label).sum()


def test_what_is_gone_goes_when_two_drives_say_so(added, drive):
    before = added.first(drive()).all_points()
    walls = [(on_left_wall(before) & (before.labels == LEFT)).sum()]
    first, changed = added(drive(wall_y=9.0), left=END)
    assert changed.dropped == 0
    assert changed.contradicted > 0.7 * walls[0]
    points = first.all_points()
    walls.append((on_left_wall(points) & (points.labels == LEFT)).sum())
    second, changed = added(drive(wall_y=9.0), left=END)
    assert changed.dropped > 0.7 * walls[0]
    points = second.all_points()
    walls.append((on_left_wall(points) & (points.labels == LEFT)).sum())
    assert walls[1] > 0.9 * walls[0]
    assert walls[2] < 0.25 * walls[0]
    assert (on_left_wall(points, 9.0) & (points.labels == END)).sum() > 30


def test_what_two_drives_supported_goes_with_the_third_that_contradicts(added, drive):
    added.first(drive())
    added(drive())
    counts = [added(drive(wall_y=9.0), left=END)[1].dropped for _ in range(3)]
    assert counts[1] < 0.1 * counts[2]
    assert counts[0] == 0


def test_support_forgives_what_was_said_before(added, drive):
    added.first(drive())
    contradicted, _ = added(drive(wall_y=9.0), left=END)
    assert contradicted.sessions[:]["contradicted"].max() == 1
    restored, _ = added(drive())
    points = restored.all_points()
    told = np.concatenate([sessions for _, sessions in restored.parts_with_sessions()])
    wall = on_left_wall(points) & (points.labels == LEFT)
    assert (told["contradicted"][wall] == 0).mean() > 0.95


def test_a_season_in_which_labels_differ_as_the_statistics_know_contradicts_nothing(added, drive):
    before = added.first(drive())
    known = STABLE.copy()
    known[END, LEFT] = 1.2
    _, changed = added(drive(), left=END, log_ratio=known)
    assert (changed.contradicted, changed.replaced, changed.dropped) == (0, 0, 0)
    assert changed.added < 0.02 * len(before)


def test_frames_without_a_pose_add_nothing(added, drive):
    before = added.first(drive(last=10))
    after, changed = added(drive(posed=slice(0, 10)))
    assert changed.added < 0.02 * len(before)
    assert changed.keyframes_added == 0
    assert len(after) == changed.after


def test_the_map_tells_what_each_drive_changed(added, drive, tmp_path):
    first = added.first(drive(last=10))
    assert told_sessions(tmp_path / "map") == []
    assert first.sessions is None
    _, changed = added(drive())
    added(drive())
    told = told_sessions(tmp_path / "added2")
    assert [one["recording"] for one in told] == ["corridor", "corridor"]
    assert told[0]["added"] == changed.added
    assert told[1]["before"] == changed.after


def test_a_map_that_no_drive_was_added_to_counts_as_one_drives(added, drive):
    m = added.first(drive(last=10))
    ((points, sessions),) = m.parts_with_sessions()
    assert sessions.dtype == SESSIONS
    assert (sessions["supported"] == 1).all()
    assert (sessions["contradicted"] == 0).all()
    np.testing.assert_array_equal(points.points, m.all_points().points)


def all_features(folder):
    features = load_local_features(folder, load_map(folder))
    ((points, rows),) = features.tiles.parts_with_rows()
    return features, points, np.concatenate([features.descriptors[a:b]["row"] for a, b in rows])


def test_local_features_join_where_the_map_has_none(added, drive, tmp_path):
    added.first(drive(last=4), MapSettings())
    added(drive())
    added(drive())
    old, old_points, old_descriptors = all_features(tmp_path / "map")
    new, new_points, new_descriptors = all_features(tmp_path / "added1")
    assert len(new_points) > len(old_points)
    known = {row.tobytes() for row in new_descriptors}
    assert all(row.tobytes() in known for row in old_descriptors)
    assert len(all_features(tmp_path / "added2")[1]) == len(new_points)
    np.testing.assert_array_equal(new.place_codes.mean, old.place_codes.mean)
    assert len(new.codes) > len(old.codes)
    apart = np.linalg.norm(
        new.T_map_camera[:, None, :3, 3] - new.T_map_camera[None, :, :3, 3], axis=2
    )
    assert np.sort(apart, axis=1)[:, 1].min() > 1.9
    at = [np.linalg.norm(new.T_map_camera - T, axis=(1, 2)).argmin() for T in old.T_map_camera]
    np.testing.assert_array_equal(new.codes[at], old.codes)


def test_a_damaged_count_of_sessions_is_refused(added, drive, tmp_path):
    added.first(drive(last=10))
    added(drive(last=10))
    folder = tmp_path / "added1"
    rows = np.load(folder / "sessions.npy")
    np.save(folder / "sessions.npy", rows[:-1])
    with pytest.raises(MapError, match="sessions and points"):
        load_map(folder)
    (folder / "sessions.npy").unlink()
    with pytest.raises(MapError, match=r"sessions\.npy is missing"):
        load_map(folder)
    meta = json.loads((folder / "meta.json").read_text())
    (folder / "meta.json").write_text(json.dumps({**meta, "sessions": 3}))
    with pytest.raises(MapError, match="must be a list"):
        told_sessions(folder)


def test_another_checkpoint_and_one_without_statistics_are_refused(added, drive):
    added.first(drive(last=10))
    with pytest.raises(MapError, match="labelled by checkpoint"):
        added(drive(), fingerprint="ef" * 32)
    with pytest.raises(MapError, match="no label statistics"):
        added(drive(), log_ratio=None)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("outlier_share", 1.0),
        ("least_votes", 0.0),
        ("contradiction", 0.0),
        ("most_support", 0),
        ("same_place_m", 0.0),
        ("same_place_share", -0.1),
    ],
)
def test_rules_out_of_range_are_refused(name, value):
    with pytest.raises(SettingsError, match=name):
        SessionRules(**{name: value})
