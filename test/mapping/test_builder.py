import contextlib
import dataclasses
import re

import numpy as np
import pytest

from fgsn_ros.errors import MapError, RecordingError, SettingsError
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.cameras import T_BASE_OPTICAL
from fgsn_ros.geometry.trajectory import Trajectory
from fgsn_ros.mapping import blocks, builder, labelling
from fgsn_ros.mapping.builder import MapSettings, build_map, write_map
from fgsn_ros.mapping.labelling import LabelVotes, Visibility, vote
from fgsn_ros.mapping.semantic_map import SemanticMap
from fgsn_ros.mapping.structure import MotionGate, Reconstruction, StructureSettings, posed_frames
from fgsn_ros.mapping.triangulation import TriangulationSettings
from fgsn_ros.recordings.recording import Frame


def test_points_lie_on_the_surfaces_with_their_labels(built, distances_to_surfaces):
    m = built[1].all_points()
    distance = distances_to_surfaces(m.points.astype(np.float64))
    relative = distance.min(axis=1) / m.min_range
    assert len(m) > 500
    assert np.median(relative) < 0.015
    assert np.mean(relative < 0.05) > 0.95
    road = m.points[(m.labels == 0) & (distance[:, 0] < 1.0)]
    assert abs(np.median(road[:, 2])) < 0.03
    clear = np.sort(distance, axis=1)[:, 1] > 1.0
    assert np.mean(m.labels[clear] == distance.argmin(axis=1)[clear]) > 0.98
    assert set(np.unique(m.labels)) == {0, 1, 2, 3}


def test_ranges_and_directions_are_those_of_cameras_that_saw_the_point(built):
    recording, m = built[0], built[1].all_points()
    T = recording.ground_truth.poses @ recording.cameras["camera"].T_base_camera
    sight = m.points[:, None] - T[None, :, :3, 3]
    ranges = np.linalg.norm(sight, axis=-1)
    for observed in (m.min_range, m.max_range):
        assert np.abs(ranges / observed[:, None] - 1.0).min(axis=1).max() < 0.02
    between = (ranges >= 0.98 * m.min_range[:, None]) & (ranges <= 1.02 * m.max_range[:, None])
    mean = (sight / ranges[..., None] * between[..., None]).sum(axis=1)
    mean /= np.linalg.norm(mean, axis=1, keepdims=True)
    assert np.median(np.einsum("ij,ij->i", mean, m.directions)) > np.cos(np.radians(1.0))


def test_key_frames_are_spaced_and_hold_label_shares(make_corridor, tint_segmenter):
    recording = make_corridor()
    m = build_map(recording, tint_segmenter(), MapSettings(keyframe_spacing_m=1.0))
    drive = m.keyframe_poses[np.argsort(m.keyframe_poses[:, 0, 3])]
    steps = np.linalg.norm(np.diff(drive[:, :3, 3], axis=0), axis=1)
    assert (steps >= 1.0).all()
    assert steps.max() < 1.0 + 2 * 0.61
    np.testing.assert_allclose(m.keyframe_histograms.sum(axis=1), 1.0, rtol=1e-3)
    np.testing.assert_allclose(drive[0], recording.ground_truth.poses[0], atol=1e-6)


def test_the_map_names_the_checkpoint_that_labelled_it(built):
    assert built[1].fingerprint == "cd" * 32


def test_building_twice_gives_the_same_map_to_the_bit(built, make_corridor, tint_segmenter):
    again = build_map(make_corridor(), tint_segmenter())
    assert again.identity == built[1].identity
    for name in ("points", "keyframes", "tile_keys", "tiles"):
        np.testing.assert_array_equal(getattr(again, name)[:], getattr(built[1], name)[:])


@pytest.fixture(scope="module")
def to_and_fro_recording(make_corridor):
    """A drive that comes back by the way it went."""
    recording = make_corridor(30)
    T = recording.ground_truth.poses
    recording.ground_truth = Trajectory(np.arange(59) * 0.1, np.concatenate([T, T[-2::-1]]))
    recording.frame_count = 59
    frames = list(recording.frames())
    recording.frames = lambda: iter(frames)
    return recording


def built_at_once(recording, segmenter, settings):
    """The map with the whole drive's structure, views and votes in memory."""
    reconstruction = Reconstruction(recording.cameras, settings.structure)
    gate, views = settings.keyframe_gate(), []
    for posed in posed_frames(recording, 0.25, 2.0, "test"):
        number = reconstruction.add(posed)
        if gate.passes(posed.T_map_base):
            views.append((number, posed.T_map_base, segmenter.segment(posed.frame.image)))
    s = reconstruction.structure()
    visibility = Visibility.of(s, settings.range_factor, np.radians(settings.view_angle_deg))
    votes = LabelVotes(4)
    for number, _, label_map in views:
        T, camera = s.T_map_camera[number], recording.cameras["camera"].camera
        points, pixels, tracked = visibility.visible(number, T, camera)
        weights = np.where(tracked, 1.0, settings.projected_weight)
        vote(votes, points, pixels, weights, label_map)
    labels, confidence = votes.winners(len(s.points))
    kept = confidence >= settings.min_agreement
    values = (s.points, labels, confidence, s.directions, s.min_range, s.max_range)
    shares = [np.bincount(one.labels[one.labels < 4], minlength=4) for _, _, one in views]
    return SemanticMap.from_points(
        *(value[kept] for value in values),
        np.array([T for _, T, _ in views]),
        shares / np.sum(shares, axis=1, keepdims=True),
        segmenter.checkpoint.fingerprint,
        settings.tile_size_m,
    )


@pytest.mark.parametrize("block_m", [3.0, 50.0])
def test_a_map_built_in_a_stream_equals_one_built_at_once(
    to_and_fro_recording, tint_segmenter, monkeypatch, block_m
):
    monkeypatch.setattr(blocks, "_BLOCK_M", block_m)
    monkeypatch.setattr(builder, "_FRAMES_TOGETHER", 3)
    monkeypatch.setattr(labelling, "_STEP_M", 0.5)
    put_aside = []
    add_votes = blocks.Blocks.add_votes
    monkeypatch.setattr(
        blocks.Blocks, "add_votes", lambda *given: put_aside.append(given[1]) or add_votes(*given)
    )
    near = StructureSettings(triangulation=TriangulationSettings(max_range_m=5.5))
    settings = MapSettings(
        tile_size_m=1.5, keyframe_spacing_m=1.0, range_factor=1.2, structure=near
    )
    expected = built_at_once(to_and_fro_recording, tint_segmenter(), settings)
    got = build_map(to_and_fro_recording, tint_segmenter(), settings)
    np.testing.assert_array_equal(got.tile_keys, expected.tile_keys)
    np.testing.assert_array_equal(got.tiles["points"], expected.tiles["points"])
    np.testing.assert_array_equal(np.sort(got.keyframes), np.sort(expected.keyframes))
    a, b = (np.sort(m.points, order=["cell", "direction"]) for m in (got, expected))
    for name in ("label", "cell", "range", "direction", "confidence"):
        difference = np.abs(a[name].astype(int) - b[name])
        assert difference.max() <= (name != "label")
        assert np.mean(difference > 0) < 0.001
    assert (len(put_aside) > len(set(put_aside))) == (block_m < 50.0)  # left, and come back to


def test_points_on_labels_that_are_not_stationary_are_dropped(make_corridor, tint_segmenter):
    stationary = np.array([0.9, 0.1, 0.8, 0.5], np.float32)
    m = build_map(make_corridor(8), tint_segmenter(stationary))
    labels = set(m.all_points().labels.tolist())
    assert 1 not in labels
    assert {0, 2} <= labels
    kept = build_map(make_corridor(8), tint_segmenter(stationary), MapSettings(min_stationary=None))
    assert 1 in kept.all_points().labels


def test_labels_that_the_images_do_not_agree_on_are_dropped(make_corridor, tint_segmenter):
    class Fickle(tint_segmenter):
        def __init__(self):
            super().__init__()
            self.calls = 0

        def segment(self, image):
            label_map = super().segment(image)
            self.calls += 1
            label_map.labels[:] = self.calls // 2 % 4
            return label_map

    lax = build_map(make_corridor(12), Fickle(), MapSettings(min_agreement=0.0))
    strict = build_map(make_corridor(12), Fickle(), MapSettings(min_agreement=0.4))
    assert len(strict) < 0.7 * len(lax)
    assert strict.all_points().confidence.min() >= 0.4
    with pytest.raises(MapError, match="label tests"):
        build_map(make_corridor(4), tint_segmenter(np.zeros(4, np.float32)))


def test_a_written_map_is_the_one_in_memory_and_leaves_nothing_else(
    tmp_path, built, make_corridor, tint_segmenter
):
    written = write_map(tmp_path / "map", make_corridor(), tint_segmenter())
    np.testing.assert_array_equal(written.points[:], built[1].points)
    assert written.identity == built[1].identity
    files = {"meta.json", "points.npy", "keyframes.npy", "tile_keys.npy", "tiles.npy"}
    files.add("local_features")
    assert {path.name for path in (tmp_path / "map").iterdir()} == files
    with pytest.raises(MapError, match="triangulated"):
        write_map(tmp_path / "none", make_corridor(4, blank=True), tint_segmenter())
    assert [path.name for path in tmp_path.iterdir()] == ["map"]


def test_images_without_texture_give_no_map(make_corridor, tint_segmenter):
    with pytest.raises(MapError, match="no point could be triangulated"):
        build_map(make_corridor(4, blank=True), tint_segmenter())


def test_a_recording_without_ground_truth_is_refused(make_corridor, tint_segmenter):
    recording = make_corridor(4)
    recording.ground_truth = None
    with pytest.raises(RecordingError, match="ground-truth"):
        build_map(recording, tint_segmenter())


def test_frames_outside_the_ground_truth_or_standing_still_are_left_out(make_corridor):
    recording = make_corridor(6, step_m=0.1)
    recording.ground_truth = recording.ground_truth.between(100.05, 100.45)
    stamps = [posed.frame.stamp for posed in posed_frames(recording, 0.25, 90.0, "test")]
    np.testing.assert_allclose(stamps, [100.1, 100.4])


def test_frames_in_a_hole_of_the_poses_are_left_out_and_said(make_corridor, caplog):
    recording = make_corridor(40)
    truth = recording.ground_truth
    known = (truth.stamps < 101.0) | (truth.stamps > 102.0)
    recording.ground_truth = Trajectory(truth.stamps[known], truth.poses[known])
    stamps = [
        posed.frame.stamp for posed in posed_frames(without_images(recording), 0.25, 90.0, "")
    ]
    np.testing.assert_allclose(stamps, np.r_[100.0:100.95:0.1, 102.1:103.95:0.1])
    (said,) = caplog.messages
    assert "corridor: 11 of 40 frames (1.1 s) are without a pose" in said
    assert "11 have no two poses within 0.5 s around them (first: 101.000 s)" in said


@pytest.mark.parametrize(
    ("shift_s", "said"),
    [
        (-100.0, r"the images \(100.000 to 100.900 s\) and the poses \(0.000 to 0.900 s\) have no"),
        (1.7e9, r"the images count from a start of their own, the poses from 1970"),
    ],
)
def test_clocks_that_do_not_meet_are_named_with_both_times(make_corridor, shift_s, said):
    recording = without_images(make_corridor(10))
    truth = recording.ground_truth
    recording.ground_truth = Trajectory(truth.stamps + shift_s, truth.poses)
    with pytest.raises(RecordingError, match=said):
        list(posed_frames(recording, 0.25, 90.0, ""))


def test_a_recording_in_a_hole_of_its_poses_is_refused(make_corridor):
    recording = without_images(make_corridor(10))
    poses_ = recording.ground_truth.poses[:3]
    recording.ground_truth = Trajectory(np.array([99.0, 99.1, 110.0]), poses_)
    with pytest.raises(RecordingError, match="none of 10 frames has a pose .*max_pose_gap_s"):
        list(posed_frames(recording, 0.25, 90.0, ""))


def without_images(recording):
    """The recording with its frames black."""
    black = np.zeros((200, 320, 3), np.uint8)
    stamps = 100.0 + 0.1 * np.arange(recording.frame_count)
    recording.frames = lambda: (Frame(float(stamp), "camera", black) for stamp in stamps)
    return recording


def turned(recording, T_base_optical):
    """The recording, said to be seen by a camera of other axes than it was."""
    frames = list(recording.frames())
    recording.frames = lambda: iter(frames)
    mount = recording.cameras["camera"]
    T = mount.T_base_camera.copy()
    T[:3, :3] = T_base_optical[:3, :3]
    recording.cameras = {"camera": dataclasses.replace(mount, T_base_camera=T)}
    return recording


@pytest.mark.parametrize("axes", ["of the body", "turned aside"])
def test_wrong_axes_of_a_camera_are_said(make_corridor, tint_segmenter, caplog, axes):
    aside = poses.from_planar(0.0, 0.0, np.pi / 2) @ T_BASE_OPTICAL
    recording = turned(make_corridor(16), np.eye(4) if axes == "of the body" else aside)
    with contextlib.suppress(MapError):
        build_map(recording, tint_segmenter())
    doubt = "camera: the optical axis of camera_optical points at the sky (90 deg)"
    assert (doubt in caplog.text) == (axes == "of the body")
    assert re.search(r"corridor: only \d+ of \d+ tracks became points", caplog.text)


def test_of_a_sound_recording_nothing_is_said(make_corridor, tint_segmenter, caplog):
    build_map(make_corridor(16), tint_segmenter())
    assert not caplog.text


def test_a_turn_passes_the_gate_without_motion():
    gate = MotionGate(1.0, 5.0)
    turns = np.radians([0.0, 3.0, 6.0, 9.0, 12.0])
    passed = [gate.passes(poses.from_planar(0.0, 0.0, yaw)) for yaw in turns]
    assert passed == [True, False, True, False, True]


def test_settings_out_of_range_are_refused():
    for change in ({"keyframe_spacing_m": 0.0}, {"range_factor": 0.9}, {"min_agreement": 1.1}):
        with pytest.raises(SettingsError, match=next(iter(change))):
            MapSettings(**change)
