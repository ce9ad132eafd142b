import numpy as np
import pytest

from fgsn_ros.correspondences.files import CorrespondenceFolder, read_correspondence
from fgsn_ros.correspondences.within_drive import (
    SelfCorrespondenceSettings,
    write_self_correspondences,
)
from fgsn_ros.errors import OutputError, RecordingError, SettingsError
from fgsn_ros.geometry import poses

SETTINGS = SelfCorrespondenceSettings(
    min_points=15, max_points=120, pairs_per_frame=3, max_distance_m=5.0
)


@pytest.fixture(scope="module")
def written(tmp_path_factory, built):
    root = tmp_path_factory.mktemp("correspondences") / "corridor"
    count = write_self_correspondences(built[0], root, SETTINGS)
    return built[0], CorrespondenceFolder(root), count


def numbers(correspondence):
    names = (correspondence.reference_image, correspondence.target_image)
    return tuple(int(name.removesuffix(".jpg")) for name in names)


def test_points_of_a_pair_show_the_same_place(written):
    recording, folder, _ = written
    mount = recording.cameras["camera"]
    T = poses.compose(recording.ground_truth.poses, mount.T_base_camera)
    errors = []
    for path in folder.train_files():
        c = read_correspondence(path)
        i, j = numbers(c)
        depth = recording.render(recording.ground_truth.poses[i])[1]
        u, v = np.round(c.reference_points).astype(int).T
        rays, _ = mount.camera.unproject(c.reference_points)
        seen = poses.transform(poses.compose(poses.invert(T[j]), T[i]), rays * depth[v, u][:, None])
        pixels = seen[:, :2] / seen[:, 2:] * 190.0 + (158.0, 97.0)
        errors.append(np.linalg.norm(pixels - c.target_points, axis=1))
    errors = np.concatenate(errors)
    assert np.median(errors) < 0.7
    assert np.mean(errors < 3.0) > 0.95


def test_pairs_span_the_distances_in_both_orders(written):
    recording, folder, count = written
    files = folder.train_files() + folder.validation_files()
    pairs = np.array([numbers(read_correspondence(path)) for path in files])
    x = recording.ground_truth.poses[:, :3, 3]
    distance = np.linalg.norm(x[pairs[:, 0]] - x[pairs[:, 1]], axis=1)
    assert len(files) == count
    assert distance.min() < 1.3
    assert distance.max() > 3.5
    assert 0.25 < np.mean(pairs[:, 0] < pairs[:, 1]) < 0.75


def test_lists_hold_every_pair_once(written):
    _, folder, count = written
    train, validation = set(folder.train_files()), set(folder.validation_files())
    assert not train & validation
    assert len(train | validation) == count
    assert len(validation) == round(0.15 * count)


def test_points_are_bounded_in_number_and_inside_the_images(written):
    _, folder, _ = written
    for path in folder.train_files():
        c = read_correspondence(path)
        assert 15 <= len(c.distance) <= 120
        for points in (c.reference_points, c.target_points):
            assert (points >= -0.5).all()
            assert (points < (319.5, 199.5)).all()
        assert (folder.images / c.reference_image).is_file()
        assert (folder.images / c.target_image).is_file()


def test_a_seed_gives_the_same_pairs_and_points(written, tmp_path):
    recording, folder, _ = written
    write_self_correspondences(recording, tmp_path / "again", SETTINGS)
    again = CorrespondenceFolder(tmp_path / "again")
    names = [path.name for path in folder.train_files()]
    assert [path.name for path in again.train_files()] == names
    a, b = (read_correspondence(f.train_files()[3]) for f in (folder, again))
    np.testing.assert_array_equal(a.target_points, b.target_points)


def test_a_recording_without_points_leaves_nothing_behind(make_corridor, tmp_path):
    with pytest.raises(RecordingError, match="pairs of frames"):
        write_self_correspondences(make_corridor(4, blank=True), tmp_path / "out", SETTINGS)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_refused_before_any_work(written):
    recording, folder, _ = written
    with pytest.raises(OutputError, match="exists"):
        write_self_correspondences(recording, folder.root, SETTINGS)


def test_settings_out_of_range_are_refused():
    with pytest.raises(SettingsError, match="distances"):
        SelfCorrespondenceSettings(min_distance_m=5.0, max_distance_m=5.0)
    with pytest.raises(SettingsError, match="min_points"):
        SelfCorrespondenceSettings(min_points=2000)
