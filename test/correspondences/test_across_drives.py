"""Pairs between drives in two seasons, judged by what the renderer knows."""

from copy import copy
from dataclasses import dataclass, replace

import numpy as np
import pytest
from scipy.interpolate import CubicSpline

from fgsn_ros.correspondences.across_drives import (
    CrossSettings,
    cross_pairs,
    write_cross_correspondences,
)
from fgsn_ros.correspondences.aligned_drives import meeting_poses
from fgsn_ros.correspondences.files import CorrespondenceFolder, read_correspondence
from fgsn_ros.correspondences.within_drive import SelfCorrespondenceSettings
from fgsn_ros.errors import RecordingError, SettingsError
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.trajectory import Trajectory
from fgsn_ros.mapping.structure import PosedFrame, Reconstruction, StructureSettings
from fgsn_ros.recordings.recording import Frame
from fgsn_ros.simulation.drive import DriveSettings, SimulatedDrive
from fgsn_ros.simulation.seasons import Season
from fgsn_ros.simulation.world import Town

SETTINGS = SelfCorrespondenceSettings(
    min_points=20, max_points=400, structure=StructureSettings(frame_spacing_m=0.0)
)
ACROSS = CrossSettings(within=False, pairs_per_frame=3)


@dataclass
class Rendered:
    """A drive that is rendered once, and how deep each pixel is."""

    drive: SimulatedDrive
    frames_: list[Frame]
    depths: list[np.ndarray]
    ground_truth: Trajectory | None

    @classmethod
    def of(cls, town, season, drive_seed):
        settings = DriveSettings(
            town_seed=town.seed, season=season, drive_seed=drive_seed, duration_s=1.5,
            width=320, height=240, stops=False, threads=1,
        )  # fmt: skip
        drive = SimulatedDrive(settings, town)
        rendered = [drive.render(index) for index in range(drive.frame_count)]
        frames = [
            Frame(float(stamp), "camera", one.image)
            for stamp, one in zip(drive.frame_stamps, rendered, strict=True)
        ]
        return cls(drive, frames, [one.depth for one in rendered], drive.ground_truth)

    name = property(lambda self: self.drive.name)
    cameras = property(lambda self: self.drive.cameras)
    frame_count = property(lambda self: self.drive.frame_count)

    def frames(self):
        return iter(self.frames_)

    def with_poses(self, ground_truth):
        return Rendered(self.drive, self.frames_, self.depths, ground_truth)


@pytest.fixture(scope="module")
def drives():
    """Summer and winter in one town."""
    town = Town.from_seed(7)
    return Rendered.of(town, Season.SUMMER, 0), Rendered.of(town, Season.WINTER, 1)


def disturbed(trajectory, sigma_m, sigma_deg, seed=3):
    """Poses with an error that changes over two seconds, as that of a filter does."""
    rng = np.random.default_rng(seed)
    knots = np.arange(trajectory.stamps[0] - 2.0, trajectory.stamps[-1] + 4.0, 2.0)
    scale = np.r_[[sigma_m] * 3, [np.radians(sigma_deg)] * 3]
    error = CubicSpline(knots, rng.normal(size=(len(knots), 6)) * scale)(trajectory.stamps)
    T = trajectory.poses.copy()
    T[:, :3, 3] += error[:, :3]
    turn = poses.exp(np.c_[np.zeros((len(T), 3)), error[:, 3:]])
    T[:, :3, :3] = turn[:, :3, :3] @ T[:, :3, :3]
    return Trajectory(trajectory.stamps, T)


def seen_in(target, frame, points):
    """Pixels (N, 2) of map points (N, 3) in a frame, and whether it sees them, and nothing else."""
    camera = target.cameras["camera"].camera
    seen = poses.transform(poses.invert(target.drive.T_map_camera(frame)), points)
    pixels, inside = camera.project(seen)
    height, width = target.depths[frame].shape
    u, v = np.rint(np.nan_to_num(pixels)).astype(int).T
    around = [
        target.depths[frame][np.clip(v + dv, 0, height - 1), np.clip(u + du, 0, width - 1)]
        for du in (-1, 0, 1)
        for dv in (-1, 0, 1)
    ]
    tolerance = 0.05 + 0.03 * seen[:, 2]
    visible = inside & (seen[:, 2] >= np.min(around, axis=0) - tolerance)
    return pixels, visible & (seen[:, 2] <= np.max(around, axis=0) + tolerance)


def judged(reference, target, frames, match, beside=(0, 0)):
    """Distance (N,) of the target pixels from where the surface is seen that the reference shows
    at its pixels, or `beside` them [px]; infinite where the target does not see it."""
    i, j = frames
    camera = reference.cameras["camera"].camera
    pixels = np.clip(
        np.rint(match.reference_points + beside), 0, (camera.width - 1, camera.height - 1)
    )
    rays, _ = camera.unproject(pixels)
    u, v = pixels.astype(int).T
    depth = np.nan_to_num(reference.depths[i][v, u].astype(float), posinf=1e4)
    points = poses.transform(reference.drive.T_map_camera(i), rays * depth[:, None])
    found, visible = seen_in(target, j, points)
    return np.where(visible, np.linalg.norm(found - match.target_points, axis=1), np.inf)


def pairs_in(root):
    """Frames and correspondence of every listed pair."""
    folder = CorrespondenceFolder(root)
    for path in folder.train_files() + folder.validation_files():
        match = read_correspondence(path)
        names = (match.reference_image, match.target_image)
        yield tuple(int(name[-10:-4]) for name in names), match


def errors_of(reference, target, root, beside=((0, 0),)):
    """Least error [px] of each point of all pairs, at its pixel or beside it (see `judged`)."""
    errors = [
        [judged(reference, target, frames, match, offset) for offset in beside]
        for frames, match in pairs_in(root)
    ]
    return np.concatenate([np.min(of_pair, axis=0) for of_pair in errors])


def test_points_across_seasons_show_the_same_place(drives, tmp_path):
    root = tmp_path / "pairs"
    write_cross_correspondences(drives, root, SETTINGS, ACROSS)
    # A tenth of the corners is of the skyline, where the very pixel often is sky. At 640 x 480 the
    # share is 0.94; here a pixel is twice as wide.
    assert np.mean(errors_of(*drives, root) < 8.0) > 0.82
    beside = [(0, 0), (2, 0), (-2, 0), (0, 2), (0, -2)]
    assert np.mean(errors_of(*drives, root, beside) < 8.0) > 0.9
    assert np.median([len(match.distance) for _, match in pairs_in(root)]) > 80


def test_poses_off_by_a_decimetre_are_aligned(drives, tmp_path):
    summer, winter = drives
    winter = winter.with_poses(disturbed(winter.ground_truth, 0.1, 0.2))
    within_2_px, within_8_px = {}, {}
    for alignment_m in (0.0, 0.6):
        root = tmp_path / str(alignment_m)
        across = replace(ACROSS, alignment_m=alignment_m)
        write_cross_correspondences((summer, winter), root, SETTINGS, across)
        errors = errors_of(summer, winter, root)
        within_2_px[alignment_m] = np.mean(errors < 2.0)
        within_8_px[alignment_m] = np.mean(errors < 8.0)
    assert within_8_px[0.6] > 0.82
    assert within_2_px[0.6] > within_2_px[0.0] + 0.05


def moved(recording, by_m):
    """The recording, its poses off by so much."""
    T = recording.ground_truth.poses.copy()
    T[:, :3, 3] += by_m
    return recording.with_poses(Trajectory(recording.ground_truth.stamps, T))


def test_points_meet_less_the_farther_poses_come_apart(drives, tmp_path):
    summer, winter = drives
    shares = []
    for number, off_m in enumerate((0.0, 0.4, 1.5)):
        recordings = summer, moved(winter, (0.0, off_m, 0.0))
        own, across = write_cross_correspondences(
            recordings, tmp_path / str(number), SETTINGS, ACROSS
        )
        assert own.meeting == 1.0
        shares.append(across.meeting)
    assert shares[0] > shares[1] > shares[2] > 0.0


@pytest.mark.parametrize(("other", "most_m"), [("summer", 1e-3), ("winter", 0.3)])
def test_a_drive_is_moved_to_where_its_points_meet_those_of_another(other, most_m, drives):
    summer, winter = drives
    drive = {"summer": summer, "winter": winter}[other]
    anchors = meeting_poses(summer, moved(drive, (0.0, 0.4, 0.0)), SETTINGS, ACROSS)
    true = drive.ground_truth.at(anchors.stamps)
    apart = np.linalg.norm((anchors.T_map_base - true)[:, :3, 3], axis=1)
    assert np.median(apart) < most_m
    np.testing.assert_array_equal(anchors.T_map_base[:, :3, :3], true[:, :3, :3])


def test_drives_whose_points_meet_nowhere_are_refused(drives):
    summer, winter = drives
    with pytest.raises(RecordingError, match="meet nowhere"):
        meeting_poses(summer, moved(winter, (500.0, 0.0, 0.0)), SETTINGS, ACROSS)


@pytest.fixture(scope="module")
def corridors(built):
    """Two drives through one corridor, whose walls look otherwise in the second."""
    make_corridor = type(built[0])
    first, second = make_corridor(10), make_corridor(10)
    second._texture = 255.0 - np.roll(first._texture, (311, 97), axis=(0, 1))[::-1]
    T = second.ground_truth.poses.copy()
    T[:, 1, 3] += 0.4
    second.ground_truth = Trajectory(second.ground_truth.stamps, T)
    second.name = "second"
    return first, second


@pytest.fixture(scope="module")
def written(tmp_path_factory, corridors):
    """Folder of pairs of the first with itself and the second, and their numbers."""
    root = tmp_path_factory.mktemp("corridors") / "pairs"
    across = replace(ACROSS, within=True, max_distance_m=3.0)
    settings = replace(SETTINGS, pairs_per_frame=2, max_distance_m=5.0)
    return root, write_cross_correspondences(corridors, root, settings, across)


def test_walls_that_look_otherwise_are_matched_where_they_are(corridors, written):
    first, _ = corridors
    mount = first.cameras["camera"]
    T = [poses.compose(one.ground_truth.poses, mount.T_base_camera) for one in corridors]
    errors = []
    for (i, j), match in pairs_in(written[0]):
        u, v = np.rint(match.reference_points).astype(int).T
        depth = first.render(first.ground_truth.poses[i])[1][v, u]
        rays, _ = mount.camera.unproject(match.reference_points)
        T_j_map = poses.invert(T[int(match.target_image[3])][j])
        seen = poses.transform(poses.compose(T_j_map, T[0][i]), rays * depth[:, None])
        expected, _ = mount.camera.project(seen)
        errors.append(np.linalg.norm(expected - match.target_points, axis=1))
    assert np.mean(np.concatenate(errors) < 4.0) > 0.95


def test_pairs_are_near_and_named_by_the_number_of_the_recording(corridors, written):
    root, told = written
    folder = CorrespondenceFolder(root)
    runs = []
    for (i, j), match in pairs_in(root):
        assert match.reference_image.startswith("run0_")
        assert (folder.images / match.target_image).is_file()
        runs.append(int(match.target_image[3]))
        if runs[-1] == 1:
            x = (
                corridors[0].ground_truth.poses[i, :3, 3]
                - corridors[1].ground_truth.poses[j, :3, 3]
            )
            assert np.linalg.norm(x) < 3.1
            assert match.distance.min() < 0.2
            assert 0.0 <= match.distance.min() < match.distance.max() <= 1.0
    assert [one.pairs for one in told] == [runs.count(0), runs.count(1)]
    assert min(one.pairs for one in told) > 3
    assert len(list(folder.files.iterdir())) == len(runs)
    assert folder.told() == told
    assert [one.held_out for one in told] == [0, len(folder.validation_files())]


@pytest.mark.parametrize(
    "text",
    [
        "{",
        '{"format": "fgsn_ros correspondences"}',
        '{"recordings": [3]}',
        '{"recordings": [{"name": "a", "pairs": 1, "held_out": 2, "meeting": 0.5}]}',
    ],
)
def test_a_folder_that_tells_nothing_of_its_recordings_is_refused(text, tmp_path):
    (tmp_path / "correspondences.json").write_text(text)
    with pytest.raises(RecordingError, match="tells nothing of its recordings"):
        CorrespondenceFolder(tmp_path).told()


def test_no_image_is_in_both_lists(written):
    folder = CorrespondenceFolder(written[0])
    train, validation = (
        {
            name
            for match in map(read_correspondence, files)
            for name in (match.reference_image, match.target_image)
        }
        for files in (folder.train_files(), folder.validation_files())
    )
    assert train
    assert validation
    assert not train & validation


def test_a_seed_gives_the_same_pairs_across(corridors, written, tmp_path):
    again = tmp_path / "again"
    across = replace(ACROSS, within=True, max_distance_m=3.0)
    settings = replace(SETTINGS, pairs_per_frame=2, max_distance_m=5.0)
    write_cross_correspondences(corridors, again, settings, across)
    once, again = (list(pairs_in(root)) for root in (written[0], again))
    assert [frames for frames, _ in once] == [frames for frames, _ in again]
    np.testing.assert_array_equal(once[3][1].target_points, again[3][1].target_points)


def test_poses_in_another_frame_are_refused_and_leave_nothing(corridors, tmp_path):
    first, second = corridors
    T = second.ground_truth.poses.copy()
    T[:, 0, 3] += 100.0
    moved = copy(second)
    moved.ground_truth = Trajectory(second.ground_truth.stamps, T)
    with pytest.raises(RecordingError, match="no frame of second .* in one frame"):
        write_cross_correspondences((first, moved), tmp_path / "pairs", SETTINGS, ACROSS)
    assert list(tmp_path.iterdir()) == []


def test_a_recording_without_points_is_named(corridors, make_corridor, tmp_path):
    blank = make_corridor(6, blank=True)
    with pytest.raises(RecordingError, match="corridor and corridor has 20 points"):
        write_cross_correspondences((corridors[0], blank), tmp_path / "pairs", SETTINGS, ACROSS)
    assert list(tmp_path.iterdir()) == []


def test_frames_that_look_another_way_make_no_pair(corridors):
    settings = StructureSettings(frame_spacing_m=0.0)
    first, second = (Reconstruction(one.cameras, settings) for one in corridors)
    for recording, reconstruction, turn in zip(
        corridors, (first, second), (0.0, np.pi), strict=True
    ):
        turned = poses.from_xyz_rpy(np.zeros(3), np.array([0.0, 0.0, turn]))
        for frame, T in zip(recording.frames(), recording.ground_truth.poses, strict=True):
            reconstruction.add(PosedFrame(frame, poses.compose(T, turned)))
    rng = np.random.default_rng(0)
    structures = first.structure(), second.structure()
    assert cross_pairs(*structures, ACROSS, rng) == []
    assert cross_pairs(*structures, replace(ACROSS, max_turn_deg=180.0), rng)


def test_cross_settings_out_of_range_are_refused():
    with pytest.raises(SettingsError, match="match_distance_m"):
        CrossSettings(match_distance_m=0.0)
    with pytest.raises(SettingsError, match="alignment_m"):
        CrossSettings(alignment_m=-1.0)
